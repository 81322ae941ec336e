/** Positions at the border: RFC 3339 in UTC, short durations, integers. Inside, bigint microseconds or integers. */
import { Fault } from "./fault.ts";

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** `250ms`, `30s`, `5m`, `1h`, `30d`, `2w` as milliseconds. Errors: `invalid`, naming `field`. */
export function parseDuration(raw: string, field: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d|w)$/.exec(raw);
  if (!match) {
    throw Fault.invalid(field, [
      {
        field,
        problem: `${JSON.stringify(raw)} is not a duration`,
        fix: "write a whole number and ms, s, m, h, d or w",
      },
    ]);
  }
  return Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS];
}

/** The shortest exact writing: 90_000 → "90s", 3_600_000 → "1h". */
export function formatDuration(ms: number): string {
  const unit = (["w", "d", "h", "m", "s", "ms"] as const).find((u) => ms % UNITS_MS[u] === 0) ?? "ms";
  return ms === 0 ? "0s" : `${ms / UNITS_MS[unit]}${unit}`;
}

const RFC3339 = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/**
 * A time with its offset, as microseconds since the epoch. A bare date is that day's midnight UTC; digits past the
 * microsecond are cut. Errors: `invalid` for anything else, above all a time without `Z` or an offset.
 */
export function parseTime(raw: string, field: string): bigint {
  const refuse = (problem: string, fix: string) =>
    Fault.invalid(field, [{ field, problem: `${JSON.stringify(raw)} ${problem}`, fix }]);
  if (DATE.test(raw)) return parseTime(`${raw}T00:00:00Z`, field);
  const match = RFC3339.exec(raw);
  if (!match) {
    if (RFC3339.test(`${raw}Z`)) throw refuse("has no time zone", 'end it with "Z" or an offset such as "+02:00"');
    throw refuse("is not a time", "write it as 2012-01-31T00:00:00Z");
  }
  const [, date, clock, fraction = "", zone] = match;
  const ms = Date.parse(`${date}T${clock}${zone?.toUpperCase()}`);
  // Date.parse rolls 31 February over into March; such a date is a mistake, not another day.
  const rolled = !Number.isNaN(Date.parse(`${date}T00:00:00Z`)) && new Date(`${date}T00:00:00Z`).toISOString();
  if (Number.isNaN(ms) || rolled === false || rolled.slice(0, 10) !== date) {
    throw refuse("names a day or hour that does not exist", "check month, day, hour, minute and second");
  }
  return BigInt(ms) * 1_000n + BigInt(fraction.padEnd(6, "0").slice(0, 6) || "0");
}

