/** Notices that windows of a pipe are done, and looks at the pipes that come after it. One leader does. */
import { all, find } from "../../proto/catalog.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { SyncedCatalog } from "./lookup.ts";
import { usOfMs } from "./moments.ts";
import { type SyncPorts, syncPipe } from "./pipe-sync.ts";
import { whyPipeRests } from "./standing.ts";

const LOOK_MS = 100;
/** Least time between two looks at one pipe: each reads all its windows. */
const REST_MS = 1_000;
/** After trouble with the bus, or with a full queue. */
const TROUBLE_MS = 2_000;
/** All are looked at again this often, whatever was heard: a window may have been at work when its inputs changed. */
const AGAIN_MS = 30_000;

export interface ChainPorts extends SyncPorts {
  readonly catalog: SyncedCatalog;
}

/** Works while `holds` says so. What happened before, it finds out by a first look at all. */
export function followChains(ports: ChainPorts, epoch: bigint, holds: () => boolean): AsyncDisposable {
  const { catalog, nowMs, log } = ports;
  /** When each pipe that comes after others is looked at next. */
  const dueMs = new Map<string, number>();
  const lookedMs = new Map<string, number>();
  /** Of pipes as they were last seen: one that is changed or new is looked at. */
  const etags = new Map<string, string>();
  const wake = (pipe: string, waitMs = 0) => {
    const at = Math.max(nowMs() + waitMs, (lookedMs.get(pipe) ?? 0) + REST_MS);
    dueMs.set(pipe, Math.min(dueMs.get(pipe) ?? Number.POSITIVE_INFINITY, at));
  };
  let links = new Set<string>();
  const listening = ports.windows.onDone((id) => {
    if (links.has(id)) for (const pipe of touchedBy(catalog, id)) wake(pipe);
  });
  const look = async (name: string, signal: AbortSignal) => {
    const pipe = find(catalog, "pipe", name);
    if (!pipe || whyPipeRests(catalog, pipe)) return;
    const asked = { dueUs: usOfMs(nowMs()), epoch, manual: false, refetch: false, retryFailed: false };
    await syncPipe(ports, { ...asked, pipe, signal });
  };
  const problems = new Map<string, string>();
  const loop = background(
    async (signal) => {
      for (let againMs = 0; await pause(LOOK_MS, signal); ) {
        links = linksIn(catalog);
        const again = nowMs() >= againMs;
        if (again) againMs = nowMs() + AGAIN_MS;
        for (const { name, etag, effective } of all(catalog, "pipe")) {
          if (!effective?.after.length || (!again && etags.get(name) === etag)) continue;
          etags.set(name, etag);
          wake(name);
        }
        for (const [name, at] of dueMs) {
          if (signal.aborted || !holds()) break;
          if (at > nowMs()) continue;
          dueMs.delete(name);
          lookedMs.set(name, nowMs());
          const fault = await look(name, signal).catch((thrown) => Fault.from(thrown));
          if (fault && !signal.aborted) {
            if (problems.get(name) !== fault.message) log.warn({ pipe: name, reason: fault.message }, "a chain waits");
            if (fault.retryable || fault.code === "internal") wake(name, TROUBLE_MS);
          }
          if (fault) problems.set(name, fault.message);
          else problems.delete(name);
        }
      }
    },
    (fault) => log.error({ err: fault }, "chains ended"),
  );
  return {
    async [Symbol.asyncDispose]() {
      listening?.[Symbol.dispose]();
      await loop[Symbol.asyncDispose]();
    },
  };
}

/** Bare ids of pipes that others come after, and of those others: one that ends may be out of date by then. */
function linksIn(catalog: SyncedCatalog): Set<string> {
  const links = new Set<string>();
  for (const { name, effective } of all(catalog, "pipe")) {
    if (effective?.after.length) for (const id of [bare(name), ...effective.after]) links.add(id);
  }
  return links;
}

/** Pipes to look at when a window of this one is done. */
function* touchedBy(catalog: SyncedCatalog, id: string): Generator<string> {
  for (const { name, effective } of all(catalog, "pipe")) {
    if (effective?.after.length && (effective.after.includes(id) || bare(name) === id)) yield name;
  }
}
