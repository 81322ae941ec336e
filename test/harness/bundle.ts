/** Bundles for tests: a small good plugin, and archives that no packer would make. */
import { gzipSync } from "node:zlib";
import { Header } from "tar";
import { compileWat } from "./wat.ts";

export interface Entry {
  readonly path: string;
  readonly content?: Uint8Array | string;
  readonly type?: "File" | "Directory" | "SymbolicLink" | "Link" | "CharacterDevice" | "FIFO";
  readonly linkpath?: string;
}

/** A gzipped tar of exactly these entries, whatever they are. */
export const packed = (entries: readonly Entry[]): Buffer => gzipSync(tarOf(entries));

export function tarOf(entries: readonly Entry[]): Buffer {
  const blocks: Buffer[] = [];
  for (const { path, content = "", type = "File", linkpath } of entries) {
    const body = Buffer.from(content as Uint8Array);
    const block = Buffer.alloc(512);
    const header = new Header({
      path,
      type,
      mode: 0o644,
      size: body.byteLength,
      mtime: new Date(0),
      ...(linkpath !== undefined && { linkpath }),
    });
    header.encode(block);
    blocks.push(block, body, Buffer.alloc((512 - (body.byteLength % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1_024)]);
}

/** A module that exports these functions `() -> i32`, each returning 0. */
export function moduleOf(...names: readonly string[]): Uint8Array {
  const functions = names.map((name) => `(func (export "${name}") (result i32) i32.const 0)`);
  return compileWat(`(module (memory (export "memory") 1) ${functions.join("\n")})`);
}

export type ManifestJson = Record<string, unknown>;

/** A fetch and route plugin. `more` overrides top-level fields. */
export const manifestOf = (more: ManifestJson = {}): ManifestJson => ({
  name: "weather",
  version: "1.0.0",
  abi: 1,
  description: "Weather by day.",
  interfaces: {
    fetch: { columns: { time: "timestamp", city: "string" }, datetime: "time", index: ["time", "city"], chunk: "30d" },
    route: { routes: [{ method: "GET", path: "/api/{city}", auth: "public" }] },
  },
  ...more,
});

/** A whole bundle. */
export function bundleOf(more: ManifestJson = {}, files: Readonly<Record<string, string | Uint8Array>> = {}): Buffer {
  const manifest = manifestOf(more);
  const module = files["plugin.wasm"] ?? moduleOf(...Object.keys(manifest.interfaces as object));
  const entries = { "plugin.json": JSON.stringify(manifest), "plugin.wasm": module, ...files };
  return packed(Object.entries(entries).map(([path, content]) => ({ path, content })));
}
