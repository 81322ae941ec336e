/** The table of host functions that one guest call may use, and the JSON around their requests and answers. */
import { Fault } from "../../kit/fault.ts";
import { costsMore, MAX_REQUEST_COST } from "../json-cost.ts";
import { type CallLimits, HttpBudget, type HttpGate } from "../limits.ts";
import type { HostFunction } from "../sandbox.ts";

/** One guest call, as its host functions see it. */
export interface Scope {
  /** Aborts when the guest call has ended. */
  readonly signal: AbortSignal;
  /** What is left of the guest call's own deadline, in milliseconds; 1 at least. */
  remainingMs(): number;
  /** Requests and bytes of HTTP that the guest call may still use. */
  readonly http: HttpBudget;
}

/** Takes the request as the guest wrote it; what it resolves with is the `ok` of the answer. */
export type Capability = (request: Uint8Array, scope: Scope) => Promise<unknown>;
export type Capabilities = Readonly<Record<string, Capability>>;

/**
 * `timeoutMs` counts from the first host call: when the guest started, only its lane knows, and that ends it in time.
 * `gate` is the instance's. Errors of the result: `unimplemented` for a name that is not in the table; `exhausted` when
 * too many of the call are waiting (a guest waits for one at a time, but its log lines are not waited for).
 */
export function hostFunctions(capabilities: Capabilities, limits: CallLimits, gate?: HttpGate): HostFunction {
  const { timeoutMs, maxHostCallsInFlight } = limits;
  const http = new HttpBudget(limits, gate);
  let endsAtMs: number | undefined;
  let inFlight = 0;
  return async (name, request, signal) => {
    if (inFlight >= maxHostCallsInFlight) {
      throw new Fault("exhausted", `${maxHostCallsInFlight} host calls of this call are waiting already`);
    }
    endsAtMs ??= performance.now() + timeoutMs;
    const endMs = endsAtMs;
    const run = Object.hasOwn(capabilities, name) ? capabilities[name] : undefined;
    if (!run) {
      const known = Object.keys(capabilities).join(" ");
      throw new Fault("unimplemented", `no host function ${JSON.stringify(name)} in this call; there are: ${known}`);
    }
    const scope = { signal, remainingMs: () => Math.max(1, endMs - performance.now()), http };
    inFlight += 1;
    try {
      const ok = (await run(request, scope)) ?? {};
      return Buffer.from(JSON.stringify({ ok }));
    } finally {
      inFlight -= 1;
    }
  };
}

/** Errors: `invalid` when the request is not a JSON object; `too_large` when it has too many values. */
export function readRequest(name: string, request: Uint8Array): Readonly<Record<string, unknown>> {
  if (costsMore(request, MAX_REQUEST_COST)) {
    const limits = "20,000 lists and records, 200,000 values, or 6,600 different keys (in one record 15,000)";
    throw new Fault("too_large", `${name}: the request has over ${limits}`);
  }
  const value = parseJson(request);
  if (value !== undefined && isObject(value)) return value;
  throw Fault.invalid(name, [{ field: "request", problem: "is not a JSON object", fix: "send one" }]);
}

/** Undefined when it is not JSON in UTF-8. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
