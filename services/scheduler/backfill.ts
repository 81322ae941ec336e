/** Old windows of a pipe, fetched or verified a few at a time, and only into an almost empty queue. */
import { find } from "../../proto/catalog.ts";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import { beginOf, endOf, formatTime, microsOf, positionOf } from "../kit/time.ts";
import { AnswerCounts } from "./answers.ts";
import { type BackfillStore, isOver, nextOf, pipeOf } from "./backfill-store.ts";
import { axisOfPipe } from "./jobs.ts";
import type { SyncedCatalog } from "./lookup.ts";
import { msOfUs, usOfMs } from "./moments.ts";
import { type SyncPorts, syncPipe } from "./pipe-sync.ts";
import { gridOfPipe, whyPipeRests } from "./standing.ts";
import { askSource } from "./verify.ts";
import { numberFrom } from "./windows.ts";

/** With more jobs than this in the queue, a backfill waits. */
const ROOM = 16;
const LOOK_MS = 100;
/** How soon the queue, a pipe that rests, or windows at work are looked at again. */
const LOOK_AGAIN_MS = 500;
/** The bus is away, or the queue is full after all. */
const TROUBLE_MS = 2_000;
const MINUTE_MS = 60_000;
/** Windows queued in one go, at high rates. */
const MAX_STEP = 64;
const STEPS_A_MINUTE = 60;

export interface BackfillPorts extends SyncPorts {
  readonly catalog: SyncedCatalog;
  readonly backfills: BackfillStore;
}

/** Works on every backfill that goes on while `holds` says so. A leader that comes after goes on where it is. */
export function workOnBackfills(ports: BackfillPorts, holds: () => boolean): AsyncDisposable {
  /** Those that are not over; the pace of one that is paused is kept. */
  const going = new Map<string, { readonly name: string; readonly runs: boolean; readonly nextMs: number }>();
  const answers = new AnswerCounts();
  const failed = (fault: Fault) => ports.log.error({ err: fault }, "backfills ended");
  const stack = new AsyncDisposableStack();
  stack.use(
    background(
      (signal) =>
        ports.backfills.watch(signal, (backfill, key) => {
          if (backfill && isOver(backfill)) answers.forget(backfill.name);
          if (!backfill || isOver(backfill)) return void going.delete(key);
          const runs = backfill.state === BackfillState.RUNNING;
          going.set(key, { name: backfill.name, runs, nextMs: going.get(key)?.nextMs ?? resumeMs(backfill) });
        }),
      failed,
    ),
  );
  stack.use(
    background(async (signal) => {
      while (await pause(LOOK_MS, signal)) {
        for (const [key, { name, runs, nextMs }] of going) {
          if (signal.aborted || !holds()) break;
          if (!runs || ports.nowMs() < nextMs) continue;
          const waitMs = await step(ports, name, answers, signal).catch((thrown) => {
            const fault = Fault.from(thrown);
            if (!signal.aborted) ports.log.warn({ backfill: name, reason: fault.message }, "a backfill has to wait");
            return TROUBLE_MS;
          });
          const now = going.get(key);
          if (now) going.set(key, { ...now, nextMs: ports.nowMs() + waitMs });
        }
      }
    }, failed),
  );
  return stack;
}

/** Windows of a step. */
const stepOf = (rate: number) => Math.min(MAX_STEP, Math.max(1, Math.floor(rate / STEPS_A_MINUTE)));
const paceMs = (rate: number) => (stepOf(rate) * MINUTE_MS) / rate;

/** Whoever leads anew keeps the pace of who led before. */
function resumeMs({ next, nextInt, queued, updateTime, windowsPerMinute }: Backfill): number {
  const isUnderWay = queued > 0n && (next !== undefined || nextInt !== "");
  return isUnderWay ? msOfUs(microsOf(updateTime)) + paceMs(windowsPerMinute) : 0;
}

/** One step of one backfill. Resolves with the time to the next, in milliseconds. Errors: of the bus. */
async function step(ports: BackfillPorts, name: string, answers: AnswerCounts, signal: AbortSignal): Promise<number> {
  const { backfills, catalog, nowMs } = ports;
  const backfill = await backfills.get(name);
  if (backfill.state !== BackfillState.RUNNING) return LOOK_AGAIN_MS;
  const nowUs = usOfMs(nowMs());
  const write = (change: Partial<Backfill>) => backfills.change(name, nowUs, (current) => merged(current, change));
  const give = (message: string) => write({ state: BackfillState.FAILED, message, waiting: false });
  if (nowUs > microsOf(backfill.expireTime)) {
    await give(`not over by ${formatTime(microsOf(backfill.expireTime))}: create another one for the rest`);
    return LOOK_AGAIN_MS;
  }
  const pipe = find(catalog, "pipe", pipeOf(name));
  const why = pipe ? whyPipeRests(catalog, pipe) : `there is no ${pipeOf(name)}`;
  if (!pipe || why) {
    await write({ waiting: true, message: `waits: ${why}` });
    return LOOK_AGAIN_MS;
  }
  if (!backfill.next && !backfill.nextInt) return endWhenSettled(ports, backfill, answers, write);
  if ((await ports.queue.depth()) > ROOM) {
    await write({ waiting: true, message: "waits: what is due now goes first" });
    return LOOK_AGAIN_MS;
  }
  const rate = backfill.windowsPerMinute;
  const limit = stepOf(rate);
  if ((backfill.nextInt !== "") !== (axisOfPipe(pipe) !== "time")) {
    await give("the pipe goes by another axis than it did when this was asked for: create another one");
    return LOOK_AGAIN_MS;
  }
  let some: Awaited<ReturnType<typeof queueSome>>;
  try {
    some = await queueSome(ports, backfill, pipe, { dueUs: nowUs, limit, signal });
  } catch (thrown) {
    const fault = Fault.from(thrown);
    if (signal.aborted || fault.retryable || fault.code === "internal") throw fault;
    await give(fault.message);
    return LOOK_AGAIN_MS;
  }
  const { axis, chunkUs } = gridOfPipe(pipe);
  const beginUs = beginOf(backfill);
  const next = nextOf(axis, some.nextUs);
  const lookedAt = some.nextUs === undefined ? backfill.total : (some.nextUs - beginUs) / chunkUs;
  const queued = backfill.queued + BigInt(some.queued.length);
  const { running: _, ...fetched } = await countWindows(ports, backfill);
  const counts = { ...fetched, ...(backfill.verify && (await answers.of(ports.windows, backfill))?.counts) };
  await write({ ...counts, queued, lookedAt, ...next, waiting: false, message: "" });
  const leftMs = msOfUs(microsOf(backfill.expireTime)) - nowMs();
  return some.nextUs !== undefined ? Math.max(0, Math.min(paceMs(rate), leftMs)) : LOOK_AGAIN_MS;
}

