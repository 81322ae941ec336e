/** Rows from CSV, TSV and NDJSON files by URL, plain or gzipped. */
import {
  type FetchCall,
  type HttpReply,
  log,
  PluginError,
  type RegisterCall,
  type Row,
  type Value,
} from "@millrace/typescript";
import { gunzipSync } from "fflate";
import Papa from "papaparse/papaparse.min.js";
import { convert, declared, type Fields, fieldsOf, inWindow, sourceOf, timeOf } from "../../source/field.ts";
import { parsePath, valueAt } from "../../source/path.ts";
import { type Access, sender } from "../../source/request.ts";
import { fill, type Values, windowValues } from "../../source/template.ts";

interface Source extends Access {
  readonly url: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly format?: "auto" | "csv" | "tsv" | "ndjson";
  readonly delimiter?: string;
  readonly quote?: string;
  readonly comment?: string;
  readonly skip_lines?: number;
  readonly header?: boolean;
  readonly columns?: readonly string[];
  readonly null_values?: readonly string[];
  readonly fields?: Fields;
  readonly time?: string;
  readonly index?: readonly string[];
}

interface Config extends Access {
  readonly sources?: Readonly<Record<string, Source>>;
}

/** What gzip begins with. */
const GZIP = [0x1f, 0x8b];
/** Rows that are handed on together. */
const BATCH_ROWS = 1_000;
/** Some mistakes are enough to see what is wrong with a file. */
const SHOWN_MISTAKES = 5;

export function register({ pipe, config }: RegisterCall<Config>) {
  const { fields = {}, time, index } = sourceOf(config.sources, pipe.metric);
  return declared(fields, time, index);
}

export function* fetch(call: FetchCall<Config>) {
  const { config, pipe, end } = call;
  const source = sourceOf(config.sources, pipe.metric);
  const values = windowValues(call as FetchCall<never, never>);
  const send = sender({ ...config, ...source, headers: { ...config.headers, ...source.headers } });
  const reply = send(source, values);
  const text = withoutHead(textOf(reply), source.skip_lines ?? 0);
  const records = formatOf(source, reply) === "ndjson" ? lines(text, reply.url) : table(text, source, reply);
  const make = source.fields ? mapped(source.fields, values) : (record: Row) => record;
  const time = source.time ?? timeOf(source.fields ?? {});
  let dropped = 0;
  let batch: Row[] = [];
  for (const record of records) {
    const row = make(record);
    if (time !== undefined && !inWindow(row[time], call)) dropped += 1;
    else if (batch.push(row) === BATCH_ROWS) {
      yield batch;
      batch = [];
    }
  }
  yield batch;
  if (dropped) log.info("rows outside the window were left out", { rows: dropped });
  return { watermark: end };
}

/** The file as text, whether it was sent as it is or gzipped. Errors: `bad_answer` for gzip that is broken. */
function textOf(reply: HttpReply): string {
  const bytes = reply.bytes;
  if (bytes[0] !== GZIP[0] || bytes[1] !== GZIP[1]) return new TextDecoder().decode(bytes);
  try {
    return new TextDecoder().decode(gunzipSync(bytes));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PluginError("bad_answer", `${reply.url} is gzip that does not unpack: ${why}`, {
      retryable: true,
      cause,
    });
  }
}

function formatOf({ format = "auto" }: Source, reply: HttpReply): "csv" | "tsv" | "ndjson" {
  if (format !== "auto") return format;
  const path = new URL(reply.url).pathname.toLowerCase().replace(/\.gz$/, "");
  const type = reply.header("content-type") ?? "";
  if (/\.(ndjson|jsonl)$/.test(path) || /ndjson|jsonl|json-seq/.test(type)) return "ndjson";
  return path.endsWith(".tsv") || type.includes("tab-separated") ? "tsv" : "csv";
}

function withoutHead(text: string, count: number): string {
  let from = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  for (let i = 0; i < count; i++) {
    const end = text.indexOf("\n", from);
    if (end < 0) return "";
    from = end + 1;
  }
  return from ? text.slice(from) : text;
}

/** Errors: `bad_answer` with the lines that are no JSON objects. */
function* lines(text: string, url: string): Generator<Row> {
  let number = 0;
  for (const line of text.split("\n")) {
    number += 1;
    if (line.trim() === "") continue;
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {}
    if (row === null || typeof row !== "object" || Array.isArray(row)) {
      throw new PluginError("bad_answer", `${url}:${number}: ${line.slice(0, 100)} is not a JSON object`);
    }
    yield row as Row;
  }
}

/** Errors: `bad_answer` with every line that is not like the others, up to a few. */
function* table(text: string, source: Source, reply: HttpReply): Generator<Row> {
  const { delimiter, quote = '"', comment, header = true, columns, null_values: nulls = [""] } = source;
  const { data, errors } = Papa.parse<string[]>(text, {
    delimiter: delimiter === "auto" ? "" : (delimiter ?? (formatOf(source, reply) === "tsv" ? "\t" : ",")),
    quoteChar: quote,
    comments: comment ?? false,
    skipEmptyLines: true,
  });
  const names = header ? data[0]?.map((name) => name.trim()) : columns;
  if (!names) {
    if (!data.length) return;
    throw new PluginError("invalid", "without a header the config must name the `columns`");
  }
  const mistakes = errors.filter(({ type }) => type === "Quotes").map(({ row, message }) => `row ${row}: ${message}`);
  const rows = header ? data.slice(1) : data;
  for (const [i, { length }] of rows.entries()) {
    if (length !== names.length) mistakes.push(`row ${i + 1}: has ${length} values for ${names.length} columns`);
    if (mistakes.length > SHOWN_MISTAKES) break;
  }
  if (mistakes.length) {
    const shown = mistakes.slice(0, SHOWN_MISTAKES).join("\n");
    throw new PluginError("bad_answer", `${reply.url} is not a table:\n${shown}`, { retryable: true });
  }
  const none = new Set(nulls);
  for (const cells of rows) {
    const row: Record<string, string | null> = {};
    for (const [i, name] of names.entries()) row[name] = none.has(cells[i] as string) ? null : (cells[i] as string);
    yield row;
  }
}

function mapped(fields: Fields, values: Values): (record: Row) => Row {
  const known = fieldsOf(fields).map((field) => {
    const { from, value } = field;
    return { ...field, constant: value === undefined ? undefined : fill(value, values), at: parsePath(quoted(from)) };
  });
  return (record) => {
    const row: Record<string, Value> = {};
    for (const field of known) {
      const value = field.constant ?? record[field.from] ?? valueAt(field.at, { value: record, above: [record] });
      row[field.name] = convert(value, field);
    }
    return row;
  };
}

/** A column's name may hold anything; only what is a path is one. */
function quoted(name: string): string {
  try {
    parsePath(name);
    return name;
  } catch {
    return `[${JSON.stringify(name)}]`;
  }
}
