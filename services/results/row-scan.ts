/** What one look at NDJSON tells, without parsing it: how many rows, and whether ClickHouse might change some. */
import { hasLongDigits, mayHaveNaiveTime, splitLines } from "./ndjson.ts";
import { ROW_SCAN_BYTES } from "./row-scan-bytes.ts";

export interface RowScan {
  /** Lines that are not blank. */
  readonly rows: number;
  /** A number that may not fit 64 bits. */
  readonly longDigits: boolean;
  /** A text that ends in a time of day, as one without an offset does. */
  readonly naiveTime: boolean;
}

/** Larger pieces are looked at in JavaScript: this memory is never given back. */
const MAX_BYTES = 17 << 20;
/** Zeros that the scanner wants behind the bytes. */
const PADDING = 48;
const PAGE_BYTES = 65_536;
const [BLANK_LINE, LONG_DIGITS, NAIVE_TIME] = [1, 2, 4];
const NEWLINE = 0x0a;

interface Scanner {
  readonly memory: WebAssembly.Memory;
  scan(length: number): number;
  flags(): number;
}
let scanner: Scanner | undefined;

export function scanRows(bytes: Uint8Array): RowScan {
  const { length } = bytes;
  if (length === 0 || length > MAX_BYTES || bytes[length - 1] !== NEWLINE) return scanSlowly(bytes);
  scanner ??= new WebAssembly.Instance(new WebAssembly.Module(ROW_SCAN_BYTES)).exports as unknown as Scanner;
  const { memory } = scanner;
  const lacking = length + PADDING - memory.buffer.byteLength;
  if (lacking > 0) memory.grow(Math.ceil(lacking / PAGE_BYTES));
  const into = new Uint8Array(memory.buffer, 0, length + PADDING);
  into.set(bytes);
  into.fill(0, length);
  const rows = scanner.scan(length);
  const flags = scanner.flags();
  return {
    rows: flags & BLANK_LINE ? countRows(bytes) : rows,
    longDigits: (flags & LONG_DIGITS) !== 0,
    naiveTime: (flags & NAIVE_TIME) !== 0,
  };
}

/** The same by the functions that say what is meant. */
export function scanSlowly(bytes: Uint8Array): RowScan {
  return { rows: countRows(bytes), longDigits: hasLongDigits(bytes), naiveTime: mayHaveNaiveTime(bytes) };
}

const countRows = (bytes: Uint8Array) =>
  splitLines(bytes, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY).reduce((sum, piece) => sum + piece.rows, 0);