/** RFC 3339 in UTC, with only as many digits of a second as are needed. */
export function formatTime(us: bigint): string {
  const fraction = ((us % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = (us - fraction) / 1_000_000n;
  const base = new Date(Number(seconds) * 1_000).toISOString().slice(0, 19);
  return fraction === 0n ? `${base}Z` : `${base}.${fraction.toString().padStart(6, "0").replace(/0+$/, "")}Z`;
}

/** A key-safe writing of a time: `20120101T000000Z`, with `.123456` → `_123456` when there are microseconds. */
export function compactTime(us: bigint): string {
  return formatTime(us).replace(/[-:]/g, "").replace(".", "_");
}

const US_PER_S = 1_000_000n;

/** A google.protobuf.Timestamp of microseconds since the epoch. */
export function timestampOf(us: bigint): { seconds: bigint; nanos: number } {
  const fraction = ((us % US_PER_S) + US_PER_S) % US_PER_S;
  return { seconds: (us - fraction) / US_PER_S, nanos: Number(fraction) * 1_000 };
}

/** Microseconds since the epoch; digits past the microsecond are cut. An absent one is 0. */
export function microsOf(time: { readonly seconds: bigint; readonly nanos: number } | undefined): bigint {
  return time ? time.seconds * US_PER_S + BigInt(Math.floor(time.nanos / 1_000)) : 0n;
}

/** What positions on an axis are: microseconds since the epoch, or integers of a column's type. Always a bigint. */
export type Axis = "time" | "int64" | "uint64";

const INTEGERS = {
  int64: { first: -(2n ** 63n), last: 2n ** 63n - 1n },
  uint64: { first: 0n, last: 2n ** 64n - 1n },
} as const;
const INTEGER = /^-?(0|[1-9]\d{0,19})$/;

/** The axis of a column by its type; undefined: time. */
export const axisOf = (type: string | undefined): Axis => (type === "int64" || type === "uint64" ? type : "time");

/** The axis of a pipe by its declared columns and the one that `datetime` names. */
export const axisAmong = (columns: readonly { readonly name: string; readonly type: string }[], datetime: string) =>
  axisOf(columns.find(({ name }) => name === datetime)?.type);

/** Whether it is written as an integer, and so cannot be a time or a duration. */
export const isInteger = (raw: string): boolean => INTEGER.test(raw);

/** The greatest integer of an axis: an end is exclusive, so no window holds it. Undefined for time. */
export const lastPosition = (axis: Axis): bigint | undefined => (axis === "time" ? undefined : INTEGERS[axis].last);

/** One position. Errors: `invalid`, naming `field`; above all for a time where integers are, or the other way. */
export function parsePosition(axis: Axis, raw: string, field: string): bigint {
  if (axis !== "time") return parseInteger(axis, raw, field, INTEGERS[axis].first);
  if (!isInteger(raw)) return parseTime(raw, field);
  const problem = `${JSON.stringify(raw)} is an integer, and the axis is time`;
  const fix = "write it as 2012-01-31T00:00:00Z; for integers declare the datetime column as int64 or uint64";
  throw Fault.invalid(field, [{ field, problem, fix }]);
}

/** How far it is between two positions, at least 0. Errors: as `parsePosition`. */
export function parseDistance(axis: Axis, raw: string, field: string): bigint {
  if (axis !== "time") return parseInteger(axis, raw, field, 0n);
  if (!isInteger(raw)) return BigInt(parseDuration(raw, field)) * 1_000n;
  const problem = `${JSON.stringify(raw)} is an integer, and the axis is time`;
  const fix = "write a duration such as 1d; for integers declare the datetime column as int64 or uint64";
  throw Fault.invalid(field, [{ field, problem, fix }]);
}

function parseInteger(axis: "int64" | "uint64", raw: string, field: string, first: bigint): bigint {
  const { last } = INTEGERS[axis];
  const fix = `a whole number from ${first} to ${last}, such as 100000`;
  if (!isInteger(raw)) {
    const problem = `${JSON.stringify(raw)} is not an integer, and the axis is an ${axis} column`;
    throw Fault.invalid(field, [{ field, problem, fix }]);
  }
  const at = BigInt(raw);
  if (at >= first && at <= last) return at;
  throw Fault.invalid(field, [{ field, problem: `${raw} is out of range`, fix }]);
}

export const formatPosition = (axis: Axis, at: bigint): string => (axis === "time" ? formatTime(at) : String(at));

/** Key-safe, and unlike a position of the other kind of axis. */
export const compactPosition = (axis: Axis, at: bigint): string => (axis === "time" ? compactTime(at) : String(at));

interface Moment {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** A stretch of an axis in a message: times, or the integers beside them, of which "" is none. */
export interface Stretch {
  readonly begin?: Moment | undefined;
  readonly end?: Moment | undefined;
  readonly beginInt?: string | undefined;
  readonly endInt?: string | undefined;
}

export const positionOf = (time: Moment | undefined, integer: string | undefined): bigint =>
  integer ? BigInt(integer) : microsOf(time);
export const beginOf = ({ begin, beginInt }: Pick<Stretch, "begin" | "beginInt">) => positionOf(begin, beginInt);
export const endOf = ({ end, endInt }: Pick<Stretch, "end" | "endInt">) => positionOf(end, endInt);

/** The fields of a message for a stretch. */
export const stretchOf = (axis: Axis, begin: bigint, end: bigint) =>
  axis === "time"
    ? { begin: timestampOf(begin), end: timestampOf(end), beginInt: "", endInt: "" }
    : { begin: undefined, end: undefined, beginInt: String(begin), endInt: String(end) };
