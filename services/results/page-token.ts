/** Tokens that say where a page ends: opaque to callers, checked when they come back. */
import { Fault } from "../kit/fault.ts";

/** Errors: `invalid` when it is out of range. */
export function boundedSize(field: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw Fault.invalid(field, [{ field, problem: `${value} is not within 1–${max}` }]);
}

export function writeToken(token: object): string {
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

/** A token has the fields and types of `first`, which is where paging starts. */
export function readToken<T extends Record<string, unknown>>(token: string | undefined, first: T): T {
  if (token === undefined || token === "") return first;
  try {
    const read = JSON.parse(Buffer.from(token, "base64url").toString()) as T;
    const alike = (name: string) =>
      typeof read[name] === typeof first[name] && Array.isArray(read[name]) === Array.isArray(first[name]);
    if (Object.keys(first).every(alike)) return read;
  } catch {
    // Said below.
  }
  throw Fault.invalid("page token", [{ field: "page token", problem: "is not one of ours", fix: "start without one" }]);
}
