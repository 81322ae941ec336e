/** A YAML file as it was written: its values with the environment put in, and where each of them stands. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parse,
  parseDocument,
  visit,
} from "yaml";
import { Fault, type Mistake } from "../../kit/fault.ts";

export type Json = Record<string, unknown>;

export interface Source {
  /** As the user named it. */
  readonly file: string;
  readonly value: Json;
  /** `file:line:column` of a field such as `pipes["a.b"].tags[0]`, or of the nearest thing around it. */
  at(field: string): string;
  /** Values that came from the environment, by name: what is printed shows the name instead. */
  readonly environment: ReadonlyMap<string, string>;
  /** Variables that are not set, with their places. */
  readonly missing: readonly Mistake[];
}

const MAX_BYTES = 4 << 20;
const VARIABLE = /\$(\$?)\{([^{}]*)\}/g;
const NAME_AND_DEFAULT = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/**
 * Errors: `invalid` with every mistake of the YAML. `${NAME}` takes a variable, `${NAME:-default}` one that may be
 * absent or empty, `$${` is a plain `${`.
 */
export function readSource(file: string, text: string, env: Readonly<Record<string, string | undefined>>): Source {
  if (Buffer.byteLength(text) > MAX_BYTES) throw new Fault("too_large", `${file} has more than ${MAX_BYTES} bytes`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  refuse(
    file,
    document.errors.map(({ message, pos }) => ({ field: place(pos[0]), problem: `is not YAML: ${message}` })),
  );
  const environment = new Map<string, string>();
  const mistakes: Mistake[] = [];
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || typeof node.value !== "string") return;
      const where = place(node.range?.[0] ?? 0);
      const whole = new RegExp(`^(?:${VARIABLE.source})$`).test(node.value);
      const given = substituted(node.value, env, environment, (problem, fix) => {
        mistakes.push({ field: where, problem, fix });
      });
      // A number or a truth that stands alone and unquoted is one, wherever it comes from.
      const read: unknown = whole && node.type === "PLAIN" && given !== node.value ? scalarOf(given) : given;
      if (given !== node.value) node.value = read;
    },
  });
  const value: unknown = document.toJS() ?? {};
  if (typeof value !== "object" || Array.isArray(value) || value === null) {
    refuse(file, [{ field: `${file}:1:1`, problem: "is not a map", fix: 'write keys, such as "project: shop"' }]);
  }
  const at = (field: string) => place(offsetOf(document, segmentsOf(field)));
  return { file, value: value as Json, environment, missing: mistakes, at };
}

/** Mistakes with the place of their field before it. */
export const placed = (source: Source, mistakes: readonly Mistake[]): Mistake[] =>
  mistakes.map((mistake) => ({ ...mistake, field: `${source.at(mistake.field)} ${mistake.field}` }));

export function refuse(what: string, mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid(what, mistakes);
}

/** A field of a map by its key: `pipes["a.b"]`, `pipes.plain`. */
export function below(field: string, key: string): string {
  if (!/^[A-Za-z_$][\w$-]*$/.test(key)) return `${field}[${JSON.stringify(key)}]`;
  return field === "" ? key : `${field}.${key}`;
}

function substituted(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  used: Map<string, string>,
  wrong: (problem: string, fix: string) => void,
): string {
  return text.replace(VARIABLE, (whole: string, escaped: string, inner: string) => {
    if (escaped) return whole.slice(1);
    const [, name, fallback] = NAME_AND_DEFAULT.exec(inner) ?? [];
    if (name === undefined) {
      wrong(`${JSON.stringify(whole)} names no variable`, `write \${NAME} or \${NAME:-default}; $\${ is a plain \${`);
      return whole;
    }
    const value = env[name];
    if (fallback !== undefined && !value) return fallback;
    if (value === undefined) {
      wrong(`the environment has no ${name}`, `set ${name}, or write \${${name}:-default}`);
      return whole;
    }
    used.set(name, value);
    return value;
  });
}

function scalarOf(text: string): unknown {
  const value: unknown = parse(text);
  return typeof value === "number" || typeof value === "boolean" ? value : text;
}

/** `a["b.c"][0]` → a, b.c, 0. */
export function segmentsOf(field: string): string[] {
  const parts = field.matchAll(/\[("(?:[^"\\]|\\.)*")\]|\[(\d+)\]|([^.[\]]+)/g);
  return [...parts].map(([, quoted, index, plain]) =>
    quoted === undefined ? (index ?? plain ?? "") : (JSON.parse(quoted) as string),
  );
}

function offsetOf(document: Document, segments: readonly string[]): number {
  let node = document.contents as Node | null | undefined;
  let offset = node?.range?.[0] ?? 0;
  for (const segment of segments) {
    if (isAlias(node)) node = node.resolve(document);
    if (isSeq(node)) {
      node = node.items[Number(segment)] as Node | undefined;
      offset = node?.range?.[0] ?? offset;
    } else if (isMap(node)) {
      const pair: { key: unknown; value: unknown } | undefined = node.items.find(
        ({ key }) => isScalar(key) && String(key.value) === segment,
      );
      if (!pair) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else return offset;
  }
  return offset;
}
