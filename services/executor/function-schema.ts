/** JSON Schemas of functions and documents: compiled once for each version, checked within a bound of time. */
import { createContext, Script } from "node:vm";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import type { FunctionInterface } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import type { Mistake } from "../kit/fault.ts";

/** Compiling, or one check. A schema comes from a stranger: a pattern can be written so that it takes years. */
const CHECK_MS = 2_000;
const MAX_MISTAKES = 20;
/** Keywords whose check may take much longer than reading the value; without them no watch is needed. */
const SLOW_KEYWORDS = /"(?:pattern|patternProperties|uniqueItems|format|\$ref|\$dynamicRef)"/;

/** What is wrong with a value; nothing when it fits. `field` is what the value is called. */
export type Check = (value: unknown, field: string) => readonly Mistake[];

export interface FunctionSchema {
  readonly input: Check;
  readonly output: Check;
}

const schemas = new WeakMap<FunctionInterface, FunctionSchema>();

/** Compiled at the first call of a function of a version. An absent schema takes anything. */
export function schemaOf(declared: FunctionInterface): FunctionSchema {
  const known = schemas.get(declared);
  if (known) return known;
  const schema = { input: checkOf(declared.input), output: checkOf(declared.output) };
  schemas.set(declared, schema);
  return schema;
}

/** `allErrors` finds every mistake, not only the first: for values that are small. */
export function checkOf(schema: Readonly<Record<string, unknown>> | undefined, allErrors = false): Check {
  if (schema === undefined) return () => [];
  const slow = SLOW_KEYWORDS.test(JSON.stringify(schema));
  let validate: ValidateFunction | undefined;
  let problem = `its JSON Schema took over ${CHECK_MS} ms to compile`;
  bounded(() => {
    try {
      validate = compile(schema, allErrors);
    } catch (thrown) {
      problem = `its JSON Schema is not usable: ${(thrown as Error).message}`;
    }
  });
  return (value, field) => {
    if (!validate) return [{ field, problem }];
    const check = validate;
    let mistakes: readonly Mistake[] = [{ field, problem: `took over ${CHECK_MS} ms to check`, fix: "send less" }];
    const run = () => {
      mistakes = check(value) ? [] : inWords(check, field);
    };
    if (slow) bounded(run);
    else run();
    return mistakes;
  };
}

function compile(schema: Readonly<Record<string, unknown>>, allErrors: boolean): ValidateFunction {
  const options = { allErrors, strict: false, validateSchema: false, meta: false, logger: false } as const;
  const ajv = new Ajv2020(options);
  formats.default(ajv);
  return ajv.compile(schema);
}

function inWords({ errors }: ValidateFunction, field: string): Mistake[] {
  return (errors ?? []).slice(0, MAX_MISTAKES).map(({ instancePath, message = "is wrong", params }) => {
    const name = params.additionalProperty ?? params.unevaluatedProperty;
    const allowed = Array.isArray(params.allowedValues) ? `: ${JSON.stringify(params.allowedValues)}` : "";
    const at = instancePath.replace(/\/(\d+)(?=\/|$)/g, "[$1]").replaceAll("/", ".");
    return { field: `${field}${at}`, problem: `${message}${name === undefined ? "" : ` (${name})`}${allowed}` };
  });
}

const context = createContext({ work: () => {} });
const script = new Script("work()");

/** `work` is cut off when it takes too long, and then has set nothing. */
function bounded(work: () => void): void {
  context.work = work;
  try {
    script.runInContext(context, { timeout: CHECK_MS });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw thrown;
  }
}
