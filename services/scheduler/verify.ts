/** Asks the source again for windows that are done. What comes back is compared by executors, and not seen. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { beginOf, endOf } from "../kit/time.ts";
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
  /** Stops between batches: what was queued stays queued. */
  readonly signal: AbortSignal;
}

export interface VerifyAsked {
  /** By begin. */
  readonly queued: readonly Window[];
  /** Windows in the range that hold nothing to compare, or are at work. */
  readonly skipped: number;
}

/** Errors: `exhausted` when the queue is full, `unavailable` when the bus is: what was queued stays queued. */
export async function askSource(ports: SyncPorts, request: VerifyRequest): Promise<VerifyAsked> {
  const { beginUs, endUs, signal } = request;
  const stored = (await ports.windows.list(bare(request.pipe.name)))
    .filter(({ window }) => beginUs === undefined || beginOf(window) >= beginUs)
    .filter(({ window }) => endUs === undefined || endOf(window) <= endUs)
    .sort((a, b) => (beginOf(a.window) < beginOf(b.window) ? -1 : 1));
  const { endUs: lastUs } = gridOfPipe(request.pipe);
  const fetched = stored.filter(
    ({ window }) =>
      (window.state === WindowState.DONE || window.state === WindowState.STALE) && isComparable(window, lastUs),
  );
  const queued: Window[] = [];
  for (let at = 0; at < fetched.length; at += BATCH) {
    signal.throwIfAborted();
    const batch = fetched.slice(at, at + BATCH);
    const marked = await Promise.all(batch.map((one) => askWindow(ports, request, one)));
    queued.push(...marked.filter((window) => window !== undefined));
  }
  return { queued, skipped: stored.length - queued.length };
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
