/** The sections of a WebAssembly module, read as far as the sandbox must know them. Pure; never trusts a length. */
import { Fault } from "../kit/fault.ts";

/** Larger modules are refused unread: the biggest interpreters in use are 34 MB. */
export const MODULE_MAX_BYTES = 64 * 1024 * 1024;
/** How mistakes name the module: its path in a bundle. */
export const FIELD = "plugin.wasm";

export const SECTIONS = [
  "custom",
  "type",
  "import",
  "function",
  "table",
  "memory",
  "global",
  "export",
  "start",
  "element",
  "code",
  "data",
  "data count",
  "tag",
] as const;
const KINDS = ["function", "table", "memory", "global", "tag"] as const;
const VALUE_TYPES: Readonly<Record<number, string>> = {
  127: "i32",
  126: "i64",
  125: "f32",
  124: "f64",
  123: "v128",
  112: "funcref",
  111: "externref",
  105: "exnref",
};
export interface Limits {
  readonly min: number;
  readonly max?: number;
}

/** The bytes of a section without its header, and where the section begins and ends with it. */
interface Section {
  readonly id: number;
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
}

interface FlaggedLimits extends Limits {
  readonly flags: number;
}

/** `start` and `end` are where it lies in the module. */
interface Import {
  readonly module: string;
  readonly name: string;
  readonly kind: (typeof KINDS)[number];
  readonly type: string;
  readonly start: number;
  readonly end: number;
  /** Of a memory. */
  readonly limits?: FlaggedLimits;
}

export interface Reading {
  readonly sections: readonly Section[];
  readonly types: string[];
  readonly functionTypes: number[];
  readonly imports: Import[];
  readonly exports: { name: string; kind: (typeof KINDS)[number]; index: number }[];
  readonly memories: FlaggedLimits[];
  readonly tables: (FlaggedLimits & { readonly element: number })[];
  /** How many the module defines. */
  globals: number;
  start: boolean;
}

/** The module cannot be read on; one sentence for the author. */
class Unreadable extends Error {
  readonly fix: string | undefined;
  constructor(problem: string, fix?: string) {
    super(problem);
    this.fix = fix;
  }
}

/** Reads integers, names and limits; leaving the given range is `Unreadable`. */
class Cursor {
  readonly bytes: Uint8Array;
  readonly end: number;
  readonly where: string;
  at: number;
  constructor(bytes: Uint8Array, at: number, end: number, where: string) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.where = where;
  }
  byte(): number {
    const value = this.at < this.end ? this.bytes[this.at] : undefined;
    if (value === undefined) throw new Unreadable(`is cut off or damaged: ${this.where} ends early at byte ${this.at}`);
    this.at += 1;
    return value;
  }
  /** Unsigned LEB128 of at most 32 bits; 64-bit memories, which may hold more, are refused by their flags anyway. */
  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Unreadable(`is damaged: a number in ${this.where} at byte ${this.at} does not end`);
  }
  /** A count of things that take at least one byte each, so that a lie about it cannot cost memory. */
  count(): number {
    const count = this.number();
    if (count > this.end - this.at) throw new Unreadable(`is cut off or damaged: ${this.where} names ${count} entries`);
    return count;
  }
  name(): string {
    const length = this.count();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
  limits(): FlaggedLimits {
    const flags = this.byte();
    const min = this.number();
    return flags & 1 ? { flags, min, max: this.number() } : { flags, min };
  }
  valueType(): string {
    const byte = this.byte();
    const name = VALUE_TYPES[byte];
    if (!name) {
      const problem = `uses the value type 0x${byte.toString(16)} (${this.where}), which the sandbox does not meter`;
      throw new Unreadable(problem, "build without garbage-collected and typed references");
    }
    return name;
  }
}

/** Errors: `too_large`; `invalid` when the bytes are not a module or cannot be read on. */
export function readModule(bytes: Uint8Array): Reading {
  if (bytes.byteLength > MODULE_MAX_BYTES) {
    throw new Fault("too_large", `${FIELD} has ${bytes.byteLength} bytes; the limit is ${MODULE_MAX_BYTES}`);
  }
  try {
    checkHeader(bytes);
    const sections = readSections(bytes);
    const reading: Reading = {
      sections,
      types: [],
      functionTypes: [],
      imports: [],
      exports: [],
      memories: [],
      tables: [],
      globals: 0,
      start: false,
    };
    for (const section of sections) {
      const name = SECTIONS[section.id] ?? "unknown";
      readSection(reading, name, new Cursor(bytes, section.bodyStart, section.end, `the ${name} section`));
    }
    return reading;
  } catch (thrown) {
    if (!(thrown instanceof Unreadable)) throw thrown;
    const mistake = { field: FIELD, problem: thrown.message, ...(thrown.fix !== undefined && { fix: thrown.fix }) };
    throw Fault.invalid(`${FIELD} cannot run in the sandbox`, [mistake]);
  }
}

