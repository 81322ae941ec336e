/** Moments between the wire (Timestamp), the grid (bigint microseconds) and the clock (number milliseconds). */
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import {
  type Axis,
  beginOf,
  endOf,
  formatPosition,
  isInteger,
  microsOf,
  parsePosition,
  type Stretch,
} from "../kit/time.ts";

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

const ENDS = ["begin", "end"] as const;

/** What is wrong with a range that came from outside, whatever axis it is for. */
export function spanMistakes(asked: Stretch): Mistake[] {
  const wrong = ENDS.flatMap((name): Mistake[] => {
    const [time, integer] = [asked[name], asked[`${name}Int`] ?? ""];
    const mistake = time && timestampMistake(time, name);
    const problem = `${JSON.stringify(integer)} is not an integer`;
    const odd =
      integer === "" || isInteger(integer) ? [] : [{ field: `${name}_int`, problem, fix: 'such as "100000"' }];
    return [...(mistake ? [mistake] : []), ...odd];
  });
  const { begin, end, beginInt, endInt } = asked;
  const [times, integers] = [begin && end, beginInt && endInt];
  if (wrong.length > 0 || !(times || integers) || beginOf(asked) < endOf(asked)) return wrong;
  const [from, to] = [beginOf(asked), endOf(asked)].map((at) => formatPosition(times ? "time" : "int64", at));
  const fix = times ? "end is exclusive: at least a microsecond later" : "end is exclusive: a greater integer";
  return [{ field: times ? "end" : "end_int", problem: `${to} is not after begin, ${from}`, fix }];
}

/** A range without mistakes of its own, for an axis. Errors: `invalid` with every mistake; above all the other axis. */
export function readSpan(what: string, axis: Axis, asked: Stretch): Span {
  const mistakes: Mistake[] = [];
  const read = (name: (typeof ENDS)[number]): bigint | undefined => {
    const [time, integer] = [asked[name], asked[`${name}Int`] ?? ""];
    if (axis === "time" ? integer !== "" : time !== undefined) {
      const [kind, axisIs] = axis === "time" ? ["an integer", "time"] : ["a time", `an ${axis} column`];
      const fix = axis === "time" ? `write ${name} as 2012-01-31T00:00:00Z` : `write ${name}_int as "100000"`;
      const field = axis === "time" ? `${name}_int` : name;
      mistakes.push({ field, problem: `is ${kind}, and the axis of the pipe is ${axisIs}`, fix });
      return undefined;
    }
    if (axis === "time") return time && microsOf(time);
    if (integer === "") return undefined;
    try {
      return parsePosition(axis, integer, `${name}_int`);
    } catch (thrown) {
      mistakes.push(...Fault.from(thrown).mistakes);
      return undefined;
    }
  };
  const span = { beginUs: read("begin"), endUs: read("end") };
  if (mistakes.length) throw Fault.invalid(what, mistakes);
  return span;
}
