/** Which resources a poller picks: CEL over `resource`, compiled once for each expression. Pure. */
import { Environment, type ParseResult } from "@marcbachmann/cel-js";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { Fault } from "../kit/fault.ts";

export type ResourceFilter = (resource: Resource) => boolean;

const MAX_EXPRESSION_LENGTH = 4_096;
const MAX_COMPILED = 1_000;
const FIELDS = "name, id, site, class, subclass, type, endpoint, labels, origin";
const FIX = `a CEL expression over \`resource\` (${FIELDS}) that is true or false`;

const environment = new Environment({ limits: { maxAstNodes: 1_000, maxDepth: 50 } }).registerVariable(
  "resource",
  "map",
);
const compiled = new Map<string, ResourceFilter>();

/** What is picked when nobody says otherwise: the resources that the instance itself discovered. */
export const discoveredBy =
  (instance: string): ResourceFilter =>
  (resource) =>
    resource.origin === instance;

/** Errors: `invalid`, naming `field`, for what is not CEL or cannot be true or false. */
export function compileFilter(expression: string, field: string): ResourceFilter {
  const known = compiled.get(expression);
  if (known) return known;
  const filter = toFilter(parse(expression, field));
  if (compiled.size >= MAX_COMPILED) compiled.delete(compiled.keys().next().value as string);
  compiled.set(expression, filter);
  return filter;
}

function parse(expression: string, field: string): ParseResult {
  const refuse = (problem: string): never => {
    const shown = JSON.stringify(expression.length > 80 ? `${expression.slice(0, 80)}…` : expression);
    throw Fault.invalid(field, [{ field, problem: `${shown} ${problem}`, fix: FIX }]);
  };
  if (expression.length > MAX_EXPRESSION_LENGTH) refuse(`is longer than ${MAX_EXPRESSION_LENGTH} characters`);
  try {
    const result = environment.parse(expression);
    const { valid, type, error } = result.check();
    if (!valid) refuse(`is not a filter (${firstLine(error?.message)})`);
    if (type !== "bool" && type !== "dyn") refuse(`is a ${type}`);
    return result;
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    return refuse(`is not CEL (${firstLine((thrown as Error).message)})`);
  }
}

/** Not picked is a resource without the label that is asked for, or for which the answer is not a boolean. */
function toFilter(evaluate: ParseResult): ResourceFilter {
  return ({ name, id, site, class: kind, subclass, type, endpoint, labels, origin }) => {
    const resource = { name, id, site, class: kind, subclass, type, endpoint, labels, origin };
    try {
      return evaluate({ resource }) === true;
    } catch {
      return false;
    }
  };
}

const firstLine = (message: string | undefined) => (message ?? "no reason given").split("\n", 1)[0];