function checkHeader(bytes: Uint8Array): void {
  const fix = "point at the .wasm file that the compiler wrote";
  const [a, b, c, d, version, , layer] = bytes;
  if (bytes.byteLength === 0) throw new Unreadable("is empty", fix);
  if (a !== 0 || b !== 0x61 || c !== 0x73 || d !== 0x6d) {
    if (a === 0x1f && b === 0x8b) throw new Unreadable("is gzip, not WebAssembly", "unpack it first");
    const text = /^\s*\(module/.test(new TextDecoder().decode(bytes.subarray(0, 64)));
    if (text) throw new Unreadable("is WebAssembly text, not binary", "compile it first: wat2wasm plugin.wat");
    const shown = [...bytes.subarray(0, 4)].map((n) => n.toString(16).padStart(2, "0")).join(" ");
    throw new Unreadable(`is not WebAssembly: it begins with ${shown}, not with 00 61 73 6d`, fix);
  }
  if (bytes.byteLength < 8) throw new Unreadable(`is cut off: ${bytes.byteLength} bytes are less than a header`, fix);
  if (layer === 1) {
    const how = "build a core module, or take it out with: wasm-tools component unbundle";
    throw new Unreadable("is a component, not a core module", how);
  }
  if (version !== 1) throw new Unreadable(`has the version ${version}; only 1 exists`, fix);
}

function readSections(bytes: Uint8Array): Section[] {
  const sections: Section[] = [];
  const cursor = new Cursor(bytes, 8, bytes.byteLength, "the list of sections");
  while (cursor.at < bytes.byteLength) {
    const start = cursor.at;
    const id = cursor.byte();
    const length = cursor.number();
    const bodyStart = cursor.at;
    const end = bodyStart + length;
    if (id >= SECTIONS.length) throw new Unreadable(`is damaged: there is no section ${id} (byte ${start})`);
    if (end > bytes.byteLength) {
      const missing = end - bytes.byteLength;
      throw new Unreadable(`is cut off: ${missing} bytes of the ${SECTIONS[id]} section are missing`, "copy it again");
    }
    if (id !== 0 && sections.some((s) => s.id === id)) {
      throw new Unreadable(`is damaged: a second ${SECTIONS[id]} section at byte ${start}`);
    }
    sections.push({ id, start, bodyStart, end });
    cursor.at = end;
  }
  return sections;
}

function readSection(reading: Reading, name: string, cursor: Cursor): void {
  const each = (entry: () => void) => {
    for (let left = cursor.count(); left > 0; left -= 1) entry();
  };
  const values = () => {
    const list: string[] = [];
    each(() => list.push(cursor.valueType()));
    return list;
  };
  const table = () => {
    const element = cursor.byte();
    if (element !== 0x70 && element !== 0x6f) {
      throw new Unreadable("has a table of typed references", "build without garbage-collected references");
    }
    return { element, ...cursor.limits() };
  };
  const readers: Readonly<Record<string, () => void>> = {
    type: () =>
      each(() => {
        if (cursor.byte() !== 0x60) {
          throw new Unreadable("uses garbage-collected types, which no cap on memory covers", "build without WasmGC");
        }
        const taken = values();
        const given = values();
        reading.types.push(`(${taken.join(",")})->${given.length === 1 ? given[0] : `(${given.join(",")})`}`);
      }),
    import: () =>
      each(() => {
        const start = cursor.at;
        const module = cursor.name();
        const field = cursor.name();
        const kind = KINDS[cursor.byte()];
        if (!kind) throw new Unreadable(`is damaged: an import of no known kind at byte ${cursor.at}`);
        let type: string = kind;
        let limits: FlaggedLimits | undefined;
        if (kind === "function") type = reading.types[cursor.number()] ?? "unknown";
        else if (kind === "table") table();
        else if (kind === "memory") limits = cursor.limits();
        else if (kind === "global") {
          cursor.valueType();
          cursor.byte();
        } else {
          cursor.byte();
          cursor.number();
        }
        const found = { module, name: field, kind, type, start, end: cursor.at };
        reading.imports.push(limits ? { ...found, limits } : found);
      }),
    function: () => each(() => reading.functionTypes.push(cursor.number())),
    table: () => each(() => reading.tables.push(table())),
    memory: () => each(() => reading.memories.push(cursor.limits())),
    export: () =>
      each(() => {
        const exported = cursor.name();
        const kind = KINDS[cursor.byte()];
        if (!kind) throw new Unreadable(`is damaged: an export of no known kind at byte ${cursor.at}`);
        reading.exports.push({ name: exported, kind, index: cursor.number() });
      }),
    global: () => {
      reading.globals = cursor.count();
    },
    start: () => {
      reading.start = true;
    },
  };
  readers[name]?.();
}

/** LEB128 of a number that is not negative. */
export function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(Math.floor(value / 128))];
}
