/** What waits for a slow reader: bounded, in order, read by one `for await`. */

export interface BacklogOptions {
  /** More than this many waiting: the oldest is dropped. Absent: bounded by the number of keys. */
  readonly limit?: number;
  /** Ends the reading; what waits is dropped. */
  readonly signal: AbortSignal;
}

/** Items under one key are merged: only the newest waits, at the end. */
export class Backlog<K, T> implements AsyncIterable<T> {
  readonly #waiting = new Map<K, T>();
  readonly #limit: number;
  readonly #signal: AbortSignal;
  #wake: (() => void) | undefined;
  #ended = false;

  constructor({ limit = Number.POSITIVE_INFINITY, signal }: BacklogOptions) {
    this.#limit = limit;
    this.#signal = signal;
  }

  push(key: K, item: T): void {
    this.#waiting.delete(key);
    this.#waiting.set(key, item);
    if (this.#waiting.size > this.#limit) this.#waiting.delete(this.#waiting.keys().next().value as K);
    this.#wake?.();
  }

  /** The reader gets what waits, then its loop ends. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    const wake = () => this.#wake?.();
    this.#signal.addEventListener("abort", wake, { once: true });
    try {
      while (!this.#signal.aborted) {
        const next = this.#waiting.entries().next();
        if (!next.done) {
          this.#waiting.delete(next.value[0]);
          yield next.value[1];
        } else if (this.#ended) return;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
        }
      }
    } finally {
      this.#signal.removeEventListener("abort", wake);
    }
  }
}

/** Reads the backlog; calls `leave` when the reader stops, for whatever reason. */
export async function* readThen<T>(backlog: Backlog<unknown, T>, leave: () => void): AsyncGenerator<T, void, void> {
  try {
    yield* backlog;
  } finally {
    leave();
  }
}
