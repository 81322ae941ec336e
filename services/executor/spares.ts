/**
 * Instances made ahead, while their lane has nothing to do, of modules that are slow to start: a language runtime
 * copies its heap into memory first. A spare is as fresh as any other instance and serves one call.
 */
import { monotonicMs } from "./slice.ts";

/** From here on a start is slow: memory and instance together. The fastest of several, because others share the CPU. */
const SLOW_START_MS = 0.025;
const STARTS_TO_JUDGE = 8;
/** Of one module, and of all, in one lane. */
const MAX_OF_MODULE = 4;
const MAX_SPARES = 32;
const MAX_BYTES = 32 << 20;
/** A module that nobody called for so long has no spares. */
const IDLE_MS = 60_000;

interface Shelf<Spare> {
  readonly make: () => Spare | undefined;
  readonly bytesEach: number;
  readonly spares: Spare[];
  calledMs: number;
}

interface Starts {
  count: number;
  fastestMs: number;
}

export class Spares<Spare> {
  readonly #drop: (spare: Spare) => void;
  readonly #starts = new WeakMap<WebAssembly.Module, Starts>();
  /** The module that was called least lately first. */
  readonly #shelves = new Map<WebAssembly.Module, Shelf<Spare>>();
  #count = 0;
  #bytes = 0;

  /** `drop` is given every spare that will not serve. */
  constructor(drop: (spare: Spare) => void) {
    this.#drop = drop;
  }

  get count(): number {
    return this.#count;
  }

  /** One of the module, if there is any; it is nobody else's from here on. */
  take(module: WebAssembly.Module): Spare | undefined {
    const shelf = this.#shelves.get(module);
    if (!shelf) return undefined;
    shelf.calledMs = monotonicMs();
    this.#shelves.delete(module);
    this.#shelves.set(module, shelf);
    return this.#pop(shelf);
  }

  /** A start without a spare took so long. `make` makes one ahead; undefined: it cannot be made. */
  started(module: WebAssembly.Module, tookMs: number, bytesEach: number, make: () => Spare | undefined): void {
    if (this.#shelves.has(module)) return;
    const starts = this.#starts.get(module) ?? { count: 0, fastestMs: Number.POSITIVE_INFINITY };
    starts.count += 1;
    starts.fastestMs = Math.min(starts.fastestMs, tookMs);
    this.#starts.set(module, starts);
    if (starts.count < STARTS_TO_JUDGE || starts.fastestMs < SLOW_START_MS || bytesEach > MAX_BYTES) return;
    this.#shelves.set(module, { make, bytesEach, spares: [], calledMs: monotonicMs() });
  }

  /** Makes one, of the module that was called last and lacks any. Returns whether another call would make one more. */
  prepare(): boolean {
    const lacking = [...this.#shelves].reverse().filter(([, { spares }]) => spares.length < MAX_OF_MODULE);
    const [first] = lacking;
    if (!first) return false;
    const [module, shelf] = first;
    if (!this.#makeRoom(shelf)) return false;
    const spare = shelf.make();
    if (spare === undefined) {
      this.forget(module);
      return lacking.length > 1;
    }
    shelf.spares.push(spare);
    this.#count += 1;
    this.#bytes += shelf.bytesEach;
    return lacking.length > 1 || shelf.spares.length < MAX_OF_MODULE;
  }

  forget(module: WebAssembly.Module): void {
    const shelf = this.#shelves.get(module);
    this.#shelves.delete(module);
    if (shelf) this.#clear(shelf);
  }

  /** Of modules that nobody called for a while. */
  dropIdle(): void {
    for (const [module, { calledMs }] of this.#shelves) if (monotonicMs() - calledMs > IDLE_MS) this.forget(module);
  }

  /** At the cost of modules that were called less lately. */
  #makeRoom(forShelf: Shelf<Spare>): boolean {
    const fits = () => this.#count < MAX_SPARES && this.#bytes + forShelf.bytesEach <= MAX_BYTES;
    for (const shelf of this.#shelves.values()) {
      if (fits() || shelf === forShelf) break;
      this.#clear(shelf);
    }
    return fits();
  }

  #clear(shelf: Shelf<Spare>): void {
    for (let spare = this.#pop(shelf); spare !== undefined; spare = this.#pop(shelf)) this.#drop(spare);
  }

  #pop(shelf: Shelf<Spare>): Spare | undefined {
    const spare = shelf.spares.pop();
    if (spare === undefined) return undefined;
    this.#count -= 1;
    this.#bytes -= shelf.bytesEach;
    return spare;
  }
}
