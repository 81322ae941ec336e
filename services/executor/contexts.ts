/** Documents about resources on the bus: each belongs to the instance that wrote it, and ends with its ttl. */
import { StoredDocument } from "../../proto/gen/millrace/executor/v1/context.ts";
import { BUCKETS, bare } from "../../proto/names.ts";
import { decodeKeyPart, encodeKeyPart } from "../bus/keys.ts";
import type { Kv, KvEntry } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { OwnedKeys } from "./owned-keys.ts";

/** Of one instance about one resource. */
export const MAX_DOCUMENTS = 1_000;
export const MAX_DOCUMENTS_BYTES = 1 << 20;
/** Resources with documents have a mark below this, with the time at which the last of them ends. */
const MARKS = "_";
/** Writes at once. */
const PARALLEL_WRITES = 32;
/** Racers of one document in a row; more is not a race but a bug. */
const MAX_RACES = 5;

export interface Document {
  readonly key: string;
  readonly value: unknown;
  /** Bare name of the instance that wrote it. */
  readonly instance: string;
  /** When it was written, by the bus's clock: milliseconds since the epoch. */
  readonly writtenMs: number;
  /** What is left of its life. */
  readonly ttlMs: number;
}

export interface NewDocument {
  /** Bare name of the resource that it is about. */
  readonly resource: string;
  readonly namespace: string;
  readonly key: string;
  /** The value. */
  readonly json: Uint8Array;
  readonly ttlMs: number;
}

/** Who writes: an attempt of a run. */
export interface Writer {
  readonly instance: string;
  readonly runId: string;
  readonly fence: bigint;
}

/** Bare names everywhere. */
export interface Contexts {
  get(resource: string, namespace: string, key: string): Promise<Document | undefined>;
  /** Those that live, by key. */
  list(resource: string, namespace: string): Promise<readonly Document[]>;
  /** For each document undefined once it is stored, or why not. Errors: of the bus; `conflict` for an old fence. */
  store(documents: readonly NewDocument[], by: Writer, signal: AbortSignal): Promise<readonly (string | undefined)[]>;
}

/** `lives`: whether there is an instance of this bare name. What a gone one has written, anybody may write over. */
export function contextsOf(kv: Kv, lives: (instance: string) => boolean): Contexts {
  /** What has expired goes when it is seen; what was written since stays. */
  const live = (entry: KvEntry | undefined) => {
    const found = entry && decode(entry);
    if (entry && !found) void kv.delete(entry.key, entry.revision).catch(() => {});
    return found;
  };

  /** `listed` is what was stored a moment ago. */
  const storeOne = async (
    document: NewDocument,
    by: Writer,
    quota: Quota,
    listed: ReadonlyMap<string, KvEntry>,
  ): Promise<string | undefined> => {
    const { resource, namespace, key, json, ttlMs } = document;
    const at = `${resource}.${namespace}.${encodeKeyPart(key)}`;
    const bytes = json.byteLength;
    const { instance, runId, fence } = by;
    const value = StoredDocument.encode({ json: Buffer.from(json), instance, runId, fence, ttlMs: BigInt(ttlMs) });
    for (let race = 0; race < MAX_RACES; race += 1) {
      const entry = race === 0 ? listed.get(at) : await kv.get(at);
      const before = live(entry);
      if (before && before.stored.instance !== instance && lives(before.stored.instance)) {
        return `belongs to instances/${before.stored.instance} for another ${before.ttlMs} ms`;
      }
      if (before?.stored.instance === instance && before.stored.fence > fence) {
        throw new Fault("conflict", `a newer attempt wrote ${at}: fence ${before.stored.fence}, ours is ${fence}`);
      }
      const over = quota.take(at, bytes);
      if (over !== undefined) return over;
      try {
        if (before && entry) await kv.update(at, value.finish(), entry.revision);
        else {
          // The expired one may be gone by now, or not yet.
          if (entry) await kv.delete(at, entry.revision).catch(() => {});
          await kv.create(at, value.finish());
        }
        return undefined;
      } catch (thrown) {
        const { code } = Fault.from(thrown);
        if (code !== "conflict" && code !== "exists") throw thrown;
      }
    }
    return `was written by others ${MAX_RACES} times in a row`;
  };

  const storeAbout = async (resource: string, documents: readonly NewDocument[], by: Writer, signal: AbortSignal) => {
    const listed = new Map((await kv.list(resource)).map((entry) => [entry.key, entry]));
    const own = [...listed.values()].flatMap((entry) => {
      const found = decode(entry);
      return found?.stored.instance === by.instance ? [[entry.key, found.stored.json.byteLength] as const] : [];
    });
    const quota = new Quota(by.instance, resource, own);
    // First the mark: what it does not tell of would be found by nobody.
    await mark(kv, resource, Date.now() + Math.max(...documents.map(({ ttlMs }) => ttlMs)));
    const refusals: (string | undefined)[] = [];
    for (let from = 0; from < documents.length; from += PARALLEL_WRITES) {
      signal.throwIfAborted();
      const some = documents.slice(from, from + PARALLEL_WRITES);
      refusals.push(...(await Promise.all(some.map((document) => storeOne(document, by, quota, listed)))));
    }
    return refusals;
  };

  return {
    async get(resource, namespace, key) {
      const found = live(await kv.get(`${resource}.${namespace}.${encodeKeyPart(key)}`));
      return found && documentOf(key, found);
    },
    async list(resource, namespace) {
      const prefix = `${resource}.${namespace}`;
      const documents = (await kv.list(prefix)).flatMap((entry) => {
        const found = live(entry);
        return found ? [documentOf(decodeKeyPart(entry.key.slice(prefix.length + 1)), found)] : [];
      });
      return documents.sort((a, b) => (a.key < b.key ? -1 : 1));
    },
    async store(documents, by, signal) {
      const refusals: (string | undefined)[] = new Array(documents.length);
      const byResource = Map.groupBy(documents.keys(), (i) => (documents[i] as NewDocument).resource);
      for (const [resource, indexes] of byResource) {
        const about = indexes.map((i) => documents[i] as NewDocument);
        const said = await storeAbout(resource, about, by, signal);
        for (const [n, i] of indexes.entries()) refusals[i] = said[n];
      }
      return refusals;
    },
  };
}

