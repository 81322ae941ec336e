/** Time at the border: RFC 3339 in UTC and short durations. Inside, bigint microseconds or number milliseconds. */
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
