/** The SDK for C and C++, by its probe, its example and what its builder says when something is wrong. */
import { spawnSync } from "node:child_process";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/c/build.js";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers, describeReuse } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const SDK = join(import.meta.dirname, "../../plugins-sdk/c");
/** The compiler as wasm takes ten seconds for C++. */
const BUILD_TIMEOUT_MS = 120_000;

describeProbe("c", {
  build: () => buildPlugin(join(PLUGINS, "probe-c")),
  prints: true,
  crash: { outcome: "trap", code: "trap", message: /unreachable/ },
});
describeProbe("cpp", {
  build: () => buildPlugin(join(PLUGINS, "probe-cpp")),
  prints: true,
  crash: { outcome: "trap", code: "trap", message: /unreachable/ },
});
describe.each(["c", "cpp"])("%s", (language) => {
  const build = () => buildPlugin(join(PLUGINS, `probe-${language}`));
  describeHelpers(language, build);
  describeSync(language, build);
  describeReuse(language, build);
});

test("what the C library ends says so: an assertion with its file and line", {
  timeout: BUILD_TIMEOUT_MS,
}, async () => {
  await using guest = await openSandboxed((await buildPlugin(join(PLUGINS, "probe-c"))).wasmPath);
  const ended = async (mode: string) => {
    const { outcome, error } = await guest.call("fetch", { config: { mode } });
    return [outcome, error?.code, error?.message];
  };
  const asserted = /^assertion failed: strcmp\(mode, "assert"\) != 0 \(at src\/probe\.c:\d+\)$/;
  expect(await ended("assert")).toEqual(["guest_error", "panicked", expect.stringMatching(asserted)]);
  expect(await ended("abort")).toEqual(["guest_error", "panicked", "abort was called"]);
});

describe("example", () => {
  test(
    "sunrise and sunset where they are known, and where there are none",
    async () => {
      await using guest = await openSandboxed((await buildPlugin(join(SDK, "example"))).wasmPath);
      const places = [
        { name: "Greenwich", latitude: 51.4779, longitude: 0 },
        { name: "Tromsø", latitude: 69.6492, longitude: 18.9553 },
      ];
      const input = { config: { places }, begin: "2024-06-20T00:00:00Z", end: "2024-06-21T00:00:00Z" };
      const { asked, json } = await guest.call("fetch", input);
      expect(json).toEqual({ status: "ok" });
      const [greenwich, tromso] = (asked[0]?.request.trim().split("\n") ?? []).map((line) => JSON.parse(line));
      const minutesFrom = (time: string, known: string) => Math.abs(Date.parse(time) - Date.parse(known)) / 60_000;
      expect(minutesFrom(greenwich.sunrise, "2024-06-20T03:43:00Z")).toBeLessThan(2);
      expect(minutesFrom(greenwich.sunset, "2024-06-20T20:21:00Z")).toBeLessThan(2);
      expect(tromso).toMatchObject({ place: "Tromsø", hours: 24 });
      expect(tromso).not.toHaveProperty("sunrise");
      const { error } = await guest.call("fetch", { ...input, config: {} });
      expect(error?.code).toBe("no_places");
    },
    BUILD_TIMEOUT_MS,
  );
});

test(
  "the example in C++ keeps what lies in the window, and no comment, heading or gap",
  async () => {
    await using guest = await openSandboxed((await buildPlugin(join(SDK, "example-cpp"))).wasmPath);
    const body =
      "# CO2 é\nyear,month,day,decimal,value\n2024,1,1,2024.0,421.98\n2024,1,2,2024.0,-999.99\n2024,1,31,2024.1,422.5";
    const window = { begin: "2024-01-01T00:00:00Z", end: "2024-01-31T00:00:00Z", config: {} };
    const http = () => ({ status: 200, headers: {}, body, url: "u", elapsed_ms: 1 });
    const { asked, json, error } = await guest.call("fetch", window, { http });
    expect(error).toBeUndefined();
    expect(json).toEqual({ status: "ok" });
    expect(JSON.parse(asked[0]?.request ?? "")).toMatchObject({ retry: { attempts: 3 } });
    expect(JSON.parse(asked[1]?.request ?? "")).toEqual({ time: "2024-01-01", ppm: 421.98 });
    const later = { ...window, begin: "2024-02-01T00:00:00Z", end: "2024-03-01T00:00:00Z" };
    expect((await guest.call("fetch", later, { http })).json).toEqual({ status: "no_data" });
    const empty = await guest.call("fetch", window, { http: () => ({ ...http(), body: "<html>" }) });
    expect(empty.error).toMatchObject({ code: "bad_answer", retryable: false });
    const down = await guest.call("fetch", window, { http: () => ({ ...http(), status: 503 }) });
    expect(down.error).toMatchObject({ code: "bad_status", message: "the source answered 503", retryable: true });
  },
  BUILD_TIMEOUT_MS,
);

