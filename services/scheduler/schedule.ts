/**
 * When a schedule is due: by interval with a phase, by cron, or never by itself. Pure; milliseconds since the epoch.
 */
import type { Cron } from "croner";
import type { Schedule } from "../kit/schedule.ts";

/** The first due moment after `afterMs`; undefined: never. `key` decides the phase of an interval, "" has phase 0. */
export function nextDue(schedule: Schedule, key: string, afterMs: number): number | undefined {
  if (schedule.kind === "manual") return undefined;
  if (schedule.kind === "cron") return nextCron(schedule.cron, afterMs);
  const { periodMs } = schedule;
  const phaseMs = phaseOf(key, periodMs);
  return (Math.floor((afterMs - phaseMs) / periodMs) + 1) * periodMs + phaseMs;
}

/** The newest due moment up to and including `atMs`; undefined: none ever. */
export function lastDue(schedule: Schedule, key: string, atMs: number): number | undefined {
  if (schedule.kind === "manual") return undefined;
  // croner counts whole seconds, and its reference is exclusive.
  if (schedule.kind === "cron") return schedule.cron.previousRuns(1, new Date(wholeSecond(atMs) + 1_000))[0]?.getTime();
  const phaseMs = phaseOf(key, schedule.periodMs);
  return Math.floor((atMs - phaseMs) / schedule.periodMs) * schedule.periodMs + phaseMs;
}

/** From a due moment to the next one, in milliseconds; of `manual` Infinity. */
export function periodAt(schedule: Schedule, dueMs: number): number {
  if (schedule.kind === "every") return schedule.periodMs;
  const next = nextDue(schedule, "", dueMs);
  return next === undefined ? Number.POSITIVE_INFINITY : next - dueMs;
}

/** How many due moments lie within (fromMs, toMs], counted up to `most`. */
export function countDue(schedule: Schedule, key: string, fromMs: number, toMs: number, most: number): number {
  if (schedule.kind === "every") {
    const phaseMs = phaseOf(key, schedule.periodMs);
    const index = (ms: number) => Math.floor((ms - phaseMs) / schedule.periodMs);
    return Math.min(most, index(toMs) - index(fromMs));
  }
  let count = 0;
  let dueMs = nextDue(schedule, key, fromMs);
  while (dueMs !== undefined && dueMs <= toMs && count < most) {
    count += 1;
    dueMs = nextDue(schedule, key, dueMs);
  }
  return count;
}

/** The next `count` due moments after `afterMs`, in order. */
export function preview(schedule: Schedule, key: string, afterMs: number, count: number): number[] {
  const times: number[] = [];
  for (let dueMs = nextDue(schedule, key, afterMs); dueMs !== undefined && times.length < count; ) {
    times.push(dueMs);
    dueMs = nextDue(schedule, key, dueMs);
  }
  return times;
}

/**
 * Where in its period a key is due: spread evenly over all keys, the same after every restart and on every scheduler.
 * FNV-1a over the UTF-16 units with MurmurHash3's final mix, for FNV alone leaves keys that differ at the end close
 * together.
 */
export function phaseOf(key: string, periodMs: number): number {
  if (key === "") return 0;
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return Math.floor(((hash >>> 0) / 2 ** 32) * periodMs);
}

function nextCron(cron: Cron, afterMs: number): number | undefined {
  return cron.nextRun(new Date(wholeSecond(afterMs)))?.getTime();
}

const wholeSecond = (ms: number) => Math.floor(ms / 1_000) * 1_000;
