/** Runs a plugin's files in MicroPython as far as their top level goes, and keeps the interpreter as it then stands. */
import { readFile } from "node:fs/promises";
import { BuildError, enter } from "../../bundle/bundle.js";
import { buildHost } from "../host.js";
import { openRuntime } from "../runtime.js";
import { snapshot } from "../snapshot.js";
import { python, STACK } from "./recipe.js";

/** One program, in this order. */
const PRELUDE = ["host", "rows", "run", "http", "network", "calls", "dispatch", "modules", "sdk", "main"];
const EXCEPTION = -1;
const PAGE_BYTES = 65_536;
/** What the C library takes from the system at a time, and then some. */
const BREAK_BYTES = 4 * PAGE_BYTES;

/** @type {Promise<{ module: WebAssembly.Module, bytes: Uint8Array, prelude: string }> | undefined} */
let opened;

async function open() {
  const [bytes, prelude] = await Promise.all([openRuntime(python), readPrelude()]);
  return { bytes, prelude, module: await WebAssembly.compile(/** @type {BufferSource} */ (bytes)) };
}

async function readPrelude() {
  const files = PRELUDE.map((name) => readFile(new URL(`./prelude/${name}.py`, import.meta.url), "utf8"));
  return (await Promise.all(files)).join("\n");
}

/**
 * @typedef {{ readonly name: string, readonly path: string, readonly code: string }} PythonFile `name` as imported.
 */

/**
 * The plugin as a module. Errors: BuildError with the author's file and line when the top level raises.
 * @param {string} entry Name of the file that exports.
 * @param {readonly PythonFile[]} files
 * @param {readonly string[]} asyncNames Exports that are coroutines.
 */
export async function snapshotOf(entry, files, asyncNames) {
  opened ??= open();
  const { module, bytes, prelude } = await opened.catch((thrown) => {
    opened = undefined;
    throw thrown;
  });
  const { imports, said } = buildHost();
  const instance = new WebAssembly.Instance(module, imports);
  const engine = /** @type {Record<string, (...given: number[]) => number>} */ (
    /** @type {unknown} */ (instance.exports)
  );
  const memory = /** @type {WebAssembly.Memory} */ (instance.exports.memory);
  /** @param {string} program */
  const execute = (program) => {
    const text = Buffer.from(`${program}\0`, "utf8");
    const at = engine.allocate(text.length);
    new Uint8Array(memory.buffer, at, text.length).set(text);
    const value = engine.execute(at, text.length - 1);
    const view = new DataView(memory.buffer);
    if (view.getInt32(value, true) === EXCEPTION) {
      const length = view.getUint32(value + 4, true);
      const raised = new Uint8Array(memory.buffer, view.getUint32(value + 8, true), length);
      throw new Error(`the interpreter raised ${Buffer.from(raised).toString("utf8").replace("\x04", ": ")}`);
    }
    engine.release(at);
  };

  engine.boot();
  execute(prelude);
  const listed = JSON.stringify(files.map(({ name, path, code }) => [name, path, code]));
  enter("evaluate", files.map(({ path }) => path).join(", "));
  execute(`__build(${JSON.stringify(entry)}, ${listed}, ${JSON.stringify(asyncNames)})`);
  const { exports: exported, failure } = JSON.parse(/** @type {string} */ (said.pop()));
  if (failure) {
    const stack = (failure.details?.stack ?? []).map((/** @type {string} */ frame) => `\n    at ${frame}`).join("");
    throw new BuildError(`the top level of the plugin raised: ${failure.message}${stack}`);
  }
  execute("del __build\nimport gc\ngc.collect()");
  engine.seal();
  // Behind all that is allocated: what lies above need not be there at the start.
  const top = engine.allocate(BREAK_BYTES);
  engine.release(top);
  const pages = Math.ceil((top + 2 * BREAK_BYTES) / PAGE_BYTES);
  return snapshot(bytes, instance, exported, { stack: STACK, pages });
}
