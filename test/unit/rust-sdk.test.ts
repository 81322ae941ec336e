/** The SDK for Rust, by its probe, its example and what its builder says when something is wrong. */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe as always, test as alwaysTest, expect } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/rust/build.js";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers, describeReuse } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const SDK = join(import.meta.dirname, "../../plugins-sdk/rust");
const BUILD_TIMEOUT_MS = 240_000;
const missing = (await doctor()).filter((check) => !check.ok);
for (const { what, found, fix } of missing) alwaysTest.skip(`Rust: ${what} is missing (${found}); ${fix}`, () => {});
const describe = always.skipIf(missing.length > 0);
const test = alwaysTest.skipIf(missing.length > 0);

if (!missing.length) {
  describeProbe("rust", {
    integers: true,
    build: () => buildPlugin(join(PLUGINS, "probe-rust")),
    randomIn: "hex",
    crash: { outcome: "guest_error", code: "panicked", message: /index out of bounds.*lib\.rs:\d+/ },
  });
  describeHelpers("rust", () => buildPlugin(join(PLUGINS, "probe-rust")));
  describeSync("rust", () => buildPlugin(join(PLUGINS, "probe-rust")));
  describeReuse("rust", () => buildPlugin(join(PLUGINS, "probe-rust")));
}

test(
  "the example reads page after page, and its window only",
  async () => {
    await using guest = await openSandboxed((await buildPlugin(join(SDK, "example"))).wasmPath);
    const quake = (id: string, time: string) => ({
      id,
      properties: { time: Date.parse(time), mag: 4.5, place: "Åland ☃" },
      geometry: { coordinates: [20.5, 60.25, 10] },
    });
    const full = Array.from({ length: 1_000 }, (_, i) => quake(`q${i}`, "2026-01-01T00:00:01.5Z"));
    const rest = [quake("late", "2026-01-01T23:00:00Z"), quake("outside", "2026-01-02T00:00:00Z")];
    const http = ({ url }: Record<string, unknown>) => {
      const features = new URL(String(url)).searchParams.get("offset") === "1" ? full : rest;
      return { status: 200, headers: {}, body: JSON.stringify({ features }), url };
    };
    const input = { config: {}, begin: "2026-01-01T00:00:00Z", end: "2026-01-02T00:00:00Z" };
    const first = await guest.call("fetch", input, { http });
    expect(first.json).toEqual({ status: "ok", next: 1_000 });
    expect(first.asked.map((a) => a.name)).toEqual(["http", "emit", "checkpoint"]);
    const second = await guest.call("fetch", { ...input, cursor: 1_000 }, { http });
    expect(second.json).toEqual({ status: "ok" });
    expect(JSON.parse(second.asked[1]?.request ?? "null")).toEqual({
      time: "2026-01-01T23:00:00Z",
      id: "late",
      magnitude: 4.5,
      place: "Åland ☃",
      longitude: 20.5,
      latitude: 60.25,
      depth_km: 10,
    });
    const busy = await guest.call("fetch", input, { http: () => ({ status: 429, headers: { "retry-after": "7" } }) });
    expect(busy.error).toMatchObject({ code: "http_429", retryable: true, details: { retry_after_ms: 7_000 } });
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
    await mkdir(join(work.path, "src"), { recursive: true });
    await writeFile(join(work.path, "src/lib.rs"), source);
    const thrown = await buildPlugin(work.path, { outDir: join(work.path, "out") }).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(BuildError);
    return (thrown as Error).message;
  }

  test(
    "says where the source is wrong",
    async () => {
      expect(await refused("fn main() {\n    nothing();\n}\n")).toMatch(/src\/lib\.rs:2:5/);
    },
    BUILD_TIMEOUT_MS,
  );

  test(
    "says what is not exported, and how to export it",
    async () => {
      const said = await refused("pub fn fetch() {}\n");
      expect(said).toContain("does not export fetch");
      expect(said).toContain("export!(fetch: …);");
    },
    BUILD_TIMEOUT_MS,
  );

  test("knows its own folders, and what it needs", async () => {
    expect([detect(join(SDK, "template")), detect(PLUGINS)]).toEqual([true, false]);
    expect(await doctor()).toMatchObject([{ ok: true, found: expect.stringContaining("rustc 1.") }]);
  });
});
