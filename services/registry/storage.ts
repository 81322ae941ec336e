/** How a pipe's table keeps its rows: what may be asked for, and what cannot be changed once there are rows. Pure. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import type { Window } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { Mistake } from "../kit/fault.ts";
import { axisAmong, parseDuration } from "../kit/time.ts";
import { collect, durationMistakes } from "./mistakes.ts";
import { nearest, shown } from "./names.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MIN_FRESH_MS = 1_000;
const MAX_SPAN_MS = 100 * 366 * DAY_MS;
const PARTITIONS = ["day", "month", "none"];
/** What one INSERT may touch: ClickHouse's own limit. A window is at least one INSERT. */
const MAX_PARTITIONS = 100;
const PARTITION_MS: Readonly<Record<string, number>> = { day: DAY_MS, month: 28 * DAY_MS };
const MAX_STEPS = 4;

const NUMBERS = ["int64", "uint64", "bool", "timestamp", "date"];
/** Codecs by name: the range of their one argument, and the types that they are for; none: all. */
const CODECS: Readonly<Record<string, { readonly arg?: readonly number[]; readonly types?: readonly string[] }>> = {
  NONE: {},
  LZ4: {},
  LZ4HC: { arg: range(1, 12) },
  ZSTD: { arg: range(1, 22) },
  Delta: { arg: [1, 2, 4, 8], types: [...NUMBERS, "float64", "decimal"] },
  DoubleDelta: { arg: [1, 2, 4, 8], types: [...NUMBERS, "float64", "decimal"] },
  T64: { types: [...NUMBERS, "decimal"] },
  GCD: { types: [...NUMBERS, "decimal"] },
  Gorilla: { types: ["float64"] },
  FPC: { arg: range(1, 28), types: ["float64"] },
};
const GENERAL = Object.keys(CODECS).filter((name) => !CODECS[name]?.types);
const STEP = /^([A-Za-z0-9]+)(?:\((\d{1,3})\))?$/;
/** ClickHouse's 64-bit decimals; wider ones are not for these codecs. */
const MAX_DECIMAL_DIGITS = 18;

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** What is wrong with one layer by itself. */
export function storageMistakes(p: PipeParameters, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  for (const name of ["retention", "ttl"] as const) {
    if (p[name] !== "") mistakes.push(...durationMistakes(p[name], `${field}.${name}`, HOUR_MS, MAX_SPAN_MS));
  }
  if (p.freshness !== "") {
    mistakes.push(...durationMistakes(p.freshness, `${field}.freshness`, MIN_FRESH_MS, MAX_SPAN_MS));
  }
  if (p.partition !== "" && !PARTITIONS.includes(p.partition)) {
    const problem = `${shown(p.partition)} is no way to cut a table`;
    mistakes.push({ field: `${field}.partition`, problem, fix: `one of ${PARTITIONS.join(", ")}` });
  }
  if (p.codec !== "") mistakes.push(...codecMistakes(p.codec, `${field}.codec`, "every column"));
  for (const [column, codec] of Object.entries(p.codecs)) {
    mistakes.push(...codecMistakes(codec, `${field}.codecs.${column}`));
  }
  return mistakes;
}

/** What is wrong between the fields of merged parameters. `types` are those of the declared columns. */
export function storageClashes(p: PipeParameters, types: ReadonlyMap<string, string>, field: string): Mistake[] {
  const mistakes = axisAmong(p.columns, p.datetime) === "time" ? [] : timelessMistakes(p, types, field);
  if (p.retention !== "" && p.datetime === "") {
    const fix = "name the time column as datetime, or use ttl, which goes by when rows came";
    mistakes.push({ field: `${field}.retention`, problem: "goes by the time of rows, and datetime is not set", fix });
  }
  const cutMs = p.datetime === "" ? undefined : PARTITION_MS[p.partition];
  const chunkMs = collect([], () => parseDuration(p.chunk, ""));
  if (cutMs !== undefined && chunkMs !== undefined && chunkMs > cutMs * MAX_PARTITIONS) {
    const problem = `${shown(p.chunk)} is more than ${MAX_PARTITIONS} partitions, each of a ${p.partition}`;
    mistakes.push({ field: `${field}.chunk`, problem, fix: "take shorter windows or longer partitions" });
  }
  for (const [column, codec] of Object.entries(p.codecs)) {
    const at = `${field}.codecs.${column}`;
    const type = types.get(column);
    if (types.size > 0 && type === undefined) {
      const meant = nearest(column, [...types.keys()]);
      const fix = meant ? `did you mean ${shown(meant)}?` : `one of ${[...types.keys()].slice(0, 20).join(", ")}`;
      mistakes.push({ field: at, problem: `${shown(column)} is not among the columns`, fix });
    } else if (type !== undefined) mistakes.push(...codecMistakes(codec, at, type));
  }
  return mistakes;
}

