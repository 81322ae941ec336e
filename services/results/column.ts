/** Column types of a dataset: what authors write, what ClickHouse stores, and what a first batch of rows suggests. */
import { Fault, type Mistake } from "../kit/fault.ts";
import type { ColumnType, DatasetSpec, RowObject } from "./records.ts";

const PLAIN: Readonly<Record<string, string>> = {
  string: "Nullable(String)",
  int64: "Nullable(Int64)",
  uint64: "Nullable(UInt64)",
  float64: "Nullable(Float64)",
  bool: "Nullable(Bool)",
  timestamp: "Nullable(DateTime64(6, 'UTC'))",
  date: "Nullable(Date32)",
  uuid: "Nullable(UUID)",
  json: "Nullable(JSON)",
};
/** A label that repeats (a resource, a metric's name): stored once, referred to by number. Ours alone. */
const LABEL = "LowCardinality(Nullable(String))";
const LABELS = "Map(LowCardinality(String), String)";

const DECIMAL = /^decimal\((\d{1,2}),\s?(\d{1,2})\)$/i;
/** ClickHouse's widest decimal. */
const MAX_DECIMAL_DIGITS = 76;

export const columnTypes: readonly string[] = [...Object.keys(PLAIN), "decimal(p,s)"];
const MAX_COLUMNS = 1_000;
/** A name that needs no thought in SQL; `_` in front is the envelope's. */
const COLUMN_NAME = /^[A-Za-z][A-Za-z0-9_]{0,127}$/;
const DATASET_NAME = /^[a-z][a-z0-9_]{0,127}$/;
const RESERVED_DATASETS = ["runs", "logs"];

/** ClickHouse's type for one of ours, or undefined. */
export function storageType(type: ColumnType): string | undefined {
  if (type === "label") return LABEL;
  if (type === "labels") return LABELS;
  const decimal = DECIMAL.exec(type);
  if (!decimal) return PLAIN[type];
  const [precision, scale] = [Number(decimal[1]), Number(decimal[2])];
  const fits = precision >= 1 && precision <= MAX_DECIMAL_DIGITS && scale <= precision;
  return fits ? `Nullable(Decimal(${precision}, ${scale}))` : undefined;
}

/** Our type for what a column is stored as; a type we did not make keeps ClickHouse's name. */
export function typeOfStorage(stored: string): ColumnType {
  if (stored === LABEL) return "label";
  if (stored === LABELS) return "labels";
  const decimal = /^Nullable\(Decimal\((\d+), (\d+)\)\)$/.exec(stored);
  if (decimal) return `decimal(${decimal[1]},${decimal[2]})`;
  return Object.entries(PLAIN).find(([, storage]) => storage === stored)?.[0] ?? stored;
}

/** Errors: `invalid` with every mistake of the spec. */
export function checkSpec(spec: DatasetSpec): void {
  const mistakes: Mistake[] = [];
  const names = Object.keys(spec.columns);
  const show = JSON.stringify;
  checkDatasetName(spec.dataset, mistakes);
  if (names.length === 0) mistakes.push({ field: "columns", problem: "is empty", fix: "declare at least one column" });
  if (names.length > MAX_COLUMNS) {
    mistakes.push({ field: "columns", problem: `has ${names.length} columns`, fix: `at most ${MAX_COLUMNS}` });
  }
  for (const [name, type] of Object.entries(spec.columns)) {
    const field = `columns.${name}`;
    if (!COLUMN_NAME.test(name)) {
      mistakes.push({ field, problem: "is no column name", fix: "letters, digits and _, a letter first" });
    }
    if (storageType(type) === undefined) {
      mistakes.push({ field, problem: `${show(type)} is no column type`, fix: `one of ${columnTypes.join(" ")}` });
    }
  }
  const { datetime } = spec;
  if (datetime !== undefined && !["timestamp", "date"].includes(spec.columns[datetime] ?? "")) {
    mistakes.push({
      field: "datetime",
      problem: `${show(datetime)} is no timestamp or date column`,
      fix: "declare it",
    });
  }
  for (const [i, name] of (spec.index ?? []).entries()) {
    const type = spec.columns[name];
    const field = `index[${i}]`;
    if (type === undefined) {
      mistakes.push({ field, problem: `${show(name)} is not among the columns`, fix: names.join(" ") });
    } else if (type === "json" || type === "labels") {
      mistakes.push({ field, problem: `${show(name)} is of type ${type}`, fix: "index by a plain column" });
    }
  }
  if (mistakes.length) throw Fault.invalid(`dataset ${spec.dataset}`, mistakes);
}

function checkDatasetName(dataset: string, mistakes: Mistake[]): void {
  const field = "dataset";
  if (!DATASET_NAME.test(dataset) || dataset.endsWith("__rows")) {
    const fix = "lower-case letters, digits and _, a letter first, not ending in __rows";
    mistakes.push({ field, problem: `${JSON.stringify(dataset)} is no dataset name`, fix });
  } else if (RESERVED_DATASETS.includes(dataset)) {
    mistakes.push({ field, problem: `${JSON.stringify(dataset)} is kept for Millrace itself`, fix: "choose another" });
  }
}

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([Zz]|[+-]\d{2}:?\d{2})?$/;

/**
 * Columns for rows that nobody declared: int64, float64, bool, timestamp or string. A column that is null throughout is
 * left out (it lands in `_extra` until it is declared); one of mixed types is a string; objects and arrays are left
 * out.
 */
export function inferColumns(rows: Iterable<RowObject>): Record<string, ColumnType> {
  const seen = new Map<string, ColumnType | undefined>();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      if (value === null || value === undefined || !COLUMN_NAME.test(name)) continue;
      const type = inferType(value);
      seen.set(name, seen.has(name) ? widen(seen.get(name), type) : type);
    }
  }
  return Object.fromEntries([...seen].filter((entry): entry is [string, ColumnType] => entry[1] !== undefined));
}

function inferType(value: unknown): ColumnType | undefined {
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int64";
  if (typeof value === "number") return Number.isSafeInteger(value) ? "int64" : "float64";
  if (typeof value === "string") return TIMESTAMP.test(value) ? "timestamp" : "string";
  return undefined;
}

function widen(one: ColumnType | undefined, other: ColumnType | undefined): ColumnType | undefined {
  if (one === other) return one;
  if (one === undefined || other === undefined) return undefined;
  const both = [one, other].sort().join(" ");
  return both === "float64 int64" ? "float64" : "string";
}
