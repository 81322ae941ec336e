/** Rows that have to be looked into: undeclared fields move to `_extra`, and a wrong value is named. */
import { Fault, type Mistake } from "../kit/fault.ts";
import type { ColumnType, Dataset, RowObject } from "./records.ts";

/** More mistakes than this say nothing new. */
const MAX_MISTAKES = 10;
const MAX_SHOWN = 80;

declare global {
  interface JSON {
    /** A number kept as it was written; from the ECMAScript source-text-access proposal, in V8 since 11.4. */
    rawJSON(text: string): unknown;
  }
}
type ReviverContext = { readonly source?: string };

/** JSON of our own objects: bigint as a bare number, Date as RFC 3339. */
export function encodeRows(rows: readonly RowObject[]): Buffer {
  const big = (_: string, value: unknown) => (typeof value === "bigint" ? JSON.rawJSON(String(value)) : value);
  return Buffer.from(rows.map((row) => `${JSON.stringify(row, big)}\n`).join(""));
}

/** Whole numbers that a double cannot hold stay as they were written. */
function parseExact(line: string): unknown {
  if (!/\d{16}/.test(line)) return JSON.parse(line);
  return JSON.parse(line, ((_: string, value: unknown, context: ReviverContext) => {
    const exact = typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(context.source ?? "");
    return exact ? value : BigInt(context.source as string);
  }) as (key: string, value: unknown) => unknown);
}

/** Errors: `invalid` naming each line that is no JSON object. */
export function parseRows(bytes: Uint8Array): RowObject[] {
  const mistakes: Mistake[] = [];
  const rows: RowObject[] = [];
  const lines = new TextDecoder().decode(bytes).split("\n");
  for (const line of lines) {
    if (line.trim() === "") continue;
    const field = `row ${rows.length + 1}`;
    let row: unknown;
    try {
      row = parseExact(line);
    } catch (thrown) {
      row = undefined;
      mistakes.push({ field, problem: `${shorten(line)} is not JSON (${(thrown as Error).message})`, fix: ONE_OBJECT });
    }
    if (row !== undefined && (typeof row !== "object" || row === null || Array.isArray(row))) {
      mistakes.push({ field, problem: `${shorten(line)} is not an object`, fix: ONE_OBJECT });
    }
    rows.push((row ?? {}) as RowObject);
    if (mistakes.length >= MAX_MISTAKES) break;
  }
  if (mistakes.length) throw Fault.invalid("rows", mistakes);
  return rows;
}

const ONE_OBJECT = "write one JSON object a line";

/** Fields without a column, envelope names included, move into `_extra`. */
export function moveExtras(rows: readonly RowObject[], { columns }: Dataset): RowObject[] {
  return rows.map((row) => {
    const names = Object.keys(row);
    if (names.every((name) => Object.hasOwn(columns, name))) return row;
    const known: Record<string, unknown> = {};
    const extra: Record<string, unknown> = {};
    for (const name of names) (Object.hasOwn(columns, name) ? known : extra)[name] = row[name];
    return { ...known, _extra: extra };
  });
}

/** What is wrong with the values, at most ten of them. `_extra` takes anything. */
export function findMistakes(rows: readonly RowObject[], { columns }: Dataset): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const [i, row] of rows.entries()) {
    for (const [name, value] of Object.entries(row)) {
      const type = columns[name];
      if (type === undefined || value === null || value === undefined || fits(type, value)) continue;
      const shown = shorten(typeof value === "bigint" ? String(value) : JSON.stringify(value));
      mistakes.push({ field: `row ${i + 1}, column ${name}`, problem: `${shown} is not ${WANTED[type] ?? type}` });
      if (mistakes.length >= MAX_MISTAKES) return mistakes;
    }
  }
  return mistakes;
}

const WANTED: Readonly<Record<string, string>> = {
  string: "a string",
  int64: "a whole number within 64 bits (int64)",
  uint64: "a whole number from 0 within 64 bits (uint64)",
  float64: "a number (float64)",
  bool: "true or false (bool)",
  timestamp: "a time such as 2012-01-31T00:00:00Z (timestamp)",
  date: "a date such as 2012-01-31 (date)",
  uuid: "a UUID",
  json: "a JSON object (json)",
};

const CLOCK = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?([Zz]|[+-]\d{2}:?\d{2})?)?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function fits(type: ColumnType, value: unknown): boolean {
  switch (type) {
    case "string":
    case "label":
      return typeof value === "string";
    case "int64":
      return fitsInteger(value, -(2n ** 63n), 2n ** 63n - 1n);
    case "uint64":
      return fitsInteger(value, 0n, 2n ** 64n - 1n);
    case "float64":
      return typeof value === "number" || typeof value === "bigint";
    case "bool":
      return typeof value === "boolean";
    case "timestamp":
      return typeof value === "number" || (typeof value === "string" && isDay(value) && CLOCK.test(value));
    case "date":
      return typeof value === "string" && isDay(value);
    case "uuid":
      return typeof value === "string" && UUID.test(value);
    case "json":
    case "labels":
      return typeof value === "object" && !Array.isArray(value);
    default:
      return /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(String(value));
  }
}

function fitsInteger(value: unknown, low: bigint, high: bigint): boolean {
  const whole = typeof value === "bigint" || Number.isSafeInteger(value) || /^-?\d+$/.test(String(value));
  if (!whole || typeof value === "boolean") return false;
  return BigInt(value as string) >= low && BigInt(value as string) <= high;
}

function isDay(text: string): boolean {
  const day = /^\d{4}-\d{2}-\d{2}/.exec(text)?.[0];
  return day !== undefined && !Number.isNaN(Date.parse(day)) && new Date(day).toISOString().startsWith(day);
}

function shorten(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
