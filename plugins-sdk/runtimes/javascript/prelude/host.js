/** The host's side of everything: calls with their errors, rows on their way out, randomness in handfuls. */

/** The engine's one native function; its numbers are in glue.wat. Nobody else may keep it. */
const native = globalThis.__m;
delete globalThis.__m;
const [INPUT, OUTPUT, ERROR, CALL, NOW, RANDOM, ENCODE, DECODE] = [0, 1, 2, 3, 4, 5, 6, 7];
const [KNOW, ROW, SEND, ANSWER, CALL_BYTES] = [8, 9, 10, 11, 12];
/** What a row comes to. */
const [WRITTEN, FULL, LIST, NO_ROW, BUSY] = [0, 1, 2, 3, 4];

const RANDOM_BYTES = 512;

export const input = () => native(INPUT);
export const output = (text) => native(OUTPUT, text);
/** The output as JSON.stringify would write it; null when it writes nothing. */
export const answer = (value) => native(ANSWER, value);
export const error = (text) => native(ERROR, text);
export const now = () => native(NOW);
export const encode = (text) => native(ENCODE, text.isWellFormed() ? text : text.toWellFormed());
export const decode = (bytes) => native(DECODE, bytes).toWellFormed();

/** True while the plugin is built: there is no host yet. */
let building = true;
export const isBuilding = () => building;
export const finishBuilding = () => {
  building = false;
};

function refuseAtBuild(what) {
  if (!building) return;
  const fix = "move it into an exported function: code at the top level runs once, when the plugin is built";
  throw new Error(`${what} is not available at build time; ${fix}`);
}

/**
 * A failure with a code that the platform and other plugins understand.
 * `retryable`: trying again later may help; `details.retry_after_ms` says how long to wait at least.
 */
export class PluginError extends Error {
  constructor(code, message, { retryable = false, details, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "PluginError";
    this.code = code;
    this.retryable = retryable;
    this.details = details;
  }
}

// Whole numbers of any size keep every digit on their way to the platform.
Object.defineProperty(BigInt.prototype, "toJSON", {
  value() {
    return JSON.rawJSON(this.toString());
  },
  configurable: true,
  writable: true,
});

/** One host call. Errors: PluginError with the host's code. */
export function call(name, request) {
  refuseAtBuild(`the host function ${name}`);
  return answerOf(native(CALL, name, typeof request === "string" ? request : (JSON.stringify(request) ?? "null")));
}

/** One host call whose request is bytes: a Uint8Array. Errors: PluginError with the host's code. */
export function callBytes(name, bytes) {
  refuseAtBuild(`the host function ${name}`);
  return answerOf(native(CALL_BYTES, name, bytes));
}

function answerOf(answer) {
  const failure = answer?.error;
  if (!failure) return answer?.ok;
  const { code = "internal", message = "the host failed", retryable = false, details } = failure;
  throw new PluginError(code, message, { retryable, details });
}

// The writer of rows tells by these whether a Date or a BigInt is one that nobody has changed.
for (const [i, key] of ["toJSON", "toISOString", Symbol.toPrimitive, "valueOf"].entries()) {
  native(KNOW, i, key, Date.prototype[key]);
}
native(KNOW, 4, "toJSON", BigInt.prototype.toJSON);
native(KNOW, 5, "toString", BigInt.prototype.toString);
native(KNOW, 6, "", undefined);

/** Sends rows to the platform, in batches. */
export function emit(some) {
  const came = native(ROW, some);
  if (came === WRITTEN) return;
  if (came === LIST && Array.isArray(some)) for (const row of some) emitOne(row);
  else settle(came, some);
}

function emitOne(row) {
  const came = native(ROW, row);
  if (came !== WRITTEN) settle(came, row);
}

function settle(first, row) {
  refuseAtBuild("the host function emit");
  // A proxy may be one of a list, which only the engine can say.
  const came = first === LIST && !Array.isArray(row) ? native(ROW, row, true) : first;
  if (came === FULL) return flush();
  if (came === BUSY) {
    throw new PluginError("invalid", "a row is emitted while another is written, by a toJSON or a getter of that one");
  }
  const what = came === LIST ? "a list" : row === null ? "null" : typeof row;
  if (came === NO_ROW || came === LIST) {
    throw new PluginError("invalid", `a row is an object, not ${what === "object" ? "what its toJSON returns" : what}`);
  }
}

export function flush() {
  answerOf(native(SEND, "emit"));
}

/** All rows emitted so far are kept, and a next attempt gets `cursor`. */
export function checkpoint(cursor) {
  flush();
  call("checkpoint", { cursor });
}

let pool = new Uint8Array(0);
let used = 0;

/** `count` random bytes of the host's. */
export function random(count) {
  refuseAtBuild("randomness that must be secret");
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; ) {
    if (used === pool.length) {
      pool = native(RANDOM, Math.max(RANDOM_BYTES, Math.min(count - at, 65_536)));
      used = 0;
    }
    const some = pool.subarray(used, used + count - at);
    bytes.set(some, at);
    used += some.length;
    at += some.length;
  }
  return bytes;
}

// The engine's own generator was seeded when the plugin was built, and would give every instance the same numbers.
const builtIn = Math.random;
Math.random = function random_() {
  if (building) return builtIn();
  const words = new Uint32Array(random(8).buffer);
  return (words[0] * 0x20_0000 + (words[1] >>> 11)) / 2 ** 53;
};
Object.defineProperty(Math.random, "name", { value: "random" });
