/** Keys and values in a stream, laid out as NATS's own key-value buckets, so that its tools can read them. */
import type { StoredMsg } from "@nats-io/jetstream";
import { headers, type MsgHdrs, nanos } from "@nats-io/transport-node";
import { Fault } from "../../kit/fault.ts";
import { pause } from "../../kit/lifecycle.ts";
import { checkKey, checkPrefix, checkSize, isBelow, MAX_VALUE_BYTES } from "../keys.ts";
import type { Kv, KvChange, KvEntry } from "../ports.ts";
import type { Link } from "./link.ts";
import { type Delivery, pull } from "./pull.ts";
import { DeliverPolicy, DiscardPolicy, dropReader, ensureStream, openReader, readThrough } from "./stores.ts";

const OPERATION = "KV-Operation";
const WATCH_BATCH = 256;
const WATCH_WAIT_MS = 10_000;
const WATCH_RETRY_MS = 200;
/** A key that expires or is deleted between two looks is looked at again. */
const CREATE_ATTEMPTS = 3;

export async function openKv(link: Link, bucket: string, ttlMs: number): Promise<Kv> {
  const stream = `KV_${bucket}`;
  await ensureStream(link, {
    name: stream,
    subjects: [`$KV.${bucket}.>`],
    max_msgs_per_subject: 1,
    max_age: nanos(ttlMs),
    discard: DiscardPolicy.New,
    allow_rollup_hdrs: true,
    // In a cluster a direct get may be answered by a replica that is behind.
    allow_direct: false,
  });
  return new NatsKv(link, bucket, stream);
}

class NatsKv implements Kv {
  readonly #link: Link;
  readonly #bucket: string;
  readonly #stream: string;

  constructor(link: Link, bucket: string, stream: string) {
    this.#link = link;
    this.#bucket = bucket;
    this.#stream = stream;
  }

  async get(key: string): Promise<KvEntry | undefined> {
    checkKey(key);
    const stored = await this.#newest(key);
    return stored && !isDelete(stored.header) ? this.#toEntry(stored) : undefined;
  }

  async put(key: string, value: Uint8Array): Promise<bigint> {
    this.#check(key, value);
    return this.#publish(key, value);
  }

