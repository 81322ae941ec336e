/** Column types of a dataset: what authors write, and what ClickHouse stores. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { COLUMN_NAME, elementOf } from "./evolution.ts";
import type { ColumnType, DatasetSpec, SchemaPolicy } from "./records.ts";
import { storageMistakes } from "./storage.ts";

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

export const columnTypes: readonly string[] = [...Object.keys(PLAIN), "decimal(p,s)", "array(…)"];
export const MAX_COLUMNS = 1_000;
const DATASET_NAME = /^[a-z][a-z0-9_]{0,127}$/;
const RESERVED_DATASETS = ["runs", "logs", "rejects"];
const POLICIES = ["evolve", "freeze", "reject"];

/** ClickHouse's type for one of ours, or undefined. */
export function storageType(type: ColumnType): string | undefined {
  if (type === "label") return LABEL;
  if (type === "labels") return LABELS;
  const element = elementOf(type);
  if (element !== undefined) {
    const inner = element === "json" || elementOf(element) ? undefined : storageType(element);
    return inner && `Array(${inner})`;
  }
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
  const element = /^Array\((.*)\)$/.exec(stored)?.[1];
  if (element !== undefined) return `array(${typeOfStorage(element)})`;
  const decimal = /^Nullable\(Decimal\((\d+), (\d+)\)\)$/.exec(stored);
  if (decimal) return `decimal(${decimal[1]},${decimal[2]})`;
  return Object.entries(PLAIN).find(([, storage]) => storage === stored)?.[0] ?? stored;
}

/** What holds where nobody says: what is declared stays as declared, what is not grows. */
export const policyOf = ({ schema, columns }: DatasetSpec): SchemaPolicy =>
  schema ?? (Object.keys(columns).length ? "freeze" : "evolve");

/** Errors: `invalid` with every mistake of the spec. */
export function checkSpec(spec: DatasetSpec): void {
  const mistakes: Mistake[] = [];
  const names = Object.keys(spec.columns);
  const show = JSON.stringify;
  checkDatasetName(spec.dataset, mistakes);
  const policy = policyOf(spec);
  if (!POLICIES.includes(policy)) {
    const fix = `one of ${POLICIES.join(" ")}`;
    mistakes.push({ field: "schema", problem: `${show(policy)} is no schema policy`, fix });
  }
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
  if (datetime !== undefined && !["timestamp", "date", "int64", "uint64"].includes(spec.columns[datetime] ?? "")) {
    mistakes.push({
      field: "datetime",
      problem: `${show(datetime)} is no timestamp, date, int64 or uint64 column`,
      fix: "declare it",
    });
  }
  for (const [i, name] of (spec.index ?? []).entries()) {
    const type = spec.columns[name];
    const field = `index[${i}]`;
    if (type === undefined) {
      mistakes.push({ field, problem: `${show(name)} is not among the columns`, fix: names.join(" ") });
    } else if (type === "json" || type === "labels" || elementOf(type)) {
      mistakes.push({ field, problem: `${show(name)} is of type ${type}`, fix: "index by a plain column" });
    }
  }
  mistakes.push(...storageMistakes(spec));
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
