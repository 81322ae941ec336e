/** What a WebAssembly module is made of, whether the sandbox can run it, and its memory cap written in. Pure. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { meteringMistakes, meterModule } from "./metering.ts";
import { withPolls } from "./polls.ts";
import { FIELD, type Limits, leb, type Reading, readModule, SECTIONS } from "./wasm-sections.ts";

/** Entries of one table; also written in as its maximum. Tables live on the heap of a lane, beside other guests. */
export const TABLE_MAX_ENTRIES = 131_072;

/**
 * Whence a normalised module imports its memory, under a name that states its limits: `"millrace:host/memory"
 * "1:256"` has one page of 64 KiB and grows to 256. The executor reads them there.
 */
const MEMORY_MODULE = "millrace:host/memory";

export interface ModuleFacts {
  readonly sizeBytes: number;
  readonly imports: readonly { readonly module: string; readonly name: string; readonly type: string }[];
  readonly exports: readonly ModuleExport[];
  /** Absent: the module has no memory of its own. Pages of 64 KiB. */
  readonly memory?: Limits;
  readonly tables: readonly Limits[];
  readonly functions: number;
  /** Whether code runs at instantiation. */
  readonly start: boolean;
}

/** `type` of a function is written as `(i64,i64)->i64`. */
export interface ModuleExport {
  readonly name: string;
  readonly kind: "function" | "table" | "memory" | "global" | "tag";
  readonly type?: string;
}

export interface ModuleDemands {
  /** Names that must be exported as functions `() -> i32`. */
  readonly exports?: readonly string[];
}

/** Every import that guest ABI v1 knows, with its type. Anything else does not exist in the sandbox. */
export const ABI_IMPORTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "extism:host/env": {
    alloc: "(i64)->i64",
    free: "(i64)->()",
    length: "(i64)->i64",
    length_unsafe: "(i64)->i64",
    load_u8: "(i64)->i32",
    load_u64: "(i64)->i64",
    store_u8: "(i64,i32)->()",
    store_u64: "(i64,i64)->()",
    input_offset: "()->i64",
    input_length: "()->i64",
    input_load_u8: "(i64)->i32",
    input_load_u64: "(i64)->i64",
    output_set: "(i64,i64)->()",
    error_set: "(i64)->()",
    error_get: "()->i64",
    config_get: "(i64)->i64",
    var_get: "(i64)->i64",
    var_set: "(i64,i64)->()",
    http_request: "(i64,i64)->i64",
    http_status_code: "()->i32",
    http_headers: "()->i64",
    get_log_level: "()->i32",
    log_trace: "(i64)->()",
    log_debug: "(i64)->()",
    log_info: "(i64)->()",
    log_warn: "(i64)->()",
    log_error: "(i64)->()",
  },
  "extism:host/user": { host_call: "(i64,i64)->i64", now: "()->f64", random: "(i32)->i64" },
};

/**
 * The facts of a module. Errors: `too_large` over MODULE_MAX_BYTES; `invalid` with every reason why the sandbox could
 * not run it. Never anything else, whatever the bytes are.
 */
export function inspectModule(bytes: Uint8Array, demands: ModuleDemands = {}): ModuleFacts {
  const reading = readModule(bytes);
  const mistakes = [...importMistakes(reading), ...storeMistakes(reading), ...exportMistakes(reading, demands)];
  const refused = mistakes.length === 0 && !WebAssembly.validate(bytes) && compileError(bytes);
  if (refused) mistakes.push({ field: FIELD, problem: `is not valid WebAssembly: ${refused}`, fix: "build it again" });
  if (mistakes.length) throw Fault.invalid(`${FIELD} cannot run in the sandbox`, mistakes);
  const [memory] = memoriesOf(reading);
  return {
    sizeBytes: bytes.byteLength,
    imports: reading.imports.map(({ module, name, type }) => ({ module, name, type })),
    exports: reading.exports.map((e) => {
      const type = e.kind === "function" ? functionType(reading, e.index) : undefined;
      return type === undefined ? { name: e.name, kind: e.kind } : { name: e.name, kind: e.kind, type };
    }),
    ...(memory && { memory: plain(memory) }),
    tables: reading.tables.map(plain),
    functions: reading.functionTypes.length,
    start: reading.start,
  };
}