/** The next windows, to be fetched or verified. Errors: `precondition`, `exhausted`, `unavailable`. */
function queueSome(
  ports: BackfillPorts,
  backfill: Backfill,
  pipe: Pipe,
  { dueUs, limit, signal }: { readonly dueUs: bigint; readonly limit: number; readonly signal: AbortSignal },
) {
  const asked = { dueUs, epoch: 0n, manual: true, pipe, limit, signal };
  const [beginUs, sinceUs] = [positionOf(backfill.next, backfill.nextInt), microsOf(backfill.createTime)];
  if (backfill.verify) {
    // Up to the end of its last window, which may not have been over when this was asked for.
    const endUs = beginOf(backfill) + backfill.total * gridOfPipe(pipe).chunkUs;
    return askSource(ports, { ...asked, beginUs, endUs, repair: backfill.repair, askedBeforeUs: sinceUs });
  }
  const refetch = backfill.refetch ? { refetch: true, refetchBeforeUs: sinceUs } : { refetch: false };
  return syncPipe(ports, { ...asked, ...refetch, range: { beginUs, endUs: endOf(backfill) } });
}

/** What was paused or cancelled meanwhile stays so; how far it came counts all the same. */
function merged(current: Backfill, change: Partial<Backfill>): Backfill {
  if (isOver(current)) return current;
  const state = current.state === BackfillState.PAUSED ? {} : { state: change.state ?? current.state };
  const message = current.state === BackfillState.PAUSED ? {} : { message: change.message ?? current.message };
  const next = { ...current, ...change, state: current.state, ...state, ...message };
  return Object.entries(change).every(([key]) => same(next[key as keyof Backfill], current[key as keyof Backfill]))
    ? current
    : next;
}

const text = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
const same = (a: unknown, b: unknown) => JSON.stringify(a, text) === JSON.stringify(b, text);

/** All windows were looked at: it is over when none of them is at work, or waits for its answer. */
async function endWhenSettled(
  ports: BackfillPorts,
  backfill: Backfill,
  answers: AnswerCounts,
  write: (change: Partial<Backfill>) => Promise<Backfill>,
): Promise<number> {
  if (backfill.verify) {
    const counted = await answers.of(ports.windows, backfill);
    if (!counted) return LOOK_AGAIN_MS;
    const { counts, pending } = counted;
    const { running: _, ...fetched } = await countWindows(ports, backfill);
    const message = pending === 0 ? "" : `${pending} windows wait for their answer`;
    const state = pending === 0 ? { state: BackfillState.DONE } : {};
    await write({ ...fetched, ...counts, message, waiting: false, ...state });
    return LOOK_AGAIN_MS;
  }
  const { running, ...counts } = await countWindows(ports, backfill);
  const over = running === 0;
  const message = over ? "" : `${running} windows are at work`;
  await write({ ...counts, message, waiting: false, ...(over && { state: BackfillState.DONE }) });
  return LOOK_AGAIN_MS;
}

/** How the windows of the range stand by now. */
async function countWindows({ windows }: SyncPorts, backfill: Backfill) {
  const [beginUs, endUs] = [beginOf(backfill), endOf(backfill)];
  const counts = { done: 0n, failed: 0n, rows: 0n, running: 0 };
  const index = await windows.index(bare(pipeOf(backfill.name)));
  const whole = index.whole();
  const { count, begins, ends, rows } = whole;
  const [first, last] = [numberFrom(whole, beginUs), numberFrom(whole, endUs)];
  for (let i = 0; i < count; i += 1) {
    const at = begins[i] as number;
    if (at < first || at >= last || Number.isNaN(ends[i])) continue;
    counts.done += 1n;
    counts.rows += BigInt(rows[i] as number);
  }
  for (const { window } of index.live.values()) {
    const atUs = beginOf(window);
    if (atUs < beginUs || atUs >= endUs) continue;
    if (window.state === WindowState.RUNNING) counts.running += 1;
    if (window.state === WindowState.FAILED) counts.failed += 1n;
    if (window.state !== WindowState.DONE) continue;
    counts.done += 1n;
    counts.rows += window.rows;
  }
  return counts;
}