/** What goes by the time of rows has no meaning where rows have a place among integers. */
function timelessMistakes(p: PipeParameters, types: ReadonlyMap<string, string>, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  const problem = `goes by time, and ${p.datetime} is an ${types.get(p.datetime)} column`;
  const wrong = (name: string, fix: string) => mistakes.push({ field: `${field}.${name}`, problem, fix });
  if (p.retention !== "") wrong("retention", "use ttl, which goes by when rows came");
  if (p.partition === "day" || p.partition === "month") {
    wrong("partition", "leave it out, which cuts by the month in which rows came; or none");
  }
  if (p.freshness !== "") wrong("freshness", "leave it out: without a now there is no age");
  if (p.timezone !== "" && ![...types.values()].some((type) => /timestamp/.test(type))) {
    wrong("timezone", "leave it out: there is no timestamp among the columns");
  }
  return mistakes;
}

/** `of` is the type that it must fit, "every column" for what fits all; absent: not known yet. */
function codecMistakes(codec: string, field: string, of?: string): Mistake[] {
  const steps = codec.split(",").map((step) => step.trim());
  const wrong = (problem: string, fix: string): Mistake[] => [{ field, problem: `${shown(codec)} ${problem}`, fix }];
  if (steps.length > MAX_STEPS) return wrong(`has ${steps.length} steps`, `at most ${MAX_STEPS}`);
  for (const [i, step] of steps.entries()) {
    const [, name = "", arg] = STEP.exec(step) ?? [];
    const known = CODECS[name];
    if (!known) {
      const meant = nearest(name || step, Object.keys(CODECS));
      return wrong(`has ${shown(step)}`, `${meant ? `did you mean ${meant}? ` : ""}${Object.keys(CODECS).join(", ")}`);
    }
    if (arg !== undefined && !known.arg?.includes(Number(arg))) {
      const fix = known.arg ? `one of ${known.arg[0]} to ${known.arg.at(-1)}` : `write ${name} without a number`;
      return wrong(`has ${shown(step)}`, fix);
    }
    const last = i === steps.length - 1;
    if (last !== GENERAL.includes(name)) {
      return wrong(
        `does not end as it must`,
        `any of ${Object.keys(CODECS).join(", ")}, and at last ${GENERAL.join(", ")}`,
      );
    }
    if (known.types && of !== undefined && !fits(known.types, of)) {
      return wrong(`has ${name}, which is not for ${of}`, `${name} is for ${known.types.join(", ")}`);
    }
  }
  return [];
}

function fits(types: readonly string[], type: string): boolean {
  const element = /^array\((.+)\)$/.exec(type)?.[1];
  if (element !== undefined) return fits(types, element);
  const digits = /^decimal\((\d+)/.exec(type)?.[1];
  if (digits !== undefined) return types.includes("decimal") && Number(digits) <= MAX_DECIMAL_DIGITS;
  return types.includes(type);
}

/** Whether a table that holds rows would have to be cut anew. */
export function recut({ effective: before, dataset }: Pipe, { effective: after, dataset: next }: Pipe): boolean {
  if (dataset !== next) return false;
  const key = (p: PipeParameters | undefined) => [p?.partition, p?.partition && p.datetime].join();
  return key(before) !== key(after);
}

/** The rows of a table are where their partition is: it is made once. */
export function partitionMistakes(before: Pipe, windows: readonly Window[]): Mistake[] {
  const full = windows.filter((window) => window.rows > 0n).length;
  if (full === 0) return [];
  const cut = before.effective?.partition || "month of storing";
  const problem = `${before.dataset} is cut by ${cut}, and ${full} fetched windows have rows in it`;
  const fix = "choose another target, or drop the pipe and create it again";
  return [{ field: "parameters.partition", problem, fix }];
}
