/**
 * JSON Schema (draft 2020-12) with every mistake in words, and a limit on the time that a stranger's schema may take.
 */
import { createContext, Script } from "node:vm";
import { Ajv2020, type ErrorObject, type Options, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { Fault, type Mistake } from "../kit/fault.ts";
import { nearest, shown } from "./names.ts";

export type Json = Record<string, unknown>;

/** A pattern can be written so that matching takes years: compiling and checking are cut off after this. */
const CHECK_MS = 2_000;
const MAX_SCHEMA_BYTES = 64 << 10;
/** Kept compiled. One of ours weighs some 50 KB. */
const MAX_COMPILED = 64;
export const MAX_DEPTH = 32;

/** Absent schema of a plugin: only an empty config is accepted. */
const NOTHING: Json = { type: "object", additionalProperties: false };

export interface Checked {
  /** A copy with the schema's defaults filled in. */
  readonly value: Json;
  readonly mistakes: readonly Mistake[];
}

/** Judges schemas against the draft's own schema, which is compiled once: it costs more than any other. */
const judge = engine({});
// Now, and not within the time of the first stranger's schema.
void judge.validateSchema({});

/** A checker for values. Errors: `invalid` with every mistake of the schema itself, under `field`. */
export function compileSchema(schema: Json | undefined, field: string): (value: Json, valueField: string) => Checked {
  const check = checkerOf(compile(schema ?? NOTHING, field), field);
  // What most plugins have: nothing that fits into nothing needs no bound, which costs a thread.
  const isNothing = (value: Json) => schema === undefined && Object.keys(value).length === 0;
  return (value, valueField) => (isNothing(value) ? { value: {}, mistakes: [] } : check(value, valueField));
}

function checkerOf(compiled: Compiled, field: string): (value: Json, valueField: string) => Checked {
  if (!compiled.validate) throw Fault.invalid(field, compiled.mistakes);
  const { validate } = compiled;
  return (value, valueField) => {
    if (depthOf(value) > MAX_DEPTH) {
      const problem = `is nested deeper than ${MAX_DEPTH} levels`;
      return { value, mistakes: [{ field: valueField, problem, fix: "make it flatter" }] };
    }
    const copy = structuredClone(value);
    const late: Mistake[] = [{ field: valueField, problem: `took over ${CHECK_MS} ms to check`, fix: "send less" }];
    const check = () => (validate(copy) ? [] : inWords(validate.errors ?? [], copy, valueField));
    return { value: copy, mistakes: bounded(check, late) };
  };
}

/** What is wrong with a schema of a config. */
export function schemaMistakes(schema: Json, field: string): readonly Mistake[] {
  return compile(schema, field).mistakes;
}

/** What is wrong with a schema of whatever value. */
export function valueSchemaMistakes(schema: Json, field: string): readonly Mistake[] {
  return compile(schema, field, false).mistakes;
}

interface Compiled {
  readonly mistakes: readonly Mistake[];
  /** Absent when there are mistakes. */
  readonly validate?: ValidateFunction;
}

/** Of our own, which needs no bound: on a machine at its limits the bound would be what breaks. */
export function compileOwnSchema(schema: Json, field: string): ReturnType<typeof compileSchema> {
  return checkerOf(
    compile(schema, field, true, (work) => work()),
    field,
  );
}

function compile(
  schema: Json,
  field: string,
  isConfig = true,
  within: (work: () => Compiled, late: Compiled) => Compiled = bounded,
): Compiled {
  const refuse = (problem: string, fix: string, at = field): Compiled => ({ mistakes: [{ field: at, problem, fix }] });
  if (depthOf(schema) > MAX_DEPTH) return refuse(`is nested deeper than ${MAX_DEPTH} levels`, "make it flatter");
  const written = JSON.stringify(schema);
  const bytes = written.length;
  if (bytes > MAX_SCHEMA_BYTES) return refuse(`has ${bytes} bytes`, `at most ${MAX_SCHEMA_BYTES}`);
  const known = compiled.get(written);
  if (known && (schema.type === "object" || !isConfig)) return { mistakes: [], validate: known };
  const work = (): Compiled => {
    try {
      if (!judge.validateSchema(schema)) return { mistakes: inWords(judge.errors ?? [], schema, field) };
      const validate = engine({ meta: false, validateSchema: false }).compile(schema);
      remember(written, validate);
      if (schema.type === "object" || !isConfig) return { mistakes: [], validate };
      return refuse(`${shown(schema.type)} is not "object"`, "a config is an object", `${field}.type`);
    } catch (thrown) {
      const problem = `is not a usable JSON Schema (draft 2020-12): ${(thrown as Error).message}`;
      return refuse(problem, "correct it; unknown keywords and remote references are refused");
    }
  };
  return within(work, refuse(`took over ${CHECK_MS} ms to compile`, "make it simpler"));
}

/** A publication asks for one schema several times, and so do all plugins that have none. Newest last. */
const compiled = new Map<string, ValidateFunction>();

function remember(written: string, validate: ValidateFunction): void {
  compiled.set(written, validate);
  for (const oldest of compiled.keys()) {
    if (compiled.size <= MAX_COMPILED) return;
    compiled.delete(oldest);
  }
}

function engine(more: Options) {
  const ajv = new Ajv2020({
    allErrors: true,
    useDefaults: true,
    verbose: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    logger: false,
    ...more,
  });
  formats.default(ajv);
  return ajv;
}

/** Only the call is made in here: a context of its own for each costs milliseconds and half a megabyte. */
const ground = { work: () => {} };
createContext(ground);
const callWork = new Script("work()");

/** What `work` returns, or `late` when it takes too long. */
function bounded<T>(work: () => T, late: T): T {
  let result = late;
  ground.work = () => {
    result = work();
  };
  try {
    callWork.runInContext(ground, { timeout: CHECK_MS });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw thrown;
  }
  return result;
}

/** Ajv's errors as mistakes: path, value, fix. `field` is what the checked value is called. */
export function inWords(errors: readonly ErrorObject[], root: unknown, field: string): Mistake[] {
  const mistakes = errors
    // These only say that something below them failed, which is reported by itself.
    .filter(({ keyword }) => !["if", "propertyNames"].includes(keyword))
    .map((error) => inWord(error, pathOf(error.instancePath, root, field)));
  const seen = new Set<string>();
  return mistakes.filter(({ field: where, problem }) => {
    const key = `${where}\n${problem}`;
    return !seen.has(key) && seen.add(key);
  });
}

function inWord(error: ErrorObject, path: string): Mistake {
  const { keyword, params, data, message = "is wrong" } = error;
  const parent = (error.parentSchema ?? {}) as Json;
  const properties = (parent.properties ?? {}) as Record<string, Json>;
  const described = (schema: Json | undefined) =>
    typeof schema?.description === "string" ? schema.description : undefined;
  const withFix = (field: string, problem: string, fix?: string) =>
    fix === undefined ? { field, problem } : { field, problem, fix };
  const name = params.missingProperty ?? params.additionalProperty ?? params.unevaluatedProperty;
  switch (keyword) {
    case "required":
      return withFix(join(path, name), "is not set", described(properties[name]) ?? `set ${name}`);
    case "additionalProperties":
    case "unevaluatedProperties": {
      const known = Object.keys(properties);
      const meant = nearest(name, known);
      const list = known.length ? `known here: ${known.join(", ")}` : "nothing may be set here";
      return withFix(join(path, name), "is not known", meant ? `did you mean ${shown(meant)}?` : list);
    }
    case "enum":
      return withFix(
        path,
        `${shown(data)} is not accepted`,
        `one of ${(params.allowedValues as unknown[]).map(shown).join(", ")}`,
      );
    case "pattern":
      if (error.propertyName !== undefined) {
        return withFix(join(path, error.propertyName), "is not a usable name", described(parent));
      }
      return withFix(path, `${shown(data)} is not accepted`, described(parent) ?? `match ${params.pattern}`);
    case "type":
      return withFix(path, `${shown(data)} is not of type ${[params.type].flat().join(" or ")}`, described(parent));
    default:
      return withFix(path, `${shown(data)} ${message}`, described(parent));
  }
}

/** `/a/0/b~1c` as `field.a[0]["b/c"]`. */
function pathOf(pointer: string, root: unknown, field: string): string {
  let path = field;
  let at: unknown = root;
  for (const raw of pointer.split("/").slice(1)) {
    const key = raw.replace(/~1/g, "/").replace(/~0/g, "~");
    path = Array.isArray(at) ? `${path}[${key}]` : join(path, key);
    at = (at as Json | undefined)?.[key];
  }
  return path;
}

function join(path: string, key: string): string {
  const plain = /^[A-Za-z_$][\w$-]*$/.test(key);
  if (!plain) return `${path}[${shown(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}

/** How deep a value is nested; stops counting a little past MAX_DEPTH. */
export function depthOf(value: unknown, depth = 0): number {
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return depth;
  let deepest = depth;
  for (const inner of Object.values(value)) deepest = Math.max(deepest, depthOf(inner, depth + 1));
  return deepest;
}
