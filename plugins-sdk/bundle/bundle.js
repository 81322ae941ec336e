/** The end that all builders share: from a compiled module to a bundle, checked against its manifest and remembered. */
import { createHash } from "node:crypto";
import { channel } from "node:diagnostics_channel";
import { cp, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
/** Where everything built is kept, below the root of the repository. Never committed. */
export const CACHE = resolve(HERE, "../../.cache");
const DEFAULT_OUT = join(CACHE, "plugins");
/** What a bundle may hold beside the manifest and the module. */
const PACKED_FOLDERS = ["static", "docs"];
/** Exports that the interfaces of a manifest need. */
export const EXPORTED_INTERFACES = [
  ...["fetch", "sync", "before_sync", "after_sync", "register"],
  ...["poll", "discover", "enrich", "route"],
];
const ALLOWED_IMPORTS = {
  "extism:host/env": undefined,
  "extism:host/user": ["host_call", "now", "random"],
};

/**
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {Record<string, object>} [interfaces]
 * @property {string} [runtime] The interpreter, where a language has several.
 */

/**
 * What a language brings.
 * @typedef {object} Language
 * @property {string} entry What a plugin folder holds beside plugin.json, for the message when it does not.
 * @property {(root: string) => Promise<readonly Source[]>} sources Every file that can change the module.
 * @property {() => Promise<string>} toolchain Versions and flags that can change the module.
 * @property {(root: string, manifest: Manifest) => Promise<Uint8Array>} compile Errors: BuildError with file and line.
 * @property {(name: string) => string} missingExport How the author adds an export that plugin.json declares.
 * @property {Readonly<Record<string, string>>} [instead] What to use instead of an import that no host offers.
 *
 * @typedef {{ readonly base: string, readonly files: readonly string[] }} Source
 */

/**
 * @typedef {object} Built
 * @property {string} name
 * @property {string} version
 * @property {string} path The bundle, `<name>-<version>.tgz`.
 * @property {string} wasmPath The compiled module alone, for tests.
 * @property {number} bytes Size of the bundle.
 * @property {number} ms How long it took.
 * @property {boolean} cached Whether an earlier build of the same bytes was used.
 */

const MAX_NAMED_EXPORTS = 10;
const phases = channel("millrace:build");

/**
 * Says what a build is about now, to whoever watches it: `compile`, `evaluate` (the plugin's own top level), `pack`.
 * @param {string} phase
 * @param {string} [what]
 */
export const enter = (phase, what = "") => phases.publish({ phase, what });

/** What the author has to fix: the message names files and lines. */
export class BuildError extends Error {
  name = "BuildError";
}

/**
 * Compiles and packs `plugin.json`, `plugin.wasm`, `static/**` and `docs/**`. The same sources give the same bytes;
 * built once, a second call takes milliseconds.
 * @param {Language} language
 * @param {string} folder
 * @param {{ outDir?: string }} [options] Default: `.cache/plugins` of the repository.
 * @returns {Promise<Built>}
 */
export async function buildBundle(language, folder, options = {}) {
  const began = performance.now();
  const root = resolve(folder);
  const outDir = resolve(options.outDir ?? DEFAULT_OUT);
  const manifest = await readManifest(root, language.entry);
  const digest = await digestOf(root, language);
  const stem = `${manifest.name}-${manifest.version}`;
  const path = join(outDir, `${stem}.tgz`);
  const wasmPath = join(outDir, `${stem}.wasm`);
  const built = async (/** @type {boolean} */ cached) => ({
    name: manifest.name,
    version: manifest.version,
    path,
    wasmPath,
    bytes: (await stat(path)).size,
    ms: Math.round((performance.now() - began) * 10) / 10,
    cached,
  });

  const remembered = await readFile(`${path}.digest`, "utf8").catch(() => "");
  if (remembered === digest && (await exists(path)) && (await exists(wasmPath))) return built(true);

  enter("compile");
  const wasm = await language.compile(root, manifest);
  enter("pack");
  check(wasm, manifest, language);
  // Staged under a name of our own and moved when whole, so that two builds at once cannot mix.
  const stage = join(outDir, `${stem}.stage-${process.pid}-${Math.random().toString(36).slice(2)}`);
  await mkdir(stage, { recursive: true });
  try {
    await writeFile(join(stage, "plugin.wasm"), wasm);
    await cp(join(root, "plugin.json"), join(stage, "plugin.json"));
    for (const name of PACKED_FOLDERS) {
      if (await exists(join(root, name))) await cp(join(root, name), join(stage, name), { recursive: true });
    }
    const { create } = await import("tar");
    const packed = `${stage}.tgz`;
    const entries = await filesIn(stage);
    await create({ file: packed, cwd: stage, gzip: { level: 9 }, portable: true, mtime: new Date(0) }, entries);
    await rename(join(stage, "plugin.wasm"), wasmPath);
    await rename(packed, path);
    await writeFile(`${path}.digest`, digest);
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
  return built(false);
}

/**
 * @param {string} root
 * @param {string} entry
 * @returns {Promise<Manifest>}
 */
async function readManifest(root, entry) {
  const path = join(root, "plugin.json");
  const text = await readFile(path, "utf8").catch(() => {
    throw new BuildError(`${path}: not found; a plugin folder holds plugin.json and ${entry}`);
  });
  let manifest;
  try {
    manifest = JSON.parse(text);
  } catch (error) {
    throw new BuildError(`${path}: ${/** @type {Error} */ (error).message}`);
  }
  for (const field of ["name", "version"]) {
    if (typeof manifest[field] !== "string" || !/^[A-Za-z0-9][A-Za-z0-9.+-]*$/.test(manifest[field])) {
      throw new BuildError(`${path}: ${field} ${JSON.stringify(manifest[field])} is not a ${field}`);
    }
  }
  return manifest;
}

/**
 * Everything that can change the bundle: the plugin, the SDK, the compiler, the flags and this file.
 * @param {string} root
 * @param {Language} language
 */
async function digestOf(root, language) {
  const hash = createHash("sha256").update(`${await language.toolchain()}\n${process.version}\n`);
  const own = [
    { base: root, files: ["plugin.json", ...(await listed(root, PACKED_FOLDERS))] },
    { base: HERE, files: ["bundle.js"] },
  ];
  for (const { base, files } of [...own, ...(await language.sources(root))]) {
    for (const file of files) {
      const bytes = await readFile(join(base, file));
      hash.update(`${file}\n${bytes.length}\n`).update(bytes);
    }
  }
  return hash.digest("hex");
}

/**
 * @param {Uint8Array} wasm
 * @param {Manifest} manifest
 * @param {Language} language
 */
function check(wasm, manifest, { missingExport, instead = {} }) {
  const module = new WebAssembly.Module(/** @type {BufferSource} */ (wasm));
  const mistakes = [];
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    const allowed = ALLOWED_IMPORTS[/** @type {keyof typeof ALLOWED_IMPORTS} */ (from)];
    if (from in ALLOWED_IMPORTS && (allowed === undefined || allowed.includes(name))) continue;
    const better = instead[`${from}.${name}`];
    mistakes.push(`imports ${from}.${name}, which no host offers${better ? `; use ${better} instead` : ""}`);
  }
  const exported = new Set(
    WebAssembly.Module.exports(module)
      .filter((e) => e.kind === "function")
      .map((e) => e.name),
  );
  const functions = Object.keys(manifest.interfaces?.functions ?? {}).map((name) => `function:${name}`);
  const interfaces = Object.keys(manifest.interfaces ?? {}).filter((name) => EXPORTED_INTERFACES.includes(name));
  for (const name of [...interfaces, ...functions]) {
    if (!exported.has(name)) {
      const others = [...exported].filter((one) => !one.startsWith("_")).slice(0, MAX_NAMED_EXPORTS);
      const there = others.length ? ` (it exports ${others.join(", ")})` : "";
      mistakes.push(`does not export ${name}, which plugin.json declares${there}; add: ${missingExport(name)}`);
    }
  }
  if (mistakes.length) throw new BuildError([`${manifest.name} does not fit the ABI`, ...mistakes].join("\n  "));
}

/**
 * Files below some folders of `base`, as sorted paths with "/".
 * @param {string} base
 * @param {readonly string[]} folders
 */
export async function listed(base, folders) {
  const found = await Promise.all(folders.map((name) => filesIn(join(base, name), base).catch(() => [])));
  return found.flat();
}

/**
 * @param {string} folder
 * @param {string} [base]
 */
async function filesIn(folder, base = folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return files.map((file) => relative(base, file).split(sep).join("/")).sort();
}

/** @param {string} path */
export async function exists(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * A builder as a program: `build.js <plugin folder>…`. Does nothing when `moduleUrl` is not what was started.
 * @param {string} moduleUrl
 * @param {(folder: string) => Promise<Built>} build
 */
export async function runAsProgram(moduleUrl, build) {
  // Installed from npm it is started by a link of another name.
  const started = process.argv[1] ? await realpath(process.argv[1]).catch(() => undefined) : undefined;
  if (started !== fileURLToPath(moduleUrl)) return;
  const folders = process.argv.slice(2);
  if (!folders.length || folders.some((folder) => folder.startsWith("-"))) {
    console.error("usage: build.js <plugin folder>…");
    process.exit(2);
  }
  for (const folder of folders) {
    try {
      const { path, bytes, ms, cached } = await build(folder);
      console.log(`${path}  ${bytes} bytes  ${ms} ms${cached ? " (cached)" : ""}`);
    } catch (error) {
      if (!(error instanceof BuildError)) throw error;
      console.error(error.message);
      process.exitCode = 1;
    }
  }
}
