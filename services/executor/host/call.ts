/** `call`: another instance's function, within this executor, no longer than the caller has left. */
import { Fault, type FaultCode, faultCodes, type Mistake } from "../../kit/fault.ts";
import { type FunctionCalls, MAX_FUNCTION_BYTES } from "../function-calls.ts";
import type { Caller, InvocationEnd } from "../invocations.ts";
import { type Capability, parseJson, readRequest } from "./functions.ts";

/** Errors of the result: those of `FunctionCalls.call`, `denied`, and what the called guest failed with. */
export function callCapability(functions: FunctionCalls, caller: Caller): Capability {
  return async (bytes, scope) => {
    const { instance, fn, input, timeoutMs } = readCall(bytes);
    if (!caller.subject.grants.call(instance, fn)) {
      caller.tally.denied();
      const fix = "the manifest must ask for it and the operator allow it";
      throw new Fault("denied", `a call of ${instance}/${fn} is not granted; ${fix}`);
    }
    const leftMs = scope.remainingMs();
    const deadlineMs = timeoutMs === undefined ? leftMs : Math.min(timeoutMs, leftMs);
    const end = await functions.call({ instance, fn, input, deadlineMs, signal: scope.signal, caller });
    if (end.outcome === "ok") return { output: parseJson(end.output), run_id: end.runId };
    throw faultOf(`${instance}/${fn}`, end);
  };
}

interface Call {
  readonly instance: string;
  readonly fn: string;
  readonly input: Uint8Array;
  readonly timeoutMs: number | undefined;
}

function readCall(bytes: Uint8Array): Call {
  // Before it is parsed: what is in it besides the input is small.
  if (bytes.byteLength > 2 * MAX_FUNCTION_BYTES) {
    throw new Fault("too_large", `the request is ${bytes.byteLength} bytes; an input at most ${MAX_FUNCTION_BYTES}`);
  }
  const { instance, function: fn, input = null, timeout_ms: timeoutMs } = readRequest("call", bytes);
  const mistakes: Mistake[] = [];
  const said = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";
  if (typeof instance !== "string") {
    mistakes.push({ field: "instance", problem: `${said(instance)} is not a name`, fix: "the name of an instance" });
  }
  if (typeof fn !== "string") {
    mistakes.push({ field: "function", problem: `${said(fn)} is not a name`, fix: "the name of one of its functions" });
  }
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 1)) {
    mistakes.push({ field: "timeout_ms", problem: `${said(timeoutMs)} is not a time`, fix: "1 or more milliseconds" });
  }
  if (mistakes.length || typeof instance !== "string" || typeof fn !== "string") throw Fault.invalid("call", mistakes);
  return { instance, fn, input: toJson(input), timeoutMs: typeof timeoutMs === "number" ? timeoutMs : undefined };
}

function toJson(input: unknown): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(input));
  } catch {
    // The parser takes any depth, the writer does not.
    throw Fault.invalid("call", [{ field: "input", problem: "is nested too deep", fix: "make it flatter" }]);
  }
}

/** The called guest's failure as the calling guest sees it; its own code stands in the message. */
function faultOf(name: string, end: Exclude<InvocationEnd, { outcome: "ok" }>): Fault {
  if (end.outcome === "not_run") return end.fault;
  const { outcome, error } = end;
  const said = `${name}: ${outcome === "guest_error" ? error.code || outcome : outcome}: ${error.message}`;
  return new Fault(codeOf(outcome, error), said);
}

function codeOf(
  outcome: string,
  { code, retryable }: { readonly code: string; readonly retryable: boolean },
): FaultCode {
  switch (outcome) {
    case "timeout":
      return "deadline";
    case "cancelled":
      return "cancelled";
    case "cpu_exceeded":
    case "out_of_memory":
      return "exhausted";
    case "quarantined":
      return "unavailable";
    case "trap":
      return "internal";
    default: {
      const own = faultCodes.find((known) => known === code);
      return own ?? (retryable ? "unavailable" : "internal");
    }
  }
}
