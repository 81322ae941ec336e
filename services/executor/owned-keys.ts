/** Keys of an instance or a resource go when it is gone: by one executor, and never what is written later. */
import { LOCK_TTL_MS } from "../../proto/names.ts";
import type { Kv, KvEntry } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { Catalog } from "./catalog.ts";
import { takeLease } from "./lease.ts";

/** After a failure, and so that what others left while the bus was away is found. */
const AGAIN_MS = 30_000;

/** A bucket of keys `<owner>.<…>`, with a mark `<marks>.<owner>` for each owner of some, written before its keys. */
export interface OwnedKeys {
  readonly bucket: string;
  readonly kv: Kv;
  readonly marks: string;
  /** Full name of the entity: `instances/…`. */
  entityOf(owner: string): string;
  /** The key part for an entity that went; undefined for another kind of entity. */
  ownerOf(entity: string): string | undefined;
  /** Whether keys may be over although their owner lives. Absent: never. */
  due?(mark: KvEntry): boolean;
  /** Whether this one is. */
  over?(entry: KvEntry): boolean;
}

export interface OwnedKeysPorts {
  readonly catalog: Catalog & { onChange(listener: (key: string | undefined) => void): () => void };
  readonly buckets: readonly OwnedKeys[];
  readonly locks: Kv;
  readonly executor: string;
  readonly log: Logger;
}

/** Looks at what went as it goes, and at everything when a complete catalogue stands and every 30 s. */
export function cleanOwnedKeys({ catalog, buckets, locks, executor, log }: OwnedKeysPorts): AsyncDisposable {
  let wake = new AbortController();
  let all = true;
  const gone = new Set<string>();
  const stopListening = catalog.onChange((key) => {
    if (key === undefined) all = true;
    else if (catalog.get(key) || !buckets.some((bucket) => bucket.ownerOf(key) !== undefined)) return;
    else gone.add(key);
    wake.abort();
  });
  const clean = async (keys: OwnedKeys, mark: KvEntry) => {
    const { kv, bucket } = keys;
    const owner = mark.key.slice(keys.marks.length + 1);
    const entity = keys.entityOf(owner);
    if (catalog.get(entity) && !keys.due?.(mark)) return;
    const taken = await takeLease(locks, `${bucket}/${owner}`, { ttlMs: LOCK_TTL_MS, holder: executor });
    if (taken.held) return;
    try {
      const entries = await kv.list(owner);
      // An owner of the same name may have come meanwhile: what it wrote has a newer revision.
      const lives = catalog.get(entity) !== undefined;
      const over = entries.filter((entry) => !lives || keys.over?.(entry));
      for (const entry of over) {
        if (taken.lease.lost.aborted) throw taken.lease.lost.reason;
        await kv.delete(entry.key, entry.revision).catch(unlessConflict);
      }
      if ((await kv.list(owner)).length === 0) await kv.delete(mark.key, mark.revision).catch(unlessConflict);
      log.info({ entity, bucket, keys: over.length }, lives ? "keys that are over were deleted" : "keys were deleted");
    } finally {
      await taken.lease.release();
    }
  };
  const marksOf = async (keys: OwnedKeys, whole: boolean, names: readonly string[]) => {
    if (whole) return keys.kv.list(keys.marks);
    const owners = names.flatMap((name) => keys.ownerOf(name) ?? []);
    const marks = await Promise.all(owners.map((owner) => keys.kv.get(`${keys.marks}.${owner}`)));
    return marks.flatMap((mark) => mark ?? []);
  };
  const round = async () => {
    const [whole, names] = [all, [...gone]];
    all = false;
    gone.clear();
    for (const keys of buckets) {
      for (const mark of await marksOf(keys, whole, names)) await clean(keys, mark);
    }
  };
  const loop = background(
    async (signal) => {
      while (!signal.aborted) {
        wake = new AbortController();
        if (catalog.synced) {
          await round().catch((thrown) => {
            log.warn({ err: Fault.from(thrown) }, "keys of what is gone were not deleted yet");
          });
        }
        const waited = await pause(AGAIN_MS, AbortSignal.any([signal, wake.signal]));
        if (waited) all = true;
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
