/** One module, one input, two engines: the same outcome, the same bytes, the same host calls. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { inspectModule } from "../../services/registry/wasm.ts";
import { type Asked, openEngines, published } from "../harness/engines.ts";
import { encode } from "../harness/guest-call.ts";
import { seeded } from "../harness/random.ts";
import { compileWat } from "../harness/wat.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const EXAMPLES = join(import.meta.dirname, "../../plugins-sdk/examples");
const BUILD_TIMEOUT_MS = 120_000;
/** In these the engines may differ, and the safety of both is tested elsewhere. */
const APART: Readonly<Record<string, string>> = {
  "traps/no_such_block": "the SDK reads 0 where there is no block",
  "memory/empty_blocks": "the SDK has 32,766 blocks a call",
  "cpu/spin": "spins",
  "metered/spin": "spins",
  "metered/fill": "spins",
  "metered/recurse_by_two": "spins",
  "metered/stubborn": "never ends",
  "cpu/wait_then_spin": "spins",
  "cpu/fill": "spins",
  "start-spin/run": "spins",
  "wait/stubborn": "never ends",
};

let engines: Awaited<ReturnType<typeof openEngines>>;
beforeAll(async () => {
  engines = await openEngines();
});
afterAll(() => engines[Symbol.asyncDispose]());

async function expectSame(asked: Asked) {
  const [kernel, sdk] = await engines.see(asked);
  expect(kernel).toEqual(sdk);
  return kernel;
}

describe("guests in WebAssembly text", async () => {
  const names = (await readdir(PLUGINS)).filter((file) => file.endsWith(".wat")).map((file) => file.slice(0, -4));
  for (const name of names) {
    const bytes = compileWat(await readFile(join(PLUGINS, `${name}.wat`), "utf8"), name);
    const runnable = inspectModule(bytes).exports.filter(({ kind, type }) => kind === "function" && type === "()->i32");
    const exports = runnable.map((e) => e.name).filter((e) => !(`${name}/${e}` in APART));
    test.each(exports)(`${name}/%s`, async (exported) => {
      for (const input of ["", "input", '{"url":"http://example.org/","headers":{}}', "x".repeat(5_000)]) {
        await expectSame({ module: published(bytes, 256), export: exported, input: encode(input) });
      }
    });
  }
});

describe("guests in AssemblyScript", () => {
  const built: Record<string, Asked["module"]> = {};
  beforeAll(async () => {
    const folders = [join(PLUGINS, "json"), join(PLUGINS, "kitchen"), join(EXAMPLES, "weather")];
    folders.push(join(EXAMPLES, "uptime"), join(EXAMPLES, "board"));
    for (const folder of folders) {
      const { wasmPath } = await buildPlugin(folder);
      built[folder.split("/").at(-1) as string] = published(await readFile(wasmPath));
    }
  }, BUILD_TIMEOUT_MS);

  const pipe = { name: "p.m", connector: "p", metric: "m", location: null, parameters: {} };
  const window = { pipe, config: {}, begin: "2012-01-01T00:00:00Z", end: "2012-01-05T00:00:00Z", cursor: null };
  const resource = { name: "r", id: "r", type: "url", endpoint: "http://a/", site: "", class: "", labels: {} };
  const request = { method: "GET", path: "/hello", params: {}, query: {}, headers: {}, body: "" };
  const page = JSON.stringify({ ok: { status: 200, headers: {}, body: "[]", url: "", elapsed_ms: 1 } });
  const asks: [plugin: string, exported: string, input: unknown][] = [
    ["json", "roundtrip", { a: [1, 2.5, null, "é💥", { b: true }], c: "x".repeat(3_000) }],
    ["json", "roundtrip", "not closed".slice(1)],
    ...["doubles", "integers", "base64", "times", "utf8", "missing", "broken", "dice", "churn"].map(
      (exported): [string, string, unknown] => ["json", exported, ["1", "2"]],
    ),
    ["kitchen", "register", { pipe, config: {} }],
    ["kitchen", "fetch", { ...window, attempt: 1 }],
    ["kitchen", "poll", { resource, config: {}, previous: null, attempt: 1 }],
    ["kitchen", "discover", { config: {}, site: "" }],
    ["kitchen", "route", request],
    ["kitchen", "route", { ...request, path: "/nowhere" }],
    ["weather", "fetch", { ...window, config: { source: "demo", base_url: "http://a" }, attempt: 1 }],
    ["uptime", "poll", { resource, config: {}, previous: null, attempt: 1 }],
    ["board", "route", { ...request, path: "/" }],
  ];
  test.each(asks)("%s/%s", async (plugin, exported, input) => {
    const module = built[plugin] as Asked["module"];
    const answers = (name: string) => (name === "http" ? page : '{"ok":{}}');
    const seen = await expectSame({ module, export: exported, input: encode(JSON.stringify(input)), answers });
    expect(seen?.outcome).toMatch(/^(ok|guest_error|host_error|trap)$/);
  });
});

test("every byte comes back as it went in, at every length around a word and a region", async () => {
  const random = seeded(3);
  const module = published(compileWat(await readFile(join(PLUGINS, "echo.wat"), "utf8")), 64);
  for (const length of [0, 1, 7, 8, 9, 4_095, 4_096, 4_097, 60_000]) {
    const input = Uint8Array.from({ length }, () => Math.floor(random() * 256));
    const seen = await expectSame({ module, export: "run", input });
    expect(seen?.output).toBe(Buffer.from(input).toString("hex"));
  }
});
