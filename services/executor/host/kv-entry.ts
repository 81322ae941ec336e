/** How a guest's value is stored: its JSON, and before it how long it lives when it does not live for ever. Pure. */
import type { KvEntry } from "../../bus/ports.ts";

/** `~<milliseconds>\n<JSON>`: no JSON begins with a tilde. */
const TTL_MARK = "~".charCodeAt(0);
const NEWLINE = 0x0a;

export function encodeEntry(json: Uint8Array, ttlMs: number | undefined): Uint8Array {
  return ttlMs === undefined ? json : Buffer.concat([Buffer.from(`~${ttlMs}\n`), json]);
}

export interface GuestEntry {
  readonly value: unknown;
  readonly revision: number;
  /** What is left of its life, in milliseconds; undefined when it has no end. */
  readonly ttlMs: number | undefined;
}

/** Undefined when it has expired. Its life counts from when the bus stored it, whoever wrote it. */
export function decodeEntry({ value, revision, createdMs }: KvEntry, nowMs: number): GuestEntry | undefined {
  const ends = value[0] === TTL_MARK ? value.indexOf(NEWLINE) : 0;
  const ttlMs = ends > 0 ? Number(Buffer.from(value.subarray(1, ends)).toString("latin1")) : undefined;
  const leftMs = ttlMs === undefined ? undefined : createdMs + ttlMs - nowMs;
  if (leftMs !== undefined && leftMs <= 0) return undefined;
  const json = Buffer.from(ends > 0 ? value.subarray(ends + 1) : value).toString("utf8");
  return { value: JSON.parse(json) as unknown, revision: Number(revision), ttlMs: leftMs };
}
