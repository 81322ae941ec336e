/** What the registry keeps, as typed collections on the bus: values are protobuf, an etag is a revision. */
import type { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Plugin, PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Poller } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { Window } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BLOBS, BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Blobs, Bus, Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { Semaphore } from "../kit/lifecycle.ts";
import { type RetryPolicy, retry } from "../kit/retry.ts";
import { type Directory, type Facts, openDirectory } from "./directory.ts";
import type { Widening } from "./grants-diff.ts";
import { type Kind, keyOf, nameOfKey } from "./names.ts";
import { type PipeFacts, pipeFacts } from "./pipe-facts.ts";

/** Tries of a change that others get in the way of. */
const CHANGE_ATTEMPTS = 8;
/** A read that the bus lost, as when its server restarts, is asked again. */
const READS: RetryPolicy = { attempts: 3, firstDelayMs: 50, maxDelayMs: 500 };

interface Codec<T> {
  encode(message: T): BinaryWriter;
  decode(bytes: Uint8Array): T;
}
interface Owned {
  readonly name: string;
  etag?: string;
  createTime?: Timestamp | undefined;
  updateTime?: Timestamp | undefined;
}

export type CollectionChange<T> =
  | { readonly type: "put"; readonly value: T }
  | { readonly type: "delete"; readonly name: string }
  | { readonly type: "synced" };

/** One of a collection, not decoded yet. */
export interface Packed<T> {
  readonly name: string;
  open(): T;
}

export class Collection<T extends Owned> {
  readonly #kind: Kind;
  readonly #kv: Kv;
  readonly #codec: Codec<T>;
  readonly #prefix: string;

  constructor(kind: Kind, kv: Kv, codec: Codec<T>, prefix = "") {
    this.#kind = kind;
    this.#kv = kv;
    this.#codec = codec;
    this.#prefix = prefix;
  }

