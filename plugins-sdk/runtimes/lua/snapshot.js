/** Runs a plugin's files in Lua as far as their top level goes, and keeps the interpreter as it then stands. */
import { readFile } from "node:fs/promises";
import { BuildError, enter } from "../../bundle/bundle.js";
import { buildHost } from "../host.js";
import { openRuntime } from "../runtime.js";
import { snapshot } from "../snapshot.js";
import { lua, STACK } from "./recipe.js";

/** One program, in this order. */
const PRELUDE = ["json", "host", "time", "http", "run", "dispatch", "main"];
const PAGE_BYTES = 65_536;
/** Room above what is allocated, so that small calls need not grow the memory. */
const ROOM_BYTES = 12 * PAGE_BYTES;

/** @type {Promise<{ module: WebAssembly.Module, bytes: Uint8Array, prelude: string }> | undefined} */
let opened;

async function open() {
  const [bytes, prelude] = await Promise.all([openRuntime(lua), readPrelude()]);
  return { bytes, prelude, module: await WebAssembly.compile(/** @type {BufferSource} */ (bytes)) };
}

async function readPrelude() {
  const files = PRELUDE.map((name) => readFile(new URL(`./prelude/${name}.lua`, import.meta.url), "utf8"));
  return (await Promise.all(files)).join("\n");
}

/**
 * @typedef {{ readonly name: string, readonly path: string, readonly code: string }} LuaFile `name` as required.
 */

/**
 * The plugin as a module. Errors: BuildError with the author's file and line when the top level raises.
 * @param {string} entry Name of the file that returns the exports.
 * @param {readonly LuaFile[]} files
 */
export async function snapshotOf(entry, files) {
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
  /** @param {string} text */
  const place = (text) => {
    const content = Buffer.from(`${text}\0`, "utf8");
    const at = engine.allocate(content.length);
    // A fresh view: allocating may have moved the memory.
    new Uint8Array(/** @type {any} */ (instance.exports.memory).buffer, at, content.length).set(content);
    return { at, length: content.length - 1 };
  };
  /** @param {string} chunk @param {string} name */
  const execute = (chunk, name) => {
    const text = place(chunk);
    const named = place(name);
    if (engine.execute(text.at, text.length, named.at)) throw new Error(`the interpreter said: ${said.pop()}`);
    engine.release(text.at);
    engine.release(named.at);
  };

  engine.boot();
  execute(prelude, "=prelude");
  const listed = JSON.stringify(files.map(({ name, path, code }) => [name, path, code]));
  enter("evaluate", files.map(({ path }) => path).join(", "));
  execute(`__build(${quoted(entry)}, ${quoted(listed)})`, "=build");
  const { exports: exported, failure } = JSON.parse(/** @type {string} */ (said.pop()));
  if (failure) {
    const stack = (failure.details?.stack ?? []).map((/** @type {string} */ frame) => `\n    at ${frame}`).join("");
    throw new BuildError(`the top level of the plugin raised: ${failure.message}${stack}`);
  }
  engine.seal();
  execute("__build = nil __dispatch = nil collectgarbage() collectgarbage()", "=build");
  // Behind all that is allocated: what lies above need not be there at the start.
  const top = engine.allocate(ROOM_BYTES);
  engine.release(top);
  const pages = Math.ceil((top + ROOM_BYTES) / PAGE_BYTES);
  return snapshot(bytes, instance, exported, { stack: STACK, pages });
}

/** A string of Lua's source. @param {string} text */
function quoted(text) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must be escaped
  return `"${text.replace(/[\\"\0-\x1f]/g, (char) => `\\${String(char.charCodeAt(0)).padStart(3, "0")}`)}"`;
}
