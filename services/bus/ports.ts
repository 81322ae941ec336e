/** The four ports of the bus. Two adapters fulfil them, nats/ and embedded/; one contract suite runs on both. */

/**
 * Keys are dot-separated parts of `[A-Za-z0-9_=-]+`, at most 512 bytes in all; anything else is a Fault `invalid`.
 * Use `encodeKeyPart` for foreign text. Values, message bodies and events are at most 960 KiB (Fault `too_large`):
 * NATS counts headers into its 1 MiB.
 */
export interface KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Grows with every write to the bucket, never reused: it is an etag, and of a lock's `create` it is the fence. */
  readonly revision: bigint;
  /** When the bus stored it, by the bus's own clock: milliseconds since the epoch. */
  readonly createdMs: number;
}

export type KvChange =
  | ({ readonly type: "put" } & KvEntry)
  | { readonly type: "delete"; readonly key: string; readonly revision: bigint }
  /**
   * Everything that was stored when the watch began has been delivered, and nothing up to `revision` is still to come.
   * Comes exactly once, even for no entries.
   */
  | { readonly type: "synced"; readonly revision: bigint };

export interface Kv {
  get(key: string): Promise<KvEntry | undefined>;
  /** Writes whatever is there. Returns the new revision. */
  put(key: string, value: Uint8Array): Promise<bigint>;
  /** Errors: `exists` when the key has a live value. Of many racers exactly one succeeds. */
  create(key: string, value: Uint8Array): Promise<bigint>;
  /** Errors: `conflict` when `revision` is not the newest of the key. */
  update(key: string, value: Uint8Array, revision: bigint): Promise<bigint>;
  /** Deleting what is not there is fine. Errors: `conflict` when `revision` is given and not the newest. */
  delete(key: string, revision?: bigint): Promise<void>;
  /** Of the bucket's newest write or delete; 0: there was none. What a watch has brought up to it is all there is. */
  revision(): Promise<bigint>;
  /** All live entries whose key is `prefix` or starts with `prefix` + "."; "" lists all. Sorted by key. */
  list(prefix: string): Promise<KvEntry[]>;
  /**
   * First what is stored (newest value of each key), then `synced`, then later changes, until the signal aborts or the
   * bus is closed. Of several changes of one key a slow or disconnected reader may get only the newest: that bounds
   * what waits. Survives a restart of the server: the newest change of a key is never lost; a change may come twice.
   * A delete may be missed while disconnected only for a key that expired. Expiry by ttl sends no event.
   */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<KvChange>;
}

export interface KvOptions {
  /** Entries vanish this long after their last write, in milliseconds, 100 or more; absent: never. */
  readonly ttlMs?: number;
}

/** Immutable bytes by their own SHA-256 (lower-case hex). Up to 256 MiB each (Fault `too_large`). */
export interface Blobs {
  /** Stores and returns the digest. Storing the same bytes again is a no-op. */
  put(bytes: Uint8Array): Promise<string>;
  /** Errors: `not_found`; `internal` when the stored bytes no longer match the digest. */
  get(digest: string): Promise<Uint8Array>;
  has(digest: string): Promise<boolean>;
  delete(digest: string): Promise<void>;
}

export interface Message {
  readonly id: string;
  readonly body: Uint8Array;
  /** 1 on the first delivery. A NATS server that is killed may forget its last deliveries, as it may acks. */
  readonly deliveries: number;
  /** When it was sent, by the bus's clock: milliseconds since the epoch. */
  readonly sentMs: number;
  /**
   * Done: never delivered again. Resolves when the bus has confirmed it. Not fenced: an ack that comes after the ack
   * wait counts, even while another holds the message. What must happen once needs a fence of its own.
   * Errors: `unavailable` or `deadline` when it was not confirmed: the message may come again. A NATS server writes
   * acks to disk late: one that is killed may bring again what was acked in its last moments.
   */
  ack(): Promise<void>;
  /** Failed: delivered again after `delayMs`. This and the next two do nothing once the message is gone. */
  nak(delayMs: number): Promise<void>;
  /** Still at work: the ack wait starts anew. */
  progress(): Promise<void>;
  /** Given up: moved to the dead letters with the reason, and never delivered again by itself. */
  deadLetter(reason: string): Promise<void>;
}

export interface DeadLetter {
  readonly id: string;
  readonly body: Uint8Array;
  readonly reason: string;
  readonly deadMs: number;
}

export interface QueueOptions {
  /** Not acked within this time: delivered again. */
  readonly ackWaitMs: number;
  /** Deliveries before the bus itself moves a message to the dead letters (reason "too many deliveries"). */
  readonly maxDeliveries: number;
  /** Messages waiting or at work; one more is refused: Fault `exhausted`. */
  readonly maxMessages: number;
  /** The same id sent again within this time is stored once. At least 100. */
  readonly dedupWindowMs: number;
}

/**
 * Ids are 1 to 512 printable ASCII characters without a blank. At-least-once work queue. Order is by arrival, save that
 * a nak or a lapsed ack wait puts a message behind.
 */
export interface Queue {
  /**
   * Resolves once stored durably. Returns false when the id was already sent within the window: a no-op, not an error.
   */
  send(id: string, body: Uint8Array): Promise<boolean>;
  /** At least one and at most `max` messages, or none after `waitMs` or when the signal aborts. */
  pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]>;
  /** Waiting plus at work. */
  depth(): Promise<number>;
  /** Oldest first. One for each id, the newest; at most 100,000, then the oldest goes. */
  deadLetters(max: number): Promise<DeadLetter[]>;
  /** Puts a dead letter back with its deliveries at 0. Errors: `not_found`. */
  redrive(id: string): Promise<void>;
}

export interface BusEvent {
  readonly subject: string;
  readonly body: Uint8Array;
}

/**
 * Fire and forget to whoever listens now. Subjects are keys; a subscription takes a subject and all below it, from
 * the call of `subscribe` on. While the bus is not connected, `publish` is a Fault `unavailable` and events pass by.
 */
export interface Events {
  publish(subject: string, body: Uint8Array): Promise<void>;
  /** Buffers at most 1,024 events for a slow reader, then drops the oldest. */
  subscribe(subject: string, signal: AbortSignal): AsyncIterable<BusEvent>;
}

/**
 * One connection to a bus. Opening a bucket or queue twice gives the same store; other options are a Fault `conflict`.
 */
export interface Bus extends AsyncDisposable {
  kv(bucket: string, options?: KvOptions): Promise<Kv>;
  blobs(bucket: string): Promise<Blobs>;
  queue(name: string, options: QueueOptions): Promise<Queue>;
  readonly events: Events;
  /** Resolves when the bus answers. Errors: `unavailable`, saying where it was looked for. */
  ping(): Promise<void>;
}
