/** SQL that reads rows of a dataset: columns, conditions, order, pages by the key of their last row. Pure. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { axisOf, formatTime, parsePosition, parseTime } from "../kit/time.ts";
import { storageType } from "./column.ts";
import { elementOf } from "./evolution.ts";
import type { ColumnType, Dataset, RowSelection } from "./records.ts";
import { quote } from "./sql-names.ts";

export interface RowQuery {
  readonly sql: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Where a page ended: the sort key of its last row, and how many rows had exactly that key. */
export interface RowCursor {
  readonly key: readonly string[];
  readonly skip: number;
  /** Rows that arrive while a reader pages are not in its pages: the first page fixes the moment. */
  readonly asOfMs: number;
  /** The order that the key belongs to. */
  readonly order: string;
}

const ENVELOPE: Readonly<Record<string, ColumnType>> = {
  _run_id: "string",
  _fence: "uint64",
  _resource: "string",
  _ingested_at: "timestamp",
};
const CONDITION = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(!=|<=|>=|=|<|>)(.*)$/s;
const ORDER = /^\s*([A-Za-z_][A-Za-z0-9_]*)(?:\s+(asc|desc))?\s*$/i;
const MAX_CONDITIONS = 50;
const MAX_VALUES = 200;

/** The sort key of a row as text, beside its columns. */
export const KEY_COLUMN = "__key";

/** Every row that fits. `order`: only what was asked for. Errors: `invalid` with every mistake. */
export function selectAll(db: string, dataset: Dataset, selection: RowSelection, asText: boolean): RowQuery {
  const reading = readSelection(dataset, selection);
  const columns = reading.columns.map((name) => (asText ? asPlain(name, reading.typeOf(name)) : quote(name)));
  const order = reading.order.map(({ name, desc }) => `${quote(name)}${desc ? " DESC" : ""} NULLS LAST`);
  const limit = selection.limit ? ` LIMIT ${Math.trunc(selection.limit)}` : "";
  const sorted = order.length ? ` ORDER BY ${order.join(", ")}` : "";
  const from = `${db}.${quote(dataset.dataset)}`;
  const sql = `SELECT ${columns.join(", ")} FROM ${from} WHERE ${reading.where}${sorted}${limit}`;
  return { sql, params: reading.params };
}

/** Columnar files have no JSON and write a UUID as bytes. */
const asPlain = (name: string, type: ColumnType | undefined) =>
  type === "json" || type === "uuid" || name === "_extra" ? `toString(${quote(name)}) AS ${quote(name)}` : quote(name);

/** One page, in an order in which every row has its place. */
export function selectPage(
  db: string,
  dataset: Dataset,
  selection: RowSelection,
  { limit, after, asOfMs }: { readonly limit: number; readonly after: RowCursor | undefined; readonly asOfMs: number },
): RowQuery & { readonly order: string } {
  const reading = readSelection(dataset, { ...selection, orderBy: selection.orderBy || byTime(dataset) });
  const keys = keysOf(dataset, reading);
  const order = keys.map(({ sql, desc }) => `${sql}${desc ? " DESC" : ""}`);
  const orderName = reading.order.map(({ name, desc }) => `${name} ${desc ? "desc" : "asc"}`).join(",");
  if (after && (after.order !== orderName || after.key.length !== keys.length)) {
    const fix = "ask for the next page with the same order";
    throw Fault.invalid("page token", [{ field: "page token", problem: "belongs to another order", fix }]);
  }
  const where = [reading.where, "_ingested_at <= fromUnixTimestamp64Milli({asOf:Int64}, 'UTC')"];
  if (after) where.push(...behind(keys, reading));
  const columns = selection.select?.length ? reading.columns : [...reading.columns, "_extra"];
  const key = `[${keys.map(({ sql }) => `toString(${sql})`).join(", ")}] AS ${KEY_COLUMN}`;
  return {
    sql: `SELECT ${columns.map(quote).join(", ")}, ${key} FROM ${db}.${quote(dataset.dataset)}
      WHERE ${where.join(" AND ")} ORDER BY ${order.join(", ")} LIMIT ${limit} OFFSET ${after?.skip ?? 0}`,
    params: {
      ...reading.params,
      asOf: asOfMs,
      ...Object.fromEntries((after?.key ?? []).map((value, i) => [`key${i}`, value])),
    },
    order: orderName,
  };
}

const byTime = ({ datetime, index }: Dataset) =>
  [...new Set([...(datetime ? [datetime] : []), ...index])].slice(0, MAX_CONDITIONS).join(",");

interface Key {
  readonly sql: string;
  readonly type: string;
  readonly desc: boolean;
  /** The plain column, where the key is one: the table may be sorted by it. */
  readonly column?: string;
}

