/** Filters over resources: CEL expressions, compiled and type-checked when they are written. */
import { Environment } from "@marcbachmann/cel-js";
import type { Mistake } from "../kit/fault.ts";
import { shown } from "./names.ts";

const MAX_LENGTH = 2_000;
/** A filter is asked once for each resource. */
const LIMITS = { maxAstNodes: 1_000, maxDepth: 50 };
const RESOURCE = {
  name: "string",
  id: "string",
  site: "string",
  class: "string",
  subclass: "string",
  type: "string",
  endpoint: "string",
  origin: "string",
  labels: "map<string, string>",
} as const;

export function filterMistakes(filter: string, field: string): Mistake[] {
  if (filter.length > MAX_LENGTH) {
    return [{ field, problem: `has ${filter.length} characters`, fix: `at most ${MAX_LENGTH}` }];
  }
  const environment = new Environment({ limits: LIMITS }).registerVariable("resource", { schema: RESOURCE });
  try {
    const { valid, type, error } = environment.parse(filter).check();
    if (!valid) return [mistake(filter, field, error)];
    if (type === "bool" || type === "dyn") return [];
    return [{ field, problem: `${shown(filter)} is of type ${type}`, fix: 'compare: resource.type == "http"' }];
  } catch (thrown) {
    return [mistake(filter, field, thrown)];
  }
}

interface CelError {
  readonly summary?: string;
  readonly message?: string;
  readonly range?: { readonly start: number };
}

function mistake(filter: string, field: string, thrown: unknown): Mistake {
  const { summary, message = "cannot be read", range } = thrown as CelError;
  const where = range ? ` at character ${range.start + 1}` : "";
  const fix = `a CEL expression over resource.{${Object.keys(RESOURCE).join(", ")}}`;
  return { field, problem: `${shown(filter)}: ${summary ?? message}${where}`, fix };
}