  async create(key: string, value: Uint8Array): Promise<bigint> {
    this.#check(key, value);
    let last = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#publish(key, value, last);
      } catch (thrown) {
        if (!(thrown instanceof Fault) || thrown.code !== "conflict") throw thrown;
        const stored = await this.#newest(key);
        if ((stored && !isDelete(stored.header)) || attempt === CREATE_ATTEMPTS) {
          throw new Fault("exists", `key ${key} exists in ${this.#bucket}`);
        }
        last = stored?.seq ?? 0;
      }
    }
  }

  async update(key: string, value: Uint8Array, revision: bigint): Promise<bigint> {
    this.#check(key, value);
    if (revision <= 0n) throw this.#conflict(key, revision);
    return this.#publish(key, value, Number(revision));
  }

  async delete(key: string, revision?: bigint): Promise<void> {
    checkKey(key);
    if (revision === undefined && !(await this.get(key))) return;
    if (revision !== undefined && revision <= 0n) throw this.#conflict(key, revision);
    const marker = headers();
    marker.set(OPERATION, "DEL");
    await this.#publish(key, new Uint8Array(), revision === undefined ? undefined : Number(revision), marker);
  }

  async list(prefix: string): Promise<KvEntry[]> {
    checkPrefix(prefix);
    // One filter takes what lies below, but not the prefix itself, and old servers take one only.
    const apart = prefix !== "" && !this.#link.manyFilters;
    const filters = apart ? [this.#subject(`${prefix}.>`)] : this.#filters(prefix);
    const [itself, found] = await Promise.all([
      apart ? this.get(prefix) : undefined,
      readThrough(this.#link, this.#stream, filters, DeliverPolicy.LastPerSubject),
    ]);
    const entries = found
      .map((delivery) => this.#toChange(delivery))
      .filter((change) => change.type === "put" && isBelow(change.key, prefix))
      .map(({ type: _, ...entry }) => entry as KvEntry);
    if (itself) entries.push(itself);
    return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  async revision(): Promise<bigint> {
    const { state } = await this.#link.ask(() => this.#link.jsm.streams.info(this.#stream));
    return BigInt(state.last_seq);
  }

  /**
   * A reader of our own instead of the library's: its end of the replay is the server's word (nothing more for now),
   * and after any doubt (a gap, a reconnect, a reader that has gone) it starts again behind the last revision seen.
   */
  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<KvChange, void, void> {
    checkPrefix(prefix);
    const ends = AbortSignal.any([signal, this.#link.closing]);
    let synced = false;
    let seen = 0;
    while (!ends.aborted) {
      const from = synced
        ? { policy: DeliverPolicy.StartSequence, seq: seen + 1 }
        : { policy: DeliverPolicy.LastPerSubject };
      const open = async () => {
        // The last messages may be gone: what a replay brings does not tell how far it goes.
        const reached = await this.revision();
        return { reached, reader: await openReader(this.#link, this.#stream, this.#filters(prefix), from) };
      };
      const opened = await open().catch((thrown) => {
        const fault = Fault.from(thrown);
        if (!fault.retryable) throw fault;
        return undefined;
      });
      if (!opened) {
        await pause(WATCH_RETRY_MS, ends);
        continue;
      }
      const { reached, reader } = opened;
      try {
        for await (const read of this.#read(reader.name, ends)) {
          if (read !== "drained") {
            seen = Math.max(seen, read.streamSeq);
            const change = this.#toChange(read);
            // Before `synced` only what is stored counts: an old delete marker is not a change.
            if (change.type !== "synced" && isBelow(change.key, prefix) && (synced || change.type === "put"))
              yield change;
          } else if (!synced) {
            synced = true;
            yield { type: "synced", revision: reached > BigInt(seen) ? reached : BigInt(seen) };
          }
        }
      } finally {
        dropReader(this.#link, this.#stream, reader.name);
      }
      await pause(WATCH_RETRY_MS, ends);
    }
  }

  /** Deliveries of a reader, with "drained" whenever nothing more is there; ends at the first doubt. */
  async *#read(consumer: string, signal: AbortSignal): AsyncGenerator<Delivery | "drained", void, void> {
    let last = 0;
    let waitMs = 0;
    while (!signal.aborted) {
      const waiting: Delivery[] = [];
      let wake = () => {};
      const request = { stream: this.#stream, consumer, max: WATCH_BATCH, waitMs, signal };
      const pulled = pull(this.#link, request, (delivery) => {
        waiting.push(delivery);
        wake();
      });
      let end: string | undefined;
      void pulled.then((how) => {
        end = how;
        wake();
      });
      while (waiting.length > 0 || end === undefined) {
        const delivery = waiting.shift();
        if (!delivery) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else if (delivery.consumerSeq === last + 1) {
          last = delivery.consumerSeq;
          yield delivery;
        } else return;
      }
      if (end === "lost") return;
      if (end === "empty" && waitMs === 0) {
        waitMs = WATCH_WAIT_MS;
        yield "drained";
      }
    }
  }

  #check(key: string, value: Uint8Array): void {
    checkKey(key);
    checkSize(value, MAX_VALUE_BYTES, `the value of ${key}`);
  }

  /** `last` is the sequence that the key must be at; 0: it must have none. Errors: `conflict`. */
  async #publish(key: string, value: Uint8Array, last?: number, marker?: MsgHdrs): Promise<bigint> {
    const expected = last === undefined ? {} : { expect: { lastSubjectSequence: last } };
    const marked = marker ? { headers: marker } : {};
    const ack = await this.#link.ask(() =>
      this.#link.js.publish(this.#subject(key), value, { ...expected, ...marked }),
    );
    return BigInt(ack.seq);
  }

  async #newest(key: string): Promise<StoredMsg | undefined> {
    const query = { last_by_subj: this.#subject(key) };
    return (await this.#link.ask(() => this.#link.jsm.streams.getMessage(this.#stream, query))) ?? undefined;
  }

  #subject(key: string): string {
    return `$KV.${this.#bucket}.${key}`;
  }

  #filters(prefix: string): string[] {
    if (prefix === "" || !this.#link.manyFilters) return [this.#subject(">")];
    return [this.#subject(prefix), this.#subject(`${prefix}.>`)];
  }

  #toEntry(stored: StoredMsg): KvEntry {
    const key = stored.subject.slice(this.#subject("").length);
    return { key, value: stored.data, revision: BigInt(stored.seq), createdMs: stored.time.getTime() };
  }

  #toChange({ subject, data, headers: given, streamSeq, storedMs }: Delivery): KvChange {
    const key = subject.slice(this.#subject("").length);
    const revision = BigInt(streamSeq);
    if (isDelete(given)) return { type: "delete", key, revision };
    return { type: "put", key, value: data, revision, createdMs: storedMs };
  }

  #conflict(key: string, revision: bigint): Fault {
    return new Fault("conflict", `key ${key} in ${this.#bucket} is not at revision ${revision}`);
  }
}

/** Deleted, or purged by a tool of NATS. */
function isDelete(given: MsgHdrs | undefined): boolean {
  return !!given?.has(OPERATION);
}
