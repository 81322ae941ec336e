/**
 * All windows of one pipe, small enough for a million: those that are fetched to their end as numbers, sorted by begin,
 * and only the others as what they are. Pure. Microseconds since the epoch; numbers hold them exactly until 2255.
 */
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { microsOf } from "../kit/time.ts";
import type { StoredWindow } from "./window-store.ts";
import type { WholeWindows } from "./windows.ts";

/** Newly fetched windows that are kept beside the sorted ones before they are merged. */
const MAX_FRESH = 65_536;

interface Whole {
  readonly end: number;
  readonly updated: number;
  readonly rows: number;
}

export class WindowIndex {
  /** Not fetched to their end, or not done: by begin. */
  readonly live = new Map<bigint, StoredWindow>();
  /** Whose jobs were sent once more, in case that their claim was not. */
  readonly resent = new WeakSet<StoredWindow>();
  #count = 0;
  #begins = new Float64Array();
  #ends = new Float64Array();
  #updated = new Float64Array();
  #rows = new Float64Array();
  readonly #fresh = new Map<number, Whole>();

  put(stored: StoredWindow): void {
    const beginUs = microsOf(stored.window.begin);
    const begin = Number(beginUs);
    const whole = wholeOf(stored.window, begin);
    if (whole) {
      this.live.delete(beginUs);
      const at = this.#find(begin);
      if (at >= 0) this.#write(at, begin, whole);
      else this.#fresh.set(begin, whole);
      if (this.#fresh.size > MAX_FRESH) this.#merge();
    } else {
      this.#drop(begin);
      this.live.set(beginUs, stored);
    }
  }

  delete(beginUs: bigint): void {
    this.#drop(Number(beginUs));
    this.live.delete(beginUs);
  }

  has(beginUs: bigint): boolean {
    const at = this.#find(Number(beginUs));
    return (at >= 0 && !this.#isGone(at)) || this.live.has(beginUs) || this.#fresh.has(Number(beginUs));
  }

  /** Valid until the next change. */
  whole(): WholeWindows {
    this.#merge();
    return { count: this.#count, begins: this.#begins, ends: this.#ends, updated: this.#updated, rows: this.#rows };
  }

  /** Begin and state of what is stored, by begin, from `fromUs` on. */
  *from(fromUs: bigint | undefined): Generator<{ readonly beginUs: bigint; readonly state: WindowState }> {
    this.#merge();
    const live = [...this.live]
      .filter(([beginUs]) => fromUs === undefined || beginUs >= fromUs)
      .map(([beginUs, { window }]) => ({ beginUs, state: window.state }))
      .sort((a, b) => (a.beginUs < b.beginUs ? -1 : 1));
    let next = 0;
    const done = WindowState.DONE;
    for (let at = fromUs === undefined ? 0 : this.#lowerBound(Number(fromUs)); at < this.#count; at += 1) {
      if (this.#isGone(at)) continue;
      const beginUs = BigInt(this.#begins[at] as number);
      for (let one = live[next]; one && one.beginUs < beginUs; one = live[next]) {
        next += 1;
        yield one;
      }
      yield { beginUs, state: done };
    }
    yield* live.slice(next);
  }

  #drop(begin: number): void {
    this.#fresh.delete(begin);
    const at = this.#find(begin);
    if (at >= 0) this.#ends[at] = Number.NaN;
  }

  /** Its place is kept: it most likely comes back. */
  #isGone(at: number): boolean {
    return Number.isNaN(this.#ends[at]);
  }

  #find(begin: number): number {
    const at = this.#lowerBound(begin);
    return at < this.#count && this.#begins[at] === begin ? at : -1;
  }

  #lowerBound(begin: number): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#begins[middle] as number) < begin) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #write(at: number, begin: number, { end, updated, rows }: Whole): void {
    this.#begins[at] = begin;
    this.#ends[at] = end;
    this.#updated[at] = updated;
    this.#rows[at] = rows;
  }

  #merge(): void {
    if (this.#fresh.size === 0) return;
    const fresh = [...this.#fresh].sort(([a], [b]) => a - b);
    this.#fresh.clear();
    const before = { count: this.#count, begins: this.#begins, ends: this.#ends };
    const [updated, rows] = [this.#updated, this.#rows];
    const room = before.count + fresh.length;
    this.#begins = new Float64Array(room);
    this.#ends = new Float64Array(room);
    this.#updated = new Float64Array(room);
    this.#rows = new Float64Array(room);
    this.#count = 0;
    let next = 0;
    const takeUntil = (begin: number) => {
      for (let one = fresh[next]; one && one[0] < begin; one = fresh[next]) {
        next += 1;
        this.#write(this.#count++, ...one);
      }
    };
    for (let at = 0; at < before.count; at += 1) {
      const [begin, end] = [before.begins[at] as number, before.ends[at] as number];
      takeUntil(begin);
      if (Number.isNaN(end)) continue;
      this.#write(this.#count++, begin, { end, updated: updated[at] as number, rows: rows[at] as number });
    }
    takeUntil(Number.POSITIVE_INFINITY);
  }
}

/** Undefined for what is not done, not fetched to its end, or too late for numbers. */
function wholeOf({ state, end: endTime, fetchedUntil, updateTime, rows }: Window, begin: number): Whole | undefined {
  if (state !== WindowState.DONE) return undefined;
  const [end, updated] = [Number(microsOf(endTime)), Number(microsOf(updateTime))];
  const exact = [begin, end, updated, Number(rows)].every((value) => Number.isSafeInteger(value));
  return exact && Number(microsOf(fetchedUntil)) >= end ? { end, updated, rows: Number(rows) } : undefined;
}
