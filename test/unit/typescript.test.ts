/** The SDK for TypeScript and JavaScript: its probe, what the engine offers, its example, and the builder's answers. */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/typescript/build.js";
import { Fault } from "../../services/kit/fault.ts";
import { BUNDLE_LIMITS } from "../../services/registry/bundle.ts";
import { checkBundle } from "../../services/registry/publishing.ts";
import { httpThroughFetch, openGuest, runHost } from "../harness/guest.ts";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed, type SandboxedGuest } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const SDK = join(import.meta.dirname, "../../plugins-sdk/typescript");
/** The first build of all makes the engine, which takes some seconds. */
const BUILD_TIMEOUT_MS = 120_000;

describeProbe("typescript", {
  integers: true,
  build: () => buildPlugin(join(PLUGINS, "probe-typescript")),
  prints: true,
  keepsDigits: false,
  crash: { outcome: "guest_error", code: "exception", message: /TypeError.*\(at src\/plugin\.ts:86\)/ },
});

describeHelpers("typescript", () => buildPlugin(join(PLUGINS, "probe-typescript")), { emits: true });
describeSync("typescript", () => buildPlugin(join(PLUGINS, "probe-typescript")));

const DAY = { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z", pipe: { metric: "m" }, cursor: null };

describe("the engine", () => {
  let guest: SandboxedGuest;
  beforeAll(async () => {
    guest = await openSandboxed((await buildPlugin(join(PLUGINS, "script"))).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  test("time and randomness are the host's, although the top level ran at build time", async () => {
    const [one, other] = [(await guest.call("frozen", {})).json, (await guest.call("frozen", {})).json];
    expect(one.startedAt).toBe("1970-01-01T00:00:00.000Z");
    expect(one.builtWith).toBe(other.builtWith);
    expect(one.random).not.toBe(other.random);
    expect(one.uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(one.uuid).not.toBe(other.uuid);
    expect(Math.abs(Number(one.now) - Date.now())).toBeLessThan(60_000);
    expect(Math.abs(Date.parse(one.fresh as string) - Date.now())).toBeLessThan(60_000);
  });

  test("what libraries expect of a platform is there", async () => {
    expect((await guest.call("platform", {})).json).toEqual({
      href: "https://User:pw@example.org/a/x%20y?a=1&b=+&%C3%BC=1%262#h",
      parts: ["https://example.org", "example.org", "", "/a/x%20y", "?a=1&b=+&%C3%BC=1%262", "#h", "User"],
      bytes: [195, 169, 226, 152, 131, 240, 157, 132, 158, 239, 191, 189],
      text: "é☃𝄞\ufffd",
      cloned: true,
      base64: "YWJjabc",
      grouped: { odd: [1, 3], even: [2] },
      named: "2012",
    });
  });

  test("timers run in the order in which they are due, and waiting is the host's", async () => {
    const { json, asked } = await guest.call("timers", {});
    expect(json).toEqual(["micro", "first", "second"]);
    expect(asked.map(({ name }) => name)).toContain("sleep");
  });

  test("a generator's rows are emitted, checkpoints between them", async () => {
    const { json, asked } = await guest.call("fetch", { ...DAY, config: { count: 12 } });
    expect(json).toEqual({ watermark: DAY.end });
    expect(asked.map(({ name }) => name)).toEqual(["emit", "checkpoint", "emit"]);
    const lines = asked.flatMap(({ name, request }) => (name === "emit" ? request.trimEnd().split("\n") : []));
    expect(lines).toHaveLength(12);
    expect(lines[1]).toBe('{"time":"2012-01-01T00:00:01.000Z","n":1,"tag":"é☃𝄞","big":9007199254740993}');
    const resumed = await guest.call("fetch", { ...DAY, config: { count: 12 }, cursor: 10 });
    expect(resumed.asked[0]?.request.trimEnd().split("\n")).toHaveLength(2);
  });

  test("sync writes its rows itself, CSV too; a hook says no with a text", async () => {
    const host = async (name: string) => Buffer.from(JSON.stringify({ ok: name === "emit:csv" ? { rows: 1 } : {} }));
    const { json, asked } = await guest.call("sync", { ...DAY, config: {} }, host);
    expect(json).toEqual({ status: "partial" });
    expect(asked.map(({ name, request }) => [name, request])).toEqual([
      ["emit", '{"n":1}\n'],
      ["emit:csv", "n,day\n2,2012-01-01\n"],
      ["checkpoint", '{"cursor":{"rows":1,"before":null}}'],
    ]);
    expect((await guest.call("before_sync", { ...DAY, config: {} })).json).toEqual({});
    const closed = await guest.call("before_sync", { ...DAY, config: { closed: true } });
    expect(closed.json).toEqual({ veto: "closed on 2012-01-01" });
    const told = await guest.call("after_sync", { ...DAY, config: {}, outcome: "ok", rows: 3, message: "", run: "r" });
    expect(told.json).toEqual({});
    expect(told.asked[0]?.request).toContain("r is ok");
  });

  test.each([
    ["throwing", "exception", /^TypeError: .*'name' of undefined \(at src\/deep\.ts:8\)$/, "src/deep.ts:8"],
    ["rejecting", "busy", /^later$/, "src/plugin.ts:119"],
    ["thrownText", "exception", /^thrown: "text"$/, undefined],
    ["never", "never_settles", /never settles/, undefined],
    ["recursing", "exception", /^RangeError: Maximum call stack size exceeded/, "src/plugin.ts:126"],
  ])("%s fails as %s, with the author's file and line", async (name, code, message, at) => {
    const { outcome, error } = await guest.call(name, {});
    expect([outcome, error?.code]).toEqual(["guest_error", code]);
    expect(error?.message).toMatch(message);
    expect((error?.details as { at?: string } | undefined)?.at).toBe(at);
    expect((await guest.call("roundtrip", { a: "é" })).json).toEqual({ a: "é" });
  });

  test("a stack names every frame of the author's", async () => {
    const { error } = await guest.call("throwing", {});
    expect(error?.details).toMatchObject({ stack: ["fail (src/deep.ts:8)", "throwing (src/plugin.ts:116)"] });
  });

  test("a host's refusal can be caught, and passes through when it is not", async () => {
    const http = () => {
      throw new Fault("denied", "GET http://nowhere.example/ is not granted");
    };
    const { outcome, error } = await guest.call("denied", {}, { http });
    expect([outcome, error?.code]).toEqual(["denied", "denied"]);
  });

  test("functions for other plugins, and routes", async () => {
    expect((await guest.call("function:double", { n: 4 })).json).toEqual({ n: 8 });
    const asked = { method: "GET", path: "/echo/é", params: { name: "é" }, query: {}, headers: {}, body: "ø" };
    const { json } = await guest.call("route", asked);
    expect(json).toEqual({
      status: 200,
      headers: { "x-a": "b", "content-type": "application/json; charset=utf-8" },
      body: '{"path":"/echo/é","said":"ø"}',
    });
    const bytes = await guest.call("route", {
      ...asked,
      params: { name: "bytes" },
      body: undefined,
      body_base64: "AP8=",
    });
    expect(bytes.json).toMatchObject({ status: 201, body_base64: "AP8=" });
  });

  test("the platform's own fetch works through the host", async () => {
    const server = createServer(async (request, response) => {
      const body = (await request.toArray()).join("");
      response
        .setHeader("content-type", "application/json")
        .end(JSON.stringify([request.method, body, request.headers.a]));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      const { wasmPath } = await buildPlugin(join(PLUGINS, "script"));
      const plain = await openGuest(wasmPath, { ...runHost, http: httpThroughFetch });
      const { output } = await plain.call("web", {
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`,
      });
      expect(output).toEqual({ ok: true, status: 200, type: "application/json", json: ["POST", "a=%C3%A9+b", "b"] });
    } finally {
      server.close();
    }
  });

  test("figures, for the record", async () => {
    const median = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
    const timed = async (name: string, input: unknown, times: number) => {
      const ms: number[] = [];
      for (let i = 0; i < times; i++) ms.push((await guest.call(name, input)).usage.cpuMs);
      return ms;
    };
    const calls = await timed("roundtrip", { a: 1 }, 300);
    const rows = await timed("rows", { count: 10_000 }, 7);
    const emitted = await timed("emitting", { count: 10_000 }, 7);
    const shown = [Math.min(...calls), median(calls)]
      .map((ms) => `${Math.round(ms * 1_000)} µs`)
      .join(" at best, median ");
    console.log(
      `typescript, fresh instance and call: ${shown}; 10,000 rows returned in ${median(rows).toFixed(0)} ms, ` +
        `emitted in ${median(emitted).toFixed(0)} ms (CPU of the lane)`,
    );
    // Some ten milliseconds; a full machine takes several times as much.
    expect(median(rows)).toBeLessThan(2_000);
  });
});

test("the example stores every page, and goes on behind the last", async () => {
  const { wasmPath } = await buildPlugin(join(SDK, "example"));
  await using guest = await openSandboxed(wasmPath);
  const all = Array.from({ length: 5 }, (_, i) => ({
    id: `us${i}`,
    properties: {
      time: Date.parse(DAY.begin) + i * 3_600_000,
      mag: 5 + i / 10,
      place: "Tōhoku",
      felt: null,
      tsunami: i % 2,
    },
    geometry: { coordinates: [142.37, 38.3, 29 + i] },
  }));
  const http = ({ url }: Record<string, unknown>) => {
    const asked = new URL(String(url)).searchParams;
    const from = Number(asked.get("offset")) - 1;
    const features = all.slice(from, from + Number(asked.get("limit")));
    return { status: 200, headers: {}, body: JSON.stringify({ features }), url, elapsed_ms: 1 };
  };
  const { json, asked, error } = await guest.call("fetch", { ...DAY, config: { page: 2 } }, { http });
  expect(error).toBeUndefined();
  expect(json).toEqual({ watermark: DAY.end });
  expect(asked.filter(({ name }) => name === "checkpoint").map(({ request }) => JSON.parse(request))).toEqual([
    { cursor: { done: 2 } },
    { cursor: { done: 4 } },
  ]);
  const rows = asked.flatMap(({ name, request }) => (name === "emit" ? request.trimEnd().split("\n") : []));
  expect(rows.map((row) => JSON.parse(row).id)).toEqual(["us0", "us1", "us2", "us3", "us4"]);
  const busy = () => ({ status: 503, headers: { "retry-after": "2" }, body: "", url: "u", elapsed_ms: 1 });
  const failed = await guest.call("fetch", { ...DAY, config: {} }, { http: busy });
  expect(failed.error).toMatchObject({ code: "http_503", retryable: true, details: { retry_after_ms: 2_000 } });
});

test("what fails behind an await says the author's line", { timeout: BUILD_TIMEOUT_MS }, async () => {
  await using work = await workFolder();
  const manifest = { name: "awaiting", version: "1.0.0", interfaces: { fetch: {}, functions: { deep: {} } } };
  const source = [
    "async function inner(x: { no?: { such: number } }) {",
    "  await null;",
    "  return x.no!.such;",
    "}",
    "const deep = async () => {",
    "  await new Promise((go) => setTimeout(go, 1));",
    "  return await inner({});",
    "};",
    "export const functions = { deep };",
    'export async function* fetch() { yield { a: 1 }; await null; throw new Error("late"); }',
  ].join("\n");
  await writeFile(join(work.path, "plugin.json"), JSON.stringify(manifest));
  await writeFile(join(work.path, "plugin.ts"), source);
  const { wasmPath } = await buildPlugin(work.path, { outDir: work.path });
  await using guest = await openSandboxed(wasmPath);
  const { error } = await guest.call("function:deep", null);
  expect(error?.details).toMatchObject({ at: "plugin.ts:3", stack: ["inner (plugin.ts:3)"] });
  expect((await guest.call("fetch", DAY)).error?.message).toBe("late (at plugin.ts:10)");
});

describe("the builder", () => {
  const manifest = { name: "broken", version: "1.0.0", interfaces: { fetch: {} } };
  async function refused(files: Readonly<Record<string, string>>): Promise<string> {
    await using work = await workFolder();
    await mkdir(join(work.path, "src"));
    await writeFile(join(work.path, "plugin.json"), JSON.stringify(manifest));
    for (const [name, text] of Object.entries(files)) await writeFile(join(work.path, name), text);
    const thrown = await buildPlugin(work.path, { outDir: work.path }).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(BuildError);
    return (thrown as Error).message;
  }

  test.each([
    [
      "a syntax error",
      "export function fetch() {\n  return [;\n}\n",
      /src\/plugin\.ts:2:\d+: Unexpected ";"\n\s+return \[;/,
    ],
    [
      "a missing module",
      'import x from "left-pad";\nexport const fetch = x;\n',
      /plugin\.ts:1:\d+: Could not resolve "left-pad"/,
    ],
    [
      "a module of Node's",
      'import fs from "node:fs";\nexport const fetch = fs;\n',
      /plugin\.ts:1:.*node:fs.*use the SDK's/,
    ],
    [
      "a wrong export name",
      "export const fetsh = () => [];\n",
      /does not export fetch.*add: export function fetch\(call\)/,
    ],
    [
      "an error at the top level",
      'throw new Error("no é");\n',
      /top level of the plugin threw: no é \(at src\/plugin\.ts:1\)/,
    ],
    [
      "a host call at the top level",
      'import { http } from "@millrace/typescript";\nconst rates = http.json("http://x/");\nexport const fetch = () => rates;\n',
      /host function http is not available at build time; move it into an exported function.*src\/plugin\.ts:2/s,
    ],
    [
      "rows at the top level",
      'import { emit } from "@millrace/typescript";\nemit({ n: 1 });\nexport const fetch = () => [];\n',
      /host function emit is not available at build time; move it into an exported function.*src\/plugin\.ts:2/s,
    ],
    ["awaiting at the top level", "await 1;\nexport const fetch = () => [];\n", /plugin\.ts:1:1: Top-level await/],
    [
      "a secret made at the top level",
      "crypto.randomUUID();\nexport const fetch = () => [];\n",
      /not available at build time/,
    ],
  ])(
    "refuses %s, and says where",
    async (_, source, message) => {
      expect(await refused({ "src/plugin.ts": source })).toMatch(message);
    },
    BUILD_TIMEOUT_MS,
  );

  test("says what a folder without a source needs", async () => {
    expect(await refused({})).toContain("src/plugin.ts");
  });

  test("takes JavaScript and JSON, remembers, and gives the same bytes for the same sources", async () => {
    await using work = await workFolder();
    await cp(join(SDK, "template"), work.path, { recursive: true });
    const first = await buildPlugin(work.path, { outDir: join(work.path, "one") });
    const second = await buildPlugin(work.path, { outDir: join(work.path, "two") });
    expect(await readFile(second.path)).toEqual(await readFile(first.path));
    expect((await buildPlugin(work.path, { outDir: join(work.path, "one") })).cached).toBe(true);
    await writeFile(join(work.path, "words.json"), '{"greeting":"hæ"}');
    await writeFile(join(work.path, "src/plugin.js"), "");
    await writeFile(
      join(work.path, "src/plugin.ts"),
      'import { greeting } from "../words.json";\nexport const fetch = () => [{ greeting }];\n',
    );
    const third = await buildPlugin(work.path, { outDir: join(work.path, "one") });
    expect(third.cached).toBe(false);
    await using guest = await openSandboxed(third.wasmPath);
    expect((await guest.call("fetch", DAY)).json).toEqual({ rows: [{ greeting: "hæ" }] });
  });

  test.each(["example", "template"])(
    "the registry takes the %s",
    async (name) => {
      const { path } = await buildPlugin(join(SDK, name));
      const { exports } = await checkBundle(new Uint8Array(await readFile(path)), BUNDLE_LIMITS);
      expect(exports).toContain("fetch");
    },
    BUILD_TIMEOUT_MS,
  );

  test("knows its own folders, and what it needs", async () => {
    const checks = await doctor();
    expect(checks.map(({ what }) => what)).toEqual(["quickjs-wasi", "binaryen", "esbuild"]);
    expect(checks.every(({ ok }) => ok)).toBe(true);
    expect(detect(join(SDK, "template"))).toBe(true);
    expect(detect(join(PLUGINS, "kitchen"))).toBe(false);
  });
});
