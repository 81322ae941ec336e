/** The windows of all pipes, followed from the bus, so that what is due costs no reading of what has long been done. */
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause, within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { backoffMs, forEver } from "../kit/retry.ts";
import { WindowIndex } from "./window-index.ts";
import { beginOfKey, MARK, type StoredWindow, toStored } from "./window-store.ts";

const NOTHING = new Uint8Array();
/** A million windows take some seconds at the start; later it is milliseconds. */
const SEEN_MS = 60_000;

export interface WindowMirror extends AsyncDisposable {
  /** Windows of a pipe by its bare id, with every change that was stored before the call. Errors: `unavailable`. */
  pipe(id: string): Promise<WindowIndex>;
  /** Windows of all pipes that are not fetched to their end. Errors: as `pipe`. */
  live(): Promise<readonly StoredWindow[]>;
  /** Calls back with the bare id of a pipe for each of its windows that is written as done, from now on. */
  onDone(listener: (pipe: string, window: Window) => void): Disposable;
}

export function mirrorWindows(kv: Kv, log: Logger): WindowMirror {
  let pipes = new Map<string, WindowIndex>();
  let seenRevision = 0n;
  let synced = false;
  let waiting: (() => void)[] = [];
  let marking: Promise<void> | undefined;
  const listeners = new Set<(pipe: string, window: Window) => void>();

  const follow = async (signal: AbortSignal) => {
    const fresh = new Map<string, WindowIndex>();
    let mark = 0n;
    const indexOf = (part: string) => {
      const index = fresh.get(part) ?? new WindowIndex();
      fresh.set(part, index);
      return index;
    };
    for await (const change of kv.watch("", signal)) {
      if (change.type === "synced") {
        pipes = fresh;
        synced = true;
      } else if (change.key === MARK) mark = change.revision;
      else {
        const index = indexOf(change.key.slice(0, change.key.indexOf(".")));
        if (change.type === "put") {
          const stored = toStored(change);
          index.put(stored);
          const done = synced && listeners.size > 0 && stored.window.state === WindowState.DONE;
          if (done) for (const listener of listeners) listener(stored.pipe, stored.window);
        } else index.delete(beginOfKey(change.key));
      }
      if (!synced) continue;
      seenRevision = mark;
      if (change.type === "synced" || change.key === MARK) for (const wake of waiting.splice(0)) wake();
    }
  };
  const loop = background(
    async (signal) => {
      for (let attempt = 1; !signal.aborted; attempt += 1) {
        await follow(signal).catch((thrown) => {
          if (!signal.aborted) log.warn({ err: Fault.from(thrown) }, "windows: the watch broke; starting anew");
        });
        await pause(backoffMs(forEver, attempt, Math.random()), signal);
      }
    },
    (fault) => log.error({ err: fault }, "windows: the mirror ended"),
  );

  const seen = async (revision: bigint) => {
    while (!synced || seenRevision < revision) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  /** Whoever comes while a mark is being written waits for the next: its own change may be behind this one. */
  const catchUp = async () => {
    await marking?.catch(() => {});
    marking ??= (async () => {
      try {
        const revision = await kv.put(MARK, NOTHING);
        await within(SEEN_MS, "hearing of the newest windows", seen(revision));
      } catch (thrown) {
        const fault = Fault.from(thrown);
        throw fault.code === "deadline" ? new Fault("unavailable", fault.message) : fault;
      } finally {
        marking = undefined;
      }
    })();
    return marking;
  };
  return {
    async pipe(id) {
      await catchUp();
      return pipes.get(encodeKeyPart(id)) ?? new WindowIndex();
    },
    async live() {
      await catchUp();
      return [...pipes.values()].flatMap((index) => [...index.live.values()]);
    },
    onDone(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]();
      waiting = [];
    },
  };
}
