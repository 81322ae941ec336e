/** When something runs: `every <duration>`, `cron <expression> [time zone]` or `manual`. Only judged here. */
import { Cron } from "croner";
import { Fault, type Mistake } from "../kit/fault.ts";
import { parseDuration } from "../kit/time.ts";
import { shown } from "./names.ts";

const MIN_EVERY_MS = 1_000;
const MAX_EVERY_MS = 366 * 86_400_000;
const FIX = 'write "every 1h", "cron 15 3 * * * Europe/Berlin" or "manual"';

/** Five or six cron fields; the last word is a time zone when it names one. UTC without. */
export function scheduleMistakes(schedule: string, field: string, { manual }: { readonly manual: boolean }): Mistake[] {
  const wrong = (problem: string, fix = FIX) => [{ field, problem: `${shown(schedule)} ${problem}`, fix }];
  if (schedule === "manual") return manual ? [] : wrong("is not accepted here", 'write "every 30s" or "cron …"');
  const [kind = "", ...words] = schedule.split(" ");
  if (kind === "every") {
    if (words.length !== 1) return wrong("is not a schedule");
    return durationMistakes(words[0] as string, field, MIN_EVERY_MS, MAX_EVERY_MS);
  }
  if (kind !== "cron") return wrong("is not a schedule");
  const zone = words.length > 5 && isTimeZone(words.at(-1) as string) ? (words.pop() as string) : "UTC";
  if (words.length !== 5 && words.length !== 6) return wrong(`has ${words.length} cron fields`);
  // Its `?` means "now", which would make a schedule depend on when it is read.
  if (words.some((word) => word.includes("?"))) return wrong("has a ?", "write *");
  try {
    const next = new Cron(words.join(" "), { timezone: zone, paused: true, mode: "5-or-6-parts" }).nextRun();
    return next ? [] : wrong("never comes", "choose a day that exists");
  } catch (thrown) {
    return wrong(`is not a cron expression: ${(thrown as Error).message.replace(/^CronPattern: /, "")}`);
  }
}

/** Errors are collected, not thrown. Both ends of the range are accepted. */
export function durationMistakes(value: string, field: string, minMs: number, maxMs: number): Mistake[] {
  const mistakes: Mistake[] = [];
  const ms = collect(mistakes, () => parseDuration(value, field));
  if (ms !== undefined && ms < minMs) {
    mistakes.push({ field, problem: `${shown(value)} is too short`, fix: `at least ${minMs} ms` });
  }
  if (ms !== undefined && ms > maxMs) {
    mistakes.push({ field, problem: `${shown(value)} is too long`, fix: `at most ${maxMs / 1_000} s` });
  }
  return mistakes;
}

/** The value, or undefined with the mistakes of the Fault that it threw. */
export function collect<T>(mistakes: Mistake[], read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.code !== "invalid") throw thrown;
    mistakes.push(...thrown.mistakes);
    return undefined;
  }
}

function isTimeZone(word: string): boolean {
  if (!/^[A-Za-z]/.test(word)) return false;
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: word }));
  } catch {
    return false;
  }
}
