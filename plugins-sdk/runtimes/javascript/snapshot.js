/** Runs a bundle in the engine as far as its top level goes, and keeps the engine as it then stands. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BuildError, enter } from "../../bundle/bundle.js";
import { buildHost } from "../host.js";
import { openRuntime } from "../runtime.js";
import { snapshot, wipeFree } from "../snapshot.js";
import { javascript, STACK } from "./recipe.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
/** Turns of loops and calls that a top level may take: a second or so. The engine looks every so many. */
const MAX_JUMPS = 50_000_000;
const JUMPS_A_LOOK = 10_000;
/** Names that the module itself uses. */
const RESERVED = /^(memory$|_)/;

/**
 * @typedef {{ files: readonly string[], lines: readonly (readonly [number, number])[] }} Lines For each line of the
 * bundle, the index of its file and its line there; -1 when it is nobody's.
 */

/** @type {Promise<{ module: WebAssembly.Module, bytes: Uint8Array, prelude: string }> | undefined} */
let opened;

async function open() {
  const [bytes, prelude] = await Promise.all([openRuntime(javascript), bundlePrelude()]);
  return { bytes, prelude, module: await WebAssembly.compile(/** @type {BufferSource} */ (bytes)) };
}

async function bundlePrelude() {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    entryPoints: [join(HERE, "prelude/main.js")],
    bundle: true,
    write: false,
    format: "iife",
    target: "es2023",
    platform: "neutral",
    minifySyntax: true,
    minifyWhitespace: true,
  });
  return /** @type {{ text: string }} */ (outputFiles[0]).text;
}

/**
 * The plugin as a module: each function that `code` leaves in the global `__plugin` is an export.
 * Errors: BuildError with the author's file and line when the top level throws.
 * @param {string} code
 * @param {Lines} lines
 */
export async function snapshotOf(code, lines) {
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
  /** @param {string} script @param {string} name */
  const evaluate = (script, name) => {
    const text = place(script);
    const named = place(name);
    const threw = engine.eval(text.at, text.length, named.at);
    engine.release(text.at);
    engine.release(named.at);
    return threw === 0;
  };
  /** @param {string} expression */
  const ask = (expression) => {
    if (!evaluate(`__build.say(JSON.stringify(${expression} ?? null))`, "build.js"))
      throw new Error(`${expression} threw`);
    return JSON.parse(/** @type {string} */ (said.pop()));
  };

  engine.boot();
  if (!evaluate(prelude, "prelude.js")) throw new Error("the prelude threw");
  ask(`__build.setLines(${JSON.stringify(lines.files)}, ${JSON.stringify(lines.lines)})`);
  let finished;
  enter("evaluate", lines.files.join(", "));
  try {
    engine.guard(MAX_JUMPS / JUMPS_A_LOOK);
    finished = evaluate(code, "plugin.js");
    if (finished) engine.drain();
    engine.guard(0);
  } catch (trap) {
    throw new BuildError(`the top level of the plugin ended the engine: ${/** @type {Error} */ (trap).message}`);
  }
  if (!finished) {
    engine.thrown();
    const { message, details } = ask("__build.failureOf(__thrown)");
    const stack = (details?.stack ?? []).map((/** @type {string} */ frame) => `\n    at ${frame}`).join("");
    if (/^InternalError: interrupted/.test(message)) {
      const fix = "it runs once, while the plugin is built: move the loop into an export such as fetch";
      // The engine knows where it last called something; the loop is there or below.
      const near = stack.replace("\n    at ", "\n    at or after ");
      throw new BuildError(`the top level of the plugin does not come to an end; ${fix}${near}`);
    }
    throw new BuildError(`the top level of the plugin threw: ${message}${stack}`);
  }
  const exported = ask("__build.callables(__plugin)");
  const reserved = exported.find((/** @type {string} */ name) => RESERVED.test(name));
  if (reserved) throw new BuildError(`an export cannot be called ${reserved}: the module has one of that name itself`);
  ask("__build.finishBuilding()");
  evaluate("delete globalThis.__build", "build.js");
  engine.seal();
  evaluate("delete globalThis.__begin; delete globalThis.__end", "build.js");
  wipeFree(instance);
  return snapshot(bytes, instance, exported, { stack: STACK });
}
