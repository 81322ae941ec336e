/** Asks the source again for windows that are done. What comes back is compared by executors, and not seen. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { microsOf } from "../kit/time.ts";
import { type Asked, fetchJob, messageId } from "./jobs.ts";
import type { SyncPorts } from "./pipe-sync.ts";
import type { StoredWindow } from "./window-store.ts";

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
    .filter(({ window }) => beginUs === undefined || microsOf(window.begin) >= beginUs)
    .filter(({ window }) => endUs === undefined || microsOf(window.end) <= endUs)
    .sort((a, b) => (microsOf(a.window.begin) < microsOf(b.window.begin) ? -1 : 1));
  const fetched = stored.filter(
    ({ window: { state, fetchedUntil } }) =>
      fetchedUntil !== undefined && (state === WindowState.DONE || state === WindowState.STALE),
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

/** Undefined when the window was written meanwhile: what is there is news, and nobody's to compare yet. */
async function askWindow(
  { windows, queue }: SyncPorts,
  { pipe, repair, ...asked }: VerifyRequest,
  stored: StoredWindow,
): Promise<Window | undefined> {
  const { window } = stored;
  const [beginUs, endUs, untilUs] = [window.begin, window.end, window.fetchedUntil].map(microsOf);
  if (beginUs === undefined || endUs === undefined || untilUs === undefined) return undefined;
  const { dueUs, epoch, manual } = asked;
  const job = { ...fetchJob(pipe, { beginUs, endUs, untilUs }, { dueUs, epoch, manual }), verify: true, repair };
  const marked = await windows.markAsked(stored, dueUs);
  if (!marked) return undefined;
  await queue.send(`${messageId(job)}/verify`, Job.encode(job).finish());
  return marked;
}
