/** Runs one export: input to JSON, generators to rows, what is thrown to a structured error. */
import { answer, emit, error, flush, input, PluginError } from "./host.js";
import { framesOf, placeOf } from "./stack.js";
import { clearTimers, runNextTimer } from "./timers.js";

const PREFIX = "function:";
const OK = 0;
const FAILED = 1;
const AGAIN = 2;

let names = [];
let plugin = {};
let settled;

/** The exports of the plugin that the platform may call, in the order of their numbers. */
export function callables(namespace) {
  plugin = namespace;
  names = Object.keys(namespace).filter((name) => typeof namespace[name] === "function");
  const { functions } = namespace;
  if (functions && typeof functions === "object") names.push(...Object.keys(functions).map((name) => PREFIX + name));
  return names;
}

export function begin(index) {
  settled = undefined;
  clearTimers();
  try {
    const name = names[index];
    const result = invoke(name, readInput());
    if (isThenable(result)) {
      result.then((value) => succeed(name, value), fail).then(undefined, fail);
    } else {
      const more = succeed(name, result);
      if (isThenable(more)) more.then(undefined, fail);
    }
  } catch (thrown) {
    fail(thrown);
  }
}

/** Called when there are no jobs left. 2: a timer ran, and there may be jobs again. */
export function end() {
  if (settled !== undefined) return settled;
  try {
    if (runNextTimer()) return AGAIN;
  } catch (thrown) {
    fail(thrown);
    return FAILED;
  }
  fail(new PluginError("never_settles", "the promise that was returned never settles: nothing is left that could"));
  return FAILED;
}

const isThenable = (value) => value !== null && typeof value === "object" && typeof value.then === "function";

function readInput() {
  try {
    return input();
  } catch (cause) {
    throw new PluginError("refused", `the input is not JSON: ${cause.message}`);
  }
}

function invoke(name, asked) {
  if (name.startsWith(PREFIX)) return plugin.functions[name.slice(PREFIX.length)](asked);
  return plugin[name](callOf(name, asked));
}

/** What an export is given, beside the platform's own fields. */
function callOf(name, asked) {
  if (asked === null || typeof asked !== "object") return asked;
  if (OF_WINDOWS.includes(name)) place(asked);
  if (name === "route") addBodyReaders(asked);
  return asked;
}

const OF_WINDOWS = ["fetch", "sync", "before_sync", "after_sync"];
const DAY_MS = 86_400_000;
const INTEGER = /^-?\d+$/;

/** The pipe's axis is time, and the call has a window of it, or integers, and it has a range of them. */
function place(asked) {
  const integers = INTEGER.test(asked.begin) && INTEGER.test(asked.end);
  const [there, missing] = integers ? ["range", "window"] : ["window", "range"];
  asked[there] = integers ? rangeOf(asked) : windowOf(asked);
  Object.defineProperty(asked, missing, {
    get() {
      throw new PluginError(
        "no_such_axis",
        `the axis of this pipe is ${integers ? "integers" : "time"}: use call.${there}`,
      );
    },
  });
}

function rangeOf({ begin: from, end: to }) {
  const [begin, end] = [BigInt(from), BigInt(to)];
  return {
    begin,
    end,
    has(position) {
      const at = BigInt(position);
      return at >= begin && at < end;
    },
  };
}

function windowOf({ begin: from, end: to }) {
  const beginMs = Date.parse(from);
  const endMs = Date.parse(to);
  const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);
  return {
    begin: new Date(beginMs),
    end: new Date(endMs),
    beginMs,
    endMs,
    firstDay: dayOf(beginMs),
    lastDay: dayOf(endMs - 1),
    has(time) {
      const ms = typeof time === "number" ? time : time instanceof Date ? time.getTime() : Date.parse(time);
      return ms >= beginMs && ms < endMs;
    },
    *days() {
      for (let ms = beginMs - (beginMs % DAY_MS); ms < endMs; ms += DAY_MS) yield dayOf(ms);
    },
  };
}

function addBodyReaders(asked) {
  const bytes = () =>
    asked.body_base64 === undefined
      ? new TextEncoder().encode(asked.body ?? "")
      : Uint8Array.fromBase64(asked.body_base64);
  Object.defineProperties(asked, {
    bytes: { value: bytes },
    text: { value: () => (asked.body_base64 === undefined ? (asked.body ?? "") : new TextDecoder().decode(bytes())) },
    json: { value: () => JSON.parse(asked.text()) },
  });
}