/** NULL has no place in a comparison: each column is two keys, whether it is NULL, which comes last, and its value. */
function keysOf(dataset: Dataset, { order, typeOf }: Reading): Key[] {
  const keys = order.flatMap(({ name, desc }): Key[] => {
    const type = plainType(typeOf(name) ?? "");
    const column = quote(name);
    return [
      { sql: `isNull(${column})`, type: "UInt8", desc: false },
      { sql: `ifNull(${column}, ${zero(type)})`, type, desc, column },
    ];
  });
  const all = Object.entries(dataset.columns).map(([name, type]) =>
    /^(json|labels)$/.test(type) ? `toString(${quote(name)})` : quote(name),
  );
  return [
    ...keys,
    { sql: "_run_id", type: "String", desc: false },
    { sql: `cityHash64(tuple(${[...all, "toString(_extra)"].join(", ")}))`, type: "UInt64", desc: false },
  ];
}

const zero = (type: string) => `defaultValueOfTypeName('${type.replace(/'/g, "\\'")}')`;
const plainType = (type: ColumnType) => (storageType(type) ?? "String").replace(/^Nullable\((.*)\)$/, "$1");

/** Rows at or after the cursor's key; those equal to it are skipped by count. */
function behind(keys: readonly Key[], { order }: Reading): string[] {
  const value = (i: number) => `{key${i}:${keys[i]?.type}}`;
  const equal = (upTo: number) => keys.slice(0, upTo).map(({ sql }, i) => `${sql} = ${value(i)}`);
  const cases = keys.map(({ sql, desc }, i) => [...equal(i), `${sql} ${desc ? "<" : ">"} ${value(i)}`].join(" AND "));
  const all = [...cases, equal(keys.length).join(" AND ")].map((one) => `(${one})`).join(" OR ");
  const [first] = order;
  const lead = keys[1];
  if (!first || !lead?.column) return [`(${all})`];
  // Says nothing new, but in a form that the table's own order can use.
  const bound = `(${value(0)} = 1 OR isNull(${lead.column}) OR ${lead.column} ${first.desc ? "<=" : ">="} ${value(1)})`;
  return [bound, `(${all})`];
}

interface Reading {
  readonly columns: readonly string[];
  readonly order: readonly { readonly name: string; readonly desc: boolean }[];
  readonly where: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly typeOf: (name: string) => ColumnType | undefined;
}

function readSelection(dataset: Dataset, selection: RowSelection): Reading {
  const { select, where, orderBy } = selection;
  const mistakes: Mistake[] = [];
  const typeOf = (name: string): ColumnType | undefined =>
    Object.hasOwn(dataset.columns, name) ? dataset.columns[name] : ENVELOPE[name];
  const known = (name: string, field: string) => {
    const type = typeOf(name);
    const fix = `one of ${Object.keys(dataset.columns).slice(0, 50).join(" ")}`;
    if (!type) mistakes.push({ field, problem: `"${name}" is no column of ${dataset.dataset}`, fix });
    return type;
  };
  const sortable = (name: string, field: string) => {
    const type = known(name, field);
    if (!type || !(/^(json|labels)$/.test(type) || elementOf(type))) return type;
    mistakes.push({ field, problem: `"${name}" is of type ${type}`, fix: "choose a plain column, or use SQL" });
    return undefined;
  };
  for (const [i, name] of (select ?? []).entries()) if (name !== "_extra") known(name, `select[${i}]`);
  const order = (orderBy || "")
    .split(",")
    .filter((part) => part.trim() !== "")
    .flatMap((part) => {
      const [, name = part, direction = ""] = ORDER.exec(part) ?? [];
      return sortable(name, "order_by") ? [{ name, desc: direction.toLowerCase() === "desc" }] : [];
    });
  const { sql, params } = conditions(where ?? [], sortable, mistakes);
  const range = rangeOf(dataset, selection, mistakes);
  if (mistakes.length) throw Fault.invalid(`rows of ${dataset.dataset}`, mistakes);
  return {
    columns: select?.length ? select : Object.keys(dataset.columns),
    order,
    where: [...range.sql, ...sql].join(" AND ") || "1",
    params: { ...params, ...range.params },
    typeOf,
  };
}

interface Conditions {
  readonly sql: readonly string[];
  readonly params: Readonly<Record<string, unknown>>;
}

