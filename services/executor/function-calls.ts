/** Functions of instances, called from outside or by another guest: found, checked by their schemas, run. */
import type { FunctionInterface } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { Fault } from "../kit/fault.ts";
import { type Catalog, findSubject, type Subject } from "./catalog.ts";
import { schemaOf } from "./function-schema.ts";
import { parseJson } from "./host/functions.ts";
import type { Caller, InvocationEnd, Invocations, Trail } from "./invocations.ts";
import type { LimitsOf } from "./limits.ts";

const DEFAULT_TIMEOUT = "10s";
/** Of an input and of an output: both are held in memory and checked on the main thread. */
export const MAX_FUNCTION_BYTES = 4 << 20;

export interface FunctionCall {
  /** Bare name. */
  readonly instance: string;
  readonly fn: string;
  /** JSON. */
  readonly input: Uint8Array;
  /** What is left of the caller's time, in milliseconds; the function's own time may be shorter. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Absent: called from outside. */
  readonly caller?: Caller;
}

export interface FunctionCalls {
  /**
   * Errors: `not_found`; `precondition` when the instance is paused; `invalid` with the mistakes of the input;
   * `too_large`; `exhausted` when calls are nested too deep; `conflict`, naming the chain, when the function is already
   * under way in it.
   */
  call(call: FunctionCall): Promise<InvocationEnd>;
}

export function functionCalls(catalog: Catalog, limitsOf: LimitsOf, invocations: Invocations): FunctionCalls {
  return {
    async call({ instance, fn, input, deadlineMs, signal, caller }) {
      const { subject, declared } = find(catalog, instance, fn);
      const asked = limitsOf(subject.release.manifest?.limits, declared.timeout || DEFAULT_TIMEOUT);
      const limits = {
        ...asked,
        timeoutMs: Math.max(1, Math.min(asked.timeoutMs, Math.floor(deadlineMs))),
        maxOutputBytes: Math.min(asked.maxOutputBytes, MAX_FUNCTION_BYTES),
      };
      const name = `${instance}/${fn}`;
      const trail = caller ? below(caller.trail, name, limits.maxCallDepth) : outermost(name, limits.maxCallDepth);
      const schema = schemaOf(declared);
      checkInput(name, schema.input, input);
      const judge = (output: Uint8Array) => {
        const value = parseJson(output);
        if (value === undefined) return `${name} did not answer with JSON`;
        const mistakes = schema.output(value, "output");
        return mistakes.length ? mistakes.map((m) => `${m.field}: ${m.problem}`).join("\n") : undefined;
      };
      return invocations.run({
        ...{ kind: "function", subject, export: `function:${fn}`, target: `function:${fn}` },
        ...{ input, limits, signal, trail, judge, nested: caller !== undefined },
      });
    },
  };
}

function find(catalog: Catalog, instance: string, fn: string): { subject: Subject; declared: FunctionInterface } {
  const answer = findSubject(catalog, `instances/${instance}`);
  if ("unknown" in answer) throw new Fault("not_found", answer.unknown);
  if (answer.paused !== undefined) throw new Fault("precondition", answer.paused);
  const subject = answer.found;
  const functions = subject.release.manifest?.interfaces?.functions ?? {};
  const declared = Object.hasOwn(functions, fn) ? functions[fn] : undefined;
  if (declared) return { subject, declared };
  const known = Object.keys(functions).join(", ") || "none";
  throw new Fault("not_found", `${instance} has no function ${JSON.stringify(fn)}; there are: ${known}`);
}

function checkInput(name: string, check: ReturnType<typeof schemaOf>["input"], input: Uint8Array): void {
  if (input.byteLength > MAX_FUNCTION_BYTES) {
    throw new Fault("too_large", `the input of ${name} is ${input.byteLength} bytes; at most ${MAX_FUNCTION_BYTES}`);
  }
  const value = parseJson(input);
  const mistakes = value === undefined ? [{ field: "input", problem: "is not JSON" }] : check(value, "input");
  if (mistakes.length) throw Fault.invalid(name, mistakes);
}

export const outermost = (name: string, maxDepth: number): Trail => ({ path: [name], left: maxDepth });

/** One call deeper. What the outer call leaves and what the inner one's own limits say, whichever is less. */
export function below({ path, left }: Trail, name: string, maxDepth: number): Trail {
  const chain = [...path, name].join(" → ");
  if (path.includes(name)) throw new Fault("conflict", `a function calls itself: ${chain}`);
  if (left < 1) throw new Fault("exhausted", `calls are nested too deep (limits.call_depth): ${chain}`);
  return { path: [...path, name], left: Math.min(left - 1, maxDepth) };
}
