/** What plugins stored goes when their instance is gone: by one executor, and never what is written later. */
import { BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import { decodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { Catalog } from "./catalog.ts";
import { KV_OWNERS } from "./host/kv.ts";
import { takeLease } from "./lease.ts";

const INSTANCE = /^instances\//;
/** After a failure, and so that what others left while the bus was away is found. */
const AGAIN_MS = 30_000;

export interface KvCleaningPorts {
  readonly catalog: Catalog & { onChange(listener: (key: string | undefined) => void): () => void };
  readonly guest: Kv;
  readonly locks: Kv;
  readonly executor: string;
  readonly log: Logger;
}

/** Looks when an instance goes, and when a complete catalogue stands. */
export function cleanGuestKv({ catalog, guest, locks, executor, log }: KvCleaningPorts): AsyncDisposable {
  let wake = new AbortController();
  const stopListening = catalog.onChange((key) => {
    if (key === undefined || (INSTANCE.test(key) && !catalog.get(key))) wake.abort();
  });
  const round = async () => {
    for (const { key } of await guest.list(KV_OWNERS)) {
      const owner = key.slice(KV_OWNERS.length + 1);
      const instance = `instances/${decodeKeyPart(owner)}`;
      if (catalog.get(instance)) continue;
      const taken = await takeLease(locks, `kv/${owner}`, { ttlMs: LOCK_TTL_MS, holder: executor });
      if (taken.held) continue;
      try {
        const entries = await guest.list(owner);
        // An instance of the same name may have come meanwhile: what it wrote has a newer revision.
        if (catalog.get(instance)) continue;
        for (const entry of entries) {
          if (taken.lease.lost.aborted) throw taken.lease.lost.reason;
          await guest.delete(entry.key, entry.revision).catch(unlessConflict);
        }
        if ((await guest.list(owner)).length === 0) await guest.delete(key);
        log.info({ instance, keys: entries.length }, "keys of an instance that is gone were deleted");
      } finally {
        await taken.lease.release();
      }
    }
  };
  const loop = background(
    async (signal) => {
      while (!signal.aborted) {
        wake = new AbortController();
        if (catalog.synced) {
          await round().catch((thrown) => {
            log.warn({ err: Fault.from(thrown), bucket: BUCKETS.guest }, "keys of gone instances were not deleted yet");
          });
        }
        await pause(AGAIN_MS, AbortSignal.any([signal, wake.signal]));
      }
    },
    (fault) => log.error({ err: fault }, "cleaning of keys ended"),
  );
  return {
    async [Symbol.asyncDispose]() {
      stopListening();
      await loop[Symbol.asyncDispose]();
    },
  };
}

function unlessConflict(thrown: unknown): void {
  if (Fault.from(thrown).code !== "conflict") throw thrown;
}
