#!/usr/bin/env node
/** Builds a plugin written in C or C++: compiles and links all sources of `src`, the rest is every builder's. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BuildError, buildBundle, CACHE, exists, listed, runAsProgram } from "../bundle/bundle.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const PACKAGE = "@yowasp/clang";
/** Names a compiler of the machine to build with, which is many times faster: `clang-19`. */
const NATIVE_VARIABLE = "MILLRACE_CLANG";
/** C++ with the compiler of the package takes ten seconds a file on a slow machine. */
const TOOL_TIMEOUT_MS = 300_000;
/** One target by two names: distributions keep their C library under the older. */
const TARGET = process.env[NATIVE_VARIABLE] ? "--target=wasm32-wasi" : "--target=wasm32-wasip1";
/** What the author sees after `#include <millrace.h>`, and the C library of the package or the system. */
const COMMON = ["-O2", "-Wall", "-Wextra", "-isystem", "include", "-Isrc"];
const C = ["-std=gnu23"];
const CPP = ["-std=gnu++20", "-fno-exceptions", "-fno-rtti"];
/** No crt1: exports run constructors, see MR_EXPORT. What the C library asks of WASI is in wasi.c: none is left. */
const LINK = ["-nostartfiles", "-Wl,--no-entry", "-Wl,--strip-all"];
const C_SOURCES = [".c"];
const CPP_SOURCES = [".cc", ".cpp", ".cxx"];
const WASI = "wasi/wasi.c";
const isSource = (/** @type {string} */ file) => [...C_SOURCES, ...CPP_SOURCES].includes(extname(file));
const isCpp = (/** @type {string} */ file) => CPP_SOURCES.includes(extname(file));

/** @type {import("../bundle/bundle.js").Language} */
const c = {
  entry: "src/*.c or src/*.cpp",
  sources: async (root) => [
    { base: root, files: await listed(root, ["src"]) },
    { base: SDK, files: ["build.js", ...(await listed(SDK, ["include", "wasi"]))] },
  ],
  toolchain: async () => `${await compilerVersion()}\n${[TARGET, COMMON, C, CPP, LINK].join("\n")}`,
  compile,
  missingExport: (name) =>
    name.startsWith("function:") ? `MR_FUNCTION(${name.slice(9)}) { … }` : `MR_EXPORT(${name}) { … }`,
};

/**
 * Builds a plugin folder into a bundle. The same sources and compiler give the same bytes.
 * @type {import("../bundle/bundle.js").BuildPlugin}
 */
export const buildPlugin = (folder, options) => buildBundle(c, folder, options);

/**
 * Whether a folder holds a plugin in C or C++.
 * @param {string} folder
 */
export function detect(folder) {
  const src = join(folder, "src");
  return existsSync(src) && readdirSync(src).some(isSource);
}

/**
 * What building needs, and the command that brings what is missing.
 * @returns {Promise<readonly import("./build.js").Check[]>}
 */
export async function doctor() {
  const named = process.env[NATIVE_VARIABLE];
  const what = named ? `${named} (${NATIVE_VARIABLE})` : PACKAGE;
  try {
    return [{ what, ok: true, found: await compilerVersion() }];
  } catch (error) {
    const fix = named
      ? `unset ${NATIVE_VARIABLE}, or apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32`
      : `npm install --save-dev ${PACKAGE}`;
    return [{ what, ok: false, found: /** @type {Error} */ (error).message, fix }];
  }
}

async function compilerVersion() {
  const named = process.env[NATIVE_VARIABLE];
  if (named) {
    const { stdout } = await run(named, ["--version"]).catch(() => {
      throw new BuildError(`${NATIVE_VARIABLE} names ${named}, which does not start; unset it, or install clang`);
    });
    return /** @type {string} */ (stdout.split("\n")[0]);
  }
  try {
    // The package exports its code only: its manifest is found beside it.
    const entry = createRequire(import.meta.url).resolve(PACKAGE);
    const { name, version } = JSON.parse(await readFile(join(dirname(entry), "../package.json"), "utf8"));
    return `${name} ${version}`;
  } catch {
    throw new BuildError(`C needs a compiler: npm install --save-dev ${PACKAGE}; or name one by ${NATIVE_VARIABLE}`);
  }
}

