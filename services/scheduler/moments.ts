/** Moments between the wire (Timestamp), the grid (bigint microseconds) and the clock (number milliseconds). */
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { type Axis, formatPosition, microsOf, parsePosition, type Stretch } from "../kit/time.ts";

export const usOfMs = (ms: number): bigint => BigInt(Math.floor(ms)) * 1_000n;
export const msOfUs = (us: bigint): number => Number(us / 1_000n);

/** Year 1 to 9999: what RFC 3339 can write. */
const MIN_SECONDS = -62_135_596_800n;
const MAX_SECONDS = 253_402_300_799n;

/** What is wrong with a time that came from outside; undefined when nothing is. */
export function timestampMistake(time: Timestamp, field: string): Mistake | undefined {
  const { seconds, nanos } = time;
  if (seconds < MIN_SECONDS || seconds > MAX_SECONDS) {
    return {
      field,
      problem: `${seconds} s is no moment within the years 1 to 9999`,
      fix: "seconds since 1970, in UTC",
    };
  }
  if (nanos >= 0 && nanos <= 999_999_999) return undefined;
  return { field, problem: `${nanos} are no nanoseconds of a second`, fix: "0 to 999,999,999" };
}

export interface Span {
  readonly beginUs: bigint | undefined;
  readonly endUs: bigint | undefined;
}

/** A range that came from outside, for an axis. Errors: `invalid` with every mistake, also for one of the other kind. */
export function readSpan(what: string, axis: Axis, asked: Stretch): Span {
  const mistakes: Mistake[] = [];
  const read = (field: "begin" | "end"): bigint | undefined => {
    const [time, integer] = [asked[field], asked[`${field}Int`] ?? ""];
    const name = axis === "time" ? `${field}_int` : field;
    if (axis === "time" ? integer !== "" : time !== undefined) {
      const problem =
        axis === "time" ? "is an integer, and the pipe goes by time" : `is a time; the pipe goes by ${axis}`;
      const fix = axis === "time" ? `write ${field} as 2012-01-31T00:00:00Z` : `write ${field}_int as "100000"`;
      mistakes.push({ field: name, problem, fix });
      return undefined;
    }
    if (axis !== "time") return integer === "" ? undefined : tried(() => parsePosition(axis, integer, `${field}_int`));
    const wrong = time && timestampMistake(time, field);
    if (wrong) mistakes.push(wrong);
    return time && !wrong ? microsOf(time) : undefined;
  };
  const tried = (work: () => bigint): bigint | undefined => {
    try {
      return work();
    } catch (thrown) {
      mistakes.push(...Fault.from(thrown).mistakes);
      return undefined;
    }
  };
  const [beginUs, endUs] = [read("begin"), read("end")];
  if (beginUs !== undefined && endUs !== undefined && beginUs >= endUs) {
    const [from, to] = [beginUs, endUs].map((at) => formatPosition(axis, at));
    const fix =
      axis === "time" ? "end is exclusive: at least a microsecond later" : "end is exclusive: a greater integer";
    mistakes.push({ field: "end", problem: `${to} is not after begin, ${from}`, fix });
  }
  if (mistakes.length) throw Fault.invalid(what, mistakes);
  return { beginUs, endUs };
}
