#!/usr/bin/env node
/** Builds a plugin written in AssemblyScript: compiles `assembly/index.ts`, the rest is every builder's. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, buildBundle, listed, runAsProgram } from "../bundle/bundle.js";
import { nameFunctions } from "./function-exports.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const PACKAGE = "@millrace/assemblyscript";
const ENTRY_FILE = "assembly/index.ts";
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

/** @type {import("../bundle/bundle.js").Language} */
const assemblyscript = {
  entry: ENTRY_FILE,
  sources: async (root) => [
    { base: root, files: await listed(root, ["assembly"]) },
    { base: SDK, files: ["build.js", "function-exports.js", ...(await listed(SDK, ["assembly"]))] },
  ],
  toolchain: async () => `${await compilerVersion()}\n${COMPILER_FLAGS.join(" ")}`,
  compile,
  missingExport: (name) => `export function ${name.replace(":", "_")}(): i32`,
  instead: {
    "env.console.log": 'log("info", …)',
    "env.Date.now": "now()",
    "env.trace": 'log("debug", …)',
  },
};

/**
 * Whether a plugin folder is written in this language.
 * @param {string} folder
 */
export function detect(folder) {
  return existsSync(join(folder, ENTRY_FILE));
}

/** @type {import("./build.d.ts").buildPlugin} */
export function buildPlugin(folder, options) {
  return buildBundle(assemblyscript, folder, options);
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
  return nameFunctions(wasm);
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

await runAsProgram(import.meta.url, buildPlugin);
