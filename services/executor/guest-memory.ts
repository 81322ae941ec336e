/**
 * Linear memories of guests. A published module imports its memory, and the name of the import states its limits:
 * `"millrace:host/memory" "1:256"` has one page and grows to 256 (services/registry/wasm.ts writes it).
 */

export const MEMORY_MODULE = "millrace:host/memory";

export interface MemoryImport {
  readonly module: string;
  readonly name: string;
  /** Pages of 64 KiB. */
  readonly min: number;
  readonly max: number;
}

/** The memory that a module imports; undefined when it has none, or one of its own. */
export function importedMemory(module: WebAssembly.Module): MemoryImport | undefined {
  const found = WebAssembly.Module.imports(module).find(({ kind }) => kind === "memory");
  const limits = found?.module === MEMORY_MODULE && /^(\d{1,5}):(\d{1,5})$/.exec(found.name);
  if (!found || !limits) return undefined;
  return { module: found.module, name: found.name, min: Number(limits[1]), max: Number(limits[2]) };
}

const providers = new Map<string, WebAssembly.Module>();

/** A module that makes such a memory and exports it under that name: for Extism's SDK, which links modules only. */
export function memoryModule({ name, min, max }: MemoryImport): WebAssembly.Module {
  const known = providers.get(name);
  if (known) return known;
  const memory = [1, 1, ...leb(min), ...leb(max)];
  const exported = [1, name.length, ...Buffer.from(name), 2, 0];
  const sections = [5, memory.length, ...memory, 7, exported.length, ...exported];
  const made = new WebAssembly.Module(Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections]));
  providers.set(name, made);
  return made;
}

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}

const PAGE_BYTES = 65_536;
/** Zeroing more than this costs more than a new memory does. */
const MAX_RECYCLED_BYTES = 4 << 20;
/** Memories that wait for a guest; each reserves 10 GiB of address space, of which a process has about 12,900. */
const MAX_IDLE = 256;

/** Memories of one lane, used again by guests of the same limits. Who takes one finds nothing but zeros. */
export class MemoryPool {
  readonly #idle = new Map<string, WebAssembly.Memory[]>();
  #count = 0;

  take({ name, min, max }: MemoryImport): WebAssembly.Memory {
    const memory = this.#idle.get(name)?.pop();
    if (!memory) return new WebAssembly.Memory({ initial: min, maximum: max });
    this.#count -= 1;
    return memory;
  }

  /** A memory that has grown goes: its size would tell the next guest about this one. */
  give({ name, min }: MemoryImport, memory: WebAssembly.Memory): void {
    const { buffer } = memory;
    if (buffer.byteLength !== min * PAGE_BYTES || buffer.byteLength > MAX_RECYCLED_BYTES) return;
    if (this.#count >= MAX_IDLE) this.#dropOldest();
    new Uint8Array(buffer).fill(0);
    this.#count += 1;
    const same = this.#idle.get(name);
    if (same) same.push(memory);
    else this.#idle.set(name, [memory]);
  }

  /** Of the limits that were asked for least lately, by first use. */
  #dropOldest(): void {
    for (const [name, memories] of this.#idle) {
      memories.pop();
      this.#count -= 1;
      if (memories.length === 0) this.#idle.delete(name);
      return;
    }
  }
}
