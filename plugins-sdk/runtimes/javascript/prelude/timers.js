/**
 * Timers. A plugin is alone and its host calls block, so nothing can happen while it waits: a timer that is due later
 * is waited for by the host (`sleep`), in the order in which timers are due.
 */
import { call, now } from "./host.js";

let nextId = 1;
let timers = new Map();

export function clearTimers() {
  timers = new Map();
}

/** Runs the timer that is due first. False when there is none. */
export function runNextTimer() {
  let first;
  for (const timer of timers.values()) if (!first || timer.dueMs < first.dueMs) first = timer;
  if (!first) return false;
  const leftMs = Math.ceil(first.dueMs - now());
  if (leftMs > 0) call("sleep", { ms: leftMs });
  if (first.everyMs === undefined) timers.delete(first.id);
  else first.dueMs = now() + first.everyMs;
  first.run(...first.given);
  return true;
}

function start(run, afterMs, given, repeat) {
  if (typeof run !== "function") throw new TypeError("a timer needs a function");
  const waitMs = Math.max(repeat ? 1 : 0, Number(afterMs) || 0);
  const id = nextId++;
  timers.set(id, { id, run, given, dueMs: now() + waitMs, everyMs: repeat ? waitMs : undefined });
  return id;
}

globalThis.setTimeout = (run, afterMs, ...given) => start(run, afterMs, given, false);
globalThis.setInterval = (run, afterMs, ...given) => start(run, afterMs, given, true);
globalThis.setImmediate = (run, ...given) => start(run, 0, given, false);
globalThis.clearTimeout = (id) => void timers.delete(id);
globalThis.clearInterval = globalThis.clearTimeout;
globalThis.clearImmediate = globalThis.clearTimeout;
