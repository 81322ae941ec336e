/** The one error that crosses a room's wall, with a closed list of codes. */
import { status } from "@grpc/grpc-js";

/**
 * code: [gRPC status, HTTP status, whether the same request may succeed unchanged]. The code strings are API: stable.
 */
const CODES = {
  invalid: [status.INVALID_ARGUMENT, 400, false],
  unauthenticated: [status.UNAUTHENTICATED, 401, false],
  denied: [status.PERMISSION_DENIED, 403, false],
  not_found: [status.NOT_FOUND, 404, false],
  exists: [status.ALREADY_EXISTS, 409, false],
  conflict: [status.ABORTED, 409, true],
  precondition: [status.FAILED_PRECONDITION, 412, false],
  too_large: [status.OUT_OF_RANGE, 413, false],
  exhausted: [status.RESOURCE_EXHAUSTED, 429, true],
  cancelled: [status.CANCELLED, 499, false],
  internal: [status.INTERNAL, 500, false],
  unimplemented: [status.UNIMPLEMENTED, 501, false],
  unavailable: [status.UNAVAILABLE, 503, true],
  deadline: [status.DEADLINE_EXCEEDED, 504, true],
} as const;

export type FaultCode = keyof typeof CODES;

export const faultCodes = Object.keys(CODES) as readonly FaultCode[];

/** One thing that is wrong with an input: where it is, what is wrong (value included), what to do instead. */
export interface Mistake {
  /** Path of the field, as the caller wrote it: `config.endpoints[2].url`. */
  readonly field: string;
  /** What is wrong, naming the value that was given. */
  readonly problem: string;
  /** What would be accepted. */
  readonly fix?: string;
}

export interface FaultOptions {
  readonly cause?: unknown;
  readonly mistakes?: readonly Mistake[];
  /** How long to wait before trying again, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** Anything else that is thrown across a wall is a bug, reported as `internal`. */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly code: FaultCode;
  readonly mistakes: readonly Mistake[];
  readonly retryAfterMs: number | undefined;

  constructor(code: FaultCode, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.mistakes = options.mistakes ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }

  get grpcStatus(): status {
    return CODES[this.code][0];
  }
  get httpStatus(): number {
    return CODES[this.code][1];
  }
  get retryable(): boolean {
    return CODES[this.code][2];
  }

  /**
   * A Fault is itself; an abort is `cancelled`, a time-out is `deadline`; anything else is `internal`, kept as the
   * cause.
   */
  static from(thrown: unknown): Fault {
    if (thrown instanceof Fault) return thrown;
    if (thrown instanceof Error) {
      if (thrown.name === "AbortError") return new Fault("cancelled", thrown.message, { cause: thrown });
      if (thrown.name === "TimeoutError") return new Fault("deadline", thrown.message, { cause: thrown });
      const network = fromNodeCode(thrown);
      if (network) return network;
      return new Fault("internal", thrown.message || thrown.name, { cause: thrown });
    }
    return new Fault("internal", String(thrown), { cause: thrown });
  }

  /** All mistakes of one input at once; the message lists them, a line each. */
  static invalid(what: string, mistakes: readonly Mistake[]): Fault {
    const lines = mistakes.map((m) => `  ${m.field}: ${m.problem}${m.fix ? `; ${m.fix}` : ""}`);
    const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
    return new Fault("invalid", [`${what}: ${count}`, ...lines].join("\n"), { mistakes });
  }
}

/** The code for a gRPC status; `internal` for statuses that no code of ours maps to. */
export function codeOfGrpc(grpc: number): FaultCode {
  return faultCodes.find((code) => CODES[code][0] === grpc) ?? "internal";
}

/** Node's own network error codes, translated in this one place. */
function fromNodeCode(error: Error): Fault | undefined {
  const code = (error as NodeJS.ErrnoException).code ?? (error.cause as NodeJS.ErrnoException | undefined)?.code;
  switch (code) {
    case "ECONNREFUSED":
    case "ECONNRESET":
    case "EPIPE":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "UND_ERR_SOCKET":
      return new Fault("unavailable", `${error.message || code}`, { cause: error });
    case "ETIMEDOUT":
    case "UND_ERR_CONNECT_TIMEOUT":
    case "UND_ERR_HEADERS_TIMEOUT":
    case "UND_ERR_BODY_TIMEOUT":
      return new Fault("deadline", `${error.message || code}`, { cause: error });
    default:
      return undefined;
  }
}
