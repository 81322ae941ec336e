/**
 * From the bytes of a bundle to a stored version: checked whole, then written so that a crash leaves nothing half done.
 */
import { createHash } from "node:crypto";
import { extname } from "node:path";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { Manifest } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { PluginState, type PluginVersion, type StaticFile } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { type Bundle, type BundleLimits, MODULE, readBundle } from "./bundle.ts";
import { memoryPages, namesOf, neededExports, readManifest } from "./manifest.ts";
import { collect } from "./mistakes.ts";
import { pluginAndVersion, versionName } from "./names.ts";
import { latest, settle, settledInstance, versionOf } from "./settling.ts";
import { type Store, versionsOf } from "./store.ts";
import { inspectModule, normaliseModule } from "./wasm.ts";

/** Blobs that are written at once. */
const PARALLEL_BLOBS = 16;
/** Names of exports are kept with the version, which must fit into one value of the bus. */
const MAX_EXPORTS_LENGTH = 64 << 10;

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".md": "text/markdown; charset=utf-8",
  ".txt": "text/plain; charset=utf-8",
  ".csv": "text/csv; charset=utf-8",
  ".xml": "application/xml",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".ico": "image/x-icon",
  ".woff": "font/woff",
  ".woff2": "font/woff2",
  ".pdf": "application/pdf",
  ".wasm": "application/wasm",
};

/** What a default instance is allowed: nothing, or all that the manifest asks for. */
export type DefaultGrants = "none" | "manifest";

interface CheckedBundle {
  readonly bundle: Bundle;
  readonly bundleDigest: string;
  readonly manifest: Manifest;
  readonly module: Uint8Array;
  readonly exports: string[];
}

/** Errors: `too_large`; `invalid` with every mistake of manifest and module at once. */
export async function checkBundle(packed: Uint8Array, limits: BundleLimits): Promise<CheckedBundle> {
  const bundle = await readBundle(packed, limits);
  const mistakes: Mistake[] = [];
  const manifest = collect(mistakes, () => readManifest(bundle.manifest));
  const facts = collect(mistakes, () =>
    inspectModule(bundle.module, { exports: manifest ? neededExports(manifest) : [] }),
  );
  const module =
    manifest &&
    facts &&
    collect(mistakes, () =>
      normaliseModule(bundle.module, { maxPages: memoryPages(manifest), metered: manifest.metered }),
    );
  const exports = (facts?.exports ?? []).filter(({ kind }) => kind === "function").map(({ name }) => name);
  const length = exports.join(" ").length;
  if (length > MAX_EXPORTS_LENGTH) {
    const problem = `has ${exports.length} exports of ${length} characters in all`;
    mistakes.push({
      field: MODULE,
      problem,
      fix: `keep them within ${MAX_EXPORTS_LENGTH}: export what the host calls`,
    });
  }
  if (!manifest || !module || mistakes.length) throw Fault.invalid("the plugin cannot be published", mistakes);
  return { bundle, bundleDigest: sha256(packed), manifest, module, exports };
}

export interface Published {
  readonly version: PluginVersion;
  /** Whether the version is new. */
  readonly created: boolean;
  /** The default instance, else the first one; "" when there is none. */
  readonly instance: string;
}

/**
 * Errors: as `checkBundle`; `exists` when the version has other bytes; `precondition` while the plugin is being
 * deleted.
 * Order: blobs, version, default instance, plugin, then what follows. Publishing again finishes what a crash left.
 */
export async function publish(
  store: Store,
  checked: CheckedBundle,
  grants: DefaultGrants,
  managedBy = "",
): Promise<Published> {
  const { manifest } = checked;
  const name = versionName(manifest.name, manifest.version);
  await refuseOtherBytes(store, name, checked);
  return await store.alone(async () => {
    const plugin = await store.plugins.find(`plugins/${manifest.name}`);
    if (plugin?.state === PluginState.DRAINING) throw new Fault("precondition", `${plugin.name} is being deleted`);
    // Asked again: another may have published meanwhile.
    const stored = await refuseOtherBytes(store, name, checked);
    const version = stored ?? (await store.versions.create(await storeBlobs(store, checked), store.now()));
    return { version, created: stored === undefined, instance: await complete(store, version, grants, managedBy) };
  });
}

