/** Reads and writes a WebAssembly module by its sections: as much as a snapshot needs. Pure. */

export const TYPE = 1;
export const IMPORT = 2;
export const FUNCTION = 3;
export const MEMORY = 5;
export const GLOBAL = 6;
export const EXPORT = 7;
export const START = 8;
export const CODE = 10;
export const DATA = 11;
export const DATA_COUNT = 12;
const CUSTOM = 0;
const HEADER_BYTES = 8;
const FUNCTION_KIND = 0;
const GLOBAL_KIND = 3;
const I32 = 0x7f;

/**
 * Bodies by id, in the order of the module; custom sections are left out.
 * @typedef {Map<number, Uint8Array>} Sections
 */

/**
 * @param {Uint8Array} module
 * @returns {Sections}
 */
export function readSections(module) {
  /** @type {Sections} */
  const sections = new Map();
  const cursor = new Cursor(module, HEADER_BYTES);
  while (cursor.at < module.length) {
    const id = cursor.byte();
    const length = cursor.number();
    if (id !== CUSTOM) sections.set(id, module.subarray(cursor.at, cursor.at + length));
    cursor.at += length;
  }
  return sections;
}

/** @param {Sections} sections */
export function writeSections(sections) {
  const bodies = [...sections].map(([id, body]) => Buffer.concat([Buffer.of(id), unsigned(body.length), body]));
  return new Uint8Array(Buffer.concat([Buffer.from("\0asm\x01\0\0\0", "latin1"), ...bodies]));
}

/** Reads what a section is made of. */
export class Cursor {
  /**
   * @param {Uint8Array} bytes
   * @param {number} [at]
   */
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }
  byte() {
    return /** @type {number} */ (this.bytes[this.at++]);
  }
  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  name() {
    const length = this.number();
    this.at += length;
    return Buffer.from(this.bytes.subarray(this.at - length, this.at)).toString("utf8");
  }
  limits() {
    const bounded = this.byte() & 1;
    this.number();
    if (bounded) this.number();
  }
}

/** @param {number} value */
export function unsigned(value) {
  const bytes = [];
  let left = value;
  do {
    const low = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left ? low | 0x80 : low);
  } while (left);
  return Buffer.from(bytes);
}

/**
 * `i32.const value`.
 * @param {number} value
 */
export function i32Const(value) {
  const bytes = [0x41];
  let left = value | 0;
  for (;;) {
    const low = left & 0x7f;
    left >>= 7;
    const last = (left === 0 && !(low & 0x40)) || (left === -1 && low & 0x40);
    bytes.push(last ? low : low | 0x80);
    if (last) return Buffer.from(bytes);
  }
}

/** @param {readonly Uint8Array[]} entries */
export function vector(entries) {
  return Buffer.concat([unsigned(entries.length), ...entries]);
}

/** @param {string} text */
export function nameBytes(text) {
  const bytes = Buffer.from(text, "utf8");
  return Buffer.concat([unsigned(bytes.length), bytes]);
}

/**
 * A vector with more entries behind its own.
 * @param {Uint8Array} section
 * @param {readonly Uint8Array[]} entries
 */
export function appended(section, entries) {
  const cursor = new Cursor(section);
  const count = cursor.number();
  return Buffer.concat([unsigned(count + entries.length), section.subarray(cursor.at), ...entries]);
}

/** How many entries a vector has. @param {Uint8Array | undefined} section */
export function countOf(section) {
  return section ? new Cursor(section).number() : 0;
}

/**
 * A module whose memory has `pages` more to begin with, so that a small call need not grow it: hosts keep memories for
 * the next call, but not those that have grown. Its maximum goes: the registry writes one.
 * @param {Uint8Array} module
 * @param {number} pages
 */
export function withRoom(module, pages) {
  const sections = readSections(module);
  const memory = sections.get(MEMORY);
  if (!memory) return module;
  const cursor = new Cursor(memory);
  cursor.number();
  cursor.byte();
  sections.set(MEMORY, vector([Buffer.concat([Buffer.of(0), unsigned(cursor.number() + pages)])]));
  return writeSections(sections);
}

/** How many functions and globals a module imports; its own begin behind them. @param {Sections} sections */
export function importedCounts(sections) {
  const counts = { functions: 0, globals: 0 };
  const cursor = new Cursor(sections.get(IMPORT) ?? Uint8Array.of(0));
  for (let left = cursor.number(); left > 0; left -= 1) {
    cursor.name();
    cursor.name();
    const kind = cursor.byte();
    if (kind === FUNCTION_KIND) {
      cursor.number();
      counts.functions += 1;
    } else if (kind === GLOBAL_KIND) {
      cursor.at += 2;
      counts.globals += 1;
    } else throw new Error(`an import of kind ${kind} cannot be in a snapshot`);
  }
  return counts;
}

/**
 * @typedef {{ type: number, mutable: boolean, initial: Uint8Array }} Global
 * @param {Sections} sections
 * @returns {Global[]}
 */
export function readGlobals(sections) {
  const cursor = new Cursor(sections.get(GLOBAL) ?? Uint8Array.of(0));
  const globals = [];
  for (let left = cursor.number(); left > 0; left -= 1) {
    const type = cursor.byte();
    const mutable = cursor.byte() === 1;
    const start = cursor.at;
    skipConstant(cursor);
    globals.push({ type, mutable, initial: cursor.bytes.subarray(start, cursor.at) });
  }
  return globals;
}

/** A constant expression up to its `end`: all that compilers write for globals. @param {Cursor} cursor */
function skipConstant(cursor) {
  const opcode = cursor.byte();
  if (opcode === 0x41 || opcode === 0x42 || opcode === 0x23) cursor.number();
  else if (opcode === 0x43) cursor.at += 4;
  else if (opcode === 0x44) cursor.at += 8;
  else throw new Error(`a global that begins with the opcode ${opcode} cannot be in a snapshot`);
  if (cursor.byte() !== 0x0b) throw new Error("a global with a long expression cannot be in a snapshot");
}

/**
 * Segments of a data section, in their order. All must be active, at constant addresses.
 * @param {Uint8Array} section
 */
export function readSegments(section) {
  const cursor = new Cursor(section);
  const segments = [];
  for (let left = cursor.number(); left > 0; left -= 1) {
    if (cursor.number() !== 0 || cursor.byte() !== 0x41) throw new Error("a segment is not at a constant address");
    // Addresses are signed numbers of 32 bits: up to five bytes of seven bits.
    let at = 0;
    let shift = 0;
    for (let byte = 0x80; byte & 0x80; shift += 7) {
      byte = cursor.byte();
      at |= (byte & 0x7f) << shift;
      if (!(byte & 0x80) && byte & 0x40 && shift < 25) at |= -1 << (shift + 7);
    }
    cursor.byte();
    const length = cursor.number();
    segments.push({ at: at >>> 0, bytes: cursor.bytes.subarray(cursor.at, cursor.at + length) });
    cursor.at += length;
  }
  return segments;
}

/** @param {readonly Global[]} globals */
export function globalSection(globals) {
  return vector(globals.map((g) => Buffer.concat([Buffer.of(g.type, g.mutable ? 1 : 0), g.initial])));
}

/** @param {Global} global */
export const isState = (global) => global.mutable && global.type === I32;

/** @param {string} exported @param {number} kind @param {number} index */
export function exportEntry(exported, kind, index) {
  return Buffer.concat([nameBytes(exported), Buffer.of(kind), unsigned(index)]);
}
