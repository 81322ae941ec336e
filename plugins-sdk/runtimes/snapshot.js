/**
 * Turns an interpreter that has run an author's code into a module that begins where it stands: linear memory becomes
 * data, globals their present values, and each export of the plugin a function that invokes the interpreter.
 */
import {
  appended,
  CODE,
  Cursor,
  countOf,
  DATA,
  DATA_COUNT,
  EXPORT,
  exportEntry,
  FUNCTION,
  GLOBAL,
  globalSection,
  i32Const,
  importedCounts,
  isState,
  MEMORY,
  readGlobals,
  readSections,
  START,
  TYPE,
  unsigned,
  vector,
  writeSections,
} from "./sections.js";

/** How the build variant exports its mutable globals: `__g0`, `__g1`, … */
const STATE_PREFIX = "__g";
const PAGE_BYTES = 65_536;
/** Runs of zeros up to this long are cheaper as data than as a new segment. */
const GAP_BYTES = 32;
const EXPORT_TO_I32 = Uint8Array.of(0x60, 0, 1, 0x7f);
const FUNCTION_KIND = 0;
const MEMORY_KIND = 2;
const GLOBAL_KIND = 3;

/**
 * The build variant of an interpreter: also exports the globals that a snapshot must know.
 * @param {Uint8Array} module
 */
export function exposeState(module) {
  const sections = readSections(module);
  const first = importedCounts(sections).globals;
  const entries = readGlobals(sections).flatMap((global, i) =>
    isState(global) ? [exportEntry(`${STATE_PREFIX}${i}`, GLOBAL_KIND, first + i)] : [],
  );
  sections.set(EXPORT, appended(/** @type {Uint8Array} */ (sections.get(EXPORT)), entries));
  return writeSections(sections);
}

/**
 * @param {Uint8Array} module What `exposeState` gave.
 * @param {WebAssembly.Instance} instance Of it, at rest: no call of it is on the stack.
 * @param {readonly string[]} exported The plugin's exports; the one at index i calls `invoke(i)`.
 * @param {{ stack?: { from: number, to: number }, pages?: number }} [layout] Bytes that hold nothing while the instance
 * is at rest; and how many pages the module begins with, when those above are not used yet.
 */
export function snapshot(module, instance, exported, { stack, pages } = {}) {
  const sections = readSections(module);
  if (sections.has(START)) throw new Error("an interpreter with a start function cannot be in a snapshot");
  const memory = /** @type {WebAssembly.Memory} */ (instance.exports.memory);
  const end = Math.min(memory.buffer.byteLength, (pages ?? Number.POSITIVE_INFINITY) * PAGE_BYTES);
  const bytes = new Uint8Array(memory.buffer.slice(0, end));
  if (stack) bytes.fill(0, stack.from, stack.to);
  const invoke = exportedFunction(sections, "invoke");
  const firstThunk = importedCounts(sections).functions + countOf(sections.get(FUNCTION));
  const type = countOf(sections.get(TYPE));

  const globals = readGlobals(sections).map((global, i) => {
    if (!isState(global)) return global;
    const { value } = /** @type {WebAssembly.Global} */ (instance.exports[`${STATE_PREFIX}${i}`]);
    return { ...global, initial: Buffer.concat([i32Const(value), Buffer.of(0x0b)]) };
  });
  const thunks = exported.map((_, i) => {
    const body = Buffer.concat([Buffer.of(0), i32Const(i), Buffer.of(0x10), unsigned(invoke), Buffer.of(0x0b)]);
    return Buffer.concat([unsigned(body.length), body]);
  });
  const entries = exported.map((name, i) => exportEntry(name, FUNCTION_KIND, firstThunk + i));
  const section = (/** @type {number} */ id) => /** @type {Uint8Array} */ (sections.get(id));
  sections.set(TYPE, appended(section(TYPE), [EXPORT_TO_I32]));
  sections.set(
    FUNCTION,
    appended(
      section(FUNCTION),
      exported.map(() => unsigned(type)),
    ),
  );
  sections.set(MEMORY, vector([Buffer.concat([Buffer.of(0), unsigned(bytes.length / PAGE_BYTES)])]));
  sections.set(GLOBAL, globalSection(globals));
  sections.set(EXPORT, vector([exportEntry("memory", MEMORY_KIND, 0), ...entries]));
  sections.set(CODE, appended(section(CODE), thunks));
  sections.delete(DATA_COUNT);
  sections.set(DATA, dataSection(bytes));
  return writeSections(sections);
}

/** A memory as segments. @param {Uint8Array} memory @param {number} [gapBytes] */
export function dataSection(memory, gapBytes = GAP_BYTES) {
  const segments = [];
  let at = nextUsed(memory, 0);
  while (at < memory.length) {
    let end = at;
    let next = at;
    while (next < memory.length && next - end <= gapBytes) {
      end = endOfUsed(memory, next);
      next = nextUsed(memory, end);
    }
    const offset = Buffer.concat([Buffer.of(0), i32Const(at), Buffer.of(0x0b)]);
    segments.push(Buffer.concat([offset, unsigned(end - at), memory.subarray(at, end)]));
    at = next;
  }
  return vector(segments);
}

/** @param {Uint8Array} memory @param {number} from */
function nextUsed(memory, from) {
  let at = from;
  while (at < memory.length && memory[at] === 0) at += 1;
  return at;
}

/** @param {Uint8Array} memory @param {number} from */
function endOfUsed(memory, from) {
  const zero = memory.indexOf(0, from);
  return zero < 0 ? memory.length : zero;
}

/** @param {ReturnType<typeof readSections>} sections @param {string} wanted */
function exportedFunction(sections, wanted) {
  const cursor = new Cursor(/** @type {Uint8Array} */ (sections.get(EXPORT)));
  for (let left = cursor.number(); left > 0; left -= 1) {
    const name = cursor.name();
    const kind = cursor.byte();
    const index = cursor.number();
    if (name === wanted && kind === FUNCTION_KIND) return index;
  }
  throw new Error(`the interpreter does not export ${wanted}`);
}

const WIPED_SIZES = [65_536, 4_096, 512];

/**
 * Zeroes what the interpreter's allocator holds free, as what was there need not be kept: by allocating it all.
 * @param {WebAssembly.Instance} instance Exports `allocate(bytes) -> address` and `release(address)`.
 */
export function wipeFree(instance) {
  const { memory, allocate, release } = /** @type {Record<string, any>} */ (instance.exports);
  const taken = [];
  for (const size of WIPED_SIZES) {
    const before = memory.buffer.byteLength;
    while (memory.buffer.byteLength === before) {
      const at = allocate(size);
      new Uint8Array(memory.buffer, at, size).fill(0);
      taken.push(at);
    }
  }
  for (const at of taken) release(at);
}
