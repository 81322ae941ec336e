/**
 * Paths into JSON: `data.items`, `[0]`, `items[*].points`, `["a key"]`; `$` in front begins at the document, each `^`
 * one level of `[*]` higher.
 */
import { PluginError, type Value } from "@millrace/typescript";

type Step = string | number | typeof EACH;
const EACH = Symbol("[*]");
const TOKEN = /\.?([^.[\]"'^$*\s]+)|\[(\d+)\]|\[(\*)\]|\[(?:"([^"]*)"|'([^']*)')\]/y;

interface Path {
  readonly text: string;
  readonly fromRoot: boolean;
  readonly up: number;
  readonly steps: readonly Step[];
}

/** A value and what it was found below: the document first, then what each `[*]` stood at. */
export interface Found {
  readonly value: unknown;
  readonly above: readonly unknown[];
}

const known = new Map<string, Path>();

/** Errors: `invalid`, with where the path stops making sense. */
export function parsePath(text: string): Path {
  const before = known.get(text);
  if (before) return before;
  const [front = ""] = /^(\$|\^+)?\.?/.exec(text) ?? [];
  const steps: Step[] = [];
  TOKEN.lastIndex = front.length;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const [, name, index, each, quoted, single] = TOKEN.exec(text) ?? [];
    const step = each ? EACH : index !== undefined ? Number(index) : (name ?? quoted ?? single);
    if (step === undefined) {
      const fix = 'write names with dots, [0], [*] or ["a key"]';
      throw new PluginError("invalid", `the path ${text} makes no sense at ${JSON.stringify(text.slice(at))}; ${fix}`);
    }
    steps.push(step);
  }
  const path = { text, fromRoot: front.startsWith("$"), up: front.replace(/[^^]/g, "").length, steps };
  known.set(text, path);
  return path;
}

/** The one value at a path; undefined when it is not there. */
export function valueAt(path: Path, { value, above }: Found): Value {
  let at: unknown = path.fromRoot ? (above[0] ?? value) : path.up ? above[above.length - path.up] : value;
  for (const step of path.steps) {
    if (at === null || typeof at !== "object") return undefined;
    at = (at as Record<Exclude<Step, symbol>, unknown>)[step as string];
  }
  return at as Value;
}

/** Every value at a path, in order: `[*]` goes through arrays, and an array at the end is its elements. */
export function* valuesAt(path: Path, document: unknown): Generator<Found> {
  yield* walk(path, 0, document, [document]);
}

function* walk(path: Path, from: number, start: unknown, above: readonly unknown[]): Generator<Found> {
  let at = start;
  for (let i = from; i < path.steps.length; i++) {
    const step = path.steps[i] as Step;
    if (at === undefined || at === null) return;
    if (step === EACH) {
      for (const one of list(at, path)) yield* walk(path, i + 1, one, [...above, one]);
      return;
    }
    at = typeof at === "object" ? (at as Record<string, unknown>)[step as string] : undefined;
  }
  if (at === undefined || at === null) return;
  if (Array.isArray(at)) for (const value of at) yield { value, above };
  else yield { value: at, above };
}

function list(value: unknown, { text }: Path): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new PluginError("bad_answer", `the path ${text} goes through a list, and the answer has ${typeof value} there`);
}
