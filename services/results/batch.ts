/** Small writes of many runs share an INSERT: collected by rows, bytes and age; bounded in all. */
import { Fault } from "../kit/fault.ts";
import { mayRecover } from "./client.ts";
import type { Trace } from "./lost-answers.ts";

export interface Parcel {
  readonly bytes: Uint8Array;
  readonly rows: number;
  /** Names the bytes, for when the parcel travels alone. */
  readonly token: string;
  /** By which its rows are found; without, a second copy of it does no harm. */
  readonly trace?: Trace;
}

export interface BatchLimits {
  readonly maxRows: number;
  readonly maxBytes: number;
  /**
   * Least time between two INSERTs that are not full, in milliseconds: how long a parcel waits for company, unless two
   * are under way already. More small ones at once would only be slower, each of them.
   */
  readonly maxAgeMs: number;
}

const SAME_MOMENT_MS = 2;
/** INSERTs of a kind; one that is full does not wait. */
const MAX_UNDER_WAY = 2;

interface Waiting extends Parcel {
  readonly resolve: () => void;
  readonly reject: (problem: unknown) => void;
}

/**
 * `send` stores all parcels or none, or fails as `unavailable` when that is not known: then all of them fail. When it
 * is refused for several, each is sent alone, so that one bad parcel fails alone.
 */
export class Batch {
  readonly #limits: BatchLimits;
  readonly #send: (parcels: readonly Parcel[]) => Promise<void>;
  #waiting: Waiting[] = [];
  #rows = 0;
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #dispatchedMs = Number.NEGATIVE_INFINITY;
  #sending = 0;

  constructor(limits: BatchLimits, send: (parcels: readonly Parcel[]) => Promise<void>) {
    this.#limits = limits;
    this.#send = send;
  }

  /** Resolves once stored. */
  add(parcel: Parcel): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const tooMuch = this.#bytes + parcel.bytes.length > this.#limits.maxBytes;
    if (tooMuch || this.#rows + parcel.rows > this.#limits.maxRows) this.#dispatch();
    this.#waiting.push({ ...parcel, resolve, reject });
    this.#rows += parcel.rows;
    this.#bytes += parcel.bytes.length;
    this.#arm();
    return promise;
  }

  /** After a quiet time nobody waits: the first parcel takes along only those of the same moment. */
  #arm(): void {
    if (this.#waiting.length === 0 || this.#sending >= MAX_UNDER_WAY) return;
    const dueMs = this.#dispatchedMs + this.#limits.maxAgeMs - performance.now();
    this.#timer ??= setTimeout(() => this.#dispatch(), Math.max(SAME_MOMENT_MS, dueMs));
  }

  #dispatch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
    this.#dispatchedMs = performance.now();
    const parcels = this.#waiting;
    this.#waiting = [];
    this.#rows = 0;
    this.#bytes = 0;
    this.#sending += 1;
    void this.#settle(parcels).finally(() => {
      this.#sending -= 1;
      this.#arm();
    });
  }

  async #settle(parcels: readonly Waiting[]): Promise<void> {
    try {
      await this.#send(parcels);
      for (const parcel of parcels) parcel.resolve();
    } catch (problem) {
      // Some of the rows may be there: sent alone, under other tokens, they would be there twice.
      const unsure = mayRecover(Fault.from(problem));
      for (const parcel of parcels) {
        if (unsure || parcels.length === 1) parcel.reject(problem);
        else await this.#settle([parcel]);
      }
    }
  }
}

/** Bytes that may be held at once. Whoever comes when it is full waits, in order. */
export class Budget {
  readonly #limit: number;
  #held = 0;
  readonly #queue: { readonly bytes: number; readonly enter: () => void }[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /** More than the whole budget waits until it is empty. */
  async take(bytes: number): Promise<Disposable> {
    if (this.#queue.length || !this.#fits(bytes)) {
      await new Promise<void>((enter) => this.#queue.push({ bytes, enter }));
    } else this.#held += bytes;
    let given = false;
    return {
      [Symbol.dispose]: () => {
        if (given) return;
        given = true;
        this.#held -= bytes;
        for (let next = this.#queue[0]; next && this.#fits(next.bytes); next = this.#queue[0]) {
          this.#queue.shift();
          this.#held += next.bytes;
          next.enter();
        }
      },
    };
  }

  #fits(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.#limit;
  }
}
