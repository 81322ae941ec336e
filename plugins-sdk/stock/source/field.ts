/** One column of a row: where its value comes from, and what is made of it. */
import { type FetchCall, PluginError, type Value } from "@millrace/typescript";

export type FieldRule =
  | string
  | {
      /** Where the value is; default: the column's own name. */
      readonly from?: string;
      /** The same text in every row; templates are filled. */
      readonly value?: string;
      readonly type?: string;
      /** Of times that are numbers. */
      readonly unit?: "s" | "ms" | "us";
    };

export interface Field {
  readonly name: string;
  readonly from: string;
  readonly value: string | undefined;
  readonly type: string | undefined;
  readonly unit: "s" | "ms" | "us" | undefined;
}

export type Fields = Readonly<Record<string, FieldRule>>;

export function fieldsOf(fields: Fields): readonly Field[] {
  return Object.entries(fields).map(([name, rule]) => {
    const { from = name, value, type, unit } = typeof rule === "string" ? { from: rule } : rule;
    return { name, from, value, type, unit };
  });
}

/** The columns that have types, as `register` answers; the first time is the one that windows are cut by. */
export function declared(fields: Fields, time: string | undefined, index: readonly string[] | undefined) {
  const typed = fieldsOf(fields).flatMap(({ name, type }) => (type ? [[name, type] as const] : []));
  const datetime = time ?? timeOf(fields);
  return {
    // Some types and no others would refuse the rest.
    ...(typed.length === Object.keys(fields).length && typed.length > 0 && { columns: Object.fromEntries(typed) }),
    ...(datetime !== undefined && { datetime }),
    ...(index ? { index } : {}),
  };
}

export function timeOf(fields: Fields): string | undefined {
  return fieldsOf(fields).find(({ type, unit }) => type === "timestamp" || type === "date" || unit)?.name;
}

const INTEGER = /^-?\d+$/;
const US_PER_S = 1_000_000n;
const PER_MS = { s: 0.001, ms: 1, us: 1_000 };

/**
 * What a source wrote, as the column's type has it. What does not fit is left as it is: the pipe's schema policy
 * decides what becomes of such a row.
 */
export function convert(value: Value, { type, unit }: Field): Value {
  if (value === undefined || value === null) return null;
  if (unit) {
    const ms = Number(value) / PER_MS[unit];
    return value !== "" && Math.abs(ms) <= 8.64e15 ? timeText(value, unit, ms) : value;
  }
  if (typeof value === "string") {
    const text = value.trim();
    if (type === "int64" || type === "uint64") return INTEGER.test(text) ? BigInt(text) : value;
    if (type === "float64") return text !== "" && Number.isFinite(Number(text)) ? Number(text) : value;
    if (type === "bool")
      return text === "true" || text === "1" ? true : text === "false" || text === "0" ? false : value;
    return value;
  }
  if (type === "bool" && (value === 0 || value === 1)) return value === 1;
  if (type === "string" || type?.startsWith("decimal")) {
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }
  return value;
}

/** Microseconds keep every digit, which a Date does not. */
function timeText(value: unknown, unit: "s" | "ms" | "us", ms: number): string {
  const text = new Date(ms).toISOString();
  if (unit !== "us" || !INTEGER.test(String(value))) return text;
  const us = ((BigInt(value as string) % US_PER_S) + US_PER_S) % US_PER_S;
  return `${text.slice(0, 19)}.${String(us).padStart(6, "0")}Z`;
}

const ABSOLUTE = /(?:Z|[+-]\d\d:?\d\d)$|^\d{4}-\d\d-\d\d$/;

/** Whether a row lies in the window. What is no time, or has no zone, passes: the platform judges it. */
export function inWindow(place: unknown, call: Pick<FetchCall<never, never>, "begin" | "window" | "range">): boolean {
  if (INTEGER.test(call.begin)) return !INTEGER.test(String(place)) || call.range.has(String(place));
  if (typeof place !== "string" || !ABSOLUTE.test(place)) return true;
  const ms = Date.parse(place);
  return Number.isNaN(ms) || call.window.has(ms);
}

/** The source that a pipe means by its metric. Errors: `invalid`, with the names that there are. */
export function sourceOf<S>(sources: Readonly<Record<string, S>> | undefined, metric: string): S {
  const source = sources?.[metric];
  if (source) return source;
  const names = Object.keys(sources ?? {});
  const fix = names.length ? `there are ${names.join(", ")}` : "set them with: millrace instance configure";
  throw new PluginError("invalid", `the config has no source "${metric}"; ${fix}`);
}
