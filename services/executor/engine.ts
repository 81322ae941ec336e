/** What an engine is given for one guest call and what it gives back; what both engines make of the ways to end. */
import type { GuestError, GuestOutcome, Reuse } from "./sandbox.ts";

export const MAX_MESSAGE_CHARS = 8_192;
/** Names of host functions and variables are cut to this; none is as long. */
export const MAX_NAME_CHARS = 256;
export const MAX_RANDOM_BYTES = 1 << 20;
export const EMPTY = new Uint8Array(0);

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface EngineCall {
  readonly module: WebAssembly.Module;
  /**
   * What an instance weighs beside its memory. Undefined: none may be made ahead, because instantiating it runs code of
   * its own, or no more calls come.
   */
  readonly spareBytes?: number | undefined;
  readonly export: string;
  readonly input: Uint8Array;
  readonly memoryMaxBytes: number;
  readonly maxOutputBytes: number;
  readonly reuse?: Reuse | undefined;
  readonly maxGas?: number | undefined;
  /** Told how much memory the guest holds (linear and blocks), whenever that is known to have grown. */
  onMemory(bytes: number): void;
  /** Suspends the guest until it settles. Throwing an `Ending` ends the guest; anything else does so as a trap. */
  host(name: string, request: Uint8Array): Promise<Uint8Array>;
  log(level: LogLevel, message: string): void;
  /** Milliseconds since the epoch; stands still between two waits. */
  now(): number;
  random(bytes: number): Uint8Array;
}

export interface EngineEnd {
  /** `exhausted`: there is no address space left for one more instance in this process; the guest did not run. */
  readonly outcome: GuestOutcome | "exhausted";
  readonly output: Uint8Array;
  readonly error?: GuestError;
  /** Instructions that a metered module ran. */
  readonly gas?: number;
}

/** Why the guest must end here and now. */
export class Ending extends Error {
  readonly outcome: GuestOutcome;
  readonly code: string;
  constructor(outcome: GuestOutcome, code: string, message: string) {
    super(message);
    this.outcome = outcome;
    this.code = code;
  }
}

/** What the registry's metering exports: the instructions that are left, counted down. */
const GAS_EXPORT = "__gas";

/** The counter of a metered module; nothing when the call is not metered. */
export class Gas {
  readonly #left: { value: bigint } | undefined;
  readonly #most: number;

  /** What instantiation used is taken off. */
  constructor({ maxGas }: EngineCall, exports: Readonly<Record<string, unknown>>) {
    this.#most = maxGas ?? 0;
    const left = maxGas === undefined ? undefined : exports[GAS_EXPORT];
    if (!left) return;
    this.#left = left as { value: bigint };
    this.#left.value = BigInt(this.#most);
  }