describe("templates", () => {
  test.each(["template", "template-cpp"])(
    "%s builds and gives a row a minute",
    async (name) => {
      await using work = await workFolder();
      await cp(join(SDK, name), work.path, { recursive: true });
      const { wasmPath } = await buildPlugin(work.path, { outDir: work.path });
      await using guest = await openSandboxed(wasmPath);
      const window = { begin: "2026-01-01T00:00:00Z", end: "2026-01-01T01:00:00Z" };
      const { json } = await guest.call("fetch", { config: {}, ...window });
      expect(json.rows).toHaveLength(60);
      // In C++ the fallback is made by a constructor.
      expect(json.rows?.[59]).toEqual({ time: "2026-01-01T00:59:00Z", greeting: "hello", minute: 59 });
    },
    BUILD_TIMEOUT_MS,
  );
});

const native = spawnSync("clang-19", ["--version"]).status === 0;
describe("a compiler of the machine", () => {
  test.skipIf(!native)(
    "builds what runs the same (skipped without clang-19, lld-19, wasi-libc, libclang-rt)",
    async () => {
      await using work = await workFolder();
      // The compiler is chosen when the builder is loaded.
      const builder = JSON.stringify(join(SDK, "build.js"));
      const asked = JSON.stringify([join(PLUGINS, "probe-c"), { outDir: work.path }]);
      const script = `const { buildPlugin } = await import(${builder}); await buildPlugin(...${asked})`;
      const env = { ...process.env, MILLRACE_CLANG: "clang-19" };
      const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { env });
      expect([status, String(stderr)]).toEqual([0, expect.not.stringContaining("Error")]);
      await using guest = await openSandboxed(join(work.path, "probe-c-1.0.0.wasm"));
      const input = { config: { rows: 3 }, begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z" };
      const { json } = await guest.call("fetch", input);
      expect(json.rows?.[2]).toMatchObject({ time: "2012-01-01T16:00:00Z", value: 0.5 });
    },
    BUILD_TIMEOUT_MS,
  );
});

describe("builder", () => {
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

  test(
    "says where the source is wrong",
    async () => {
      const said = await refused({ "src/plugin.c": "#include <millrace.h>\nMR_EXPORT(fetch) { return nothing; }\n" });
      expect(said).toMatch(/src\/plugin\.c:2:\d+: error: use of undeclared identifier 'nothing'/);
    },
    BUILD_TIMEOUT_MS,
  );

  test(
    "says what is not exported, and how to export it",
    async () => {
      const said = await refused({ "src/plugin.c": "#include <millrace.h>\nMR_EXPORT(fetsh) { return 0; }\n" });
      expect(said).toContain("does not export fetch");
      expect(said).toContain("MR_EXPORT(fetch) { … }");
    },
    BUILD_TIMEOUT_MS,
  );

  test(
    "names what is not there at link time",
    async () => {
      const source = "#include <millrace.h>\nint dial(void);\nMR_EXPORT(fetch) { return dial(); }\n";
      expect(await refused({ "src/plugin.c": source })).toContain("undefined symbol: dial");
    },
    BUILD_TIMEOUT_MS,
  );

  test("knows its own folders, and what it needs", async () => {
    expect(detect(join(SDK, "template"))).toBe(true);
    expect(detect(join(SDK, "template-cpp"))).toBe(true);
    expect(detect(PLUGINS)).toBe(false);
    expect(await doctor()).toMatchObject([{ ok: true, found: expect.stringContaining("clang") }]);
  });
});
