/** A live copy of somebody else's collection: follows a stream of changes, and starts anew when it breaks. */
import { Fault } from "./fault.ts";
import { background, pause, within } from "./lifecycle.ts";
import type { Logger } from "./log.ts";
import { backoffMs, forEver } from "./retry.ts";

export type MirrorChange<T> =
  | { readonly type: "put"; readonly key: string; readonly value: T }
  | { readonly type: "delete"; readonly key: string }
  | { readonly type: "synced" };

export interface Mirror<T> extends AsyncDisposable {
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  readonly size: number;
  /** Whether it has been complete at least once. A broken stream leaves the last known state in place. */
  readonly synced: boolean;
  /** Resolves once complete. Errors: `deadline`. */
  whenSynced(deadlineMs: number): Promise<void>;
  /** Told of every change, and with undefined when a new complete copy stands. Returns the way to stop it. */
  onChange(listener: (key: string | undefined) => void): () => void;
}

/**
 * `source` gives a fresh stream: all that exists, then `synced`, then changes. Entries that a new stream no longer
 * mentions before `synced` are gone, so a missed delete heals.
 */
export function mirror<T>(
  what: string,
  source: (signal: AbortSignal) => AsyncIterable<MirrorChange<T>>,
  log: Logger,
): Mirror<T> {
  const entries = new Map<string, T>();
  const listeners = new Set<(key: string | undefined) => void>();
  const first = Promise.withResolvers<void>();
  let synced = false;
  const tell = (key: string | undefined) => {
    for (const listener of listeners) listener(key);
  };
  const follow = async (signal: AbortSignal) => {
    let fresh: Map<string, T> | undefined = new Map();
    for await (const change of source(signal)) {
      if (change.type === "synced") {
        if (fresh) for (const key of entries.keys()) if (!fresh.has(key)) entries.delete(key);
        fresh = undefined;
        synced = true;
        first.resolve();
        tell(undefined);
      } else {
        if (change.type === "put") {
          entries.set(change.key, change.value);
          fresh?.set(change.key, change.value);
        } else {
          entries.delete(change.key);
          fresh?.delete(change.key);
        }
        tell(change.key);
      }
    }
  };
  const loop = background(
    async (signal) => {
      for (let attempt = 1; !signal.aborted; attempt += 1) {
        const startedMs = performance.now();
        await follow(signal).catch((thrown) => {
          const level = attempt > 3 ? "warn" : "debug";
          if (!signal.aborted) log[level]({ err: Fault.from(thrown) }, `${what}: stream broke; starting anew`);
        });
        if (performance.now() - startedMs > forEver.maxDelayMs) attempt = 1;
        await pause(backoffMs(forEver, attempt, Math.random()), signal);
      }
    },
    (fault) => log.error({ err: fault }, `${what}: mirror ended`),
  );
  return {
    get: (key) => entries.get(key),
    values: () => entries.values(),
    get size() {
      return entries.size;
    },
    get synced() {
      return synced;
    },
    whenSynced: (deadlineMs) => within(deadlineMs, `${what}: the first complete copy`, first.promise),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}
