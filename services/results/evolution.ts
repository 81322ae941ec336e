/** How an undeclared column gets its type, and what it becomes when values ask for more. Pure. */
import type { ColumnType, RowObject } from "./records.ts";

/** A name that needs no thought in SQL; `_` in front is the envelope's. */
export const COLUMN_NAME = /^[A-Za-z][A-Za-z0-9_]{0,127}$/;
const CLOCK_TIME = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?([Zz]|[+-]\d{2}:?\d{2})?$/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const ARRAY = /^array\((.+)\)$/;
/** Holds int64 and uint64 alike. */
const WIDE_INTEGER = "decimal(38,0)";
const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;
const WIDE_DIGITS = 38;

export const elementOf = (type: ColumnType): ColumnType | undefined => ARRAY.exec(type)?.[1];

/** A time of day without an offset: nobody knows when that is. A day alone is midnight in UTC. */
export function isNaiveTime(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const match = CLOCK_TIME.exec(value);
  return match !== null && match[3] === undefined;
}

/**
 * The narrowest type that holds the value exactly; undefined for null, and for what only `_extra` can hold: lists of
 * objects or of lists, and empty lists. A naive time is text unless `timezone` says where it is.
 */
export function inferType(value: unknown, timezone?: string): ColumnType | undefined {
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return integerType(value);
    case "number":
      return Number.isSafeInteger(value) ? "int64" : "float64";
    case "string":
      if (DAY.test(value)) return Number.isNaN(Date.parse(value)) ? "string" : "date";
      if (CLOCK_TIME.test(value)) return isNaiveTime(value) && !timezone ? "string" : "timestamp";
      return UUID.test(value) ? "uuid" : "string";
    case "object":
      if (Array.isArray(value)) return listType(value, timezone);
      return value === null ? undefined : "json";
    default:
      return undefined;
  }
}

function integerType(value: bigint): ColumnType {
  if (value >= MIN_INT64 && value <= MAX_INT64) return "int64";
  if (value >= 0n && value <= MAX_UINT64) return "uint64";
  return String(value).replace("-", "").length <= WIDE_DIGITS ? WIDE_INTEGER : "string";
}

function listType(values: readonly unknown[], timezone?: string): ColumnType | undefined {
  let element: ColumnType | undefined;
  for (const value of values) {
    const type = inferType(value, timezone);
    if (type === undefined && value === null) continue;
    if (type === undefined || type === "json" || elementOf(type)) return undefined;
    element = element === undefined ? type : widen(element, type);
  }
  return element && `array(${element})`;
}

/** The narrowest type that shows the values of both: int → float → text, date → timestamp → text, at last text. */
export function widen(one: ColumnType, other: ColumnType): ColumnType {
  if (one === other) return one;
  const [a, b] = [elementOf(one), elementOf(other)];
  if (a && b) return `array(${widen(a, b)})`;
  const both = new Set([one, other]);
  const within = (...types: string[]) => [...both].every((type) => types.includes(type));
  if (within("int64", "uint64", WIDE_INTEGER)) return WIDE_INTEGER;
  if (within("int64", "uint64", "float64")) return "float64";
  if (within("date", "timestamp")) return "timestamp";
  return "string";
}

/** The type that shows the values of every version. */
export const widest = (types: readonly ColumnType[]): ColumnType => types.reduce(widen);

/**
 * Columns for rows that nobody declared. A column that is null throughout, or has a name that is none, is left out: it
 * lands in `_extra`.
 */
export function inferColumns(rows: Iterable<RowObject>, timezone?: string): Record<string, ColumnType> {
  const seen = new Map<string, ColumnType>();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) {
      const type = COLUMN_NAME.test(name) ? inferType(value, timezone) : undefined;
      if (type !== undefined) seen.set(name, widen(seen.get(name) ?? type, type));
    }
  }
  return Object.fromEntries(seen);
}

/** SQL that shows a value of type `from` as one of type `to`, which is wider. NULL stays NULL. */
export function shownAs(sql: string, from: ColumnType, to: ColumnType): string {
  if (from === to) return sql;
  const [a, b] = [elementOf(from), elementOf(to)];
  if (a && b) return `arrayMap(v -> ${shownAs("v", a, b)}, ${sql})`;
  // An absent list is stored as an empty one.
  if (a) return `nullIf(${listText(sql, a)}, '[]')`;
  if (to === "float64") return `toFloat64(${sql})`;
  if (to === WIDE_INTEGER) return `toDecimal128(${sql}, 0)`;
  if (to === "timestamp") return `toDateTime64(${sql}, 6, 'UTC')`;
  if (from === "json") return `if(isNull(${sql}), NULL, toJSONString(${sql}))`;
  if (from !== "timestamp") return `toString(${sql})`;
  const digits = `formatDateTime(${sql}, '%Y-%m-%dT%H:%i:%S.%f')`;
  return `concat(replaceRegexpOne(replaceRegexpOne(${digits}, '0+$', ''), '\\\\.$', ''), 'Z')`;
}

/** `toJSONString` would put quotes around long integers, as answers do. */
function listText(sql: string, element: ColumnType): string {
  if (!/^(u?int64|float64|bool|decimal.*)$/.test(element)) return `toJSONString(${sql})`;
  return `concat('[', arrayStringConcat(arrayMap(v -> ifNull(toString(v), 'null'), ${sql}), ','), ']')`;
}
