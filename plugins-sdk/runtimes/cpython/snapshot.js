/** Runs a plugin's files in CPython as far as their top level goes, and keeps the interpreter as it then stands. */
import { readFile } from "node:fs/promises";
import { BuildError, enter } from "../../bundle/bundle.js";
import { buildHost } from "../host.js";
import { openRuntime } from "../runtime.js";
import { snapshot } from "../snapshot.js";
import { cpython } from "./recipe.js";

const PYTHON = "../python/prelude";
/** One program, in this order: most of it is MicroPython's. */
const PRELUDE = [
  "./prelude/ground.py",
  `${PYTHON}/host.py`,
  "./prelude/json.py",
  ...["run", "http", "network", "calls", "dispatch", "sdk"].map((name) => `${PYTHON}/${name}.py`),
  "./prelude/main.py",
];
/** What the interpreter reads at once. */
const MAX_PROGRAM_BYTES = 1 << 20;

/** @type {Promise<{ module: WebAssembly.Module, bytes: Uint8Array, prelude: string }> | undefined} */
let opened;

async function open() {
  const files = PRELUDE.map((name) => readFile(new URL(name, import.meta.url), "utf8"));
  const [bytes, ...prelude] = await Promise.all([openRuntime(cpython), ...files]);
  const module = await WebAssembly.compile(/** @type {BufferSource} */ (bytes));
  return { bytes, prelude: prelude.join("\n"), module };
}

/**
 * The plugin as a module. Errors: BuildError with the author's file and line when the top level raises.
 * @param {string} entry Name of the file that exports.
 * @param {readonly import("../python/snapshot.js").PythonFile[]} files
 */
export async function snapshotOf(entry, files) {
  opened ??= open();
  const { module, bytes, prelude } = await opened.catch((thrown) => {
    opened = undefined;
    throw thrown;
  });
  const listed = JSON.stringify(files.map(({ name, path, code }) => [name, path, code]));
  const program = Buffer.from(`${prelude}\n__build(${JSON.stringify(entry)}, ${listed}, [])\n`, "utf8");
  if (program.length > MAX_PROGRAM_BYTES) {
    throw new BuildError(`the sources are ${program.length} bytes with the SDK; ${MAX_PROGRAM_BYTES} is the most`);
  }
  const { imports, said } = buildHost(program);
  const instance = new WebAssembly.Instance(module, imports);
  const { boot } = /** @type {Record<string, () => void>} */ (/** @type {unknown} */ (instance.exports));
  enter("evaluate", files.map(({ path }) => path).join(", "));
  /** @type {() => void} */ (boot)();
  const { exports: exported, failure } = JSON.parse(/** @type {string} */ (said.pop()));
  if (failure) {
    const stack = (failure.details?.stack ?? []).map((/** @type {string} */ frame) => `\n    at ${frame}`).join("");
    throw new BuildError(`the top level of the plugin raised: ${failure.message}${stack}`);
  }
  return snapshot(bytes, instance, exported);
}
