/** Asks the source again for windows that are done. What comes back is compared by executors, and not seen. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { beginOf, endOf, microsOf } from "../kit/time.ts";
import { type Asked, fetchJob, messageId } from "./jobs.ts";
import type { SyncPorts } from "./pipe-sync.ts";
import { gridOfPipe } from "./standing.ts";
import { fetchedUntilOf, type StoredWindow } from "./window-store.ts";

/** Marks and sends in flight. */
const BATCH = 64;

export interface VerifyRequest extends Asked {
  readonly pipe: Pipe;
  readonly beginUs: bigint | undefined;
  readonly endUs: bigint | undefined;
  readonly repair: boolean;
  /** Asks for at most this many windows, the first ones. */
  readonly limit?: number;
  /** Leaves out windows that were asked for since: somebody was on this before. */
  readonly askedBeforeUs?: bigint;
  /** Stops between batches: what was queued stays queued. */
  readonly signal: AbortSignal;
}

export interface VerifyAsked {
  /** By begin. */
  readonly queued: readonly Window[];
  /** Windows in the range that hold nothing to compare, or are at work. */
  readonly skipped: number;
  /** Begin of the first window that was not looked at, for the limit. */
  readonly nextUs: bigint | undefined;
}

/** Errors: `exhausted` when the queue is full, `unavailable` when the bus is: what was queued stays queued. */
export async function askSource(ports: SyncPorts, request: VerifyRequest): Promise<VerifyAsked> {
  const { pipe, endUs, limit = Number.POSITIVE_INFINITY, signal } = request;
  const id = bare(pipe.name);
  const { axis } = gridOfPipe(pipe);
  const index = await ports.windows.index(id);
  // The index changes while windows are asked for: what is to be looked at is known before.
  const begins: bigint[] = [];
  let nextUs: bigint | undefined;
  for (const { beginUs } of index.from(request.beginUs)) {
    if (endUs !== undefined && beginUs >= endUs) break;
    if (begins.length >= limit) {
      nextUs = beginUs;
      break;
    }
    begins.push(beginUs);
  }
  const queued: Window[] = [];
  let skipped = 0;
  const ask = async (beginUs: bigint) => {
    const stored = await ports.windows.get(id, axis, beginUs);
    if (!stored || (endUs !== undefined && endOf(stored.window) > endUs)) return;
    const marked = isAskable(stored.window, request) ? await askWindow(ports, request, stored) : undefined;
    if (marked) queued.push(marked);
    else skipped += 1;
  };
  for (let at = 0; at < begins.length; at += BATCH) {
    signal.throwIfAborted();
    await Promise.all(begins.slice(at, at + BATCH).map(ask));
  }
  queued.sort((a, b) => (beginOf(a) < beginOf(b) ? -1 : 1));
  return { queued, skipped, nextUs };
}

function isAskable(window: Window, { pipe, askedBeforeUs }: VerifyRequest): boolean {
  const { state, verification } = window;
  if (state !== WindowState.DONE && state !== WindowState.STALE) return false;
  if (askedBeforeUs !== undefined && microsOf(verification?.dueTime) >= askedBeforeUs) return false;
  return isComparable(window, gridOfPipe(pipe).endUs);
}

/** At the head of an axis of integers nobody knows which of the source's rows were there when it was asked. */
function isComparable(window: Window, lastUs: bigint | undefined): boolean {
  if (window.beginInt === "") return window.fetchedUntil !== undefined;
  const endUs = endOf(window);
  return fetchedUntilOf(window) >= (lastUs !== undefined && lastUs < endUs ? lastUs : endUs);
}

/** Undefined when the window was written meanwhile: what is there is news, and nobody's to compare yet. */
async function askWindow(
  { windows, queue }: SyncPorts,
  { pipe, repair, ...asked }: VerifyRequest,
  stored: StoredWindow,
): Promise<Window | undefined> {
  const { window } = stored;
  const [beginUs, endUs, untilUs] = [beginOf(window), endOf(window), fetchedUntilOf(window)];
  const { dueUs, epoch, manual } = asked;
  const job = { ...fetchJob(pipe, { beginUs, endUs, untilUs }, { dueUs, epoch, manual }), verify: true, repair };
  const marked = await windows.markAsked(stored, dueUs);
  if (!marked) return undefined;
  await queue.send(`${messageId(job)}/verify`, Job.encode(job).finish());
  return marked;
}