interface Found {
  readonly stored: StoredDocument;
  readonly writtenMs: number;
  readonly ttlMs: number;
}

/** Undefined when it has expired. Its life counts from when the bus stored it. */
function decode({ value, createdMs }: KvEntry): Found | undefined {
  const stored = StoredDocument.decode(value);
  const ttlMs = createdMs + Number(stored.ttlMs) - Date.now();
  return ttlMs > 0 ? { stored, writtenMs: createdMs, ttlMs } : undefined;
}

const documentOf = (key: string, { stored, writtenMs, ttlMs }: Found): Document => ({
  ...{ key, writtenMs, ttlMs, instance: stored.instance },
  value: JSON.parse(Buffer.from(stored.json).toString("utf8")) as unknown,
});

/** What an instance may still store about a resource. Counted anew for each answer. */
class Quota {
  readonly #who: string;
  readonly #sizes: Map<string, number>;
  #bytes: number;

  constructor(instance: string, resource: string, stored: readonly (readonly [key: string, bytes: number])[]) {
    this.#who = `instances/${instance} about resources/${resource}`;
    this.#sizes = new Map(stored);
    this.#bytes = stored.reduce((sum, [, bytes]) => sum + bytes, 0);
  }

  /** Why it may not be stored; undefined when it may, and then it counts. */
  take(at: string, bytes: number): string | undefined {
    const before = this.#sizes.get(at);
    const all = this.#bytes + bytes - (before ?? 0);
    if (before === undefined && this.#sizes.size >= MAX_DOCUMENTS) {
      return `is over the quota: at most ${MAX_DOCUMENTS} documents of ${this.#who}`;
    }
    if (all > this.#bytes && all > MAX_DOCUMENTS_BYTES) {
      return `is over the quota: with it there are ${all} bytes of ${this.#who}; at most ${MAX_DOCUMENTS_BYTES}`;
    }
    this.#sizes.set(at, bytes);
    this.#bytes = all;
    return undefined;
  }
}

/** How documents go with their resource, and those that nobody reads when their time is over. */
export const documentsOfResources = (kv: Kv): OwnedKeys => ({
  ...{ bucket: BUCKETS.contexts, kv, marks: MARKS },
  entityOf: (owner) => `resources/${owner}`,
  ownerOf: (entity) => (entity.startsWith("resources/") ? bare(entity) : undefined),
  due: ({ value }) => markedUntilMs(value) < Date.now(),
  over: (entry) => decode(entry) === undefined,
});

/** When the last document of a marked resource ends: milliseconds since the epoch. */
const markedUntilMs = (mark: Uint8Array): number =>
  (JSON.parse(Buffer.from(mark).toString("utf8")) as { until_ms: number }).until_ms;

/** A mark only ever moves to later. */
async function mark(kv: Kv, resource: string, untilMs: number): Promise<void> {
  const key = `${MARKS}.${resource}`;
  const value = Buffer.from(JSON.stringify({ until_ms: untilMs }));
  for (let race = 0; ; race += 1) {
    const entry = await kv.get(key);
    // Written also when it says as much: whoever cleans sees by the revision that somebody was here.
    const later = entry ? Math.max(untilMs, markedUntilMs(entry.value)) : untilMs;
    const next = later === untilMs ? value : Buffer.from(JSON.stringify({ until_ms: later }));
    try {
      if (entry) await kv.update(key, next, entry.revision);
      else await kv.create(key, next);
      return;
    } catch (thrown) {
      const { code } = Fault.from(thrown);
      if ((code !== "conflict" && code !== "exists") || race === MAX_RACES) throw thrown;
    }
  }
}
