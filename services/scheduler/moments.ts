/** Moments between the wire (Timestamp), the grid (bigint microseconds) and the clock (number milliseconds). */
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import type { Mistake } from "../kit/fault.ts";

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