/** All that follows from a stored version; what is made is kept by `managedBy`. Returns the default instance. */
export async function complete(
  store: Store,
  version: PluginVersion,
  grants: DefaultGrants,
  managedBy = "",
): Promise<string> {
  const { plugin } = pluginAndVersion(version.name);
  const instance = await defaultInstance(store, version, grants, managedBy);
  const versions = await versionsOf(store, plugin);
  await listPlugin(store, plugin, versions, managedBy);
  await settle(store, `plugins/${plugin}`, undefined, versions);
  return instance;
}

/** The version that is stored already, byte for byte this one. Errors: `exists` when its bytes are others. */
export async function refuseOtherBytes(store: Store, name: string, { bundleDigest, manifest }: CheckedBundle) {
  const stored = await store.versions.find(name);
  if (!stored || stored.bundleDigest === bundleDigest) return stored;
  const advice = `raise "version" in plugin.json, for a version never changes, or give another plugin another "name"`;
  throw new Fault("exists", `version ${manifest.version} of ${manifest.name} exists with other bytes; ${advice}`);
}

/** The version as it would be stored; nothing is written. */
export function draft({ bundle, bundleDigest, manifest, module, exports }: CheckedBundle): PluginVersion {
  const files = (from: ReadonlyMap<string, Buffer>): StaticFile[] =>
    [...from].map(([path, content]) => ({
      path,
      digest: sha256(content),
      bytes: BigInt(content.byteLength),
      contentType: CONTENT_TYPES[extname(path).toLowerCase()] ?? "application/octet-stream",
    }));
  return {
    name: versionName(manifest.name, manifest.version),
    bundleDigest,
    moduleDigest: sha256(module),
    moduleBytes: BigInt(module.byteLength),
    manifest,
    exports,
    staticFiles: files(bundle.staticFiles),
    docs: files(bundle.docs),
    createTime: undefined,
  };
}

/** Within `alone`: a removal must not take a blob between its writing and that of its version. */
async function storeBlobs(store: Store, checked: CheckedBundle): Promise<PluginVersion> {
  const { bundle, module } = checked;
  const contents = [module, ...bundle.staticFiles.values(), ...bundle.docs.values()];
  for (let i = 0; i < contents.length; i += PARALLEL_BLOBS) {
    await Promise.all(contents.slice(i, i + PARALLEL_BLOBS).map((content) => store.blobs.put(content)));
  }
  return draft(checked);
}

/** Made when the plugin has no instance. Its config is {} with defaults; when that does not fit, it waits in ERROR. */
async function defaultInstance(
  store: Store,
  version: PluginVersion,
  grants: DefaultGrants,
  managedBy: string,
): Promise<string> {
  const plugin = `plugins/${version.manifest?.name}`;
  const name = `instances/${version.manifest?.name}`;
  const instances = await store.instancesBy.look();
  const own = instances.having(plugin);
  if (own.length) return own.find((instance) => instance === name) ?? own[0] ?? "";
  // The name is free to take; a plugin that comes later does without.
  if (instances.get(name)) return "";
  const instance = {
    name,
    plugin,
    version: "",
    config: {},
    grants: { allRequested: grants === "manifest", only: undefined },
    state: InstanceState.ENABLED,
    stateReason: "",
    runningVersion: versionOf(version),
    createTime: undefined,
    updateTime: undefined,
    etag: "",
    managedBy,
    tags: [],
  };
  await store.instances.create(settledInstance(instance, [version], "allow"), store.now());
  return name;
}

/** What the entry of a plugin says of its versions. */
export function entryOf(versions: readonly PluginVersion[]) {
  const newest = latest(versions);
  return {
    latestVersion: newest ? versionOf(newest) : "",
    state: PluginState.ACTIVE,
    stateReason: "",
    description: newest?.manifest?.description ?? "",
    interfaces: namesOf(newest?.manifest?.interfaces),
  };
}

/** Brings the entry of a plugin up to date with its versions; a stored version also ends an error. */
export async function listPlugin(
  store: Store,
  id: string,
  versions: readonly PluginVersion[],
  managedBy = "",
): Promise<void> {
  const facts = entryOf(versions);
  const name = `plugins/${id}`;
  const now = store.now();
  if (await store.plugins.find(name))
    await store.plugins.change(name, "", now, (current) => ({ ...current, ...facts }));
  else {
    const made = { managedBy, createTime: undefined, updateTime: undefined, etag: "", quarantines: [] };
    await store.plugins.create({ name, ...facts, ...made }, now);
  }
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
