/**
 * Goes on with syncs on axes of integers: a window that is done shows how far the source goes, and the next ones are
 * queued. One leader does. Each window keeps the sync that it belongs to, so a leader that comes after goes on, too.
 */
import { all, find } from "../../proto/catalog.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import { microsOf } from "../kit/time.ts";
import { axisOfPipe } from "./jobs.ts";
import type { SyncedCatalog } from "./lookup.ts";
import { usOfMs } from "./moments.ts";
import { type SyncPorts, syncPipe } from "./pipe-sync.ts";
import { whyPipeRests } from "./standing.ts";

const LOOK_MS = 50;
/** Between two looks at one pipe, that many times as long as the last one took: very many windows take a while. */
const REST_RATIO = 10;
/** After trouble with the bus, or with a full queue. */
const TROUBLE_MS = 2_000;
/** A sync whose last window was done before this has been gone on with, or waits for somebody to ask again. */
const FRESH_US = usOfMs(540_000);

export interface HeadPorts extends SyncPorts {
  readonly catalog: SyncedCatalog;
}

/** Works while `holds` says so. What was done before, it finds out by a first look at all. */
export function followHeads(ports: HeadPorts, epoch: bigint, holds: () => boolean): AsyncDisposable {
  const { catalog, windows, nowMs, log } = ports;
  /** Of each pipe to look at: the newest sync that goes on, and when to look. */
  const due = new Map<string, { readonly sinceUs: bigint; readonly atMs: number }>();
  const restedMs = new Map<string, number>();
  const wake = (pipe: string, sinceUs: bigint, waitMs = 0) => {
    const known = due.get(pipe) ?? { sinceUs, atMs: Math.max(nowMs() + waitMs, restedMs.get(pipe) ?? 0) };
    due.set(pipe, { ...known, sinceUs: sinceUs > known.sinceUs ? sinceUs : known.sinceUs });
  };
  const listening = windows.onDone((pipe, { syncTime }) => {
    if (syncTime) wake(`pipes/${pipe}`, microsOf(syncTime));
  });
  const look = async (name: string, sinceUs: bigint, signal: AbortSignal) => {
    const pipe = find(catalog, "pipe", name);
    if (!pipe || axisOfPipe(pipe) === "time" || whyPipeRests(catalog, pipe)) return;
    const asked = { dueUs: usOfMs(nowMs()), epoch, manual: false, refetch: false };
    await syncPipe(ports, { ...asked, pipe, sinceUs, signal });
  };
  const firstLook = async () => {
    const sinceUs = usOfMs(nowMs()) - FRESH_US;
    for (const pipe of all(catalog, "pipe")) {
      if (axisOfPipe(pipe) === "time") continue;
      const { synced } = await windows.index(bare(pipe.name));
      if (synced && synced.doneUs > sinceUs) wake(pipe.name, synced.sinceUs);
    }
  };
  const tried = async (what: string, signal: AbortSignal, work: () => Promise<void>): Promise<boolean> => {
    const fault = await work().then(
      () => undefined,
      (thrown: unknown) => Fault.from(thrown),
    );
    if (!fault || signal.aborted) return true;
    log.warn({ pipe: what, reason: fault.message }, "a sync cannot go on yet");
    return !fault.retryable && fault.code !== "internal";
  };
  const loop = background(
    async (signal) => {
      while (!(await tried("", signal, firstLook))) if (!(await pause(TROUBLE_MS, signal))) return;
      while (await pause(LOOK_MS, signal)) {
        for (const [name, { sinceUs, atMs }] of due) {
          if (signal.aborted || !holds()) break;
          if (atMs > nowMs()) continue;
          due.delete(name);
          const startMs = nowMs();
          if (!(await tried(name, signal, () => look(name, sinceUs, signal)))) wake(name, sinceUs, TROUBLE_MS);
          restedMs.set(name, nowMs() + REST_RATIO * (nowMs() - startMs));
        }
      }
    },
    (fault) => log.error({ err: fault }, "heads ended"),
  );
  return {
    async [Symbol.asyncDispose]() {
      listening?.[Symbol.dispose]();
      await loop[Symbol.asyncDispose]();
    },
  };
}
