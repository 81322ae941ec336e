/** CSV with a header as NDJSON, for rows that must be looked into. RFC 4180; an unquoted empty field is null. Pure. */
import { Fault } from "../kit/fault.ts";
import type { ColumnType, RowObject } from "./records.ts";
import { encodeRows } from "./row.ts";

interface Field {
  readonly text: string;
  readonly quoted: boolean;
}

const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;
const ENDS_IN_CLOCK = /\d:\d\d(?:\.\d+)?\s?["',\r\n]|\d:\d\d(?:\.\d+)?\s*$/;

/** A row with another number of fields than the header becomes a line that is no object, for the policy to judge. */
export function csvLines(bytes: Uint8Array, columns: Readonly<Record<string, ColumnType>>): Buffer {
  const records = readRecords(decode(bytes));
  const first = records.next();
  if (first.done) return Buffer.alloc(0);
  const header = first.value.map(({ text }) => text.trim());
  const twice = header.find((name, i) => name === "" || header.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new Fault("invalid", `the header of the CSV names ${JSON.stringify(twice)}; each column needs its own name`);
  }
  const lines: Buffer[] = [];
  for (const record of records) {
    if (record.length === 1 && record[0]?.text === "" && !record[0].quoted) continue;
    if (record.length === header.length) {
      const row = Object.fromEntries(record.map((field, i) => [header[i], cellOf(field, columns[header[i] ?? ""])]));
      lines.push(encodeRows([row as RowObject]));
    } else {
      const told = `${record.length} fields, the header has ${header.length}: ${record.map((f) => f.text).join(",")}`;
      lines.push(Buffer.from(`${JSON.stringify(told)}\n`));
    }
  }
  return Buffer.concat(lines);
}

/** Whether a field ends in a time of day, as one without an offset does. */
export const mayHaveNaiveField = (bytes: Uint8Array) =>
  ENDS_IN_CLOCK.test(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1"));

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Fault("invalid", "the CSV is not UTF-8", { cause });
  }
}

function* readRecords(text: string): Generator<Field[], undefined> {
  let record: Field[] = [];
  let at = 0;
  while (at < text.length) {
    let field: Field;
    if (text[at] === '"') {
      const end = closingQuote(text, at + 1);
      field = { text: text.slice(at + 1, end).replaceAll('""', '"'), quoted: true };
      at = end + 1;
    } else {
      const end = fieldEnd(text, at);
      field = { text: text.slice(at, end), quoted: false };
      at = end;
    }
    record.push(field);
    if (text[at] === ",") {
      at += 1;
      if (at < text.length) continue;
      record.push({ text: "", quoted: false });
    } else if (at < text.length && text[at] !== "\r" && text[at] !== "\n") {
      throw new Fault("invalid", `the CSV goes on behind a closing quote at character ${at + 1}`);
    }
    if (text[at] === "\r") at += 1;
    if (text[at] === "\n") at += 1;
    yield record;
    record = [];
  }
}

function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 2)) if (text[at + 1] !== '"') return at;
  throw new Fault("invalid", `the CSV ends inside the quotes that open at character ${from}`);
}

function fieldEnd(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "," || text[at] === "\n" || text[at] === "\r") return at;
  }
  return text.length;
}

/** Integers and decimals stay text: their columns take that, and no digit is lost. */
function cellOf({ text, quoted }: Field, type: ColumnType | undefined): unknown {
  if (text === "" && !quoted) return null;
  switch (type) {
    case "string":
    case "int64":
    case "uint64":
    case "date":
    case "uuid":
      return text;
    case "bool":
      return /^(true|1)$/i.test(text) ? true : /^(false|0)$/i.test(text) ? false : text;
    case "float64":
    case "timestamp":
      return NUMBER.test(text) ? Number(text) : text;
    case undefined:
      return quoted ? text : guessed(text);
    default:
      return /^(json$|array\()/.test(type) ? parsed(text) : text;
  }
}

/** A number that begins with a zero is a code and not a number. */
function guessed(text: string): unknown {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (!NUMBER.test(text) || /^-?0\d/.test(text)) return text;
  return /^-?\d+$/.test(text) ? BigInt(text) : Number(text);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
