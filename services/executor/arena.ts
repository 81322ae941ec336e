/** Memory for the blocks of all guests of a lane: one WebAssembly memory, cut into regions of a power of two. */

/** The smallest region; most calls need no more. */
export const MIN_REGION_BYTES = 1_024;
const PAGE_BYTES = 65_536;
/** Growing costs the same for one page as for many. */
const GROW_PAGES = 64;
const MAX_PAGES = 65_536;
const SIZES = 32;

/** Offsets into the memory; what a guest calls an address counts from `base`. */
export interface Region {
  readonly base: number;
  readonly bytes: number;
}

export class Arena {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES });
  readonly #idle: number[][] = Array.from({ length: SIZES }, () => []);
  #view = new Uint8Array(this.memory.buffer);
  #endOfUsed = 0;
  /** Regions that somebody holds. */
  held = 0;

  /** All of it; not to be kept, because growing gives it another. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#view.byteLength === 0) this.#view = new Uint8Array(this.memory.buffer);
    return this.#view;
  }

  /** How much was ever in use. It never shrinks: an arena that became large is left and forgotten. */
  get reservedBytes(): number {
    return this.#endOfUsed;
  }

  /** At least so many bytes, all zero. Undefined when the arena has no room for them. */
  take(bytes: number): Region | undefined {
    const size = 32 - Math.clz32(Math.max(bytes, MIN_REGION_BYTES) - 1);
    const regionBytes = 2 ** size;
    const idle = this.#idle[size]?.pop();
    if (idle === undefined && !this.#reach(this.#endOfUsed + regionBytes)) return undefined;
    const base = idle ?? this.#endOfUsed;
    if (idle === undefined) this.#endOfUsed += regionBytes;
    this.held += 1;
    return { base, bytes: regionBytes };
  }

  /** Takes a region back of which only the first `dirtyBytes` were written to; they are zeroed. */
  give({ base, bytes }: Region, dirtyBytes: number): void {
    this.bytes.fill(0, base, base + dirtyBytes);
    this.#idle[31 - Math.clz32(bytes)]?.push(base);
    this.held -= 1;
  }

  #reach(end: number): boolean {
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / PAGE_BYTES);
    if (missing <= 0) return true;
    const pages = this.memory.buffer.byteLength / PAGE_BYTES;
    if (pages + missing > MAX_PAGES) return false;
    try {
      this.memory.grow(Math.min(Math.max(missing, GROW_PAGES), MAX_PAGES - pages));
      return true;
    } catch {
      return false;
    }
  }
}
