#!/usr/bin/env node
/** Builds a plugin written in Lua: the interpreter runs its top level, the rest is every builder's. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, buildBundle, listed, runAsProgram } from "../bundle/bundle.js";
import { lua } from "../runtimes/lua/recipe.js";
import { snapshotOf } from "../runtimes/lua/snapshot.js";
import { checksOf, digestOf } from "../runtimes/runtime.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const RUNTIMES = resolve(SDK, "../runtimes");
/** Where a plugin's exports are looked for, in this order. What it requires lies beside it. */
const ENTRIES = ["src/plugin.lua", "plugin.lua"];

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
    { base: SDK, files: ["build.js"] },
    { base: RUNTIMES, files: ["host.js", "lua/snapshot.js", ...(await listed(RUNTIMES, ["lua/prelude"]))] },
  ],
  toolchain: () => digestOf(lua),
  compile,
  missingExport: (name) => {
    const [kind, of] = name.split(":");
    const entry = `${of ?? kind} = function(call) … end`;
    return `return { ${of ? `${kind}s = { ${entry} }` : entry} }`;
  },
};

/** @type {import("./build.d.ts").buildPlugin} */
export function buildPlugin(folder, options) {
  return buildBundle(language, folder, options);
}

/** @param {string} root */
async function filesOf(root) {
  const entry = entryOf(root);
  if (!entry) throw new BuildError(`${root}: none of ${ENTRIES.join(", ")} is there; write one with the exports`);
  if (dirname(entry) === ".") return (await readdir(root)).filter((name) => name.endsWith(".lua")).sort();
  return (await listed(root, [dirname(entry)])).filter((name) => name.endsWith(".lua"));
}

/** @param {string} root */
async function compile(root) {
  const entry = /** @type {string} */ (entryOf(root));
  const nameOf = (/** @type {string} */ path) =>
    relative(dirname(entry), path)
      .replace(/(\/init)?\.lua$/, "")
      .replaceAll("/", ".");
  const files = await Promise.all(
    (await filesOf(root)).map(async (path) => ({
      name: nameOf(path),
      path,
      code: await readFile(join(root, path), "utf8"),
    })),
  );
  return snapshotOf(nameOf(entry), files);
}

/** What building needs. */
export async function doctor() {
  return checksOf(lua);
}

await runAsProgram(import.meta.url, buildPlugin);