/** What lies within [begin, end) of the column that the dataset goes by: of times, or of integers. */
function rangeOf(dataset: Dataset, { beginUs, endUs, ...asked }: RowSelection, mistakes: Mistake[]): Conditions {
  const { datetime } = dataset;
  const [beginInt = "", endInt = ""] = [asked.beginInt, asked.endInt];
  const [times, integers] = [beginUs !== undefined || endUs !== undefined, beginInt !== "" || endInt !== ""];
  if (!times && !integers) return { sql: [], params: {} };
  const wrong = (field: string, problem: string, fix: string): Conditions => {
    mistakes.push({ field, problem, fix });
    return { sql: [], params: {} };
  };
  const field = times ? "begin" : "begin_int";
  if (datetime === undefined) {
    return wrong(field, `dataset ${dataset.dataset} has no datetime column`, "read it without begin and end");
  }
  const axis = axisOf(dataset.columns[datetime]);
  if (axis === "time" && integers) {
    return wrong("begin_int", `${dataset.dataset} goes by time`, "write begin and end as 2012-01-31T00:00:00Z");
  }
  if (axis !== "time" && times) {
    const problem = `${dataset.dataset} goes by ${datetime}, an ${axis} column, and not by time`;
    return wrong("begin", problem, 'write begin_int and end_int as integers, such as "100000"');
  }
  const type = { time: "DateTime64(6, 'UTC')", int64: "Int64", uint64: "UInt64" }[axis];
  const [from, to] = axis === "time" ? [naive(beginUs), naive(endUs)] : [beginInt, endInt];
  for (const [name, integer] of Object.entries({ begin_int: beginInt, end_int: endInt })) {
    if (integer !== "") tried(() => parsePosition(axis, integer, name), mistakes);
  }
  const column = quote(datetime);
  return {
    sql: [
      ...(from === "" ? [] : [`${column} >= {begin:${type}}`]),
      ...(to === "" ? [] : [`${column} < {end:${type}}`]),
    ],
    params: { ...(from !== "" && { begin: from }), ...(to !== "" && { end: to }) },
  };
}

function conditions(
  where: readonly string[],
  typeOf: (name: string, field: string) => ColumnType | undefined,
  mistakes: Mistake[],
): Conditions {
  const params: Record<string, unknown> = {};
  if (where.length > MAX_CONDITIONS) {
    mistakes.push({ field: "where", problem: `has ${where.length} conditions`, fix: `at most ${MAX_CONDITIONS}` });
  }
  const sql = where.slice(0, MAX_CONDITIONS).flatMap((condition, i) => {
    const field = `where[${i}]`;
    const [, name, operator = "", raw = ""] = CONDITION.exec(condition) ?? [];
    if (name === undefined) {
      const fix = "write column, operator and value, for example temp>=20";
      mistakes.push({ field, problem: `${JSON.stringify(condition)} is no condition`, fix });
      return [];
    }
    const type = typeOf(name, field);
    if (!type) return [];
    const column = quote(name);
    const values = readValues(raw.trim());
    const plain = operator === "=" || operator === "!=";
    if (!values || values.length > MAX_VALUES || ((values.length !== 1 || values[0] === null) && !plain)) {
      const fix = `one value, or for = and != a JSON list of at most ${MAX_VALUES}`;
      mistakes.push({ field, problem: `${JSON.stringify(raw.slice(0, 80))} does not go with ${operator}`, fix });
      return [];
    }
    const cases = values.map((value, j) => {
      if (value === null) return `isNull(${column})`;
      const key = `where${i}_${j}`;
      params[key] = /^(timestamp)$/.test(type) ? naive(timeOf(value, field, mistakes)) : value;
      const compared = `${column} ${operator === "!=" ? "=" : operator} {${key}:${plainType(type)}}`;
      return compared;
    });
    const any = `(${cases.join(" OR ") || "0"})`;
    return [operator === "!=" ? `NOT ifNull(${any}, 0)` : any];
  });
  return { sql, params };
}

const timeOf = (value: string, field: string, mistakes: Mistake[]) => tried(() => parseTime(value, field), mistakes);

function tried(parse: () => bigint, mistakes: Mistake[]): bigint | undefined {
  try {
    return parse();
  } catch (thrown) {
    mistakes.push(...Fault.from(thrown).mistakes);
    return undefined;
  }
}

/** A bare value is text; `null` is none; a JSON list is several. Undefined: a list that is none. */
function readValues(raw: string): (string | null)[] | undefined {
  if (raw === "null") return [null];
  if (!raw.startsWith("[")) return [raw.startsWith('"') && raw.endsWith('"') ? unquote(raw) : raw];
  try {
    const list: unknown = JSON.parse(raw);
    if (!Array.isArray(list)) return undefined;
    return list.map((value: unknown) => (value === null ? null : typeof value === "string" ? value : String(value)));
  } catch {
    return undefined;
  }
}

function unquote(raw: string): string {
  try {
    return String(JSON.parse(raw));
  } catch {
    return raw;
  }
}

/** ClickHouse's parameters take a time without `Z`. */
export function naive(us: bigint | undefined): string {
  return us === undefined ? "" : formatTime(us).replace("T", " ").replace("Z", "");
}
