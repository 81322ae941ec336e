/** Conditions that people write: CEL over one typed variable, checked when written, compiled once. */
import { Environment } from "@marcbachmann/cel-js";
import { Fault } from "./fault.ts";

/** The one variable of a condition: its name, and the CEL type of each of its fields. */
export interface Variable {
  readonly name: string;
  readonly fields: Readonly<Record<string, "string" | "int" | "double" | "bool" | "map<string, string>">>;
}

export type Predicate = (value: Readonly<Record<string, unknown>>) => boolean;

const MAX_LENGTH = 2_000;
const MAX_SHOWN = 80;
/** A condition is asked once for each thing it may pick. */
const LIMITS = { maxAstNodes: 1_000, maxDepth: 50 };
const MAX_COMPILED = 1_000;

const compiled = new Map<string, Predicate>();

/**
 * Errors: `invalid` naming `field`, for what is not CEL, names what does not exist, or is neither true nor false. Asked
 * of a value, an expression that fails there (a label that is not set) is false.
 */
export function compilePredicate(expression: string, variable: Variable, field: string): Predicate {
  const key = `${variable.name}\0${expression}`;
  const known = compiled.get(key);
  if (known) return known;
  const predicate = compile(expression, variable, field);
  if (compiled.size >= MAX_COMPILED) compiled.delete(compiled.keys().next().value as string);
  compiled.set(key, predicate);
  return predicate;
}

function compile(expression: string, { name, fields }: Variable, field: string): Predicate {
  const shown = JSON.stringify(expression.length > MAX_SHOWN ? `${expression.slice(0, MAX_SHOWN)}…` : expression);
  const fix = `write a CEL expression over ${name}.{${Object.keys(fields).join(", ")}} that is true or false`;
  const refuse = (problem: string): never => {
    throw Fault.invalid(field, [{ field, problem: `${shown} ${problem}`, fix }]);
  };
  if (expression.length > MAX_LENGTH) refuse(`is longer than ${MAX_LENGTH} characters`);
  const environment = new Environment({ limits: LIMITS }).registerVariable(name, { schema: { ...fields } });
  try {
    const evaluate = environment.parse(expression);
    const { valid, type, error } = evaluate.check();
    if (!valid) refuse(`is not a condition: ${summary(error)}`);
    if (type !== "bool" && type !== "dyn") refuse(`is of type ${type}`);
    return (value) => {
      try {
        return evaluate({ [name]: value }) === true;
      } catch {
        return false;
      }
    };
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    return refuse(`is not CEL: ${summary(thrown)}`);
  }
}

function summary(thrown: unknown): string {
  const {
    summary: short,
    message = "no reason given",
    range,
  } = (thrown ?? {}) as {
    readonly summary?: string;
    readonly message?: string;
    readonly range?: { readonly start: number };
  };
  return `${short ?? message.split("\n", 1)[0]}${range ? ` at character ${range.start + 1}` : ""}`;
}
