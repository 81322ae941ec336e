#!/usr/bin/env node
/** Builds a plugin written in TypeScript or JavaScript: esbuild bundles it, the engine runs its top level. */
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, buildBundle, listed, runAsProgram } from "../bundle/bundle.js";
import { javascript } from "../runtimes/javascript/recipe.js";
import { snapshotOf } from "../runtimes/javascript/snapshot.js";
import { checksOf, digestOf } from "../runtimes/runtime.js";
import { linesOf } from "./lines.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const RUNTIMES = resolve(SDK, "../runtimes");
const PACKAGE = "@millrace/typescript";
/** Where a plugin's exports are looked for, in this order. */
const ENTRIES = ["plugin.ts", "plugin.tsx", "plugin.js", "index.ts", "index.js"].flatMap((name) => [
  `src/${name}`,
  name,
]);

/** @param {string} folder */
const entryOf = (folder) => ENTRIES.find((name) => existsSync(join(folder, name)));

/**
 * Whether a plugin folder is written in this language.
 * @param {string} folder
 */
export function detect(folder) {
  return entryOf(folder) !== undefined;
}

/** @type {import("./build.d.ts").buildPlugin} */
export function buildPlugin(folder, options) {
  /** @type {Promise<Bundled> | undefined} Bundled once: its inputs tell whether the module is remembered. */
  let bundled;
  const bundleOf = (/** @type {string} */ root) => {
    bundled ??= bundle(root);
    return bundled;
  };
  /** @type {import("../bundle/bundle.js").Language} */
  const typescript = {
    entry: ENTRIES[0],
    sources: async (root) => [
      { base: root, files: (await bundleOf(root)).inputs },
      { base: SDK, files: ["build.js", "lines.js"] },
      {
        base: RUNTIMES,
        files: ["host.js", "javascript/snapshot.js", ...(await listed(RUNTIMES, ["javascript/prelude"]))],
      },
    ],
    toolchain: async () => `${(await import("esbuild")).version}\n${await digestOf(javascript)}`,
    compile: async (root) => {
      const { code, lines } = await bundleOf(root);
      return snapshotOf(code, lines);
    },
    missingExport: (name) => `export function ${name}(call) { … }`,
  };
  return buildBundle(typescript, folder, options);
}

/**
 * @typedef {{ code: string, lines: import("../runtimes/javascript/snapshot.js").Lines, inputs: string[] }} Bundled
 * @param {string} root
 * @returns {Promise<Bundled>}
 */
async function bundle(root) {
  const entry = entryOf(root);
  if (!entry) throw new BuildError(`${root}: none of ${ENTRIES.join(", ")} is there; write one with the exports`);
  const { build } = await import("esbuild");
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(root, "plugin.js"),
    bundle: true,
    write: false,
    metafile: true,
    sourcemap: "external",
    sourcesContent: false,
    format: "iife",
    globalName: "__plugin",
    target: "es2023",
    // What a package has for browsers wants fetch, URL, crypto of the web, and nothing of Node's: the engine has just
    // that. Where it would want a document, packages have something else for workers, and name that before.
    platform: "browser",
    mainFields: ["browser", "module", "main"],
    conditions: ["worker", "browser"],
    define: { "process.env.NODE_ENV": '"production"' },
    alias: { [PACKAGE]: join(SDK, "sdk/millrace.ts") },
    treeShaking: true,
    charset: "utf8",
    keepNames: true,
    logLevel: "silent",
  }).catch((failure) => {
    throw new BuildError(messagesOf(root, failure));
  });
  const textOf = (/** @type {string} */ end) =>
    /** @type {{ text: string }} */ (outputFiles.find(({ path }) => path.endsWith(end))).text;
  const isOwn = (/** @type {string} */ file) => !resolve(root, file).startsWith(join(SDK, "sdk", sep));
  return {
    code: textOf("plugin.js"),
    lines: linesOf(JSON.parse(textOf("plugin.js.map")), isOwn),
    // A module that a package leaves out for browsers is listed too, by a name that no file has.
    inputs: Object.keys(metafile.inputs)
      .filter((file) => !file.startsWith("(disabled):"))
      .sort(),
  };
}

/** Things that Node has and a plugin has not. */
const NODE_ONLY = /^Could not resolve "(node:)?([a-z_/]+)"/;

/**
 * @param {string} root
 * @param {{ errors?: readonly import("esbuild").Message[] } & Error} failure
 */
function messagesOf(root, failure) {
  if (!failure.errors?.length) return failure.message;
  const told = failure.errors.map(({ text, location, notes }) => {
    const where = location ? `${location.file}:${location.line}:${location.column + 1}: ` : "";
    const node = NODE_ONLY.test(text) && notes.some((note) => note.text.includes("built into node"));
    const fix = node ? "; plugins have no files, sockets or processes of their own: use the SDK's host functions" : "";
    const shown = location?.lineText ? `\n    ${location.lineText.trim()}` : "";
    return `${where}${text}${fix}${shown}`;
  });
  return [`${relative(dirname(root), root)} does not build`, ...told].join("\n  ");
}

/** What building needs. */
export async function doctor() {
  return checksOf(javascript, ["esbuild"]);
}

await runAsProgram(import.meta.url, buildPlugin);
