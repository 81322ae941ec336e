/** Old windows of a pipe, queued a few at a time and only into an almost empty queue: what is due now goes first. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { pause } from "../kit/lifecycle.ts";
import { usOfMs } from "./moments.ts";
import { type SyncPorts, syncPipe } from "./pipe-sync.ts";
import { gridOfPipe } from "./standing.ts";
import { gridFloor, gridLength } from "./windows.ts";

/** With more jobs than this in the queue, a backfill waits. */
const ROOM = 16;
const LOOK_AGAIN_MS = 500;
const MINUTE_MS = 60_000;
/** Windows queued in one go, at high rates. */
const MAX_STEP = 64;
const STEPS_A_MINUTE = 60;

export interface BackfillRequest {
  readonly pipe: Pipe;
  readonly beginUs: bigint | undefined;
  readonly endUs: bigint | undefined;
  readonly refetch: boolean;
  readonly windowsPerMinute: number;
  readonly signal: AbortSignal;
}

export interface BackfillStep {
  readonly done: number;
  readonly total: number;
  readonly queued: number;
  readonly skipped: number;
  readonly waiting: boolean;
}

/** Errors: as `syncPipe`, save a full queue: that is waited for. */
export async function* backfill(ports: SyncPorts, request: BackfillRequest): AsyncGenerator<BackfillStep> {
  const { pipe, refetch, windowsPerMinute, signal } = request;
  const grid = gridOfPipe(pipe);
  const startUs = usOfMs(ports.nowMs());
  const endUs = request.endUs !== undefined && request.endUs < startUs ? request.endUs : startUs;
  const wantedUs = request.beginUs ?? grid.beginUs;
  const beginUs = wantedUs > grid.beginUs ? gridFloor(grid, wantedUs) : grid.beginUs;
  const total = gridLength({ ...grid, beginUs }, endUs);
  const step = Math.min(MAX_STEP, Math.max(1, Math.floor(windowsPerMinute / STEPS_A_MINUTE)));
  let [atUs, queued]: [bigint | undefined, number] = [total > 0 ? beginUs : undefined, 0];
  const progress = (waiting: boolean): BackfillStep => {
    const done = atUs === undefined ? total : Number((atUs - beginUs) / grid.chunkUs);
    return { done, total, queued, skipped: done - queued, waiting };
  };
  while (atUs !== undefined) {
    if ((await ports.queue.depth()) > ROOM) {
      yield progress(true);
      if (!(await pause(LOOK_AGAIN_MS, signal))) return;
      continue;
    }
    const asked = { dueUs: usOfMs(ports.nowMs()), epoch: 0n, manual: true };
    const range = { beginUs: atUs, endUs };
    const synced = await syncPipe(ports, { ...asked, pipe, refetch, range, limit: step, signal });
    queued += synced.queued.length;
    atUs = synced.nextUs;
    yield progress(false);
    if (atUs !== undefined && !(await pause((step * MINUTE_MS) / windowsPerMinute, signal))) return;
  }
  if (total === 0) yield progress(false);
}
