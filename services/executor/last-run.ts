/** What a poll left for the next one of the same resource: when it ran, by the bus's clock, and what it answered. */
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { changeRecord, refuseNewer } from "./fenced-record.ts";

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

/** Whether a run is too soon after the one before: within half a period. Pure. */
export function isEarly(last: Pick<LastRun, "startedMs"> | undefined, grantedMs: number, periodMs: number): boolean {
  return last !== undefined && grantedMs - last.startedMs < periodMs / 2;
}

function decode(value: Uint8Array): LastRun {
  const stored = JSON.parse(Buffer.from(value).toString("utf8")) as Omit<LastRun, "fence"> & { fence: string };
  return { ...stored, fence: BigInt(stored.fence) };
}
