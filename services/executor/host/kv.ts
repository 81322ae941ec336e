/** `kv`: an instance's own small values, with compare-and-set, a time to live, and a quota. */
import { BUCKETS, bare } from "../../../proto/names.ts";
import { decodeKeyPart, encodeKeyPart } from "../../bus/keys.ts";
import type { Kv, KvEntry } from "../../bus/ports.ts";
import { Fault, type Mistake } from "../../kit/fault.ts";
import type { OwnedKeys } from "../owned-keys.ts";
import { type Capability, readRequest } from "./functions.ts";
import { decodeEntry, encodeEntry } from "./kv-entry.ts";

export const MAX_KV_KEYS = 1_000;
/** Of all values of an instance together. */
export const MAX_KV_BYTES = 16 << 20;
export const MAX_KV_VALUE_BYTES = 64 * 1_024;
export const MAX_KV_KEY_BYTES = 256;
/** Of one `list`. */
const MAX_LIST_BYTES = 4 << 20;
const TTL_MS = [100, 31_622_400_000] as const;
/** How long a count is trusted. Executors count for themselves, so the quota may be overshot by a little. */
const COUNT_FOR_MS = 10_000;
/** Instances that store have a mark below this, written again with each count, so that what they leave is found. */
const KV_OWNERS = "_";

const OPERATIONS = ["get", "put", "create", "update", "delete", "list"] as const;

/** How what instances stored goes with them. */
export const keysOfInstances = (kv: Kv): OwnedKeys => ({
  ...{ bucket: BUCKETS.guest, kv, marks: KV_OWNERS },
  entityOf: (owner) => `instances/${decodeKeyPart(owner)}`,
  ownerOf: (entity) => (entity.startsWith("instances/") ? encodeKeyPart(bare(entity)) : undefined),
});

/** For all instances of an executor. */
export interface GuestKv {
  of(instance: string, granted: boolean, onDenied: () => void): Capability;
}

interface Asked {
  readonly op: (typeof OPERATIONS)[number];
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: bigint | undefined;
  readonly ttlMs: number | undefined;
  readonly limit: number | undefined;
  readonly after: string | undefined;
}

interface Count {
  keys: number;
  bytes: number;
}

/**
 * Requests: `{op, key, value?, revision?, ttl_ms?}`; `list` takes a prefix as `key`, and `limit` and `after` for pages.
 * Errors of the results: `denied`, `invalid`, `exists`, `conflict`, `too_large`, `exhausted` when the quota is used up.
 */
export function guestKv(kv: Kv): GuestKv {
  const counts = new Map<string, { readonly count: Promise<Count>; readonly atMs: number }>();

  /** What has expired goes when it is seen; somebody else's newer value stays. */
  const drop = (entry: KvEntry) => void kv.delete(entry.key, entry.revision).catch(() => {});
  const live = (entry: KvEntry | undefined) => {
    const found = entry && decodeEntry(entry, Date.now());
    if (entry && !found) drop(entry);
    return found;
  };
  const countAll = async (prefix: string): Promise<Count> => {
    await kv.put(`${KV_OWNERS}.${prefix}`, Buffer.from("{}"));
    const entries = (await kv.list(prefix)).filter((entry) => live(entry) !== undefined);
    return { keys: entries.length, bytes: entries.reduce((sum, { value }) => sum + value.byteLength, 0) };
  };
  const countOf = (prefix: string) => {
    const known = counts.get(prefix);
    if (known && performance.now() - known.atMs < COUNT_FOR_MS) return known.count;
    const count = countAll(prefix);
    counts.set(prefix, { count, atMs: performance.now() });
    count.catch(() => counts.delete(prefix));
    return count;
  };
  const admit = async (prefix: string, before: KvEntry | undefined, bytes: number) => {
    const count = await countOf(prefix);
    const more = bytes - (before?.value.byteLength ?? 0);
    if (!before && count.keys >= MAX_KV_KEYS) {
      throw new Fault("exhausted", `${count.keys} keys are stored; at most ${MAX_KV_KEYS}`);
    }
    if (more > 0 && count.bytes + more > MAX_KV_BYTES) {
      throw new Fault("exhausted", `${count.bytes} bytes are stored; with ${more} more there are over ${MAX_KV_BYTES}`);
    }
    if (!before) count.keys += 1;
    count.bytes += more;
  };
  /** `update` needs the revision that the guest read; `create` that there is nothing alive. */
  const write = async (prefix: string, key: string, { op, value, revision, ttlMs }: Asked) => {
    const stored = encodeEntry(value, ttlMs);
    const entry = await kv.get(key);
    const found = live(entry);
    if (op === "create" && found) throw new Fault("exists", "the key has a value");
    if (op === "update" && !found) throw new Fault("conflict", "the key has no value any more");
    await admit(prefix, found && entry, stored.byteLength);
    if (op === "put") return kv.put(key, stored);
    if (op === "update") return kv.update(key, stored, revision as bigint);
    // The expired one may be gone by now, or not yet.
    if (entry) await kv.delete(key, entry.revision).catch(() => {});
    return kv.create(key, stored);
  };

  return {
    of: (instance, granted, onDenied) => async (bytes) => {
      if (!granted) {
        onDenied();
        throw new Fault("denied", "kv is not granted; the manifest must ask for it and the operator allow it");
      }
      const asked = readAsked(bytes);
      const prefix = encodeKeyPart(instance);
      const key = `${prefix}.${encodeKeyPart(asked.key)}`;
      if (asked.op === "get") {
        const found = live(await kv.get(key));
        return found ? answerOf(found) : {};
      }
      if (asked.op === "list") {
        const entries = (await kv.list(prefix)).flatMap((entry) => {
          const plain = decodeKeyPart(entry.key.slice(prefix.length + 1));
          const found = plain.startsWith(asked.key) ? live(entry) : undefined;
          return found ? [{ key: plain, bytes: entry.value.byteLength, ...answerOf(found) }] : [];
        });
        return pageOf(entries, asked);
      }
      if (asked.op === "delete") {
        await kv.delete(key, asked.revision);
        counts.delete(prefix);
        return {};
      }
      return { revision: Number(await write(prefix, key, asked)) };
    },
  };
}

