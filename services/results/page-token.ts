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
export function readToken<T extends object>(token: string | undefined, first: T): T {
  if (token === undefined || token === "") return first;
  try {
    const read = JSON.parse(Buffer.from(token, "base64url").toString()) as T;
    const kind = (value: unknown) => (Array.isArray(value) ? "array" : typeof value);
    const kinds = (token: object) => Object.entries(token).map(([name, value]) => [name, kind(value)]);
    const wanted = new Map(kinds(first) as [string, string][]);
    const found = new Map(kinds(read) as [string, string][]);
    if ([...wanted].every(([name, one]) => found.get(name) === one)) return read;
  } catch {
    // Said below.
  }
  throw Fault.invalid("page token", [{ field: "page token", problem: "is not one of ours", fix: "start without one" }]);
}
