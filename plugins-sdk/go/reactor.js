/**
 * Makes a module of the ABI from one that a compiler made for WASI: what it asks of WASI is answered inside by
 * wasi.wat, and each export first runs `_initialize`, as nobody outside would. Only the plugin's own exports stay.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { FEATURES, tool } from "../runtimes/runtime.js";
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
  importedCounts,
  readSections,
  readSegments,
  TYPE,
  unsigned,
  vector,
  withRoom,
  writeSections,
} from "../runtimes/sections.js";
import { dataSection } from "../runtimes/snapshot.js";

const STUBS = join(dirname(fileURLToPath(import.meta.url)), "wasi.wat");
const INITIALIZE = "_initialize";
/** Go's linker ends a segment at every few zeros; tens of thousands of them cost a call more than the zeros do. */
const GAP_BYTES = 256;
/** What Go takes while it starts and for a small call: a memory that must grow is made anew for each call. */
const ROOM_PAGES = 14;
const FUNCTION_KIND = 0;
const I32 = 0x7f;
const TO_I32 = Uint8Array.of(0x60, 0, 1, I32);
/** A mutable i32 that begins as 0: whether the plugin was initialised. */
const STARTED = Uint8Array.of(I32, 1, 0x41, 0, 0x0b);

/**
 * @param {Uint8Array} wasm
 * @returns {Promise<Uint8Array>}
 */
export async function fromReactor(wasm) {
  const own = exportsOf(readSections(wasm)).map((e) => e.name);
  return initialising(await withoutWasi(wasm), own);
}

/** @param {Uint8Array} wasm */
async function withoutWasi(wasm) {
  const folder = await mkdtemp(join(tmpdir(), "millrace-merge-"));
  const [plugin, merged] = ["plugin.wasm", "merged.wasm"].map((name) => join(folder, name));
  try {
    await writeFile(/** @type {string} */ (plugin), wasm);
    const modules = [plugin, "plugin", STUBS, "wasi_snapshot_preview1"];
    const flags = [...modules, ...FEATURES, "--skip-export-conflicts", "-o", merged];
    await tool("wasm-merge", /** @type {string[]} */ (flags));
    return new Uint8Array(await readFile(/** @type {string} */ (merged)));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * @param {Uint8Array} wasm
 * @param {readonly string[]} kept
 */
function initialising(wasm, kept) {
  const sections = readSections(wasm);
  const section = (/** @type {number} */ id) => sections.get(id) ?? Uint8Array.of(0);
  const imported = importedCounts(sections);
  const exported = exportsOf(sections);
  const first = imported.functions + countOf(section(FUNCTION));
  const started = unsigned(imported.globals + countOf(section(GLOBAL)));
  const initialize = exported.find((e) => e.name === INITIALIZE);
  /** @type {Uint8Array[]} */
  const thunks = [];
  const entries = exported
    .filter((e) => kept.includes(e.name) && e.name !== INITIALIZE)
    .map(({ name, kind, index }) => {
      if (kind !== FUNCTION_KIND || !initialize) return exportEntry(name, kind, index);
      thunks.push(thunk(started, initialize.index, index));
      return exportEntry(name, kind, first + thunks.length - 1);
    });
  const type = unsigned(countOf(section(TYPE)));
  sections.set(TYPE, appended(section(TYPE), [TO_I32]));
  sections.set(
    FUNCTION,
    appended(
      section(FUNCTION),
      thunks.map(() => type),
    ),
  );
  sections.set(GLOBAL, appended(section(GLOBAL), [STARTED]));
  sections.set(EXPORT, vector(entries));
  sections.set(CODE, appended(section(CODE), thunks));
  const segments = readSegments(section(DATA));
  const last = segments.at(-1);
  const bytes = new Uint8Array(last ? last.at + last.bytes.length : 0);
  for (const segment of segments) bytes.set(segment.bytes, segment.at);
  sections.delete(DATA_COUNT);
  sections.set(DATA, dataSection(bytes, GAP_BYTES));
  return withRoom(writeSections(sections), ROOM_PAGES);
}

/**
 * `if (!started) { started = 1; _initialize(); } return exported();`
 * @param {Uint8Array} started
 * @param {number} initialize
 * @param {number} exported
 */
function thunk(started, initialize, exported) {
  const body = Buffer.concat([
    Buffer.of(0, 0x23),
    started,
    Buffer.of(0x45, 0x04, 0x40, 0x41, 1, 0x24),
    started,
    Buffer.of(0x10),
    unsigned(initialize),
    Buffer.of(0x0b, 0x10),
    unsigned(exported),
    Buffer.of(0x0b),
  ]);
  return Buffer.concat([unsigned(body.length), body]);
}

/** @param {ReturnType<typeof readSections>} sections */
function exportsOf(sections) {
  const cursor = new Cursor(sections.get(EXPORT) ?? Uint8Array.of(0));
  const entries = [];
  for (let left = cursor.number(); left > 0; left -= 1) {
    entries.push({ name: cursor.name(), kind: cursor.byte(), index: cursor.number() });
  }
  return entries;
}
