/** The SDK for Zig, by its probe, its example and what its builder says when something is wrong. */
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe as always, test as alwaysTest, expect } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/zig/build.js";
import { Fault } from "../../services/kit/fault.ts";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers, describeReuse } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const SDK = join(import.meta.dirname, "../../plugins-sdk/zig");
const BUILD_TIMEOUT_MS = 240_000;
const missing = (await doctor()).filter((check) => !check.ok);
for (const { what, found, fix } of missing) alwaysTest.skip(`Zig: ${what} is missing (${found}); ${fix}`, () => {});
const describe = always.skipIf(missing.length > 0);
const test = alwaysTest.skipIf(missing.length > 0);

if (!missing.length) {
  describeProbe("zig", {
    build: () => buildPlugin(join(PLUGINS, "probe-zig")),
    randomIn: "hex",
    crash: { outcome: "guest_error", code: "panicked", message: /crashed as asked/ },
  });
  describeHelpers("zig", () => buildPlugin(join(PLUGINS, "probe-zig")));
  describeSync("zig", () => buildPlugin(join(PLUGINS, "probe-zig")));
  describeReuse("zig", () => buildPlugin(join(PLUGINS, "probe-zig")));
}

test(
  "the example makes gauges of numbers, and measures what is down",
  async () => {
    await using guest = await openSandboxed((await buildPlugin(join(SDK, "example"))).wasmPath);
    const input = { resource: { id: "a", endpoint: "https://example.org/health" }, config: {} };
    const body = '{"ok":true,"db":{"pool":7,"wait_ms":0.5},"name":"é","list":[1]}';
    const up = await guest.call("poll", input, { http: () => ({ status: 200, headers: {}, body }) });
    const gauge = (value: number) => ({ value, type: "gauge" });
    const dimensions = { url: "https://example.org/health" };
    const values = { up: gauge(1), ok: gauge(1), "db.pool": gauge(7), "db.wait_ms": gauge(0.5) };
    expect(up.json).toEqual({ metrics: [{ group: "health", dimensions, values }], status: "ok" });
    const failing = (code: "unavailable" | "denied") => ({
      http: () => {
        throw new Fault(code, "no");
      },
    });
    const down = await guest.call("poll", input, failing("unavailable"));
    expect(down.json.metrics).toEqual([{ group: "health", dimensions, values: { up: gauge(0) } }]);
    expect((await guest.call("poll", input, failing("denied"))).outcome).toBe("denied");
  },
  BUILD_TIMEOUT_MS,
);

test(
  "the template gives a row a minute",
  async () => {
    await using work = await workFolder();
    await cp(join(SDK, "template"), work.path, { recursive: true });
    const { wasmPath } = await buildPlugin(work.path, { outDir: join(work.path, "out") });
    await using guest = await openSandboxed(wasmPath);
    const { json } = await guest.call("fetch", { begin: "2026-01-01T00:00:00Z", end: "2026-01-01T01:00:00Z" });
    expect(json.rows).toHaveLength(60);
    expect(json.rows?.[59]).toEqual({ time: "2026-01-01T00:59:00Z", greeting: "hello", minute: 59 });
  },
  BUILD_TIMEOUT_MS,
);

describe("builder", () => {
  async function refused(source: string): Promise<string> {
    await using work = await workFolder();
    await cp(join(SDK, "template"), work.path, { recursive: true });
    await writeFile(join(work.path, "src/plugin.zig"), source);
    const thrown = await buildPlugin(work.path, { outDir: join(work.path, "out") }).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(BuildError);
    return (thrown as Error).message;
  }

  test(
    "says where the source is wrong",
    async () => {
      const source =
        'comptime {\n    @export(&run, .{ .name = "fetch" });\n}\nfn run() callconv(.c) i32 {\n    return no;\n}\n';
      expect(await refused(source)).toMatch(/src\/plugin\.zig:5:\d+: error: use of undeclared identifier 'no'/);
    },
    BUILD_TIMEOUT_MS,
  );

  test(
    "says what is not exported, and how to export it",
    async () => {
      const said = await refused("export fn other() i32 {\n    return 0;\n}\n");
      expect(said).toContain("does not export fetch");
      expect(said).toContain("millrace.exports(.{ .fetch = … });");
    },
    BUILD_TIMEOUT_MS,
  );

  test("knows its own folders, and what it needs", async () => {
    expect([detect(join(SDK, "template")), detect(PLUGINS)]).toEqual([true, false]);
    expect(await doctor()).toMatchObject([{ ok: true, found: expect.stringContaining("zig 0.17") }]);
  });
});
