/** Between a lane and the main thread: which guest is on its CPU, since when, and how many guests it has begun. */

/** Byte offsets. The sequence is odd while a guest is on the CPU, and changes with every entry and exit. */
const SEQUENCE = 0;
const GUEST = 1;
const BEGUN = 2;
const SINCE_OFFSET_BYTES = 16;
export const SLICE_BYTES = 24;

/** One clock for all threads of the process, unlike `performance.now()`. */
export const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;

/** The lane writes (enter, leave, begin); the main thread reads (current, begun), even while the lane is stuck. */
export class Slice {
  readonly #words: Int32Array;
  readonly #since: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, 4);
    this.#since = new Float64Array(memory, SINCE_OFFSET_BYTES, 1);
  }

  get sinceMs(): number {
    return this.#since[0] ?? 0;
  }

  begin(): void {
    Atomics.add(this.#words, BEGUN, 1);
  }

  enter(guest: number): void {
    this.leave();
    this.#since[0] = monotonicMs();
    Atomics.store(this.#words, GUEST, guest);
    Atomics.add(this.#words, SEQUENCE, 1);
  }

  /** Returns the length of the slice in milliseconds. 0 when nobody was on the CPU. */
  leave(): number {
    if (!(Atomics.load(this.#words, SEQUENCE) & 1)) return 0;
    Atomics.add(this.#words, SEQUENCE, 1);
    return monotonicMs() - this.sinceMs;
  }

  /** Who is on the CPU, or undefined. Never a mixture of two slices. */
  current(): { readonly guest: number; readonly sinceMs: number } | undefined {
    const before = Atomics.load(this.#words, SEQUENCE);
    const guest = Atomics.load(this.#words, GUEST);
    const { sinceMs } = this;
    if (!(before & 1) || Atomics.load(this.#words, SEQUENCE) !== before) return undefined;
    return { guest, sinceMs };
  }

  /** Whether the `ordinal`-th start that was sent (1 is the first) has been taken up. Counts wrap at 32 bits. */
  hasBegun(ordinal: number): boolean {
    return ((Atomics.load(this.#words, BEGUN) - ordinal) | 0) >= 0;
  }
}
