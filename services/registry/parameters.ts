/** The parameters of a pipe: which are accepted, and how three layers of them become what holds. Pure. */
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import type { Mistake } from "../kit/fault.ts";
import {
  axisAmong,
  isInteger,
  lastPosition,
  parseDistance,
  parseDuration,
  parsePosition,
  parseTime,
} from "../kit/time.ts";
import { collect, durationMistakes, scheduleMistakes } from "./mistakes.ts";
import { nearest, shown } from "./names.ts";
import { referenceMistakes } from "./references.ts";
import { storageClashes, storageMistakes } from "./storage.ts";

const MINUTE_MS = 60_000;
const MAX_SPAN_MS = 100 * 366 * 86_400_000;
export const MAX_CALL_MS = 15 * MINUTE_MS;
const MAX_COLUMNS = 1_000;
const MAX_ATTEMPTS = 20;

const ARRAY = /^array\((.+)\)$/;
const PLAIN_TYPES = ["string", "int64", "uint64", "float64", "bool", "timestamp", "date", "uuid", "json"];
const DECIMAL = /^decimal\((\d{1,2}),\s?(\d{1,2})\)$/;
const MAX_DECIMAL_DIGITS = 76;
/** What a column that windows lie on may be. */
const AXES = ["timestamp", "date", "int64", "uint64"];
/** A name that needs no thought in SQL; `_` in front is kept for Millrace's own columns. */
const COLUMN = /^[A-Za-z][A-Za-z0-9_]{0,63}$/;
const DATASET = /^[a-z][a-z0-9_]{0,127}$/;
/** Tables of Millrace itself. */
const RESERVED = ["runs", "logs", "metrics"];

export const NONE: PipeParameters = {
  columns: [],
  datetime: "",
  index: [],
  target: "",
  schedule: "",
  chunk: "",
  begin: "",
  end: "",
  backtrack: "",
  timeout: "",
  attempts: 0,
  schema: "",
  timezone: "",
  sql: "",
  reads: [],
  after: [],
  refs: {},
  retention: "",
  ttl: "",
  partition: "",
  codec: "",
  codecs: {},
  freshness: "",
};
/** What holds where no layer says anything. */
export const FALLBACK: PipeParameters = {
  ...NONE,
  schedule: "manual",
  chunk: "1d",
  backtrack: "0s",
  timeout: "60s",
  attempts: 3,
};

/** The same on an axis of integers. */
const INTEGER_FALLBACK: PipeParameters = { ...FALLBACK, chunk: "100000", backtrack: "0" };

/** What becomes of rows that do not fit; "" is evolve without declared columns and freeze with them. */
const SCHEMAS = ["evolve", "freeze", "reject"];

/** Field by field the first layer that says something. */
export function merge(...layers: readonly (PipeParameters | undefined)[]): PipeParameters {
  const merged: Record<string, unknown> = { ...NONE };
  for (const key of Object.keys(NONE) as (keyof PipeParameters)[]) {
    const said = layers.find((layer) => layer && !isEmpty(layer[key]));
    if (said) merged[key] = said[key];
  }
  return merged as unknown as PipeParameters;
}

/** The layers, and below them what goes with the axis that they make. */
export function filled(...layers: readonly (PipeParameters | undefined)[]): PipeParameters {
  const said = merge(...layers);
  return merge(said, axisAmong(said.columns, said.datetime) === "time" ? FALLBACK : INTEGER_FALLBACK);
}

const isEmpty = (value: string | number | readonly unknown[] | Readonly<Record<string, unknown>>) =>
  typeof value === "number" ? value === 0 : Object.keys(value).length === 0;

/** What is wrong with one layer by itself. Fields are named below `field`. */
export function formMistakes(p: PipeParameters, field: string): Mistake[] {
  const at = (name: string) => `${field}.${name}`;
  const mistakes = columnMistakes(p, field);
  if (new Set(p.index).size < p.index.length) {
    mistakes.push({ field: at("index"), problem: `${shown(p.index)} names a column twice`, fix: "name each once" });
  }
  if (p.target !== "") mistakes.push(...datasetMistakes(p.target, at("target")));
  if (p.schedule !== "") mistakes.push(...scheduleMistakes(p.schedule, at("schedule"), { manual: true }));
  // Whether integers or times are meant, the columns say, and these may be in another layer.
  if (p.chunk === "0") mistakes.push({ field: at("chunk"), problem: "is 0", fix: "at least 1" });
  for (const [name, leastMs] of [["chunk", MINUTE_MS] as const, ["backtrack", 0] as const]) {
    if (p[name] === "") continue;
    if (isInteger(p[name])) collect(mistakes, () => parseDistance("uint64", p[name], at(name)));
    else mistakes.push(...durationMistakes(p[name], at(name), leastMs, MAX_SPAN_MS));
  }
  if (p.timeout !== "") mistakes.push(...durationMistakes(p.timeout, at("timeout"), 1, MAX_CALL_MS));
  if (p.schema !== "" && !SCHEMAS.includes(p.schema)) {
    const problem = `${shown(p.schema)} is no schema policy`;
    mistakes.push({ field: at("schema"), problem, fix: `one of ${SCHEMAS.join(", ")}` });
  }
  if (p.timezone !== "" && !isZone(p.timezone)) {
    const fix = "an IANA name such as Europe/Berlin or UTC";
    mistakes.push({ field: at("timezone"), problem: `${shown(p.timezone)} is no time zone`, fix });
  }
  for (const name of ["begin", "end"] as const) {
    if (p[name] !== "" && !isInteger(p[name])) collect(mistakes, () => parseTime(p[name], at(name)));
  }
  if (p.attempts < 0 || p.attempts > MAX_ATTEMPTS) {
    mistakes.push({ field: at("attempts"), problem: `${p.attempts} is out of range`, fix: `1 to ${MAX_ATTEMPTS}` });
  }
  return [...mistakes, ...storageMistakes(p, field), ...referenceMistakes(p, NONE, field)];
}

