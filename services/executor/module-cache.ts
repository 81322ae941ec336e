/** Compiled modules by digest, compiled once for all lanes, the least recently used dropped first. */
import { Fault } from "../kit/fault.ts";
import type { GuestModule } from "./sandbox.ts";
import { spareBytes } from "./spare-weight.ts";

const KEPT = {
  /** Counted in bytes of wasm; compiled code is one to five times that. */
  maxBytes: 256 * 1024 * 1024,
  /** A module that nobody called for so long is compiled anew when it is called again. */
  idleMs: 10 * 60_000,
};

export interface CompiledModule {
  /** Never used again for another. */
  readonly number: number;
  readonly module: WebAssembly.Module;
  /** What an instance weighs beside its memory, in bytes. Undefined: instantiating it runs code of its own. */
  readonly spareBytes: number | undefined;
}

interface Entry {
  readonly number: number;
  readonly compiled: Promise<CompiledModule>;
  bytes: number;
  usedMs: number;
}

/** Compiling runs none of the guest's code: instances are made in lanes only, because a start function may loop. */
export class ModuleCache {
  readonly #entries = new Map<string, Entry>();
  readonly #numbers = new Set<number>();
  readonly #onDrop: (number: number) => void;
  readonly #kept: typeof KEPT;
  #bytes = 0;
  #lastNumber = 0;

  /** `onDrop` is told the number of every module that is no longer kept. */
  constructor(onDrop: (number: number) => void, kept = KEPT) {
    this.#onDrop = onDrop;
    this.#kept = kept;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Errors: `invalid` when the bytes do not compile; whatever `load` throws. A failure is not kept. */
  get(module: GuestModule): Promise<CompiledModule> {
    const known = this.#entries.get(module.digest);
    if (known) {
      this.#entries.delete(module.digest);
      this.#entries.set(module.digest, known);
      known.usedMs = performance.now();
      return known.compiled;
    }
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    this.#numbers.add(number);
    const compiled = this.#compile(module, (bytes) => this.#grow(entry, bytes));
    const entry: Entry = {
      ...{ number, bytes: 0, usedMs: performance.now() },
      compiled: compiled.then((made) => ({ number, ...made })),
    };
    this.#entries.set(module.digest, entry);
    entry.compiled.catch(() => {
      if (this.#entries.get(module.digest) === entry) this.#drop(module.digest, entry);
    });
    return entry.compiled;
  }

  /** Whether a module of this number is kept, so that lanes may keep it too. */
  keeps(number: number): boolean {
    return this.#numbers.has(number);
  }

  /** Drops what was not asked for lately. */
  dropIdle(): void {
    const sinceMs = performance.now() - this.#kept.idleMs;
    for (const [digest, entry] of this.#entries) {
      if (entry.usedMs > sinceMs) return;
      this.#drop(digest, entry);
    }
  }

  async #compile(module: GuestModule, onBytes: (bytes: number) => void): Promise<Omit<CompiledModule, "number">> {
    const bytes = await module.load();
    onBytes(bytes.byteLength);
    try {
      return { module: await WebAssembly.compile(bytes), spareBytes: spareBytes(bytes) };
    } catch (cause) {
      throw new Fault("invalid", `module ${module.digest} does not compile: ${(cause as Error).message}`, { cause });
    }
  }

  #grow(entry: Entry, bytes: number): void {
    // Dropped while it was read.
    if (!this.#numbers.has(entry.number)) return;
    entry.bytes = bytes;
    this.#bytes += bytes;
    for (const [digest, oldest] of this.#entries) {
      if (this.#bytes <= this.#kept.maxBytes || oldest === entry) break;
      this.#drop(digest, oldest);
    }
  }

  #drop(digest: string, entry: Entry): void {
    this.#entries.delete(digest);
    this.#numbers.delete(entry.number);
    this.#bytes -= entry.bytes;
    entry.bytes = 0;
    this.#onDrop(entry.number);
  }
}
