/** Queues the windows of a pipe that need fetching, each claimed first so that nothing is queued twice or lost. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { beginOf, endOf, microsOf } from "../kit/time.ts";
import { syncChain } from "./chain-sync.ts";
import { type Asked, axisOfPipe, fetchJob, messageId } from "./jobs.ts";
import { usOfMs } from "./moments.ts";
import { gridOfPipe } from "./standing.ts";
import type { WindowIndex } from "./window-index.ts";
import { lostBefore, type Synced, type SyncPorts, type SyncRequest, sendWindow } from "./window-sending.ts";
import { type StoredWindow, toKnown } from "./window-store.ts";
import { existsUntil, gridLength, isWanted, type PlannedWindow, planWindows, type WindowPlanInput } from "./windows.ts";

export type { Synced, SyncPorts, SyncRequest } from "./window-sending.ts";

/** More than this many windows of one pipe are refused: every sync looks at them all, if only at their numbers. */
export const MAX_WINDOWS = 2_000_000;
/** Windows that are planned in one go: what is planned takes memory, and may be another's by the time it is claimed. */
const MAX_PLANNED = 10_000;
/** A claim of another scheduler that is older than this and whose job is not queued has lost its sender. */
const UNSENT_US = usOfMs(5_000);
/** Claims and sends in flight. */
const BATCH = 64;
/** Within the time that the queue remembers ids for: sending again then is a no-op for what was sent. */
const RESEND_US = usOfMs(540_000);

/**
 * Errors: `precondition` without a begin or with more than 2,000,000 windows; `exhausted` when the queue is full,
 * `unavailable` when the bus is: what was queued stays queued, the others are as they were.
 */
export async function syncPipe(ports: SyncPorts, request: SyncRequest): Promise<Synced> {
  const { pipe, dueUs } = request;
  if (pipe.effective?.after.length) return syncChain(ports, request);
  const grid = gridOfPipe(pipe);
  const nowUs = usOfMs(ports.nowMs());
  const index = await ports.windows.index(bare(pipe.name));
  // Only a window at work can be lost, and only for that the queue is asked.
  const working = index.live.values().some(({ window }) => window.state === WindowState.RUNNING);
  const depth = working ? await ports.queue.depth() : 0;
  const head = grid.axis === "time" ? undefined : index.head(grid);
  const length = gridLength(grid, existsUntil(grid, dueUs, head, request.range));
  if (length > MAX_WINDOWS) {
    const advice = "choose a longer chunk or a later begin";
    throw new Fault("precondition", `${pipe.name} has ${length} windows, more than ${MAX_WINDOWS}: ${advice}`);
  }
  await resendUnsent(ports, index, request, nowUs);
  const input = {
    ...grid,
    // Whoever names a range wants that range.
    backtrackUs: request.range ? 0n : grid.backtrackUs,
    nowUs: request.sinceUs ?? dueUs,
    head,
    refetch: request.refetch,
    refetchBeforeUs: request.refetchBeforeUs,
    lostBeforeUs: lostBefore(nowUs, depth),
  };
  const queued: Window[] = [];
  let [range, left, skipped] = [request.range, request.limit ?? Number.POSITIVE_INFINITY, 0];
  for (;;) {
    const known = [...index.live.values()].map(toKnown);
    const limit = Math.min(left, MAX_PLANNED);
    const plan = planWindows({ ...input, known, whole: index.whole(), range, limit });
    const before = queued.length;
    for (let at = 0; at < plan.queue.length; at += BATCH) {
      request.signal?.throwIfAborted();
      const batch = plan.queue.slice(at, at + BATCH);
      const results = await Promise.allSettled(
        batch.map((planned) => queueWindow(ports, request, planned, index, input)),
      );
      for (const result of results) if (result.status === "fulfilled" && result.value) queued.push(result.value);
      const failed = results.find((result) => result.status === "rejected");
      if (failed) throw Fault.from(failed.reason);
    }
    skipped += plan.skipped + plan.queue.length - (queued.length - before);
    left -= plan.queue.length;
    if (plan.nextUs === undefined || left === 0) return { queued, skipped, nextUs: plan.nextUs };
    range = { beginUs: plan.nextUs, endUs: range?.endUs ?? (head ? undefined : dueUs) };
  }
}

/** Whoever asks by hand waits for nobody; otherwise a claim gets the time to be sent by who made it. Each once. */
async function resendUnsent(ports: SyncPorts, index: WindowIndex, request: SyncRequest, nowUs: bigint): Promise<void> {
  const untilUs = request.manual ? nowUs : nowUs - UNSENT_US;
  const unsent = [...index.live.values()].filter(
    (one) => !index.resent.has(one) && microsOf(one.window.updateTime) <= untilUs,
  );
  await resendClaims(ports, unsent, () => request.pipe, request);
  for (const one of unsent) index.resent.add(one);
}

/** What is stored of a planned window. False when somebody has written it since, and it needs nothing any more. */
async function formerOf(
  { windows }: SyncPorts,
  pipe: Pipe,
  planned: PlannedWindow,
  index: WindowIndex,
  input: Omit<WindowPlanInput, "known">,
): Promise<StoredWindow | undefined | false> {
  const { beginUs } = planned;
  if (!index.has(beginUs)) return undefined;
  const stored = index.live.get(beginUs) ?? (await windows.get(bare(pipe.name), axisOfPipe(pipe), beginUs));
  return stored && isWanted(toKnown(stored), planned, input) && stored;
}

/** As `sendWindow`, unless somebody has written the window since it was planned. */
async function queueWindow(
  ports: SyncPorts,
  request: SyncRequest,
  planned: PlannedWindow,
  index: WindowIndex,
  input: Omit<WindowPlanInput, "known">,
): Promise<Window | undefined> {
  const former = await formerOf(ports, request.pipe, planned, index, input);
  return former === false ? undefined : sendWindow(ports, request, planned, former);
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
    const [beginUs, endUs] = [beginOf(window), endOf(window)];
    // How far the source was known to go is not kept: with too little the window is only asked for once more.
    const planned = { beginUs, endUs, untilUs: untilOf(pipe, endUs, dueUs), reachUs: beginUs };
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
  const { endUs: last, axis } = gridOfPipe(pipe);
  return [...(axis === "time" ? [dueUs] : []), ...(last === undefined ? [] : [last])].reduce(
    (a, b) => (a < b ? a : b),
    endUs,
  );
}
