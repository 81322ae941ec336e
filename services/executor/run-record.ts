/** A run's row in the history, and the event that says that it ended. */
import { EVENTS } from "../../proto/names.ts";
import type { Events } from "../bus/ports.ts";
import { formatTime } from "../kit/time.ts";
import type { Outcome, RunKind, RunPart, RunRecord } from "../results/results.ts";
import type { Subject } from "./catalog.ts";
import type { Tally } from "./tally.ts";
import type { WindowSpan } from "./windows.ts";

const MAX_MESSAGE_CHARACTERS = 4_000;

/** What a run is, before it has ended. */
export interface RunHead {
  readonly kind: RunKind;
  readonly runId: string;
  readonly dataset: string;
  /** Full name of pipe or poller, or what was called. */
  readonly target: string;
  readonly resource: string;
  readonly subject: Subject;
  readonly dueUs: bigint;
  readonly startedUs: bigint;
  readonly window?: Pick<WindowSpan, "axis" | "beginUs" | "endUs">;
  readonly attempt: number;
  readonly executor: string;
}

/** How it ended. */
export interface RunEnd {
  /** 0 when no lease was held: such a row never hides an attempt's. */
  readonly fence: bigint;
  readonly outcome: Outcome;
  readonly committed: boolean;
  readonly message: string;
  readonly parts?: readonly RunPart[];
  readonly chunks?: number;
  readonly rows?: number;
}

export const nowUs = () => BigInt(Date.now()) * 1_000n;

export function runRecord(head: RunHead, end: RunEnd, used: Tally): RunRecord {
  const { subject, window, ...rest } = head;
  const { wallMs, cpuMs, memoryPeakBytes, bytesIn, bytesOut, gas, hostCalls } = used;
  return {
    ...rest,
    plugin: subject.plugin,
    version: subject.version,
    digest: subject.release.moduleDigest,
    instance: subject.instance,
    beginUs: window?.beginUs,
    endUs: window?.endUs,
    integers: window !== undefined && window.axis !== "time",
    finishedUs: nowUs(),
    ...{ parts: [], chunks: 0, rows: 0 },
    ...end,
    message: end.message.slice(0, MAX_MESSAGE_CHARACTERS),
    ...{ wallMs, cpuMs, memoryPeakBytes, bytesIn, bytesOut, gas, hostCalls: { ...hostCalls } },
  };
}

/** Fire and forget: whoever listens now hears of it. */
export function announceRun(events: Events, run: RunRecord): void {
  const { runId, kind, instance, target, resource, outcome, committed, rows, message, fence, executor } = run;
  const body = {
    ...{ run_id: runId, kind, instance, target, resource, outcome, committed, rows, message, executor },
    ...{ fence: String(fence), finished: formatTime(run.finishedUs) },
  };
  events.publish(`${EVENTS.runs}.${kind}`, Buffer.from(JSON.stringify(body))).catch(() => {});
}
