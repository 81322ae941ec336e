/** A plugin as the author has it on disk, checked as the registry would: a folder (built first), a bundle, a module. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Manifest } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { BUNDLE_LIMITS, readBundle } from "../registry/bundle.ts";
import { memoryPages, neededExports, readManifest } from "../registry/manifest.ts";
import { versionName } from "../registry/names.ts";
import { checkBundle, draft } from "../registry/publishing.ts";
import { inspectModule, type ModuleFacts, normaliseModule } from "../registry/wasm.ts";
import { type Built, pluginPath } from "./build.ts";
import { type BuildOptions, buildAside } from "./build-thread.ts";

export interface LocalPlugin {
  /** What was named. */
  readonly path: string;
  /** Absent when it was not built now. */
  readonly built?: Built;
  readonly release: PluginVersion;
  readonly manifest: Manifest;
  /** As the author wrote it. */
  readonly manifestJson: Readonly<Record<string, unknown>>;
  /** As the compiler wrote it, and as the executor runs it. */
  readonly wasm: Uint8Array;
  readonly module: Uint8Array;
  readonly facts: ModuleFacts;
}

const WASM_MAGIC = 0x6d736100;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** Errors: `invalid` with what the compiler or the registry would say; `too_large`. */
export async function openPlugin(named: string, options: BuildOptions = {}): Promise<LocalPlugin> {
  const path = await pluginPath(named);
  const built = (await stat(path)).isDirectory() ? await buildAside(path, options) : undefined;
  const bytes = await readFile(built?.path ?? path);
  const isModule = bytes.byteLength >= 4 && bytes.readUInt32LE(0) === WASM_MAGIC;
  return { ...(isModule ? await fromModule(path, bytes) : await fromBundle(path, bytes)), ...(built && { built }) };
}

async function fromBundle(path: string, packed: Buffer): Promise<LocalPlugin> {
  const checked = await checkBundle(packed, BUNDLE_LIMITS);
  const { manifest: manifestBytes, module: wasm } = await readBundle(packed);
  const facts = inspectModule(wasm);
  const { manifest, module } = checked;
  return { path, release: draft(checked), manifest, manifestJson: json(manifestBytes), wasm, module, facts };
}

/** With the plugin.json beside it, or one that asks for nothing and declares what it exports. */
async function fromModule(path: string, wasm: Buffer): Promise<LocalPlugin> {
  const beside = join(dirname(path), "plugin.json");
  const stem = basename(path, ".wasm")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-");
  const name = /^[a-z]/.test(stem) ? stem.slice(0, 63) : "module";
  const written = existsSync(beside) ? await readFile(beside) : Buffer.from(JSON.stringify(manifestFor(name, wasm)));
  const manifest = readManifest(written);
  const facts = inspectModule(wasm, { exports: neededExports(manifest) });
  const module = normaliseModule(wasm, { maxPages: memoryPages(manifest), metered: manifest.metered });
  const release = PluginVersion.fromPartial({
    name: versionName(manifest.name, manifest.version),
    moduleDigest: sha256(module),
    moduleBytes: BigInt(module.byteLength),
    manifest,
    exports: facts.exports.filter(({ kind }) => kind === "function").map((e) => e.name),
  });
  return { path, release, manifest, manifestJson: json(written), wasm, module, facts };
}

const json = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString("utf8")) as Record<string, unknown>;

function manifestFor(name: string, wasm: Buffer): object {
  const exported = inspectModule(wasm)
    .exports.filter(({ kind }) => kind === "function")
    .map((e) => e.name);
  const functions = exported.flatMap((one) =>
    one.startsWith("function:") ? [[one.slice("function:".length), {}]] : [],
  );
  const plain = ["fetch", "register", "poll", "discover"].filter((one) => exported.includes(one));
  return {
    ...{ name, version: "0.0.0", abi: 1, description: "A module without a manifest." },
    interfaces: {
      ...Object.fromEntries(plain.map((one) => [one, {}])),
      ...(exported.includes("enrich") && { enrich: { namespaces: { any: {} } } }),
      ...(exported.includes("route") && { route: { routes: [{ method: "*", path: "/{path...}" }] } }),
      ...(functions.length > 0 && { functions: Object.fromEntries(functions) }),
    },
  };
}
