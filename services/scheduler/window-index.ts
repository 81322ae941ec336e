/**
 * All windows of one pipe, small enough for a million: those that are fetched to their end as numbers, sorted by begin,
 * and only the others as what they are. Pure. Microseconds since the epoch; numbers hold them exactly until 2255, and
 * greater integers as steps of a window's length.
 */
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { beginOf, endOf, microsOf, positionOf } from "../kit/time.ts";
import type { StoredWindow } from "./window-store.ts";
import { type Grid, gridFloor, type Head, later, numberFrom, type Scale, type WholeWindows } from "./windows.ts";

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
  #scale: Scale = { origin: 0n, step: 1n };
  /** On an axis of integers. It does not go back when windows go: it is known of the source, not of what is stored. */
  #reach: bigint | undefined;
  #synced: { readonly sinceUs: bigint; readonly doneUs: bigint } | undefined;

  /** Of windows that are done, the last whose sync goes on after it: when that was due, and when it was done. */
  get synced(): { readonly sinceUs: bigint; readonly doneUs: bigint } | undefined {
    return this.#synced;
  }

  put(stored: StoredWindow): void {
    const { window } = stored;
    const beginUs = beginOf(window);
    if (window.beginInt !== "") this.#learn(window, beginUs, endOf(window));
    const begin = this.#numberOf(beginUs);
    const whole = this.#wholeOf(window, begin);
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
    this.#drop(this.#numberOf(beginUs));
    this.live.delete(beginUs);
  }

  has(beginUs: bigint): boolean {
    const begin = this.#numberOf(beginUs);
    const at = this.#find(begin);
    return (at >= 0 && !this.#isGone(at)) || this.live.has(beginUs) || this.#fresh.has(begin);
  }

  /** Valid until the next change. */
  whole(): WholeWindows {
    this.#merge();
    const columns = { begins: this.#begins, ends: this.#ends, updated: this.#updated, rows: this.#rows };
    return { count: this.#count, ...columns, ...this.#scale };
  }

  /**
   * How far the source of an axis of integers is known to go, on this grid. Rows show that it got to their window, and,
   * unless it says itself how far it goes, that the next one is worth asking for.
   */
  head(grid: Grid & { readonly reachesUs?: bigint | undefined }): Head {
    const { beginUs, reachesUs = beginUs } = grid;
    const reachUs = later(later(this.#reach ?? beginUs, reachesUs), beginUs);
    let openUs = gridFloor(grid, reachUs);
    for (const { window } of this.live.values()) {
      if (window.rows > 0n && window.watermarkInt === "" && endOf(window) > openUs) openUs = endOf(window);
    }
    return { reachUs, openUs };
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
    const first = fromUs === undefined ? 0 : this.#lowerBound(numberFrom(this.#scale, fromUs));
    const { origin, step } = this.#scale;
    for (let at = first; at < this.#count; at += 1) {
      if (this.#isGone(at)) continue;
      const beginUs = origin + BigInt(this.#begins[at] as number) * step;
      for (let one = live[next]; one && one.beginUs < beginUs; one = live[next]) {
        next += 1;
        yield one;
      }
      yield { beginUs, state: done };
    }
    yield* live.slice(next);
  }

  #learn(window: Window, begin: bigint, end: bigint): void {
    const first = this.#count === 0 && this.#fresh.size === 0;
    if (first && end > begin) this.#scale = { origin: begin, step: end - begin };
    const { rows, watermarkInt, fetchedUntilInt, state, syncTime } = window;
    const signs = [watermarkInt, fetchedUntilInt].filter(Boolean).map(BigInt);
    // An entry shows that those before its window are there.
    if (rows > 0n && watermarkInt === "") signs.push(begin);
    for (const reach of signs) if (this.#reach === undefined || reach > this.#reach) this.#reach = reach;
    if (state !== WindowState.DONE || !syncTime) return;
    const doneUs = microsOf(window.updateTime);
    if (!this.#synced || doneUs > this.#synced.doneUs) this.#synced = { sinceUs: microsOf(syncTime), doneUs };
  }

  /** NaN for a position that is none of our numbers: it is found nowhere. */
  #numberOf(at: bigint): number {
    const { origin, step } = this.#scale;
    if (step === 1n) return safe(at - origin);
    return (at - origin) % step === 0n ? safe((at - origin) / step) : Number.NaN;
  }

  /** Undefined for what is not done, not fetched to its end, or too great for numbers. */
  #wholeOf(window: Window, begin: number): Whole | undefined {
    const { state, updateTime } = window;
    if (state !== WindowState.DONE) return undefined;
    const endUs = endOf(window);
    if (positionOf(window.fetchedUntil, window.fetchedUntilInt) < endUs) return undefined;
    const [end, updated, rows] = [this.#numberOf(endUs), Number(microsOf(updateTime)), Number(window.rows)];
    return [begin, end, updated, rows].every(Number.isSafeInteger) ? { end, updated, rows } : undefined;
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

function safe(at: bigint): number {
  const number = Number(at);
  return Number.isSafeInteger(number) ? number : Number.NaN;
}
