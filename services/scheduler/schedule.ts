/** When something is due: by interval with a phase, by cron, or by hand only. Pure; milliseconds since the epoch. */
import { Cron } from "croner";
import { Fault } from "../kit/fault.ts";
import { parseDuration } from "../kit/time.ts";

export type Schedule =
  | { readonly kind: "every"; readonly periodMs: number }
  | { readonly kind: "cron"; readonly cron: Cron }
  | { readonly kind: "manual" };

export const MANUAL: Schedule = { kind: "manual" };

const MIN_PERIOD_MS = 1_000;
const MAX_PERIOD_MS = 366 * 86_400_000;
const FIX = "write `every 30s`, `cron 15 3 * * *`, `cron 15 3 * * * Europe/Berlin` or `manual`";
/** Any moment will do: whether an expression has a next moment does not depend on it. */
const PROBE = new Date(0);

/** Errors: `invalid`, naming `field`, the value and what is wrong with it. */
export function parseSchedule(raw: string, field: string): Schedule {
  const [word, ...rest] = raw.trim().split(/\s+/);
  if (word === "manual" && rest.length === 0) return MANUAL;
  if (word === "every" && rest.length === 1) return parseEvery(rest[0] as string, raw, field);
  if (word === "cron") return parseCron(rest, raw, field);
  return refuse(field, raw, "is not a schedule", FIX);
}

function parseEvery(duration: string, raw: string, field: string): Schedule {
  const periodMs = parseDuration(duration, field);
  if (periodMs < MIN_PERIOD_MS) refuse(field, raw, "is too often", "the shortest period is 1s");
  if (periodMs > MAX_PERIOD_MS) refuse(field, raw, "is too rare", "the longest period is 366d");
  return { kind: "every", periodMs };
}

function parseCron(parts: readonly string[], raw: string, field: string): Schedule {
  const last = parts.at(-1) ?? "";
  const zoned = parts.length > 5 && isZone(last);
  const fields = zoned ? parts.slice(0, -1) : parts;
  if (fields.length !== 5 && fields.length !== 6) {
    const fix = "five fields (six with seconds), then a time zone such as Europe/Berlin";
    refuse(field, raw, `has ${fields.length} cron fields`, fix);
  }
  // croner reads `?` as "now", which would make a schedule depend on when it was parsed.
  if (fields.some((part) => part.includes("?"))) refuse(field, raw, "has a `?`", "write `*`");
  try {
    const cron = new Cron(fields.join(" "), { timezone: zoned ? last : "UTC", mode: "5-or-6-parts", paused: true });
    if (cron.nextRun(PROBE) === null) refuse(field, raw, "never comes", "name a date that exists");
    return { kind: "cron", cron };
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    const problem = Fault.from(thrown).message.replace(/^CronPattern: /, "");
    return refuse(field, raw, `is not a cron schedule (${problem})`, FIX);
  }
}

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

function isZone(name: string): boolean {
  // Offsets such as +02:00 have no summer time and hide that it exists: names only.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function refuse(field: string, value: string, problem: string, fix: string): never {
  throw Fault.invalid(field, [{ field, problem: `${JSON.stringify(value)} ${problem}`, fix }]);
}
