/** Judging many fields at once: what a parser throws is collected, not passed on. */
import { RESOURCE_VARIABLE } from "../../proto/catalog.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { compilePredicate } from "../kit/predicate.ts";
import { parseSchedule } from "../kit/schedule.ts";
import { parseDuration } from "../kit/time.ts";
import { shown } from "./names.ts";

export function scheduleMistakes(schedule: string, field: string, { manual }: { readonly manual: boolean }): Mistake[] {
  const mistakes: Mistake[] = [];
  const parsed = collect(mistakes, () => parseSchedule(schedule, field));
  if (parsed?.kind === "manual" && !manual) {
    mistakes.push({ field, problem: `${shown(schedule)} is not accepted here`, fix: 'write "every 30s" or "cron …"' });
  }
  return mistakes;
}

export function filterMistakes(filter: string, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  collect(mistakes, () => compilePredicate(filter, RESOURCE_VARIABLE, field));
  return mistakes;
}

/** Both ends of the range are accepted. */
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
