/** What is due now, out of very many: a heap by next due moment. Pure; milliseconds since the epoch. */
import type { Schedule } from "../kit/schedule.ts";
import { countDue, lastDue, nextDue } from "./schedule.ts";

/** More missed moments of one entry than this are not counted one by one. */
const MAX_COUNTED = 1_000;

export interface Timed {
  /** Unique, and what the phase of an interval is made of. */
  readonly key: string;
  readonly schedule: Schedule;
  /** A first moment that the schedule does not know: soon after the entry came to be. */
  readonly firstMs: number;
}

/** The first due moment after `afterMs`; undefined: never. */
export function dueAfter(entry: Timed, afterMs: number): number | undefined {
  if (entry.firstMs > afterMs) return entry.firstMs;
  return nextDue(entry.schedule, entry.key, Math.max(afterMs, restUntil(entry)));
}

/** The newest due moment up to and including `atMs`; undefined: none yet. */
export function dueUpTo(entry: Timed, atMs: number): number | undefined {
  if (entry.firstMs > atMs) return undefined;
  const newestMs = lastDue(entry.schedule, entry.key, atMs);
  return newestMs !== undefined && newestMs > restUntil(entry) ? newestMs : entry.firstMs;
}

/** The phase may come right after the first run: a moment within half a period of it is left out. */
function restUntil({ schedule, firstMs }: Timed): number {
  return schedule.kind === "every" ? firstMs + schedule.periodMs / 2 : firstMs;
}

export interface Due<E> {
  readonly entry: E;
  /** The newest moment that is not after now. */
  readonly dueMs: number;
  /** Older moments that passed unserved and are skipped; counted up to 1,000. */
  readonly missed: number;
}

interface Slot<E> {
  entry: E;
  nextMs: number;
  index: number;
}

/** Adding, removing and taking cost O(log n) each; a look at what is due costs O(1) when nothing is. */
export class DueHeap<E extends Timed> {
  readonly #slots = new Map<string, Slot<E>>();
  readonly #heap: Slot<E>[] = [];

  get size(): number {
    return this.#slots.size;
  }

  /** When the next entry is due; undefined when none ever is. */
  get nextMs(): number | undefined {
    return this.#heap[0]?.nextMs;
  }

  get(key: string): E | undefined {
    return this.#slots.get(key)?.entry;
  }

  keys(): IterableIterator<string> {
    return this.#slots.keys();
  }

  /** Adds or replaces. `dueMs` is when it is due next; undefined: never. */
  set(entry: E, dueMs: number | undefined): void {
    this.delete(entry.key);
    const nextMs = dueMs ?? Number.POSITIVE_INFINITY;
    const slot = { entry, nextMs, index: -1 };
    this.#slots.set(entry.key, slot);
    if (dueMs !== undefined) this.#push(slot);
  }

  delete(key: string): void {
    const slot = this.#slots.get(key);
    if (!slot) return;
    this.#slots.delete(key);
    if (slot.index >= 0) this.#remove(slot);
  }

  /**
   * Takes at most `max` entries that are due, the longest due first, and moves each to its next moment: each due
   * moment comes once, unless it is put back.
   */
  take(nowMs: number, max: number): Due<E>[] {
    const taken: Due<E>[] = [];
    for (let slot = this.#heap[0]; slot && slot.nextMs <= nowMs && taken.length < max; slot = this.#heap[0]) {
      const { entry, nextMs } = slot;
      const dueMs = Math.max(nextMs, dueUpTo(entry, nowMs) ?? nextMs);
      const missed = dueMs === nextMs ? 0 : countDue(entry.schedule, entry.key, nextMs, dueMs, MAX_COUNTED);
      taken.push({ entry, dueMs, missed });
      slot.nextMs = dueAfter(entry, nowMs) ?? Number.POSITIVE_INFINITY;
      if (slot.nextMs === Number.POSITIVE_INFINITY) this.#remove(slot);
      else this.#sink(slot);
    }
    return taken;
  }

  /** What could not be served stays due: taken again, with the newest moment by then. Gone entries are ignored. */
  putBack({ entry, dueMs }: Due<E>): void {
    const slot = this.#slots.get(entry.key);
    if (!slot || slot.nextMs <= dueMs) return;
    slot.nextMs = dueMs;
    if (slot.index < 0) this.#push(slot);
    else this.#rise(slot);
  }

  #push(slot: Slot<E>): void {
    slot.index = this.#heap.length;
    this.#heap.push(slot);
    this.#rise(slot);
  }

  #remove(slot: Slot<E>): void {
    const last = this.#heap.pop() as Slot<E>;
    const { index } = slot;
    slot.index = -1;
    if (last === slot) return;
    this.#put(last, index);
    this.#rise(last);
    this.#sink(last);
  }

  #put(slot: Slot<E>, index: number): void {
    slot.index = index;
    this.#heap[index] = slot;
  }

  #rise(slot: Slot<E>): void {
    let { index } = slot;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = this.#heap[above] as Slot<E>;
      if (parent.nextMs <= slot.nextMs) break;
      this.#put(parent, index);
      index = above;
    }
    this.#put(slot, index);
  }

  #sink(slot: Slot<E>): void {
    const { length } = this.#heap;
    let { index } = slot;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= length) break;
      const right = this.#heap[below + 1];
      if (right && right.nextMs < (this.#heap[below] as Slot<E>).nextMs) below += 1;
      const child = this.#heap[below] as Slot<E>;
      if (child.nextMs >= slot.nextMs) break;
      this.#put(child, index);
      index = below;
    }
    this.#put(slot, index);
  }
}
