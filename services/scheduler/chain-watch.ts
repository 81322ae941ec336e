/** Notices that windows of a pipe are done, and looks at the pipes that come after it. One leader does. */
import { all, type Entity, find } from "../../proto/catalog.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Mirror } from "../kit/mirror.ts";
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
  readonly catalog: SyncedCatalog & Pick<Mirror<Entity>, "onChange">;
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
  let links: ReadonlyMap<string, readonly string[]> = new Map();
  const listening = ports.windows.onDone((id) => {
    for (const pipe of links.get(id) ?? []) wake(pipe);
  });
  // A catalogue may hold a million other things: it is looked through when its pipes have changed.
  let changed = true;
  const stopListening = catalog.onChange((name) => {
    changed ||= name === undefined || name.startsWith("pipes/");
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
        const again = nowMs() >= againMs;
        if (again) againMs = nowMs() + AGAIN_MS;
        if (changed) links = linksIn(catalog);
        const looked = changed || again ? all(catalog, "pipe") : [];
        changed = false;
        for (const { name, etag, effective } of looked) {
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
      stopListening();
      await loop[Symbol.asyncDispose]();
    },
  };
}

/** The pipes to look at when a window of one is done, by its bare id: those after it; it may be out of date itself. */
function linksIn(catalog: SyncedCatalog): Map<string, string[]> {
  const links = new Map<string, string[]>();
  for (const { name, effective } of all(catalog, "pipe")) {
    if (!effective?.after.length) continue;
    for (const id of new Set([bare(name), ...effective.after])) links.set(id, [...(links.get(id) ?? []), name]);
  }
  return links;
}