/** @param {string} root */
async function compile(root) {
  const files = await listed(root, ["src"]);
  const sources = files.filter(isSource);
  if (!sources.length) throw new BuildError(`${root}: there is no src/*.c or src/*.cpp to compile`);
  const own = await listed(SDK, ["include"]);
  /** @type {Record<string, Uint8Array>} */
  const tree = {};
  for (const file of own) tree[file] = await readFile(join(SDK, file));
  tree[WASI] = await readFile(join(SDK, WASI));
  for (const file of files) tree[file] = await readFile(join(root, file));

  const objects = [await wasiObject(tree)];
  for (const source of sources) {
    const flags = [TARGET, ...COMMON, ...(isCpp(source) ? CPP : C), "-c", source, "-o", "out.o"];
    objects.push(await clang(isCpp(source), flags, tree, "out.o", root));
  }
  const linked = Object.fromEntries(objects.map((bytes, i) => [`${i}.o`, bytes]));
  const flags = [TARGET, ...LINK, ...Object.keys(linked), "-o", "plugin.wasm"];
  return clang(sources.some(isCpp), flags, linked, "plugin.wasm", root);
}

/**
 * wasi.c compiled: the same for every plugin, so kept.
 * @param {Record<string, Uint8Array>} tree
 */
async function wasiObject(tree) {
  const flags = [TARGET, ...COMMON, ...C, "-Wno-unused-parameter", "-c", WASI, "-o", "wasi.o"];
  const key = createHash("sha256").update(`${await compilerVersion()}\n${flags.join(" ")}\n`);
  const read = Object.keys(tree).filter((file) => file === WASI || file.startsWith("include/"));
  for (const file of read.sort()) key.update(/** @type {Uint8Array} */ (tree[file]));
  const path = join(CACHE, "c", `wasi-${key.digest("hex").slice(0, 16)}.o`);
  if (await exists(path)) return new Uint8Array(await readFile(path));
  const object = await clang(false, flags, tree, "wasi.o", SDK);
  const staged = `${path}.${process.pid}`;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(staged, object);
  await rename(staged, path);
  return object;
}

/**
 * Runs the compiler over files in memory. Errors: BuildError with what the compiler said.
 * @param {boolean} cpp
 * @param {readonly string[]} flags
 * @param {Record<string, Uint8Array>} files By path, with "/".
 * @param {string} output
 * @param {string} root Whose plugin it is, for the message.
 * @returns {Promise<Uint8Array>}
 */
async function clang(cpp, flags, files, output, root) {
  const named = process.env[NATIVE_VARIABLE];
  try {
    const built = named ? await native(named, cpp, flags, files, output) : await packaged(cpp, flags, files, output);
    if (built.said) console.warn(built.said);
    return built.bytes;
  } catch (error) {
    if (!(error instanceof Complaint)) throw error;
    throw new BuildError(`${basename(root)} does not compile\n${error.message}`);
  }
}

/** What a compiler said when it refused. */
class Complaint extends Error {}

/**
 * @type {(cpp: boolean, flags: readonly string[], files: Record<string, Uint8Array>, output: string) => Promise<Made>}
 */
async function packaged(cpp, flags, files, output) {
  const { commands, Exit, runLLVM } = await import(PACKAGE);
  // Loads 100 MB once; asked for apart, as the compiler's own first call would print how far it is.
  await runLLVM(null, {}, { fetchProgress: () => undefined });
  /** @type {Uint8Array[]} */
  const said = [];
  const listen = (/** @type {Uint8Array | null} */ bytes) => void (bytes && said.push(bytes.slice()));
  const text = () => Buffer.concat(said).toString("utf8").trim();
  const options = { stdout: listen, stderr: listen };
  try {
    const made = await commands[cpp ? "clang++" : "clang"](flags, asTree(files), options);
    return { bytes: made[output], said: text() };
  } catch (error) {
    if (error instanceof Exit) throw new Complaint(text());
    throw error;
  }
}

/** @typedef {{ bytes: Uint8Array, said: string }} Made */

/** @type {(named: string, ...rest: Parameters<typeof packaged>) => Promise<Made>} */
async function native(named, cpp, flags, files, output) {
  const folder = await mkdtemp(join(tmpdir(), "millrace-c-"));
  try {
    for (const [file, bytes] of Object.entries(files)) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), bytes);
    }
    const asked = cpp ? ["--driver-mode=g++", ...flags] : flags;
    const { stderr } = await run(named, asked, { cwd: folder, timeout: TOOL_TIMEOUT_MS });
    return { bytes: new Uint8Array(await readFile(join(folder, output))), said: stderr.trim() };
  } catch (error) {
    throw new Complaint(/** @type {{ stderr?: string }} */ (error).stderr?.trim() || String(error));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Paths as nested folders.
 * @typedef {{ [name: string]: Tree | Uint8Array }} Tree
 * @param {Record<string, Uint8Array>} files
 */
function asTree(files) {
  /** @type {Tree} */
  const tree = {};
  for (const [file, bytes] of Object.entries(files)) {
    const parts = file.split("/");
    let folder = tree;
    for (const part of parts.slice(0, -1)) folder = /** @type {Tree} */ ((folder[part] ??= {}));
    folder[/** @type {string} */ (parts.at(-1))] = bytes;
  }
  return tree;
}

await runAsProgram(import.meta.url, buildPlugin);
