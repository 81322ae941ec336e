/** Bundles that nobody should accept: what each is, the code of its refusal, and words that the refusal must hold. */
import { gzipSync } from "node:zlib";
import { bundleOf, moduleOf, packed, tarOf } from "./bundle.ts";
import { compileWat } from "./wat.ts";

export interface BadBundle {
  readonly what: string;
  readonly bundle: Buffer;
  readonly code: "invalid" | "too_large";
  readonly words: readonly string[];
}

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

const cases: readonly (readonly [string, Buffer, BadBundle["code"], readonly string[]])[] = [
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

export const badBundles: readonly BadBundle[] = cases.map(([what, bundle, code, words]) => ({
  what,
  bundle,
  code,
  words,
}));
