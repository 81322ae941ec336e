/** TextEncoder, TextDecoder (UTF-8 only), structuredClone and crypto: what the engine lacks and libraries expect. */
import { decode, encode, random } from "./host.js";

const LABELS = ["utf-8", "utf8", "unicode-1-1-utf-8"];

globalThis.TextEncoder = class TextEncoder {
  get encoding() {
    return "utf-8";
  }
  encode(text = "") {
    return encode(String(text));
  }
  encodeInto(text, into) {
    let read = 0;
    let written = 0;
    for (const character of String(text)) {
      const bytes = encode(character);
      if (written + bytes.length > into.length) break;
      into.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
};

globalThis.TextDecoder = class TextDecoder {
  #kept = new Uint8Array(0);
  constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
    if (!LABELS.includes(String(label).trim().toLowerCase())) {
      throw new RangeError(`only utf-8 is decoded here, not ${label}`);
    }
    this.encoding = "utf-8";
    this.fatal = fatal;
    this.ignoreBOM = ignoreBOM;
  }
  decode(source = new Uint8Array(0), { stream = false } = {}) {
    const fresh = ArrayBuffer.isView(source)
      ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
      : new Uint8Array(source);
    let bytes = fresh;
    if (this.#kept.length) {
      bytes = new Uint8Array(this.#kept.length + fresh.length);
      bytes.set(this.#kept);
      bytes.set(fresh, this.#kept.length);
    }
    const whole = stream ? bytes.length - cutOff(bytes) : bytes.length;
    this.#kept = bytes.slice(whole);
    const used = bytes.subarray(0, whole);
    const text = decode(used);
    if (this.fatal && text.includes("\ufffd") && !isSame(encode(text), used)) {
      throw new TypeError("the bytes are not UTF-8");
    }
    return !this.ignoreBOM && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
};

/** How many bytes at the end begin a character that goes on. */
function cutOff(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

const isSame = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

globalThis.structuredClone = (value) => clone(value, new Map());

function clone(value, seen) {
  if (typeof value === "function" || typeof value === "symbol") {
    throw new DOMException(`${String(value)} could not be cloned.`, "DataCloneError");
  }
  if (value === null || typeof value !== "object") return value;
  if (seen.has(value)) return seen.get(value);
  const remember = (copy) => {
    seen.set(value, copy);
    return copy;
  };
  if (value instanceof Date) return remember(new Date(value.getTime()));
  if (value instanceof RegExp) return remember(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return remember(value.slice(0));
  if (value instanceof DataView)
    return remember(new DataView(clone(value.buffer, seen), value.byteOffset, value.byteLength));
  if (ArrayBuffer.isView(value)) {
    return remember(new value.constructor(clone(value.buffer, seen), value.byteOffset, value.length));
  }
  if (value instanceof Map) {
    const copy = remember(new Map());
    for (const [key, item] of value) copy.set(clone(key, seen), clone(item, seen));
    return copy;
  }
  if (value instanceof Set) {
    const copy = remember(new Set());
    for (const item of value) copy.add(clone(item, seen));
    return copy;
  }
  if (value instanceof Error) {
    const copy = remember(new (globalThis[value.name] ?? Error)(value.message));
    if (value.cause !== undefined) copy.cause = clone(value.cause, seen);
    return copy;
  }
  const copy = remember(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) copy[key] = clone(value[key], seen);
  return copy;
}

const hex = (bytes) => bytes.toHex();

globalThis.crypto = {
  getRandomValues(into) {
    const bytes = new Uint8Array(into.buffer, into.byteOffset, into.byteLength);
    bytes.set(random(bytes.length));
    return into;
  },
  randomUUID() {
    const bytes = random(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const all = hex(bytes);
    return [all.slice(0, 8), all.slice(8, 12), all.slice(12, 16), all.slice(16, 20), all.slice(20)].join("-");
  },
};