export interface Normal {
  /** Of its memory, 64 KiB each. */
  readonly maxPages: number;
  /** Whether its instructions are counted. */
  readonly metered?: boolean;
}

/** Errors: `invalid` when the module cannot be metered. */
function withMeter(bytes: Uint8Array): Uint8Array {
  const reading = readModule(bytes);
  const mistakes = meteringMistakes(bytes, reading);
  if (mistakes.length) throw Fault.invalid(`${FIELD} cannot run in the sandbox`, mistakes);
  const metered = meterModule(bytes, reading);
  if (WebAssembly.validate(metered)) return metered;
  const problem = `cannot be metered: ${compileError(metered)}`;
  throw Fault.invalid(`${FIELD} cannot run in the sandbox`, [{ field: FIELD, problem, fix: 'leave "metered" out' }]);
}

/**
 * The same module, importing its memory instead of making it, with a maximum of at most `maxPages`, and with each
 * table's maximum at most TABLE_MAX_ENTRIES, so that growing past it fails inside the guest. Doing it twice changes
 * nothing, but for the meter. Errors: as `inspectModule`, and `invalid` when the memory's minimum is already over the
 * cap, or the code cannot be followed or metered.
 */
export function normaliseModule(given: Uint8Array, { maxPages, metered = false }: Normal): Uint8Array {
  inspectModule(given);
  const counted = metered ? withMeter(given) : given;
  const bytes = withPolls(counted, readModule(counted));
  const reading = readModule(bytes);
  const [memory] = memoriesOf(reading);
  if (memory && memory.min > maxPages) {
    const problem = `starts with ${memory.min} pages of memory (64 KiB each); the limit is ${maxPages}`;
    const mib = Math.ceil((memory.min * 64) / 1024);
    throw Fault.invalid(`${FIELD} cannot run in the sandbox`, [
      { field: FIELD, problem, fix: `raise limits.memory_mib to at least ${mib} or build with less initial memory` },
    ]);
  }
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  let imports = memory && importSection(bytes, reading, memory, maxPages);
  for (const { id, start, end } of reading.sections) {
    const name = SECTIONS[id];
    if (imports && id > TYPE_SECTION) {
      parts.push(imports);
      imports = undefined;
    }
    if (name === "table") {
      parts.push(section(id, vector(reading.tables.map((t) => [t.element, ...capped(t, TABLE_MAX_ENTRIES)]))));
    } else if (!memory || (name !== "memory" && name !== "import")) parts.push(bytes.subarray(start, end));
  }
  if (imports) parts.push(imports);
  return new Uint8Array(Buffer.concat(parts));
}

const TYPE_SECTION = 1;

/** All imports but that of the memory, which comes last, so that nothing else gets another index. */
function importSection(bytes: Uint8Array, { imports }: Reading, memory: Limits, maxPages: number): Uint8Array {
  const others = imports.filter(({ kind }) => kind !== "memory").map(({ start, end }) => bytes.subarray(start, end));
  const limits = `${memory.min}:${Math.min(memory.max ?? maxPages, maxPages)}`;
  const entry = [...string(MEMORY_MODULE), ...string(limits), MEMORY_KIND, ...capped(memory, maxPages)];
  const body = Buffer.concat([Buffer.from(leb(others.length + 1)), ...others, Buffer.from(entry)]);
  return Buffer.concat([Buffer.from([IMPORT_SECTION, ...leb(body.length)]), body]);
}

const IMPORT_SECTION = 2;
const MEMORY_KIND = 2;
const section = (id: number, body: readonly number[]) => Uint8Array.from([id, ...leb(body.length), ...body]);
const string = (text: string) => [...leb(text.length), ...Buffer.from(text)];

/** Its own, and the one that a normalised module imports. */
function memoriesOf({ memories, imports }: Reading) {
  return [...imports.flatMap((i) => (isOurMemory(i) && i.limits ? [i.limits] : [])), ...memories];
}

function isOurMemory({ kind, module, name, limits }: Reading["imports"][number]): boolean {
  return kind === "memory" && module === MEMORY_MODULE && name === `${limits?.min}:${limits?.max}`;
}

