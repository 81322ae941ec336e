/** Compiled modules by digest, compiled once for all lanes, the least recently used dropped first. */
import { Fault } from "../kit/fault.ts";
import type { GuestModule } from "./sandbox.ts";

/** Counted in bytes of wasm; compiled code is one to five times that. */
const CACHE_MAX_BYTES = 256 * 1024 * 1024;

interface Entry {
  readonly compiled: Promise<WebAssembly.Module>;
  bytes: number;
}

/** Compiling runs none of the guest's code: instances are made in lanes only, because a start function may loop. */
export class ModuleCache {
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** Errors: `invalid` when the bytes do not compile; whatever `load` throws. A failure is not kept. */
  get(module: GuestModule): Promise<WebAssembly.Module> {
    const known = this.#entries.get(module.digest);
    if (known) {
      this.#entries.delete(module.digest);
      this.#entries.set(module.digest, known);
      return known.compiled;
    }
    const entry: Entry = { compiled: this.#compile(module, (bytes) => this.#grow(entry, bytes)), bytes: 0 };
    this.#entries.set(module.digest, entry);
    entry.compiled.catch(() => {
      if (this.#entries.get(module.digest) === entry) this.#drop(module.digest, entry);
    });
    return entry.compiled;
  }

  async #compile(module: GuestModule, onBytes: (bytes: number) => void): Promise<WebAssembly.Module> {
    const bytes = await module.load();
    onBytes(bytes.byteLength);
    try {
      return await WebAssembly.compile(bytes);
    } catch (cause) {
      throw new Fault("invalid", `module ${module.digest} does not compile: ${(cause as Error).message}`, { cause });
    }
  }

  #grow(entry: Entry, bytes: number): void {
    entry.bytes = bytes;
    this.#bytes += bytes;
    for (const [digest, oldest] of this.#entries) {
      if (this.#bytes <= CACHE_MAX_BYTES || oldest === entry) break;
      this.#drop(digest, oldest);
    }
  }

  #drop(digest: string, entry: Entry): void {
    this.#entries.delete(digest);
    this.#bytes -= entry.bytes;
    entry.bytes = 0;
  }
}
