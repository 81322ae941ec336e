/** When something recurs, as people write it: `every 30s`, `cron 15 3 * * * Europe/Berlin` or `manual`. */
import { Cron } from "croner";
import { Fault } from "./fault.ts";
import { parseDuration } from "./time.ts";

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
