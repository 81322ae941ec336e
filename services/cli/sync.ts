/** A sync that somebody watches: queues windows, waits until each is done or failed, shows how far it is. */

import { PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import {
  SchedulesService,
  type SyncPipeRequest,
  type SyncPipeResponse,
} from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { microsOf } from "../kit/time.ts";
import { type Api, pages } from "./api.ts";
import type { Terminal } from "./terminal.ts";

const LOOK_MS = 200;
const REGISTER_TIMEOUT_MS = 60_000;

export interface SyncEnd {
  /** All that were waited for, as they stand now. */
  readonly ended: readonly Window[];
  readonly done: number;
  readonly failed: readonly Window[];
  readonly rows: number;
  readonly elapsedMs: number;
}

/**
 * Waits for the plugin's `register` first when the pipe is new. Errors: those of SyncPipe; `precondition` when it
 * failed.
 */
export async function syncPipe(api: Api, request: SyncPipeRequest): Promise<SyncPipeResponse> {
  const giveUpMs = performance.now() + REGISTER_TIMEOUT_MS;
  for (;;) {
    const { pipe } = await api.call(PipesService.getPipe, { name: request.name });
    if (pipe?.state === PipeState.ERROR) throw new Fault("precondition", `${pipe.name}: ${pipe.stateReason}`);
    if (pipe?.state !== PipeState.PENDING) return api.call(SchedulesService.syncPipe, request, 120_000);
    if (performance.now() > giveUpMs) {
      throw new Fault(
        "deadline",
        `${request.name} was not registered within ${REGISTER_TIMEOUT_MS} ms: is an executor up?`,
      );
    }
    await pause(LOOK_MS);
  }
}

const keyOf = (window: Window) => `${window.beginInt} ${window.begin?.seconds}.${window.begin?.nanos}`;

/**
 * Waits for the windows queued and for those that run already. Errors: `deadline` when windows are still running after
 * `timeoutMs`, and the signal's reason when it aborts; they go on without us.
 */
export async function followSync(
  api: Api,
  pipe: string,
  queued: readonly Window[],
  terminal: Terminal,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<SyncEnd> {
  const startedMs = performance.now();
  // What the schedule has queued by itself counts too: whoever watches a sync wants the data.
  const running = (await windowsOf(api, pipe)).filter((window) => window.state === WindowState.RUNNING);
  const waited = new Set([...queued, ...running].map(keyOf));
  if (!waited.size) return { ended: [], done: 0, failed: [], rows: 0, elapsedMs: 0 };
  using bar = terminal.bar(pipe, waited.size);
  for (;;) {
    // Also what was only fetched in part, or not run at all: it stands as it did before.
    const ended = (await windowsOf(api, pipe)).filter((w) => waited.has(keyOf(w)) && w.state !== WindowState.RUNNING);
    const elapsedMs = performance.now() - startedMs;
    const rows = ended.reduce((sum, w) => sum + Number(w.rows), 0);
    bar.update(ended.length, `${rows} rows, ${Math.round(rows / (elapsedMs / 1_000))} rows/s`);
    if (ended.length >= waited.size) {
      // A window that is done has nothing to say, unless it was not run and stands as it did.
      const failed = ended.filter(isFailed);
      return { ended, done: ended.length - failed.length, failed, rows, elapsedMs };
    }
    if (elapsedMs > timeoutMs) {
      const left = waited.size - ended.length;
      throw new Fault(
        "deadline",
        `${left} windows of ${pipe} still run after ${timeoutMs} ms; look with: pipe windows`,
      );
    }
    await pause(LOOK_MS, signal);
    signal?.throwIfAborted();
  }
}

const isFailed = (window: Window) => window.state !== WindowState.DONE || window.message !== "";

/**
 * As `followSync`, and on an axis of integers until nothing comes after: each window that is done may show that the
 * source goes further. Errors: as `followSync`.
 */
export async function followOn(
  api: Api,
  request: SyncPipeRequest,
  first: SyncPipeResponse,
  terminal: Terminal,
  timeoutMs: number,
): Promise<SyncEnd> {
  const startedMs = performance.now();
  const leftMs = () => Math.max(0, timeoutMs - (performance.now() - startedMs));
  const all = new Map<string, Window>();
  for (let queued = first; ; ) {
    const { ended } = await followSync(api, request.name, queued.windows, terminal, leftMs());
    for (const window of ended) all.set(keyOf(window), window);
    if (ended.length === 0 || !ended.some(({ beginInt }) => beginInt) || request.endInt) break;
    queued = await syncPipe(api, { ...request, refetch: false, since: first.dueTime });
  }
  // The platform goes on by itself, too: what was done between two looks belongs to this sync all the same.
  const mine = ({ syncTime }: Window) => syncTime && microsOf(syncTime) >= microsOf(first.dueTime);
  for (const window of all.size > 0 ? await windowsOf(api, request.name) : []) {
    if (all.has(keyOf(window)) || mine(window)) all.set(keyOf(window), window);
  }
  const failed = [...all.values()].filter(isFailed);
  const rows = [...all.values()].reduce((sum, window) => sum + Number(window.rows), 0);
  const elapsedMs = performance.now() - startedMs;
  return { ended: [...all.values()], done: all.size - failed.length, failed, rows, elapsedMs };
}

async function windowsOf(api: Api, parent: string): Promise<Window[]> {
  const request = { parent, pageSize: 10_000, state: WindowState.UNSPECIFIED };
  const all = await pages((pageToken) => api.call(SchedulesService.listWindows, { ...request, pageToken }));
  return all.flatMap((page) => page.windows);
}
