/** Bad bundles over gRPC: each is refused with the mistake, and nothing of it is stored. */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { bundleOf, moduleOf, packed, tarOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry } from "../harness/registry.ts";
import { compileWat } from "../harness/wat.ts";

const whole = moduleOf("fetch", "route");
const wasi = compileWat(`(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (func (export "fetch") (result i32) i32.const 0) (func (export "route") (result i32) i32.const 0))`);
const unknown = compileWat(`(module (import "extism:host/user" "open_file" (func (param i64) (result i64)))
  (func (export "fetch") (result i32) i32.const 0) (func (export "route") (result i32) i32.const 0))`);
const typed = compileWat(`(module (func (export "fetch") (param i32) (result i32) i32.const 0)
  (func (export "route") (result i32) i32.const 0))`);
const hungry = compileWat(`(module (memory 2000) (func (export "fetch") (result i32) i32.const 0)
  (func (export "route") (result i32) i32.const 0))`);
const component = new Uint8Array([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]);
const withModule = (module: Uint8Array | string) => bundleOf({}, { "plugin.wasm": module });
const withEntry = (path: string, more: object = {}) =>
  packed([
    { path: "plugin.json", content: JSON.stringify({}) },
    { path: "plugin.wasm", content: whole },
    { path, content: "x", ...more },
  ]);
const manifest = { version: "one", abi: 3, interfaces: { fetch: { chunk: "0s" }, rout: {} }, limits: { cpu: "2h" } };

const cases: readonly (readonly [string, Buffer, string, readonly string[]])[] = [
  ["not a bundle", Buffer.from("hello"), "invalid", ["bundle", "not gzip"]],
  ["a truncated bundle", bundleOf().subarray(0, 200), "invalid", ["bundle", "damaged"]],
  ["not a wasm file", withModule("hello"), "invalid", ["plugin.wasm", "not WebAssembly"]],
  ["a truncated module", withModule(whole.subarray(0, whole.byteLength - 5)), "invalid", ["plugin.wasm", "cut off"]],
  ["a component", withModule(component), "invalid", ["plugin.wasm", "component"]],
  ["a module that imports WASI", withModule(wasi), "invalid", ["imports WASI (fd_write)"]],
  ["an unknown host function", withModule(unknown), "invalid", ["open_file", "not part of guest ABI v1"]],
  ["a missing export", withModule(moduleOf("fetch")), "invalid", ['export "route"', "is missing"]],
  ["an export of another type", withModule(typed), "invalid", ['export "fetch"', "() -> i32"]],
  ["more memory than it asks for", withModule(hungry), "invalid", ["limits.memory_mib", "125"]],
  [
    "a manifest with five mistakes and a module with one",
    bundleOf(manifest, { "plugin.wasm": wasi }),
    "invalid",
    ["version", "abi", "interfaces.fetch.chunk", 'did you mean "route"', "limits.cpu", "imports WASI"],
  ],
  ["a path upwards", withEntry("../evil"), "invalid", ["../evil"]],
  [
    "a link",
    withEntry("static/l", { type: "SymbolicLink", linkpath: "/etc/passwd", content: "" }),
    "invalid",
    ["is a link"],
  ],
  [
    "a zip bomb",
    gzipSync(tarOf([{ path: "static/zeros", content: Buffer.alloc(70 << 20) }])),
    "too_large",
    ["unpacking was stopped"],
  ],
  ["an empty bundle", packed([]), "invalid", ["plugin.json", "plugin.wasm", "missing"]],
];

test("every bad bundle is refused with its mistakes, and nothing is stored", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus);
  for (const [what, bundle, code, words] of cases) {
    const fault: Fault = await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }).then(
      () => expect.unreachable(what),
      (thrown) => thrown,
    );
    expect([what, fault.code]).toEqual([what, code]);
    for (const word of words) expect(`${what}: ${fault.message}`).toContain(word);
    if (code === "invalid") expect(fault.mistakes.length).toBeGreaterThan(0);
  }
  const { plugins } = await registry.call(PluginsService.listPlugins, { pageSize: 0, pageToken: "" });
  expect(plugins).toEqual([]);
});

test("a bundle over the setting is refused unread, and names that are none are invalid, not internal", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus, { bundleMaxMib: 1 });
  const bundle = Buffer.alloc((1 << 20) + 1);
  const publish = registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  await expect(publish).rejects.toMatchObject({ code: "too_large" });
  for (const name of ["", "weather", "plugins/", "plugins/a/b", `plugins/${"a".repeat(2_000)}`]) {
    await expect(registry.call(PluginsService.getPlugin, { name })).rejects.toMatchObject({ code: "invalid" });
  }
});
