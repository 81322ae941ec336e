/** Claims windows and sends their jobs: each claimed first, so that nothing is queued twice or lost. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import type { Window } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import type { Queue } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { type Asked, axisOfPipe, fetchJob, messageId } from "./jobs.ts";
import { usOfMs } from "./moments.ts";
import type { Catalog } from "./standing.ts";
import type { OnStep } from "./steps.ts";
import type { StoredWindow, WindowStore } from "./window-store.ts";
import type { PlannedWindow, Range } from "./windows.ts";

/** With an empty queue a running window has no job: only a claim that is not sent yet may be this young. */
const LOST_WHEN_IDLE_US = usOfMs(60_000);
/** While jobs wait, age says little: a window may be queued for long. */
const LOST_WHEN_BUSY_US = usOfMs(3_600_000);
export interface SyncPorts {
  readonly catalog: Catalog;
  readonly windows: WindowStore;
  readonly queue: Queue;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly onStep?: OnStep | undefined;
}

export interface SyncRequest extends Asked {
  readonly pipe: Pipe;
  readonly refetch: boolean;
  /** With `refetch`: only windows that did not change since. */
  readonly refetchBeforeUs?: bigint | undefined;
  readonly range?: Range | undefined;
  /** What was fetched since is not fetched again; on an axis of integers, when the sync was due that goes on. */
  readonly sinceUs?: bigint | undefined;
  /** Of a pipe that comes after others: also windows that failed and would be made from the same. Default: yes. */
  readonly retryFailed?: boolean;
  /** At most this many windows, the first ones. */
  readonly limit?: number;
  /** Stops between batches: what was queued stays queued. */
  readonly signal?: AbortSignal;
}

export interface Synced {
  /** By begin. */
  readonly queued: readonly Window[];
  readonly skipped: number;
  /** Begin of the first window that needs fetching and was left out for the limit. */
  readonly nextUs: bigint | undefined;
}

/** When the sync was due that goes on after its windows: one without an end on an axis of integers. */
const goesOn = ({ pipe, range, limit, sinceUs, dueUs }: SyncRequest): bigint | undefined => {
  const bounded = axisOfPipe(pipe) === "time" || range?.endUs !== undefined || limit !== undefined;
  return bounded || pipe.effective?.after.length ? undefined : (sinceUs ?? dueUs);
};

/** Windows at work that changed before this are taken for lost, with so many jobs in the queue. */
export const lostBefore = (nowUs: bigint, depth: number) =>
  nowUs - (depth === 0 ? LOST_WHEN_IDLE_US : LOST_WHEN_BUSY_US);

/** Claims a window and sends its job. Undefined when another scheduler has it, or has sent the same job before. */
export async function sendWindow(
  { windows, queue, log, nowMs, onStep }: SyncPorts,
  request: SyncRequest,
  planned: PlannedWindow,
  former: StoredWindow | undefined,
  inputs = "",
): Promise<Window | undefined> {
  const pipe = bare(request.pipe.name);
  const job = fetchJob(request.pipe, planned, request);
  const { dueUs } = request;
  const queued = { run: job.runId, dueUs, nowUs: usOfMs(nowMs()), inputs, sinceUs: goesOn(request) };
  await onStep?.("planned", job.runId);
  const claim = await windows.claim(pipe, axisOfPipe(request.pipe), planned, former, queued);
  if (!claim) return undefined;
  let sent = false;
  try {
    await onStep?.("claimed", job.runId);
    sent = await queue.send(messageId(job), Job.encode(job).finish());
    await onStep?.("sent", job.runId);
    return sent ? claim.window : undefined;
  } finally {
    if (!sent) {
      await windows.release(pipe, claim).catch((thrown) => {
        // It stays RUNNING without a job; a later sync takes it for lost and queues it again.
        log.warn({ run: job.runId, reason: Fault.from(thrown).message }, "a claimed window could not be put back");
      });
    }
  }
}
