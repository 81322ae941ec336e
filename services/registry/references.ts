/** Parameters that one pipe takes from another: which may be named, what they are worth, and in no circle. Pure. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import type { Mistake } from "../kit/fault.ts";
import { nearest, shown } from "./names.ts";

const MAX_REFS = 40;
const REFERENCE = /^(pipes\/[^/]+)(?:\/parameters\/([a-z_]+))?$/;
const FIX = 'write "pipes/a.b/parameters/columns", or "pipes/a.b" for the parameter of the same name';
/** Every parameter that is not set otherwise. */
const ALL = "*";
/** What makes a pipe itself is not inherited with the rest. */
const OWN = ["target", "refs", "after"];

type Field = keyof PipeParameters;

const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
const kindOf = (value: unknown) => (Array.isArray(value) ? "list" : typeof value);
const isSet = (value: unknown) =>
  typeof value === "number" ? value !== 0 : value !== undefined && Object.keys(value as object).length > 0;

const refsOf = ({ parameters }: Pipe) => Object.entries(parameters?.refs ?? {});
const targetOf = (reference: string) => REFERENCE.exec(reference)?.[1] ?? "";

/** The pipes that a pipe takes parameters from, each once. */
export const targetsOf = (pipe: Pipe): readonly string[] => [
  ...new Set(refsOf(pipe).map(([, reference]) => targetOf(reference))),
];

/** The pipes that are there. */
export interface Others {
  get(name: string): { readonly refs: readonly string[] } | undefined;
  names(): Iterable<string>;
}

/** What is wrong with the references of one pipe by themselves. `none` are parameters of which nothing is set. */
export function referenceMistakes(p: PipeParameters, none: PipeParameters, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  const known = Object.keys(none).filter((name) => name !== "refs");
  const refs = Object.entries(p.refs);
  if (refs.length > MAX_REFS) {
    mistakes.push({ field: `${field}.refs`, problem: `has ${refs.length} entries`, fix: `at most ${MAX_REFS}` });
  }
  for (const [name, reference] of refs) {
    const at = `${field}.refs.${name}`;
    const [own, from] = [camel(name), camel(REFERENCE.exec(reference)?.[2] ?? name)];
    if (!REFERENCE.test(reference)) {
      mistakes.push({ field: at, problem: `${shown(reference)} is no reference`, fix: FIX });
    } else if (name === ALL && reference.includes("/parameters/")) {
      mistakes.push({ field: at, problem: `${shown(reference)} is one parameter`, fix: 'write "pipes/a.b" for all' });
    } else if (name !== ALL && (!known.includes(own) || !known.includes(from))) {
      const wrong = known.includes(own) ? from : own;
      const meant = nearest(wrong, known);
      const fix = meant ? `did you mean ${shown(meant)}?` : `one of ${known.join(", ")}`;
      mistakes.push({ field: at, problem: `${shown(wrong)} is no parameter of pipes`, fix });
    } else if (name !== ALL && kindOf(none[own as Field]) !== kindOf(none[from as Field])) {
      mistakes.push({ field: at, problem: `${from} is not what ${own} takes`, fix: "refer to one of the same kind" });
    } else if (name !== ALL && isSet(p[own as Field])) {
      mistakes.push({ field: at, problem: `${name} is set, too`, fix: "leave one of both out" });
    }
  }
  return mistakes;
}

export interface Referred {
  /** What the references are worth now, to come right after what the user set. */
  readonly layer: PipeParameters | undefined;
  /** References that lead nowhere, in words. */
  readonly broken: readonly string[];
}

export const NOTHING_REFERRED: Referred = { layer: undefined, broken: [] };

/** `find` is how the other pipes are now. A parameter that the other pipe leaves empty is empty here. */
export function referredBy(pipe: Pipe, none: PipeParameters, find: (name: string) => Pipe | undefined): Referred {
  const refs = refsOf(pipe);
  if (refs.length === 0) return NOTHING_REFERRED;
  const layer: Record<string, unknown> = {};
  const broken: string[] = [];
  // Those by name win over those of the rest.
  for (const [name, reference] of refs.toSorted(([a], [b]) => Number(b === ALL) - Number(a === ALL))) {
    const [, target = "", parameter = name] = REFERENCE.exec(reference) ?? [];
    const { effective } = find(target) ?? {};
    if (!effective) broken.push(`parameters.refs.${name}: there is no ${target}`);
    else if (name !== ALL) layer[camel(name)] = effective[camel(parameter) as Field];
    else for (const field of Object.keys(none) as Field[]) if (!OWN.includes(field)) layer[field] = effective[field];
  }
  return { layer: { ...none, ...(layer as Partial<PipeParameters>) }, broken };
}

/** What is wrong between a pipe and the others: names nobody has, circles. */
export function referenceClashes(pipe: Pipe, others: Others): Mistake[] {
  const mistakes: Mistake[] = [];
  const refs = (name: string) => (name === pipe.name ? targetsOf(pipe) : others.get(name)?.refs);
  for (const [name, reference] of refsOf(pipe)) {
    const field = `parameters.refs.${name}`;
    const target = targetOf(reference);
    if (!refs(target)) {
      const meant = nearest(target, [...new Set([...others.names(), pipe.name])]);
      const fix = meant ? `did you mean ${shown(meant)}?` : "create that pipe first";
      mistakes.push({ field, problem: `there is no ${target}`, fix });
      continue;
    }
    const path = pathTo(pipe.name, target, refs, new Set());
    if (path) {
      const circle = [pipe.name, ...path].join(" → ");
      mistakes.push({ field, problem: `is a circle: ${circle}`, fix: "leave one of them out" });
    }
  }
  return mistakes;
}

function pathTo(
  goal: string,
  from: string,
  refs: (name: string) => readonly string[] | undefined,
  seen: Set<string>,
): readonly string[] | undefined {
  if (from === goal) return [from];
  if (seen.has(from)) return undefined;
  seen.add(from);
  for (const target of refs(from) ?? []) {
    const rest = pathTo(goal, target, refs, seen);
    if (rest) return [from, ...rest];
  }
  return undefined;
}
