/** The rules of names: keys, buckets, message ids, and how foreign text becomes a part of a key. */
import { Fault } from "../kit/fault.ts";

export const MAX_KEY_BYTES = 512;
export const MAX_MESSAGE_ID_BYTES = 512;
/** NATS counts headers into its 1 MiB of payload, so a value gets 64 KiB less on both buses. */
export const MAX_VALUE_BYTES = 960 * 1_024;
export const MAX_BLOB_BYTES = 256 * 1_024 * 1_024;

const KEY = /^[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*$/;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MESSAGE_ID = /^[\x21-\x7e]+$/;
const DIGEST = /^[0-9a-f]{64}$/;

/** Errors: `invalid`, naming `field`. */
export function checkKey(key: string, field = "key"): void {
  if (!KEY.test(key)) {
    refuse(field, key, "is not a key", "write dot-separated parts of A–Z a–z 0–9 _ = -, or use encodeKeyPart");
  }
  if (key.length > MAX_KEY_BYTES) {
    refuse(field, key, `is ${key.length} bytes long`, `at most ${MAX_KEY_BYTES} bytes`);
  }
}

/** A prefix is a key, or "" for everything. */
export function checkPrefix(prefix: string): void {
  if (prefix !== "") checkKey(prefix, "prefix");
}

/** Whether the key is the prefix itself or lies below it. */
export function isBelow(key: string, prefix: string): boolean {
  return prefix === "" || key === prefix || key.startsWith(`${prefix}.`);
}

/** Names of buckets and queues. */
export function checkName(name: string, field: string): void {
  if (!NAME.test(name)) refuse(field, name, "is not a name", "1 to 64 of A–Z a–z 0–9 _ -");
}

/** Ids travel in a header: printable ASCII without a blank. */
export function checkMessageId(id: string): void {
  if (MESSAGE_ID.test(id) && id.length <= MAX_MESSAGE_ID_BYTES) return;
  refuse("id", id, "is not a message id", `1 to ${MAX_MESSAGE_ID_BYTES} printable ASCII characters without a blank`);
}

export function checkDigest(digest: string): void {
  if (!DIGEST.test(digest)) refuse("digest", digest, "is not a SHA-256", "64 lower-case hex digits");
}

/** Errors: `too_large`, naming both sizes. */
export function checkSize(bytes: Uint8Array, limitBytes: number, what: string): void {
  if (bytes.byteLength <= limitBytes) return;
  throw new Fault("too_large", `${what} is ${bytes.byteLength} bytes; at most ${limitBytes} bytes are kept`);
}

/** Any well-formed text as one part of a key: other bytes than A–Z a–z 0–9 _ - become =XX (hex); "" becomes "=". */
export function encodeKeyPart(text: string): string {
  if (!text.isWellFormed()) refuse("key part", text, "is not well-formed text", "no half of a surrogate pair");
  if (text === "") return "=";
  return text.replace(/[^A-Za-z0-9_-]/gu, (char) => ASCII[char.codePointAt(0) as number] ?? hexOf(char));
}

const hexOf = (char: string) =>
  Array.from(Buffer.from(char, "utf8"), (byte) => `=${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
const ASCII = Array.from({ length: 128 }, (_, code) => hexOf(String.fromCharCode(code)));

/** The inverse of `encodeKeyPart`. Errors: `invalid` for what it never writes. */
export function decodeKeyPart(part: string): string {
  if (part === "=") return "";
  const bytes = part.replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  const text = Buffer.from(bytes, "latin1").toString("utf8");
  if (text === "" || encodeKeyPart(text) !== part) {
    refuse("key part", part, "was not written by encodeKeyPart", "pass a part of a key as it was stored");
  }
  return text;
}

function refuse(field: string, value: string, problem: string, fix: string): never {
  const shown = JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  throw Fault.invalid(field, [{ field, problem: `${shown} ${problem}`, fix }]);
}