const answerOf = ({ value, revision, ttlMs }: NonNullable<ReturnType<typeof decodeEntry>>) => ({
  value,
  revision,
  ...(ttlMs !== undefined && { ttl_ms: ttlMs }),
});

interface Listed {
  readonly key: string;
  readonly bytes: number;
  readonly value: unknown;
  readonly revision: number;
}

/** Without `limit`, all or `too_large`. With it, `next` says after which key to go on. */
function pageOf(all: readonly Listed[], { key, limit, after }: Asked) {
  const from = all.filter((entry) => after === undefined || entry.key > after).sort((a, b) => (a.key < b.key ? -1 : 1));
  const page: Omit<Listed, "bytes">[] = [];
  let sum = 0;
  for (const { bytes, ...entry } of from) {
    sum += bytes;
    const full = sum > MAX_LIST_BYTES && page.length > 0;
    if (limit === undefined && full) {
      const fix = "ask for pages with limit";
      throw new Fault("too_large", `the values below ${JSON.stringify(key)} are over ${MAX_LIST_BYTES} bytes; ${fix}`);
    }
    if (full || page.length === limit) return { entries: page, next: page.at(-1)?.key };
    page.push(entry);
  }
  return { entries: page };
}

function readAsked(bytes: Uint8Array): Asked {
  const asked = readRequest("kv", bytes);
  const mistakes: Mistake[] = [];
  const refuse = (field: string, problem: string, fix: string) => mistakes.push({ field, problem, fix });
  const said = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";
  const whole = (field: string, low: number, high: number) => {
    const value = asked[field];
    if (value === undefined || value === null) return undefined;
    if (Number.isSafeInteger(Number(value)) && Number(value) >= low && Number(value) <= high) return Number(value);
    refuse(field, `${said(value)} is out of range`, `${low}–${high}`);
    return undefined;
  };
  const op = OPERATIONS.find((name) => name === asked.op);
  if (!op) refuse("op", `${said(asked.op)} is not known`, OPERATIONS.join(" "));
  const key = asked.key ?? "";
  const isKey = typeof key === "string" && Buffer.byteLength(key) <= MAX_KV_KEY_BYTES && (key !== "" || op === "list");
  if (!isKey) refuse("key", `${said(key)} is not a key`, `text of 1 to ${MAX_KV_KEY_BYTES} bytes`);
  const revision = whole("revision", 0, Number.MAX_SAFE_INTEGER);
  if (op === "update" && revision === undefined) refuse("revision", "is not set", "as `get` gave it");
  const ttlMs = whole("ttl_ms", ...TTL_MS);
  const limit = whole("limit", 1, MAX_KV_KEYS);
  const after = asked.after ?? undefined;
  if (after !== undefined && typeof after !== "string")
    refuse("after", `${said(after)} is not a key`, "`next` as given");
  if (mistakes.length || !op) throw Fault.invalid("kv", mistakes);
  const value = Buffer.from(JSON.stringify(asked.value ?? null));
  if (value.byteLength > MAX_KV_VALUE_BYTES) {
    throw new Fault("too_large", `the value is ${value.byteLength} bytes; at most ${MAX_KV_VALUE_BYTES}`);
  }
  const from = typeof after === "string" ? after : undefined;
  const read = revision === undefined ? undefined : BigInt(revision);
  return { op, key: String(key), value, revision: read, ttlMs, limit, after: from };
}
