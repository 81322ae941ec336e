/** Rows that have to be looked into: undeclared fields move to `_extra`, and a wrong value is named. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { elementOf, isNaiveTime } from "./evolution.ts";
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
  for (const line of readLines(bytes)) {
    const row = parseRow(line);
    if (typeof row === "string") {
      mistakes.push({ field: `row ${rows.length + 1}`, problem: `${shorten(line)} ${row}`, fix: ONE_OBJECT });
    }
    rows.push(typeof row === "string" ? {} : row);
    if (mistakes.length >= MAX_MISTAKES) break;
  }
  if (mistakes.length) throw Fault.invalid("rows", mistakes);
  return rows;
}

/** Lines that are not blank. */
export const readLines = (bytes: Uint8Array): string[] =>
  new TextDecoder()
    .decode(bytes)
    .split("\n")
    .filter((line) => line.trim() !== "");

/** The row, or why the line is none. */
export function parseRow(line: string): RowObject | string {
  try {
    const row = parseExact(line);
    return typeof row === "object" && row !== null && !Array.isArray(row) ? (row as RowObject) : "is not an object";
  } catch (thrown) {
    return `is not JSON (${(thrown as Error).message})`;
  }
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
export function findMistakes(rows: readonly RowObject[], dataset: Dataset): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const [i, row] of rows.entries()) {
    for (const mistake of mistakesOfRow(row, dataset)) {
      mistakes.push({ ...mistake, field: `row ${i + 1}, ${mistake.field}` });
      if (mistakes.length >= MAX_MISTAKES) return mistakes;
    }
  }
  return mistakes;
}

export function mistakesOfRow(row: RowObject, { columns, schema, timezone }: Dataset): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const [name, value] of Object.entries(row)) {
    const type = columns[name];
    if (type === undefined || value === null || value === undefined) continue;
    const shown = () => shorten(typeof value === "bigint" ? String(value) : JSON.stringify(value));
    if (/^(timestamp|date)$/.test(type) && !timezone && isNaiveTime(value)) {
      const fix = "write it with Z or an offset, or declare the pipe's timezone";
      mistakes.push({ field: `column ${name}`, problem: `${shown()} ${NO_OFFSET}`, fix });
    } else if (!fits(type, value) && !(type === "string" && schema === "evolve")) {
      const wanted = WANTED[type] ?? (elementOf(type) ? `a list of ${elementOf(type)}` : `a ${type}`);
      mistakes.push({ field: `column ${name}`, problem: `${shown()} is not ${wanted}` });
    }
  }
  return mistakes;
}

const NO_OFFSET = "has no offset, so nobody knows when it is";
/** What ClickHouse takes without a word: it wraps numbers over 64 bits, cuts decimals off, reads naive times as UTC. */
export const isSilent = ({ problem }: Mistake) =>
  problem.includes(" 64 bits ") || problem.includes(" is not a decimal") || problem.includes(NO_OFFSET);

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
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function fits(type: ColumnType, value: unknown): boolean {
  const element = elementOf(type);
  if (element !== undefined) return Array.isArray(value) && value.every((one) => one === null || fits(element, one));
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
      return typeof value === "string" && DAY.test(value) && isDay(value);
    case "uuid":
      return typeof value === "string" && UUID.test(value);
    case "json":
    case "labels":
      return typeof value === "object" && !Array.isArray(value);
    default:
      return fitsDecimal(type, value);
  }
}

/** ClickHouse cuts digits off behind the point without a word. */
function fitsDecimal(type: ColumnType, value: unknown): boolean {
  const [, precision = 0, scale = 0] = (/^decimal\((\d+),(\d+)\)$/.exec(type) ?? []).map(Number);
  const number = /^-?(\d+)(?:\.(\d+))?([eE][+-]?\d+)?$/.exec(String(value));
  if (!number || (typeof value === "object" && value !== null)) return false;
  const [, whole = "", fraction = "", exponent] = number;
  if (exponent !== undefined) return scale >= MAX_EXPONENT_DIGITS;
  return fraction.replace(/0+$/, "").length <= scale && whole.replace(/^0+/, "").length <= precision - scale;
}
/** With this many digits behind the point a number in exponent form is taken without a look at them. */
const MAX_EXPONENT_DIGITS = 18;

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
