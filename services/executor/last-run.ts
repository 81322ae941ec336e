/** What a run on a resource left for the next one: when it ran, by the bus's clock, and what a poll answered. */
import type { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { parseDuration } from "../kit/time.ts";
import { changeRecord, refuseNewer } from "./fenced-record.ts";
import type { Skip } from "./kinds/kind.ts";

/** An answer over this is not kept: the next poll gets none. */
const MAX_ANSWER_BYTES = 256 * 1_024;

export interface LastRun {
  readonly runId: string;
  readonly fence: bigint;
  /** When its lease was granted: milliseconds since the epoch, by the bus's clock. */
  readonly startedMs: number;
  /** The guest's answer, with the time it was asked: `previous` of the next poll. */
  readonly answer: unknown;
}

const keyOf = (poller: string, resource: string) => `${encodeKeyPart(poller)}.${encodeKeyPart(resource)}`;

export async function readLastRun(kv: Kv, poller: string, resource: string): Promise<LastRun | undefined> {
  const entry = await kv.get(keyOf(poller, resource));
  return entry && decode(entry.value);
}

/** Errors: `conflict` when a newer run has written. */
export async function writeLastRun(kv: Kv, poller: string, resource: string, run: LastRun): Promise<void> {
  const answer = Buffer.byteLength(JSON.stringify(run.answer ?? null)) <= MAX_ANSWER_BYTES ? run.answer : null;
  const value = Buffer.from(JSON.stringify({ ...run, answer, fence: String(run.fence) }));
  await changeRecord(kv, keyOf(poller, resource), (stored) => {
    if (stored) refuseNewer(decode(stored).fence, run.fence, `the last run of ${poller} on ${resource}`);
    return value;
  });
}

export interface Begun {
  readonly job: Pick<Job, "runId" | "manual">;
  /** Bare names. */
  readonly pollerId: string;
  readonly resourceId: string;
  /** As it is written: `every …` has a minimum interval of half a period, cron has none. */
  readonly schedule: string;
  readonly grantedMs: number;
}

/** The run before, and why this one is not to be: it has been done already, or it comes too soon. */
export async function minimumInterval(
  kv: Kv,
  { job, pollerId, resourceId, schedule, grantedMs }: Begun,
): Promise<{ readonly last: LastRun | undefined; readonly skip: Skip | undefined }> {
  const last = await readLastRun(kv, pollerId, resourceId);
  if (last?.runId === job.runId) return { last, skip: { outcome: undefined, message: "has run already" } };
  const every = /^every\s+(\S+)$/.exec(schedule.trim())?.[1];
  const periodMs = every ? parseDuration(every, "schedule") : 0;
  if (job.manual || !isEarly(last, grantedMs, periodMs)) return { last, skip: undefined };
  const sinceMs = grantedMs - (last?.startedMs ?? 0);
  const message = `${sinceMs} ms after the run before; the period is ${periodMs} ms`;
  return { last, skip: { outcome: "skipped_early", message } };
}

/** Whether a run is too soon after the one before: within half a period. Pure. */
export function isEarly(last: Pick<LastRun, "startedMs"> | undefined, grantedMs: number, periodMs: number): boolean {
  return last !== undefined && grantedMs - last.startedMs < periodMs / 2;
}

function decode(value: Uint8Array): LastRun {
  const stored = JSON.parse(Buffer.from(value).toString("utf8")) as Omit<LastRun, "fence"> & { fence: string };
  return { ...stored, fence: BigInt(stored.fence) };
}
