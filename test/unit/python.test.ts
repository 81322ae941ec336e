/** The SDK for Python: its probe, what MicroPython lacks, its example, and the builder's answers. */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/python/build.js";
import { BUNDLE_LIMITS } from "../../services/registry/bundle.ts";
import { checkBundle } from "../../services/registry/publishing.ts";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed, type SandboxedGuest } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PROBE = join(import.meta.dirname, "../plugins/probe-python");
const SDK = join(import.meta.dirname, "../../plugins-sdk/python");
/** The first build of all makes the interpreter, which takes some seconds. */
const BUILD_TIMEOUT_MS = 120_000;

describeProbe("python", {
  integers: true,
  build: () => buildPlugin(PROBE),
  prints: true,
  keepsDigits: false,
  refusesBadJson: false,
  crash: { outcome: "guest_error", code: "exception", message: /^TypeError: .*\(at src\/plugin\.py:82\)$/ },
});

describeHelpers("python", () => buildPlugin(PROBE), { emits: true });
describeSync("python", () => buildPlugin(PROBE));

describe("the interpreter", () => {
  let guest: SandboxedGuest;
  beforeAll(async () => {
    guest = await openSandboxed((await buildPlugin(PROBE)).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  test("dataclasses and enums", async () => {
    expect((await guest.call("function:shapes", null)).json).toEqual({
      row: { time: "t", id: 1, name: "n", value: null, flag: false },
      same: true,
      shown: "Row(time='t', id=1, name='n', value=None, flag=False)",
      colours: ["RED", "GREEN", "BLUE"],
      red: "r",
      by_value: "GREEN",
      by_name: "b",
    });
  });

  test("random numbers are the host's, although the module was loaded before", async () => {
    const one = (await guest.call("function:dice", null)).json;
    expect((await guest.call("function:dice", null)).json).not.toEqual(one);
  });

  test("endless recursion is an error with its place", async () => {
    const { outcome, error } = await guest.call("function:recurse", 1);
    expect([outcome, error?.code]).toEqual(["guest_error", "exception"]);
    expect(error?.message).toMatch(/^RuntimeError: .*recursion.*src\/plugin\.py:\d+\)$/);
    expect((await guest.call("function:roundtrip", '"é"')).json).toBe("é");
  });

  test("long texts keep every character, alone and inside", async () => {
    const text = 'é"\\\n\t\u0001☃𝄞 '.repeat(20_000);
    for (const value of [[text], { text }, [{ text, n: 1 }]]) {
      expect((await guest.call("function:roundtrip", value)).json).toEqual(value);
    }
  });

  test("the heap grows with what is kept", async () => {
    const value = Array.from({ length: 50_000 }, (_, n) => ({ n }));
    const { json, error } = await guest.call("function:roundtrip", value);
    expect(error).toBeUndefined();
    expect(json).toEqual(value);
  });
});

test("the example stores station by station, and goes on behind the last", async () => {
  await using guest = await openSandboxed((await buildPlugin(join(SDK, "example"))).wasmPath);
  const http = ({ url }: Record<string, unknown>) => {
    const asked = new URL(String(url)).searchParams;
    expect(asked.get("begin_date")).toBe("20240101");
    const data = [
      { t: "2024-01-01 11:54", v: "0.9", s: "0.01", f: "0,0,0,0", q: "v" },
      { t: "2024-01-01 12:00", v: "1.25", s: "", f: "0,0,0,0", q: "v" },
      { t: "2024-01-01 12:06", v: "", s: "", f: "1,1,1,1", q: "p" },
    ];
    return { status: 200, headers: {}, body: JSON.stringify({ data }), url, elapsed_ms: 1 };
  };
  const window = { begin: "2024-01-01T12:00:00Z", end: "2024-01-02T00:00:00Z", cursor: null };
  const input = { ...window, config: { stations: ["8454000", "9414290"] } };
  const { json, asked, error } = await guest.call("fetch", input, { http });
  expect(error).toBeUndefined();
  expect(json).toEqual({ watermark: window.end });
  const rows = asked.flatMap(({ name, request }) => (name === "emit" ? request.trimEnd().split("\n") : []));
  expect(rows.map((row) => JSON.parse(row))).toEqual(
    ["8454000", "9414290"].map((station) => ({
      ...{ time: "2024-01-01T12:00:00Z", station, level_m: 1.25, sigma_m: null, quality: "VERIFIED" },
    })),
  );
  const resumed = await guest.call("fetch", { ...input, cursor: { stations: 1 } }, { http });
  expect(resumed.asked.filter(({ name }) => name === "http")).toHaveLength(1);
  const busy = () => ({ status: 503, headers: { "retry-after": "2" }, body: "", url: "u", elapsed_ms: 1 });
  const failed = await guest.call("fetch", input, { http: busy });
  expect(failed.error).toMatchObject({ code: "http_503", retryable: true, details: { retry_after_ms: 2_000 } });
  expect((await guest.call("function:to_feet", { metres: 1 })).json).toEqual({ feet: 3.280839895 });
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
    ["a syntax error", "def fetch(call):\n  return [;\n", /SyntaxError.*src\/plugin\.py:2/],
    ["a missing module", "import pandas\ndef fetch(call): pass\n", /no module named 'pandas'.*src\/plugin\.py:1/],
    ["a wrong export name", "def fetsh(call): pass\n", /does not export fetch.*add: def fetch\(call\)/],
    [
      "an error at the top level",
      'x = {}["é"]\n',
      /top level of the plugin raised: KeyError: é \(at src\/plugin\.py:1\)/,
    ],
    [
      "a host call at the top level",
      'from millrace import http\nrates = http.json("http://x/")\n',
      /host function http is not available at build time; move it into an exported function.*src\/plugin\.py:2/s,
    ],
    [
      "an enum that the next statement follows",
      "from enum import Enum\nclass A(Enum):\n  B = 1\nC = A.B\n",
      /src\/plugin\.py:4: leave a line empty behind the enum A/,
    ],
  ])(
    "refuses %s, and says where",
    async (_, source, message) => {
      expect(await refused({ "src/plugin.py": source })).toMatch(message);
    },
    BUILD_TIMEOUT_MS,
  );

  test("remembers, gives the same bytes for the same sources, and takes the template", async () => {
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
    expect(checks.map(({ what }) => what)).toEqual(["@micropython/micropython-webassembly-pyscript", "binaryen"]);
    expect(checks.every(({ ok }) => ok)).toBe(true);
    expect(detect(join(SDK, "template"))).toBe(true);
    expect(detect(join(PROBE, "../probe-typescript"))).toBe(false);
  });
});
