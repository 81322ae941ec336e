/** The SDK for Lua: its probe, what is particular to Lua, its example, and the builder's answers. */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/lua/build.js";
import { BUNDLE_LIMITS } from "../../services/registry/bundle.ts";
import { checkBundle } from "../../services/registry/publishing.ts";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers, describeReuse } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed, type SandboxedGuest } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PROBE = join(import.meta.dirname, "../plugins/probe-lua");
const SDK = join(import.meta.dirname, "../../plugins-sdk/lua");
/** The first build of all makes the interpreter, which takes some seconds. */
const BUILD_TIMEOUT_MS = 120_000;

describeProbe("lua", {
  integers: true,
  build: () => buildPlugin(PROBE),
  prints: true,
  keepsDigits: false,
  crash: { outcome: "guest_error", code: "exception", message: /^attempt to index .*\(at src\/plugin\.lua:53\)$/ },
});
describeHelpers("lua", () => buildPlugin(PROBE), { emits: true });
describeSync("lua", () => buildPlugin(PROBE));
describeReuse("lua", () => buildPlugin(PROBE));

describe("the interpreter", () => {
  let guest: SandboxedGuest;
  beforeAll(async () => {
    guest = await openSandboxed((await buildPlugin(PROBE)).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  test("integers of 64 bits are exact, also in arithmetic; longer ones keep their digits", async () => {
    const asked = '{"big":9223372036854775806,"longer":123456789012345678901234567890}';
    const { text } = await guest.call("function:numbers", asked);
    expect(text).toContain('"sum":9223372036854775807');
    expect(text).toContain('"longer":123456789012345678901234567890');
    expect(text).toContain('"half":4611686018427387903');
    expect(text).toContain('"kind":"integer"');
  });

  test("Arrow goes out as its bytes", async () => {
    const sent: unknown[] = [];
    const { json } = await guest.call("function:arrow", null, async (name, request) => {
      sent.push([name, Buffer.from(request)]);
      return Buffer.from('{"ok":{"rows":3}}');
    });
    expect([json, sent]).toEqual([3, [["emit:arrow", Buffer.from("ARROW\0\xff", "latin1")]]]);
  });

  test("random numbers are the host's in every call", async () => {
    const one = (await guest.call("function:dice", null)).json;
    expect((await guest.call("function:dice", null)).json).not.toEqual(one);
  });

  test("the clock is the host's, and dates are in UTC", async () => {
    const { json } = await guest.call("function:clock", null);
    expect(Math.abs(Number(json.now) - Date.now() / 1_000)).toBeLessThan(60);
    expect(json).toMatchObject({ at: 1_709_272_800, said: "2024-03-01T06:00:00Z, Fri Mar 061" });
    expect(json.parts).toMatchObject({ year: 1970, month: 1, day: 1, hour: 23, min: 59, sec: 59, wday: 5, yday: 1 });
  });

  test("endless recursion is an error with its place", async () => {
    const { outcome, error } = await guest.call("function:recurse", 1);
    expect([outcome, error?.code]).toEqual(["guest_error", "exception"]);
    expect(error?.message).toMatch(/^stack overflow.*src\/plugin\.lua:\d+\)$/s);
    expect((await guest.call("function:roundtrip", '"é"')).json).toBe("é");
  });

  test("an error in the middle of a coroutine says where, with the frames of the author", async () => {
    const day = { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z" };
    const { error } = await guest.call("fetch", { ...day, config: { mode: "emit", rows: {} } });
    expect(error?.details).toMatchObject({
      at: "src/plugin.lua:13",
      stack: [expect.stringMatching(/src\/plugin\.lua:13\)?$/)],
    });
  });

  test("the memory grows with what is kept", async () => {
    const value = Array.from({ length: 50_000 }, (_, n) => ({ n }));
    const { json, error } = await guest.call("function:roundtrip", value);
    expect(error).toBeUndefined();
    expect(json).toEqual(value);
  });
});

test("the example stores month by month, and goes on behind the last", async () => {
  await using guest = await openSandboxed((await buildPlugin(join(SDK, "example"))).wasmPath);
  const http = ({ url }: Record<string, unknown>) => {
    const asked = new URL(String(url));
    expect(Object.fromEntries(asked.searchParams)).toEqual({ base: "EUR", symbols: "NOK,USD" });
    const [from = "", to = ""] = asked.pathname.split("/").at(-1)?.split("..") ?? [];
    if (from.startsWith("2024-03")) return { status: 404, headers: {}, body: "{}", url, elapsed_ms: 1 };
    const rates = { "2023-12-29": { NOK: 11.2405, USD: 1.105 }, [to]: { NOK: 11, USD: 1.1 } };
    return { status: 200, headers: {}, body: JSON.stringify({ base: "EUR", rates }), url, elapsed_ms: 1 };
  };
  const window = { begin: "2024-01-02T00:00:00Z", end: "2024-03-10T00:00:00Z", cursor: null };
  const input = { ...window, config: { currencies: ["NOK", "USD"] } };
  const { json, asked, error } = await guest.call("fetch", input, { http });
  expect(error).toBeUndefined();
  expect(json).toEqual({ watermark: window.end });
  const paths = asked
    .filter(({ name }) => name === "http")
    .map(({ request }) => JSON.parse(request).url.split("/v1/")[1]);
  expect(paths.map((path) => path.split("?")[0])).toEqual([
    "2024-01-02..2024-01-31",
    "2024-02-01..2024-02-29",
    "2024-03-01..2024-03-09",
  ]);
  const rows = asked.flatMap(({ name, request }) => (name === "emit" ? request.trimEnd().split("\n") : []));
  const parsed = rows.map((row) => JSON.parse(row));
  expect(parsed).toHaveLength(4);
  expect(parsed).toContainEqual({ time: "2024-02-29", base: "EUR", currency: "NOK", rate: 11 });
  const resumed = await guest.call("fetch", { ...input, cursor: { months: 2 } }, { http });
  expect(resumed.asked.filter(({ name }) => name === "http")).toHaveLength(1);
  const busy = () => ({ status: 503, headers: { "retry-after": "2" }, body: "", url: "u", elapsed_ms: 1 });
  const failed = await guest.call("fetch", input, { http: busy });
  expect(failed.error).toMatchObject({ code: "http_503", retryable: true, details: { retry_after_ms: 2_000 } });
  expect((await guest.call("function:convert", { cents: 25, rate: 0.5 })).json).toEqual({ cents: 12 });
  const wrong = await guest.call("function:convert", { cents: 2.5, rate: 1 });
  expect(wrong.error).toMatchObject({ code: "invalid", details: { at: "src/plugin.lua:48" } });
});

describe("the builder", () => {
  const manifest = { name: "broken", version: "1.0.0", interfaces: { fetch: {} } };
  async function refused(files: Readonly<Record<string, string>>): Promise<string> {
    await using work = await workFolder();
    await writeFile(join(work.path, "plugin.json"), JSON.stringify(manifest));
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(work.path, name)), { recursive: true });
      await writeFile(join(work.path, name), text);
    }
    const thrown = await buildPlugin(work.path, { outDir: work.path }).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(BuildError);
    return (thrown as Error).message;
  }

  test.each([
    ["a syntax error", "local x = 1\nreturn [;\n", /unexpected symbol near '\['.*\(at src\/plugin\.lua:2\)/],
    [
      "a missing module",
      'local x = require "socket"\n',
      /no module 'socket' beside plugin\.lua.*\(at src\/plugin\.lua:1\)/,
    ],
    ["a wrong export name", "return { fetsh = print }\n", /does not export fetch.*add: return { fetch = function/],
    ["no exports", "function fetch() end\n", /src\/plugin\.lua must end with the exports, return { fetch = fetch }/],
    [
      "an error at the top level",
      'error("nei é")\n',
      /top level of the plugin raised: nei é \(at src\/plugin\.lua:1\)/,
    ],
    [
      "a host call at the top level",
      'local rates = require("millrace").http.json("http://x/")\n',
      /host function http is not available at build time; move it into an exported function.*src\/plugin\.lua:1/s,
    ],
  ])(
    "refuses %s, and says where",
    async (_, source, message) => {
      expect(await refused({ "src/plugin.lua": source })).toMatch(message);
    },
    BUILD_TIMEOUT_MS,
  );

  test("says what a folder without a source needs", async () => {
    expect(await refused({})).toContain("src/plugin.lua");
  });

  test("remembers, gives the same bytes for the same sources, and takes the template and files of files", async () => {
    await using work = await workFolder();
    await cp(join(SDK, "template"), work.path, { recursive: true });
    const first = await buildPlugin(work.path, { outDir: join(work.path, "one") });
    const second = await buildPlugin(work.path, { outDir: join(work.path, "two") });
    expect(await readFile(second.path)).toEqual(await readFile(first.path));
    expect((await buildPlugin(work.path, { outDir: join(work.path, "one") })).cached).toBe(true);
    await using guest = await openSandboxed(first.wasmPath);
    const window = { begin: "2026-01-01T00:00:00Z", end: "2026-01-01T01:00:00Z" };
    const { asked, json } = await guest.call("fetch", { config: {}, ...window });
    expect(json).toEqual({});
    const rows = asked.flatMap(({ name, request }) => (name === "emit" ? request.trimEnd().split("\n") : []));
    expect(rows).toHaveLength(60);
    expect(JSON.parse(rows[59] ?? "")).toEqual({ time: "2026-01-01T00:59:00Z", greeting: "hello", minute: 59 });
    await mkdir(join(work.path, "src/words"));
    await writeFile(join(work.path, "src/words/init.lua"), 'return { greeting = require("words.nordic") }\n');
    await writeFile(join(work.path, "src/words/nordic.lua"), 'return "hæ"\n');
    const source = 'local words = require "words"\nreturn { fetch = function() return { words } end }\n';
    await writeFile(join(work.path, "src/plugin.lua"), source);
    const third = await buildPlugin(work.path, { outDir: join(work.path, "one") });
    expect(third.cached).toBe(false);
    await using words = await openSandboxed(third.wasmPath);
    expect((await words.call("fetch", window)).json).toEqual({ rows: [{ greeting: "hæ" }] });
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
    expect(checks.map(({ what }) => what)).toEqual(["wasmoon", "binaryen"]);
    expect(checks.every(({ ok }) => ok)).toBe(true);
    expect(detect(join(SDK, "template"))).toBe(true);
    expect(detect(join(PROBE, "../probe-python"))).toBe(false);
  });
});
