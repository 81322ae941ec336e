/** How a call ends badly: a code, a sentence, whether trying again may help, and details. */
import { writeError } from "./abi";
import { Json } from "./json";

export class Fault {
  constructor(
    public readonly code: string,
    public readonly message: string,
    public readonly retryable: bool = false,
    public readonly details: Json = Json.missing,
  ) {}

  /** What the host sends as `error`. */
  static from(json: Json): Fault {
    const code = json.get("code").asText("host_error");
    const message = json.get("message").asText("the host gave no reason");
    return new Fault(code, message, json.get("retryable").asBool(), json.get("details"));
  }
}

/**
 * Ends the call with an error: `return fail("bad_json", "…")`. Codes are lower-case words of your own; the platform's
 * own (`denied`, `deadline`, …) pass through from host calls. A retryable failure is tried again by the retry policy;
 * `details.retry_after_ms` tells it how long to wait at least.
 */
export function fail(code: string, message: string, retryable: bool = false, details: Json = Json.missing): i32 {
  const error = Json.object()
    .set("code", Json.text(code))
    .set("message", Json.text(message))
    .set("retryable", Json.bool(retryable));
  if (!details.isNull) error.set("details", details);
  writeError(error.toString());
  return 1;
}

/** Ends the call with a fault that came from somewhere else: `if (reply.failed) return failWith(reply.fault)`. */
export function failWith(fault: Fault): i32 {
  return fail(fault.code, fault.message, fault.retryable, fault.details);
}