function importMistakes({ imports }: Reading): Mistake[] {
  const wasi = imports.filter((i) => i.module.startsWith("wasi_") || i.module.startsWith("wasi:"));
  const mistakes: Mistake[] = [];
  if (wasi.length) {
    const fix = "build for wasm32-unknown-unknown (no WASI), or merge the WASI stub into the module";
    mistakes.push({ field: FIELD, problem: `imports WASI (${names(wasi)}), which the sandbox does not have`, fix });
  }
  for (const i of imports) {
    if (wasi.includes(i) || isOurMemory(i)) continue;
    const field = `${FIELD} import "${i.module}" "${i.name}"`;
    const known = Object.hasOwn(ABI_IMPORTS, i.module) ? ABI_IMPORTS[i.module] : undefined;
    const type = known && Object.hasOwn(known, i.name) ? known[i.name] : undefined;
    if (i.kind !== "function") {
      mistakes.push({ field, problem: `is a ${i.kind}`, fix: `define the ${i.kind} inside the module` });
    } else if (!type) {
      const fix = known
        ? `"${i.module}" has ${Object.keys(known).join(", ")}`
        : `import only from ${Object.keys(ABI_IMPORTS).join(" and ")}`;
      mistakes.push({ field, problem: "is not part of guest ABI v1", fix });
    } else if (type !== i.type) mistakes.push({ field, problem: `has the type ${i.type}`, fix: `declare it ${type}` });
  }
  return mistakes;
}

function storeMistakes(reading: Reading): Mistake[] {
  const { tables } = reading;
  const memories = memoriesOf(reading);
  const mistakes: Mistake[] = [];
  const refuse = (problem: string, fix: string) => mistakes.push({ field: FIELD, problem, fix });
  if (memories.length > 1) refuse(`has ${memories.length} memories`, "build without multi-memory: one is allowed");
  for (const memory of memories) {
    if (memory.flags & 2) refuse("has a shared memory", "build without threads");
    if (memory.flags & 4) refuse("has a 64-bit memory", "build for wasm32, not wasm64");
    if (memory.flags & 8) refuse("has its own page size", "build without custom page sizes");
  }
  for (const { min } of tables) {
    if (min > TABLE_MAX_ENTRIES) refuse(`has a table of ${min} entries`, `keep it within ${TABLE_MAX_ENTRIES}`);
  }
  return mistakes;
}

function exportMistakes(reading: Reading, { exports: demanded = [] }: ModuleDemands): Mistake[] {
  return demanded.flatMap((name): Mistake[] => {
    const field = `${FIELD} export "${name}"`;
    const found = reading.exports.find((e) => e.name === name);
    const fix = "export it as a function () -> i32";
    if (!found) {
      const others = reading.exports.filter((e) => e.kind === "function").map((e) => e.name);
      return [{ field, problem: `is missing; the module exports ${others.slice(0, 20).join(", ") || "nothing"}`, fix }];
    }
    if (found.kind !== "function") return [{ field, problem: `is a ${found.kind}`, fix }];
    const type = functionType(reading, found.index);
    return type === "()->i32" ? [] : [{ field, problem: `has the type ${type}`, fix }];
  });
}

function functionType({ imports, functionTypes, types }: Reading, index: number): string {
  const imported = imports.filter((i) => i.kind === "function");
  return imported[index]?.type ?? types[functionTypes[index - imported.length] ?? -1] ?? "unknown";
}

/** What the engine says is wrong. Compiling here is safe: nothing is instantiated, so nothing of the guest runs. */
function compileError(bytes: Uint8Array): string {
  try {
    new WebAssembly.Module(bytes);
    return "";
  } catch (thrown) {
    return (thrown as Error).message.replace(/^WebAssembly\.Module\(\): /, "");
  }
}

const plain = ({ min, max }: Limits): Limits => (max === undefined ? { min } : { min, max });

const names = (list: readonly { readonly name: string }[]) => {
  const more = list.length > 10 ? ` and ${list.length - 10} more` : "";
  return `${list
    .slice(0, 10)
    .map((i) => i.name)
    .join(", ")}${more}`;
};

/** Limits with their maximum lowered to `cap`, as bytes. */
const capped = ({ min, max }: Limits, cap: number): number[] => [1, ...leb(min), ...leb(Math.min(max ?? cap, cap))];

const vector = (entries: readonly number[][]): number[] => [...leb(entries.length), ...entries.flat()];