  /** The end with what was used; running out is no trap of the guest's own. */
  judge(end: EngineEnd): EngineEnd {
    if (!this.#left) return end;
    const left = Number(this.#left.value);
    const gas = Math.min(this.#most, this.#most - left);
    if (left >= 0) return { ...end, gas };
    return { ...failed("cpu_exceeded", "cpu_exceeded", `ran more than ${this.#most} instructions`), gas };
  }
}

/** Runs one export on an instance. Never rejects: whatever the guest does is an end. */
export type RunGuest = (call: EngineCall) => Promise<EngineEnd>;

/** What runs the guests of a lane. */
export interface Engine {
  readonly run: RunGuest;
  /** For a lane that has nothing to do: a small piece of work ahead. Returns whether there is more. */
  prepare(): boolean;
  /** No more calls of the module come. */
  forget(module: WebAssembly.Module): void;
}

/** How a guest ended that returned: by its return code, its error and its output. */
export interface Returned {
  readonly code: number;
  /** The guest's error, if it set one. */
  readonly error: Uint8Array | undefined;
  readonly outputBytes: number;
  /** Copies the output; asked for only when it is within the cap. */
  output(): Uint8Array;
}

export function endOfReturn(call: EngineCall, returned: Returned): EngineEnd {
  const { code, error, outputBytes } = returned;
  if (error) return { outcome: "guest_error", output: EMPTY, error: readError(error) };
  if (code !== 0) {
    return failed("guest_error", "guest_error", `"${call.export}" returned ${code} without setting an error`);
  }
  const most = call.maxOutputBytes;
  if (outputBytes > most) {
    return failed("guest_error", "too_large", `the output has ${outputBytes} bytes; the limit is ${most}`);
  }
  return { outcome: "ok", output: returned.output() };
}

/** How a guest ended that was thrown out of: by a trap, or the engine. `error` is what it had set before. */
export function endOfThrow(
  call: EngineCall,
  thrown: unknown,
  heldBytes: number,
  guestError: Uint8Array | undefined,
): EngineEnd {
  // Languages without unwinding set their error and then trap.
  if (guestError) return { outcome: "guest_error", output: EMPTY, error: readError(guestError) };
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (/Cannot allocate Wasm memory|could not allocate memory/.test(error.message)) {
    return failed("exhausted", "exhausted", error.message);
  }
  if (error instanceof RangeError && /call stack/.test(error.message)) {
    return failed("trap", "stack_overflow", "the guest recursed deeper than the stack");
  }
  // A grow that failed is not visible from outside; compilers answer it with `unreachable`.
  if (heldBytes >= call.memoryMaxBytes * (7 / 8)) {
    const message = `trapped (${error.message}) holding ${heldBytes} bytes of ${call.memoryMaxBytes}`;
    return failed("out_of_memory", "out_of_memory", message);
  }
  const frames = error.stack?.split("\n").filter((line) => line.includes("wasm")) ?? [];
  return {
    outcome: "trap",
    output: EMPTY,
    error: { code: "trap", message: error.message, retryable: false, details: { stack: frames.slice(0, 10) } },
  };
}

/** The request of Extism's own HTTP as a request of the host function `http`. */
export function httpQuestion(url: string, method: string, headers: unknown, body: Uint8Array | undefined): Uint8Array {
  const asked = { url, method, headers, ...(body && { body_base64: base64(body) }) };
  return new TextEncoder().encode(JSON.stringify(asked));
}

/** The answer of the host function `http`. Its errors have no place in Extism's interface: they end the guest. */
export function readHttpAnswer(answer: Uint8Array): HttpAnswer {
  const { ok, error } = JSON.parse(text(answer)) as { ok?: RawHttpAnswer; error?: GuestError };
  if (!ok) throw new Ending("guest_error", error?.code ?? "internal", error?.message ?? "no answer");
  const body = ok.body_base64 === undefined ? new TextEncoder().encode(ok.body ?? "") : unbase64(ok.body_base64);
  return { status: ok.status, headers: ok.headers ?? {}, body };
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: unknown;
  readonly body: Uint8Array<ArrayBuffer>;
}

interface RawHttpAnswer {
  readonly status: number;
  readonly headers?: unknown;
  readonly body?: string;
  readonly body_base64?: string;
}

/** A module whose only export is `unreachable`: (module (func (export "t") unreachable)). */
const TRAP_MODULE = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 116, 0, 0, 10, 5, 1, 3, 0, 0, 11,
]);
const trapper = new WebAssembly.Instance(new WebAssembly.Module(TRAP_MODULE)).exports.t as () => void;

/** V8 marks the errors of real traps as uncatchable by wasm; an error made in JavaScript would meet `catch_all`. */
export function trap(): unknown {
  try {
    trapper();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("unreachable was reached");
}

export const ended = ({ outcome, code, message }: Ending) => failed(outcome, code, message);

export function failed(outcome: EngineEnd["outcome"], code: string, message: string): EngineEnd {
  return { outcome, output: EMPTY, error: { code, message, retryable: false } };
}

/** The guest's error as it wrote it: JSON with a message, or any other bytes, kept as the message. */
function readError(bytes: Uint8Array): GuestError {
  const message = start(bytes, MAX_MESSAGE_CHARS * 4);
  try {
    const said = JSON.parse(message) as Partial<GuestError> | null;
    if (typeof said?.message === "string") {
      return {
        code: typeof said.code === "string" ? said.code.slice(0, 64) : "guest_error",
        message: said.message.slice(0, MAX_MESSAGE_CHARS),
        retryable: said.retryable === true,
        ...(said.details !== undefined && { details: said.details }),
      };
    }
  } catch {
    // Not JSON: plain text, as Extism's PDKs write it.
  }
  return { code: "guest_error", message: message.slice(0, MAX_MESSAGE_CHARS), retryable: false };
}

/** The first characters only: a guest's text may be as large as its memory. */
export const start = (bytes: Uint8Array, chars: number) => text(bytes.subarray(0, chars * 4)).slice(0, chars);
const decoder = new TextDecoder();
export const text = (bytes: Uint8Array) => decoder.decode(bytes);
const base64 = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
const unbase64 = (encoded: string) => Uint8Array.from(Buffer.from(encoded, "base64"));