/** An offset such as +02:00 is none: a zone says when its clocks change. */
function isZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: zone }) !== undefined;
  } catch {
    return false;
  }
}

/** What is wrong between the fields of merged parameters whose layers are each in good form. */
export function fitMistakes(p: PipeParameters, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  const types = new Map(p.columns.map(({ name, type }) => [name, type]));
  const refer = (name: string, where: string) => {
    const type = types.get(name);
    if (types.size === 0 || type !== undefined) return type;
    const meant = nearest(name, [...types.keys()]);
    const fix = meant ? `did you mean ${shown(meant)}?` : `one of ${[...types.keys()].slice(0, 20).join(", ")}`;
    mistakes.push({ field: `${field}.${where}`, problem: `${shown(name)} is not among the columns`, fix });
    return undefined;
  };
  if (p.schema !== "" && p.schema !== "evolve" && types.size === 0) {
    const fix = "declare columns, or let the schema evolve";
    mistakes.push({ field: `${field}.schema`, problem: `${p.schema} needs columns`, fix });
  }
  const timeType = p.datetime === "" ? undefined : refer(p.datetime, "datetime");
  if (timeType !== undefined && !AXES.includes(timeType)) {
    const problem = `${shown(p.datetime)} is a column of type ${timeType}`;
    mistakes.push({ field: `${field}.datetime`, problem, fix: "name a timestamp, date, int64 or uint64 column" });
  }
  for (const [i, name] of p.index.entries()) {
    const type = refer(name, `index[${i}]`) ?? "";
    if (type === "json" || ARRAY.test(type)) {
      const problem = `${shown(name)} is a column of type ${type}`;
      mistakes.push({ field: `${field}.index[${i}]`, problem, fix: "index by a plain column" });
    }
  }
  const axis = axisAmong(p.columns, p.datetime);
  // What has no form at all was told with its layer.
  const formed = (raw: string, parse: typeof parseTime | typeof parseDuration) =>
    isInteger(raw) || (raw !== "" && collect([], () => parse(raw, "")) !== undefined);
  const [begin, end] = (["begin", "end"] as const).map((name) =>
    formed(p[name], parseTime) ? collect(mistakes, () => parsePosition(axis, p[name], `${field}.${name}`)) : undefined,
  );
  for (const name of ["chunk", "backtrack"] as const) {
    if (formed(p[name], parseDuration)) collect(mistakes, () => parseDistance(axis, p[name], `${field}.${name}`));
  }
  if (begin !== undefined && begin === lastPosition(axis)) {
    const fix = "a smaller one: an end is exclusive, so no window holds the last integer";
    mistakes.push({ field: `${field}.begin`, problem: `${p.begin} is the last one of the axis`, fix });
  }
  if (begin !== undefined && end !== undefined && end <= begin) {
    const problem = `${shown(p.end)} is not after begin (${p.begin})`;
    mistakes.push({ field: `${field}.end`, problem, fix: "end is exclusive: a later one" });
  }
  return [...mistakes, ...storageClashes(p, types, field)];
}

export function datasetMistakes(dataset: string, field: string): Mistake[] {
  if (RESERVED.includes(dataset)) {
    return [{ field, problem: `${shown(dataset)} is kept for Millrace itself`, fix: "choose another name" }];
  }
  if (DATASET.test(dataset) && !dataset.endsWith("__rows")) return [];
  const fix = "a lower-case letter, then at most 127 lower-case letters, digits and _, not ending in __rows";
  return [{ field, problem: `${shown(dataset)} is not a name of a dataset`, fix }];
}

/** The dataset of a pipe whose parameters name none. */
export const datasetOf = (pipeId: string) => pipeId.replace(/[.-]/g, "_");

function columnMistakes({ columns }: PipeParameters, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  if (columns.length > MAX_COLUMNS) {
    mistakes.push({
      field: `${field}.columns`,
      problem: `has ${columns.length} columns`,
      fix: `at most ${MAX_COLUMNS}`,
    });
  }
  const seen = new Set<string>();
  for (const { name, type } of columns.slice(0, MAX_COLUMNS)) {
    const where = `${field}.columns.${name}`;
    if (!COLUMN.test(name)) {
      const fix = "a letter, then at most 63 letters, digits and _";
      mistakes.push({ field: where, problem: "is not a name of a column", fix });
    }
    if (seen.has(name.toLowerCase())) {
      mistakes.push({ field: where, problem: "is there twice (case does not count)", fix: "name it once" });
    }
    seen.add(name.toLowerCase());
    if (!isType(type)) {
      const meant = nearest(type, PLAIN_TYPES);
      const types = [...PLAIN_TYPES, "decimal(p,s)", "array(…)"].join(", ");
      const fix = `${meant ? `did you mean ${shown(meant)}? ` : ""}one of ${types}`;
      mistakes.push({ field: where, problem: `${shown(type)} is not a type of a column`, fix });
    }
  }
  return mistakes;
}

function isType(type: string): boolean {
  if (PLAIN_TYPES.includes(type)) return true;
  const element = ARRAY.exec(type)?.[1];
  if (element !== undefined) return element !== "json" && !element.startsWith("array") && isType(element);
  const decimal = DECIMAL.exec(type);
  const [digits, scale] = [Number(decimal?.[1]), Number(decimal?.[2])];
  return decimal !== null && digits >= 1 && digits <= MAX_DECIMAL_DIGITS && scale <= digits;
}