  async find(name: string): Promise<T | undefined> {
    const entry = await retry(READS, () => this.#kv.get(keyOf(this.#kind, name)));
    return entry && this.#open(entry.value, entry.revision);
  }

  /** Errors: `not_found`, `invalid` for what is no name. */
  async get(name: string): Promise<T> {
    const value = await this.find(name);
    if (value) return value;
    throw new Fault("not_found", `there is no ${this.#kind.slice(0, -1)} ${JSON.stringify(name)}`);
  }

  /** All of them, or those whose key lies below `below`, sorted by name. */
  async list(below = this.#prefix): Promise<T[]> {
    const values = (await retry(READS, () => this.#kv.list(below))).map((entry) =>
      this.#open(entry.value, entry.revision),
    );
    return values.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** All of them, still packed: what is not opened costs its bytes only. Sorted by name. */
  async packed(): Promise<Packed<T>[]> {
    const entries = await retry(READS, () => this.#kv.list(this.#prefix));
    return entries
      .map(({ key, value, revision }) => ({
        name: nameOfKey(this.#kind, key),
        open: () => this.#open(value, revision),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Whether writing `b` over `a` would change anything. */
  same(a: T, b: T): boolean {
    return Buffer.compare(this.#seal(a), this.#seal({ ...b, updateTime: a.updateTime })) === 0;
  }

  /** Stamps the times. Errors: `exists`. */
  async create(value: T, nowMs: number): Promise<T> {
    const stamp = toTimestamp(nowMs);
    const made = { ...value, createTime: stamp, ...("updateTime" in value && { updateTime: stamp }) };
    try {
      return withEtag(made, await this.#kv.create(keyOf(this.#kind, value.name), this.#seal(made)));
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.code !== "exists") throw thrown;
      throw new Fault("exists", `${value.name} exists already`);
    }
  }

  /**
   * Reads, edits and writes; again when somebody else wrote in between. With an etag only what was read is changed.
   * An edit that changes nothing writes nothing, unless `always`. Errors: `not_found`; `conflict` for a stale etag;
   * what `edit` throws.
   */
  async change(
    name: string,
    etag: string,
    nowMs: number,
    edit: (current: T) => T | Promise<T>,
    always = false,
  ): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const current = await this.get(name);
      if (etag !== "" && etag !== current.etag) throw stale(name, etag, current.etag);
      const edited = await edit(current);
      if (!always && this.same(current, edited)) return current;
      const next = { ...edited, updateTime: toTimestamp(nowMs) };
      try {
        return withEtag(
          next,
          await this.#kv.update(keyOf(this.#kind, name), this.#seal(next), BigInt(current.etag ?? 0)),
        );
      } catch (thrown) {
        if (!(thrown instanceof Fault) || thrown.code !== "conflict" || attempt === CHANGE_ATTEMPTS) throw thrown;
      }
    }
  }

  /** Removing what is not there is fine. Errors: `conflict` for a stale etag. */
  async remove(name: string, etag = ""): Promise<void> {
    await this.#kv.delete(keyOf(this.#kind, name), etag === "" ? undefined : BigInt(etag));
  }

  /** All that exists, then `synced`, then every change: of several changes of one name perhaps only the newest. */
  async *watch(signal: AbortSignal): AsyncGenerator<CollectionChange<T>> {
    for await (const change of this.#kv.watch(this.#prefix, signal)) {
      if (change.type === "put") yield { type: "put", value: this.#open(change.value, change.revision) };
      else if (change.type === "delete") yield { type: "delete", name: nameOfKey(this.#kind, change.key) };
      else yield change;
    }
  }

  #open(bytes: Uint8Array, revision: bigint): T {
    return withEtag(this.#codec.decode(bytes), revision);
  }

  #seal(value: T): Uint8Array {
    return this.#codec.encode("etag" in value ? { ...value, etag: "" } : value).finish();
  }
}

/** Everything that the registry keeps. Nothing else writes these buckets. */
export interface Store extends Disposable {
  readonly plugins: Collection<Plugin>;
  readonly versions: Collection<PluginVersion>;
  readonly instances: Collection<Instance>;
  readonly pipes: Collection<Pipe>;
  readonly pollers: Collection<Poller>;
  readonly resources: Collection<Resource>;
  readonly secrets: Collection<SealedSecret>;
  /** Instances by their plugin: link `plugins/a`. */
  readonly instancesBy: Directory<Facts>;
  readonly pipesBy: Directory<PipeFacts>;
  readonly blobs: Blobs;
  /** The leases of running work; only read here. */
  readonly locks: Kv;
  /** Versions that executors have stopped. Read and released here, written by them. */
  readonly quarantine: Kv;
  /** The windows of a pipe by its bare id; only read here. */
  windowsOf(pipe: string): Promise<readonly Window[]>;
  /**
   * Rules that look at several entities hold because this process changes one thing at a time. A second registry is
   * kept from losing writes by revisions, not from breaking such rules.
   */
  alone<T>(work: () => Promise<T>): Promise<T>;
  readonly now: () => number;
  /** The operator's rule for instances that follow the newest version. */
  readonly widening: Widening;
}

export async function openStore(bus: Bus, widening: Widening = "hold", now: () => number = Date.now): Promise<Store> {
  const [plugins, instances, pipes, pollers, resources, secrets, locks, quarantine, windows, blobs] = await Promise.all(
    [
      bus.kv(BUCKETS.plugins),
      bus.kv(BUCKETS.instances),
      bus.kv(BUCKETS.pipes),
      bus.kv(BUCKETS.pollers),
      bus.kv(BUCKETS.resources),
      bus.kv(BUCKETS.secrets),
      bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS }),
      bus.kv(BUCKETS.quarantine),
      bus.kv(BUCKETS.windows),
      bus.blobs(BLOBS),
    ],
  );
  const turn = new Semaphore(1);
  const instancesBy = openDirectory(
    instances,
    (key) => nameOfKey("instances", key),
    (value) => ({ links: [Instance.decode(value).plugin] }),
  );
  const pipesBy = openDirectory(
    pipes,
    (key) => nameOfKey("pipes", key),
    (value) => pipeFacts(Pipe.decode(value)),
  );
  return {
    plugins: new Collection("plugins", plugins, Plugin, "p"),
    versions: new Collection("versions", plugins, PluginVersion, "v"),
    instances: new Collection("instances", instances, Instance),
    pipes: new Collection("pipes", pipes, Pipe),
    pollers: new Collection("pollers", pollers, Poller),
    resources: new Collection("resources", resources, Resource),
    secrets: new Collection("secrets", secrets, SealedSecret),
    instancesBy,
    pipesBy,
    blobs,
    locks,
    quarantine,
    windowsOf: async (pipe) =>
      (await retry(READS, () => windows.list(encodeKeyPart(pipe)))).map(({ value }) => Window.decode(value)),
    now,
    widening,
    async alone(work) {
      using _ = await turn.acquire();
      return await work();
    },
    [Symbol.dispose]() {
      instancesBy[Symbol.dispose]();
      pipesBy[Symbol.dispose]();
    },
  };
}

/** The versions of one plugin, in no order. */
export const versionsOf = (store: Store, plugin: string) => store.versions.list(`v.${plugin}`);

export const toTimestamp = (ms: number): Timestamp => ({
  seconds: BigInt(Math.floor(ms / 1_000)),
  nanos: (ms % 1_000) * 1_000_000,
});
export const fromTimestamp = (time: Timestamp | undefined): number =>
  time ? Number(time.seconds) * 1_000 + Math.floor(time.nanos / 1_000_000) : 0;

export function stale(name: string, given: string, stored: string | undefined): Fault {
  return new Fault("conflict", `${name} was changed meanwhile: its etag is ${stored}, not ${given}; read it again`);
}

function withEtag<T extends Owned>(value: T, revision: bigint): T {
  return "etag" in value ? { ...value, etag: String(revision) } : value;
}
