#!/usr/bin/env node
/** Builds a plugin folder into a bundle: compiles, checks the module against its manifest, packs, remembers. */
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const SDK = dirname(fileURLToPath(import.meta.url));
const PACKAGE = "@millrace/assemblyscript";
const DEFAULT_OUT = resolve(SDK, "../../.cache/plugins");
/** What a bundle may hold beside the manifest and the module. */
const PACKED_FOLDERS = ["static", "docs"];
/** Exports that the interfaces of a manifest need. */
const EXPORTED_INTERFACES = ["fetch", "register", "poll", "discover", "route"];
const ALLOWED_IMPORTS = {
  "extism:host/env": undefined,
  "extism:host/user": ["host_call", "now", "random"],
};
const INSTEAD = {
  "env.console.log": 'log("info", …)',
  "env.Date.now": "now()",
  "env.trace": 'log("debug", …)',
};
/**
 * What is compiled in fact: it exports what the author exports, and loads this package even where the author imports
 * none of it, as the flags below name functions of it.
 */
const ENTRY = "millrace-entry.ts";
const ENTRY_SOURCE = `import "${PACKAGE}";\nexport * from "./assembly/index";\n`;
const COMPILER_FLAGS = [
  "--outFile=plugin.wasm",
  "-O3",
  "--runtime=incremental",
  `--use=abort=~lib/${PACKAGE}/abi/abortCall`,
  `--use=seed=~lib/${PACKAGE}/abi/seedFromHost`,
];

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

/** What the author has to fix: the message names files and lines. */
export class BuildError extends Error {
  name = "BuildError";
}

/**
 * Compiles `assembly/index.ts` and packs `plugin.json`, `plugin.wasm`, `static/**` and `docs/**`. The same sources give
 * the same bytes; built once, a second call takes milliseconds.
 * @param {string} folder
 * @param {{ outDir?: string }} [options] Default: `.cache/plugins` of the repository.
 * @returns {Promise<Built>}
 */
export async function buildPlugin(folder, options = {}) {
  const began = performance.now();
  const root = resolve(folder);
  const outDir = resolve(options.outDir ?? DEFAULT_OUT);
  const manifest = await readManifest(root);
  const digest = await digestOf(root);
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

  const wasm = await compile(root);
  check(wasm, manifest);
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

/** @param {string} root */
async function readManifest(root) {
  const path = join(root, "plugin.json");
  const text = await readFile(path, "utf8").catch(() => {
    throw new BuildError(`${path}: not found; a plugin folder holds plugin.json and assembly/index.ts`);
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
 * Everything that can change the bundle: the plugin, this package, the compiler and the flags.
 * @param {string} root
 */
async function digestOf(root) {
  const hash = createHash("sha256").update(
    `${await compilerVersion()}\n${process.version}\n${COMPILER_FLAGS.join(" ")}\n`,
  );
  const plugin = ["plugin.json", ...(await listed(root, ["assembly", ...PACKED_FOLDERS]))];
  const sdk = ["build.js", ...(await listed(SDK, ["assembly"]))];
  for (const [base, files] of /** @type {const} */ ([
    [root, plugin],
    [SDK, sdk],
  ])) {
    for (const file of files) {
      const bytes = await readFile(join(base, file));
      hash.update(`${file}\n${bytes.length}\n`).update(bytes);
    }
  }
  return hash.digest("hex");
}

async function compilerVersion() {
  const manifest = createRequire(import.meta.url).resolve("assemblyscript/package.json");
  return JSON.parse(await readFile(manifest, "utf8")).version;
}

/** @type {Promise<unknown>} The compiler keeps global state: one build at a time. */
let compiling = Promise.resolve();

/**
 * @param {string} root
 * @returns {Promise<Uint8Array>}
 */
function compile(root) {
  const mine = compiling.then(() => compileNow(root));
  compiling = mine.catch(() => undefined);
  return mine;
}

/** @param {string} root */
async function compileNow(root) {
  const { default: asc } = await import("assemblyscript/asc");
  /** @type {Uint8Array | undefined} */
  let wasm;
  const said = asc.createMemoryStream();
  const { error } = await asc.main([ENTRY, `--baseDir=${root}`, ...COMPILER_FLAGS], {
    stdout: asc.createMemoryStream(),
    stderr: said,
    readFile: async (name, base) =>
      name === ENTRY ? ENTRY_SOURCE : readFile(locate(name, base), "utf8").catch(() => null),
    writeFile: (_name, contents) => {
      wasm = /** @type {Uint8Array} */ (contents);
    },
    listFiles: () => [],
  });
  if (error || !wasm) {
    throw new BuildError(`${basename(root)} does not compile\n${said.toString().trim() || error?.message}`);
  }
  return wasm;
}

/**
 * The import `@millrace/assemblyscript` is this folder, wherever the plugin lives and whatever is installed there.
 * @param {string} name
 * @param {string} base
 */
function locate(name, base) {
  const inPackage = name.split(sep).join("/").split(`node_modules/${PACKAGE}/`)[1];
  return inPackage === undefined ? resolve(base, name) : join(SDK, "assembly", inPackage);
}

/**
 * @param {Uint8Array} wasm
 * @param {{ name: string, interfaces?: Record<string, unknown> }} manifest
 */
function check(wasm, manifest) {
  const module = new WebAssembly.Module(/** @type {BufferSource} */ (wasm));
  const mistakes = [];
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    const allowed = ALLOWED_IMPORTS[/** @type {keyof typeof ALLOWED_IMPORTS} */ (from)];
    if (from in ALLOWED_IMPORTS && (allowed === undefined || allowed.includes(name))) continue;
    const instead = INSTEAD[/** @type {keyof typeof INSTEAD} */ (`${from}.${name}`)];
    mistakes.push(`imports ${from}.${name}, which no host offers${instead ? `; use ${instead} instead` : ""}`);
  }
  const exported = new Set(
    WebAssembly.Module.exports(module)
      .filter((e) => e.kind === "function")
      .map((e) => e.name),
  );
  for (const name of Object.keys(manifest.interfaces ?? {})) {
    if (EXPORTED_INTERFACES.includes(name) && !exported.has(name)) {
      mistakes.push(`does not export ${name}, which plugin.json declares; add: export function ${name}(): i32`);
    }
  }
  if (mistakes.length) throw new BuildError([`${manifest.name} does not fit the ABI`, ...mistakes].join("\n  "));
}

/**
 * Files below some folders of `base`, as sorted paths with "/".
 * @param {string} base
 * @param {string[]} folders
 */
async function listed(base, folders) {
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
async function exists(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folders = process.argv.slice(2);
  if (!folders.length || folders.some((folder) => folder.startsWith("-"))) {
    console.error("usage: build.js <plugin folder>…");
    process.exit(2);
  }
  for (const folder of folders) {
    try {
      const { path, bytes, ms, cached } = await buildPlugin(folder);
      console.log(`${path}  ${bytes} bytes  ${ms} ms${cached ? " (cached)" : ""}`);
    } catch (error) {
      if (!(error instanceof BuildError)) throw error;
      console.error(error.message);
      process.exitCode = 1;
    }
  }
}
