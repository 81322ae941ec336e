/** Pipes that are made from others: which they name, in no circle; and pipes that are a SELECT over datasets. Pure. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { bare, SQL_INSTANCE } from "../../proto/names.ts";
import type { Mistake } from "../kit/fault.ts";
import { type Axis, axisAmong } from "../kit/time.ts";
import { nearest, shown } from "./names.ts";

const MAX_AFTER = 20;
const MAX_READS = 100;
const MAX_SQL_CHARACTERS = 100_000;
const PIPE_ID = /^[a-z][a-z0-9-]{0,62}(\.[a-z0-9][a-z0-9_-]{0,62}){1,2}$/;
const DATASET = /^[a-z][a-z0-9_]{0,127}$/;

export const isSelect = ({ instance }: Pick<Pipe, "instance">) => instance === SQL_INSTANCE;

/** What is wrong with `sql`, `reads` and `after` by themselves. */
export function selectMistakes(pipe: Pick<Pipe, "instance">, p: PipeParameters, field: string): Mistake[] {
  const at = (name: string) => `${field}.${name}`;
  const mistakes = [
    ...listMistakes(p.after, at("after"), MAX_AFTER, PIPE_ID, "the id of a pipe, such as weather.daily"),
  ];
  if (!isSelect(pipe)) {
    const fix = `create it with instance ${SQL_INSTANCE}, or leave it out`;
    for (const name of ["sql", "reads"] as const) {
      if (p[name].length > 0) mistakes.push({ field: at(name), problem: "is for pipes that are a SELECT", fix });
    }
    return mistakes;
  }
  mistakes.push(...listMistakes(p.reads, at("reads"), MAX_READS, DATASET, "a dataset, such as weather_daily"));
  if (p.sql === "" && (p.refs.sql !== undefined || p.refs["*"] !== undefined)) return mistakes;
  if (p.sql === "") {
    mistakes.push({
      field: at("sql"),
      problem: "is not set",
      fix: "a SELECT that names the window as {begin} and {end}",
    });
    return mistakes;
  }
  if (p.sql.length > MAX_SQL_CHARACTERS) {
    const fix = `at most ${MAX_SQL_CHARACTERS}`;
    mistakes.push({ field: at("sql"), problem: `has ${p.sql.length} characters`, fix });
  }
  const lacks = ["begin", "end"].filter((name) => !new RegExp(`\\{${name}(:[^}]*)?\\}`).test(p.sql));
  if (lacks.length > 0) {
    const names = lacks.map((name) => `{${name}}`).join(" and ");
    const problem = `does not name ${names}: each window would get the same rows`;
    mistakes.push({ field: at("sql"), problem, fix: "WHERE time >= {begin} AND time < {end}" });
  }
  return mistakes;
}

function listMistakes(list: readonly string[], field: string, most: number, form: RegExp, fix: string): Mistake[] {
  const mistakes: Mistake[] = [];
  if (list.length > most) mistakes.push({ field, problem: `has ${list.length}`, fix: `at most ${most}` });
  for (const [i, name] of list.slice(0, most).entries()) {
    if (!form.test(name)) mistakes.push({ field: `${field}[${i}]`, problem: `${shown(name)} is none`, fix });
    else if (list.indexOf(name) !== i) mistakes.push({ field: `${field}[${i}]`, problem: `${name} is there twice` });
  }
  return mistakes;
}

/** The pipes that are there, by their full names. */
export interface Others {
  get(name: string): { readonly after: readonly string[]; readonly axis: Axis } | undefined;
  names(): Iterable<string>;
}

/** What is wrong between a pipe and the others. */
export function chainMistakes(pipe: Pipe, others: Others): Mistake[] {
  const mistakes: Mistake[] = [];
  const id = bare(pipe.name);
  const afterOf = (name: string) => (name === id ? parentsOf(pipe) : others.get(`pipes/${name}`)?.after);
  const axis = axisOfPipe(pipe);
  for (const [i, parent] of parentsOf(pipe).entries()) {
    const field = `parameters.after[${i}]`;
    const other = parent === id ? axis : (others.get(`pipes/${parent}`)?.axis ?? axis);
    if ((other === "time") !== (axis === "time")) {
      const fix = "make both of one kind by the types of their datetime columns, or leave it out";
      mistakes.push({ field, problem: `${parent} goes by ${other}, and this pipe by ${axis}`, fix });
      continue;
    }
    if (!afterOf(parent)) {
      const meant = nearest(parent, [...new Set([...[...others.names()].map(bare), id])]);
      const fix = meant ? `did you mean ${shown(meant)}?` : "create that pipe first";
      mistakes.push({ field, problem: `there is no pipe ${parent}`, fix });
      continue;
    }
    const path = pathTo(id, parent, afterOf);
    if (path)
      mistakes.push({ field, problem: `is a circle: ${[id, ...path].join(" after ")}`, fix: "leave one of them out" });
  }
  if (isSelect(pipe) && pipe.effective?.reads.includes(pipe.dataset)) {
    const problem = `${shown(pipe.dataset)} is the dataset that it writes`;
    mistakes.push({ field: "parameters.reads", problem, fix: "read what others write, or choose another target" });
  }
  return mistakes;
}

/** The axis of a pipe's windows. */
export const axisOfPipe = ({ effective, parameters }: Pipe): Axis => {
  const { columns = [], datetime = "" } = effective ?? parameters ?? {};
  return axisAmong(columns, datetime);
};

/** The ids of the pipes that a pipe comes after. */
export const parentsOf = ({ effective, parameters }: Pipe): readonly string[] => (effective ?? parameters)?.after ?? [];

/** From `from` by what comes before it to `wanted`, both named. */
function pathTo(
  wanted: string,
  from: string,
  afterOf: (id: string) => readonly string[] | undefined,
  seen = new Set<string>(),
): string[] | undefined {
  if (from === wanted) return [from];
  if (seen.has(from)) return undefined;
  seen.add(from);
  for (const next of afterOf(from) ?? []) {
    const path = pathTo(wanted, next, afterOf, seen);
    if (path) return [from, ...path];
  }
  return undefined;
}
