#!/usr/bin/env node
/** Builds a plugin written in Python: MicroPython runs its top level, the rest is every builder's. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, buildBundle, listed, runAsProgram } from "../bundle/bundle.js";
import { cpython } from "../runtimes/cpython/recipe.js";
import { snapshotOf as snapshotOfCpython } from "../runtimes/cpython/snapshot.js";
import { python } from "../runtimes/python/recipe.js";
import { snapshotOf } from "../runtimes/python/snapshot.js";
import { checksOf, digestOf } from "../runtimes/runtime.js";
import { prepared } from "./source.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const RUNTIMES = resolve(SDK, "../runtimes");
/** Where a plugin's exports are looked for, in this order. What it imports lies beside it. */
const ENTRIES = ["src/plugin.py", "src/main.py", "plugin.py", "main.py"];

/** @param {string} folder */
const entryOf = (folder) => ENTRIES.find((name) => existsSync(join(folder, name)));

/**
 * Whether a plugin folder is written in this language.
 * @param {string} folder
 */
export function detect(folder) {
  return entryOf(folder) !== undefined;
}

/** @type {import("../bundle/bundle.js").Language} */
const language = {
  entry: ENTRIES[0],
  sources: async (root) => [
    { base: root, files: await filesOf(root) },
    { base: SDK, files: ["build.js", "source.js"] },
    { base: RUNTIMES, files: ["host.js", "python/snapshot.js", "cpython/snapshot.js"] },
    { base: RUNTIMES, files: await listed(RUNTIMES, ["python/prelude", "cpython/prelude"]) },
  ],
  toolchain: async () => `${await digestOf(python)}\n${await digestOf(cpython)}`,
  compile,
  missingExport: (name) => `def ${name}(call): …`,
};

/** @type {import("./build.d.ts").buildPlugin} */
export function buildPlugin(folder, options) {
  return buildBundle(language, folder, options);
}

/** @param {string} root */
async function filesOf(root) {
  const entry = entryOf(root);
  if (!entry) throw new BuildError(`${root}: none of ${ENTRIES.join(", ")} is there; write one with the exports`);
  const folder = dirname(entry);
  const files = (await readdir(join(root, folder))).filter((name) => name.endsWith(".py")).sort();
  return files.map((name) => (folder === "." ? name : `${folder}/${name}`));
}

/** What a manifest may name as its `runtime`. */
const CPYTHON = "cpython";
const MICROPYTHON = "micropython";

/** @type {import("../bundle/bundle.js").Language["compile"]} */
async function compile(root, { runtime = MICROPYTHON }) {
  if (runtime !== MICROPYTHON && runtime !== CPYTHON) {
    throw new BuildError(`plugin.json: runtime ${JSON.stringify(runtime)} is none; write ${MICROPYTHON} or ${CPYTHON}`);
  }
  const entry = /** @type {string} */ (entryOf(root));
  const name = basename(entry, ".py");
  const paths = await filesOf(root);
  const texts = await Promise.all(paths.map((path) => readFile(join(root, path), "utf8")));
  const fileOf = (/** @type {string} */ path, /** @type {string} */ code) => ({
    name: basename(path, ".py"),
    path,
    code,
  });
  if (runtime === CPYTHON) {
    return snapshotOfCpython(
      name,
      paths.map((path, i) => fileOf(path, /** @type {string} */ (texts[i]))),
    );
  }
  const sources = texts.map(prepared);
  const mistakes = sources.flatMap((source, i) =>
    source.mistakes.map(({ line, problem }) => `${paths[i]}:${line}: ${problem}`),
  );
  if (mistakes.length) throw new BuildError([`${basename(root)} does not build`, ...mistakes].join("\n  "));
  const files = sources.map(({ code }, i) => fileOf(/** @type {string} */ (paths[i]), code));
  const asyncNames = sources.flatMap((source) => source.asyncNames);
  return snapshotOf(name, files, asyncNames);
}

/** What building needs. */
export async function doctor() {
  return checksOf(python);
}

await runAsProgram(import.meta.url, buildPlugin);
