/** Queues the windows of a pipe that need fetching, each claimed first so that nothing is queued twice or lost. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import type { Queue } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { microsOf } from "../kit/time.ts";
import { type Asked, fetchJob, messageId } from "./jobs.ts";
import { usOfMs } from "./moments.ts";
import { gridOfPipe } from "./standing.ts";
import { type StoredWindow, toKnown, type WindowStore } from "./window-store.ts";
import { gridLength, type PlannedWindow, planWindows } from "./windows.ts";

/** More than this many windows of one pipe are refused: every sync looks at them all. */
export const MAX_WINDOWS = 100_000;
/** Claims and sends in flight. */
const BATCH = 64;
/** With an empty queue a running window has no job: only a claim that is not sent yet may be this young. */
const LOST_WHEN_IDLE_US = usOfMs(60_000);
/** While jobs wait, age says little: a window may be queued for long. */
const LOST_WHEN_BUSY_US = usOfMs(3_600_000);
/** Within the time that the queue remembers ids for: sending again then is a no-op for what was sent. */
const RESEND_US = usOfMs(540_000);

export interface SyncPorts {
  readonly windows: WindowStore;
  readonly queue: Queue;
  readonly log: Logger;
  readonly nowMs: () => number;
}

export interface SyncRequest extends Asked {
  readonly pipe: Pipe;
  readonly refetch: boolean;
  /** With `refetch`: only windows that did not change since. */
  readonly refetchBeforeUs?: bigint | undefined;
  readonly range?: { readonly beginUs: bigint; readonly endUs: bigint } | undefined;
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

/**
 * Errors: `precondition` without a begin or with more than 100,000 windows; `exhausted` when the queue is full,
 * `unavailable` when the bus is: what was queued stays queued, the others are as they were.
 */
export async function syncPipe(ports: SyncPorts, request: SyncRequest): Promise<Synced> {
  const { pipe, dueUs } = request;
  const grid = gridOfPipe(pipe);
  const length = gridLength(grid, dueUs);
  if (length > MAX_WINDOWS) {
    const advice = "choose a longer chunk or a later begin";
    throw new Fault("precondition", `${pipe.name} has ${length} windows, more than ${MAX_WINDOWS}: ${advice}`);
  }
  const nowUs = usOfMs(ports.nowMs());
  const [stored, depth] = await Promise.all([ports.windows.list(bare(pipe.name)), ports.queue.depth()]);
  if (request.manual) await resendClaims(ports, stored, () => pipe, request);
  const plan = planWindows({
    ...grid,
    // Whoever names a range wants that range.
    backtrackUs: request.range ? 0n : grid.backtrackUs,
    nowUs: dueUs,
    known: stored.map(toKnown),
    refetch: request.refetch,
    refetchBeforeUs: request.refetchBeforeUs,
    range: request.range,
    lostBeforeUs: nowUs - (depth === 0 ? LOST_WHEN_IDLE_US : LOST_WHEN_BUSY_US),
  });
  const byBegin = new Map(stored.map((s) => [microsOf(s.window.begin), s]));
  const queued: Window[] = [];
  const chosen = plan.queue.slice(0, request.limit);
  for (let at = 0; at < chosen.length; at += BATCH) {
    request.signal?.throwIfAborted();
    const batch = chosen.slice(at, at + BATCH);
    const results = await Promise.allSettled(
      batch.map((planned) => queueWindow(ports, request, planned, byBegin.get(planned.beginUs))),
    );
    for (const result of results) if (result.status === "fulfilled" && result.value) queued.push(result.value);
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw Fault.from(failed.reason);
  }
  const skipped = plan.skipped + chosen.length - queued.length;
  return { queued, skipped, nextUs: plan.queue[chosen.length]?.beginUs };
}

/** Undefined when another scheduler has the window, or has sent the same job before. */
async function queueWindow(
  { windows, queue, log, nowMs }: SyncPorts,
  request: SyncRequest,
  planned: PlannedWindow,
  former: StoredWindow | undefined,
): Promise<Window | undefined> {
  const pipe = bare(request.pipe.name);
  const job = fetchJob(request.pipe, planned, request);
  const queued = { run: job.runId, dueUs: request.dueUs, nowUs: usOfMs(nowMs()) };
  const claim = await windows.claim(pipe, planned, former, queued);
  if (!claim) return undefined;
  let sent = false;
  try {
    sent = await queue.send(messageId(job), Job.encode(job).finish());
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

/**
 * A scheduler that died between claim and send leaves a running window without a job. Its message is known from the
 * window, so it is sent again; for all others that is a no-op.
 */
export async function resendClaims(
  { queue, nowMs }: Pick<SyncPorts, "queue" | "nowMs">,
  stored: readonly StoredWindow[],
  pipeOf: (id: string) => Pipe | undefined,
  { epoch, manual }: Pick<Asked, "epoch" | "manual">,
): Promise<number> {
  const sinceUs = usOfMs(nowMs()) - RESEND_US;
  const jobs = stored.flatMap(({ pipe: id, window }) => {
    const pipe = pipeOf(id);
    const dueUs = microsOf(window.dueTime);
    const recent = dueUs > sinceUs && microsOf(window.updateTime) > sinceUs;
    if (!pipe || !recent || window.state !== WindowState.RUNNING) return [];
    const [beginUs, endUs] = [microsOf(window.begin), microsOf(window.end)];
    const planned = { beginUs, endUs, untilUs: untilOf(pipe, endUs, dueUs) };
    return [fetchJob(pipe, planned, { dueUs, epoch, manual })];
  });
  let sent = 0;
  for (let at = 0; at < jobs.length; at += BATCH) {
    const batch = jobs.slice(at, at + BATCH);
    const results = await Promise.all(batch.map((job) => queue.send(messageId(job), Job.encode(job).finish())));
    sent += results.filter(Boolean).length;
  }
  return sent;
}

function untilOf(pipe: Pipe, endUs: bigint, dueUs: bigint): bigint {
  const { endUs: last } = gridOfPipe(pipe);
  return [dueUs, ...(last === undefined ? [] : [last])].reduce((a, b) => (a < b ? a : b), endUs);
}