function succeed(name, value) {
  if ((name === "fetch" || name === "sync") && value !== null && typeof value === "object") {
    if (typeof value[Symbol.asyncIterator] === "function") return drainAsync(name, value[Symbol.asyncIterator]());
    if (!Array.isArray(value) && typeof value.next === "function") return finish(name, drain(value));
  }
  return finish(name, value);
}

/** Rows that a generator yields are emitted; what it returns is the answer. */
function drain(iterator) {
  for (;;) {
    const { done, value } = iterator.next();
    if (done) return value;
    emit(value);
  }
}

async function drainAsync(name, iterator) {
  for (;;) {
    const { done, value } = await iterator.next();
    if (done) return finish(name, value);
    emit(value);
  }
}

const answers = {
  fetch: (value) => (Array.isArray(value) ? { rows: value } : (value ?? {})),
  sync: (value) => value ?? {},
  before_sync: (value) => (typeof value === "string" ? { veto: value } : (value ?? {})),
  after_sync: (value) => value ?? {},
  register: (value) => value ?? {},
  poll: (value) => (Array.isArray(value) ? { metrics: value } : (value ?? { metrics: [] })),
  enrich: (value) => (Array.isArray(value) ? { documents: value } : (value ?? { documents: [] })),
  discover: (value) => (Array.isArray(value) ? { resources: value, complete: true } : value),
  route: responseOf,
};

function finish(name, value) {
  flush();
  const shape = answers[name];
  answer(shape ? shape(value) : value);
  settled = OK;
}

function responseOf(value) {
  if (typeof value === "string") return textResponse(200, {}, value, "text/plain; charset=utf-8");
  const isAnswer = value !== null && typeof value === "object" && Number.isInteger(value.status);
  const { status = 200, headers = {}, body } = isAnswer ? value : { body: value };
  const plain = Object.fromEntries(headers instanceof Headers ? headers : Object.entries(headers));
  if (value?.body_base64 !== undefined) return { status, headers: plain, body_base64: value.body_base64 };
  if (body === undefined) return { status, headers: plain };
  if (typeof body === "string") return textResponse(status, plain, body, "text/plain; charset=utf-8");
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
    const bytes =
      body instanceof ArrayBuffer
        ? new Uint8Array(body)
        : new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
    return { status, headers: typed(plain, "application/octet-stream"), body_base64: bytes.toBase64() };
  }
  return textResponse(status, plain, JSON.stringify(body), "application/json; charset=utf-8");
}

const textResponse = (status, headers, body, type) => ({ status, headers: typed(headers, type), body });

function typed(headers, type) {
  return Object.keys(headers).some((name) => name.toLowerCase() === "content-type")
    ? headers
    : { ...headers, "content-type": type };
}

function fail(thrown) {
  settled = FAILED;
  error(JSON.stringify(failureOf(thrown)));
}

/** `{code, message, retryable, details}`; what nobody foresaw says the author's file and line in its message. */
export function failureOf(thrown) {
  const isError = thrown instanceof Error;
  const frames = framesOf(thrown);
  const place = placeOf(frames);
  const said = isError ? messageOf(thrown) : `thrown: ${describe(thrown)}`;
  const own = isError && typeof thrown.code === "string" ? thrown : {};
  const causes = [];
  for (let cause = thrown?.cause; cause instanceof Error && causes.length < 5; cause = cause.cause) {
    causes.push(`${messageOf(cause)}${placeOf(framesOf(cause)) && ` (at ${placeOf(framesOf(cause))})`}`);
  }
  const details = {
    ...(own.details && typeof own.details === "object" ? own.details : {}),
    ...(place && { at: place }),
    ...(frames.length && { stack: frames }),
    ...(causes.length && { causes }),
  };
  return {
    code: own.code ?? "exception",
    // A code of its own means that somebody chose the words: the place stays in the details.
    message: place && own.code === undefined ? `${said} (at ${place})` : said,
    retryable: own.retryable === true,
    ...(Object.keys(details).length && { details }),
  };
}

/** Errors of ours and of the host speak for themselves; of others the kind says something. */
function messageOf(thrown) {
  if (thrown instanceof PluginError || thrown.name === "Error") return thrown.message || thrown.name;
  return thrown.message ? `${thrown.name}: ${thrown.message}` : thrown.name;
}

function describe(value) {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
