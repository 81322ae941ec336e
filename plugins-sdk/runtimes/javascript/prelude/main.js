/** The prelude: what is evaluated in the engine before the author's bundle, and becomes part of the snapshot. */
import { call, callBytes, checkpoint, emit, finishBuilding, flush, now, output, PluginError, random } from "./host.js";
import "./console.js";
import "./text.js";
import "./url.js";
import { exchange } from "./fetch.js";
import "./timers.js";
import { begin, callables, end, failureOf } from "./dispatch.js";
import { setLines } from "./stack.js";

globalThis.self = globalThis;
// The engine's own counts from when the plugin was built.
Object.defineProperty(globalThis, "performance", { value: { timeOrigin: 0, now }, configurable: true, writable: true });

/** What the SDK is made of; the SDK is the documented door. */
Object.defineProperty(globalThis, Symbol.for("millrace"), {
  value: Object.freeze({ call, callBytes, checkpoint, emit, exchange, flush, now, output, PluginError, random }),
});

/** For the builder, which takes it away before the snapshot. */
globalThis.__build = { callables, failureOf, finishBuilding, say: output, setLines };
globalThis.__begin = begin;
globalThis.__end = end;
