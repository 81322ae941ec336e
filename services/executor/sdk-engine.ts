/**
 * Runs one export of a module on a fresh instance, by Extism's JavaScript SDK in the foreground, with JSPI. Of the SDK
 * it uses the instantiation and the blocks. Calling, input, output, errors and allocation are done here, because the
 * SDK's own drop the return code and the output's length, turn error bytes into text, and allocate without a limit.
 */
import { type CurrentPlugin, createPlugin } from "@extism/extism";
import type { GuestError, GuestOutcome } from "./sandbox.ts";

/** Addresses are a 16-bit index of blocks, read back signed, and indices are not used again: the rest is unusable. */
const MAX_BLOCKS = 32_766;
/** What a block costs on the heap beside its bytes; makes empty blocks count too. */
const BLOCK_OVERHEAD_BYTES = 256;
const MAX_MESSAGE_CHARS = 8_192;
/** Names of host functions and variables are cut to this; none is as long. */
const MAX_NAME_CHARS = 256;
const MAX_RANDOM_BYTES = 1 << 20;
const EMPTY = new Uint8Array(0);

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface EngineCall {
  readonly module: WebAssembly.Module;
  readonly export: string;
  readonly input: Uint8Array;
  readonly memoryMaxBytes: number;
  readonly maxOutputBytes: number;
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

/** Never throws: whatever the guest does is an end. */
export async function runGuest(call: EngineCall): Promise<EngineEnd> {
  const guest = new Guest(call);
  try {
    const plugin = await createPlugin(call.module as never, {
      functions: guest.functions(),
      useWasi: false,
      // The SDK cannot be kept from its own `http_request`, only given the fetch beneath it: the grants are the host's.
      fetch: (url, init) => guest.fetch(String(url), init),
      allowedHosts: ["*"],
    });
    const instance = (await plugin.getInstance()) as WebAssembly.Instance;
    const exported = instance.exports[call.export];
    if (typeof exported !== "function") return failed("guest_error", "not_found", `no export named "${call.export}"`);
    guest.watch(instance);
    const code = await WebAssembly.promising(exported)();
    return guest.end(code);
  } catch (thrown) {
    return guest.broken(thrown);
  }
}

class Guest {
  readonly #call: EngineCall;
  readonly #blocks: Map<bigint, number> = new Map();
  readonly #vars: Map<string, Uint8Array> = new Map();
  #memory: WebAssembly.Memory | undefined;
  #chargedBytes: number;
  #blockCount = 0;
  #inputAt = 0n;
  #output: Uint8Array = EMPTY;
  #errorAt = 0n;
  #error: Uint8Array | undefined;
  #ending: Ending | undefined;

  constructor(call: EngineCall) {
    this.#call = call;
    this.#chargedBytes = call.input.byteLength;
  }

  /** From here on the linear memory counts. A module that does not export it is held by its own maximum alone. */
  watch(instance: WebAssembly.Instance): void {
    const memory = Object.values(instance.exports).find((e) => Object.prototype.toString.call(e) === MEMORY_TAG);
    this.#memory = memory as WebAssembly.Memory | undefined;
    this.#call.onMemory(this.#held());
  }

  end(code: number): EngineEnd {
    this.#call.onMemory(this.#held());
    if (this.#ending) return ended(this.#ending);
    if (this.#error) return { outcome: "guest_error", output: EMPTY, error: readError(this.#error) };
    if (code !== 0) {
      return failed("guest_error", "guest_error", `"${this.#call.export}" returned ${code} without setting an error`);
    }
    const { byteLength } = this.#output;
    const most = this.#call.maxOutputBytes;
    if (byteLength > most) {
      return failed("guest_error", "too_large", `the output has ${byteLength} bytes; the limit is ${most}`);
    }
    return { outcome: "ok", output: this.#output.slice() };
  }

  /** The guest was thrown out of: by an ending of ours, a trap, or the engine. */
  broken(thrown: unknown): EngineEnd {
    const heldBytes = this.#held();
    this.#call.onMemory(heldBytes);
    if (this.#ending) return ended(this.#ending);
    // Languages without unwinding set their error and then trap.
    if (this.#error) return { outcome: "guest_error", output: EMPTY, error: readError(this.#error) };
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (/Cannot allocate Wasm memory/.test(error.message)) return failed("exhausted", "exhausted", error.message);
    if (error instanceof RangeError && /call stack/.test(error.message)) {
      return failed("trap", "stack_overflow", "the guest recursed deeper than the stack");
    }
    // A grow that failed is not visible from outside; compilers answer it with `unreachable`.
    if (heldBytes >= this.#call.memoryMaxBytes * (7 / 8)) {
      const message = `trapped (${error.message}) holding ${heldBytes} bytes of ${this.#call.memoryMaxBytes}`;
      return failed("out_of_memory", "out_of_memory", message);
    }
    const frames = error.stack?.split("\n").filter((line) => line.includes("wasm")) ?? [];
    return {
      outcome: "trap",
      output: EMPTY,
      error: { code: "trap", message: error.message, retryable: false, details: { stack: frames.slice(0, 10) } },
    };
  }

  /** The SDK suspends the guest in exactly those that are literally `async`. */
  functions() {
    type Context = CurrentPlugin;
    const log = (level: LogLevel) => (context: Context, at: bigint) =>
      this.#log(level, start(this.#read(context, at), MAX_MESSAGE_CHARS));
    return {
      "extism:host/env": {
        alloc: (context: Context, size: bigint) => this.#alloc(context, Number(size)),
        input_offset: (context: Context) => {
          this.#inputAt ||= this.#store(context, this.#call.input.slice());
          return this.#inputAt;
        },
        input_length: () => BigInt(this.#call.input.byteLength),
        input_load_u8: (_: Context, at: bigint) => view(this.#call.input).getUint8(Number(at)),
        input_load_u64: (_: Context, at: bigint) => view(this.#call.input).getBigUint64(Number(at), true),
        output_set: (context: Context, at: bigint, length: bigint) => {
          const block = this.#read(context, at);
          if (length < 0n || length > block.byteLength) throw new RangeError(`output of ${length} bytes is no block`);
          this.#output = block.subarray(0, Number(length));
        },
        error_set: (context: Context, at: bigint) => {
          this.#errorAt = at;
          this.#error = at === 0n ? undefined : this.#read(context, at);
        },
        error_get: () => this.#errorAt,
        // Config reaches a guest in its input; an instance lives for one call, and so do its variables.
        config_get: () => 0n,
        var_get: (context: Context, key: bigint) => {
          const value = this.#vars.get(start(this.#read(context, key), MAX_NAME_CHARS));
          return value ? this.#store(context, value.slice()) : 0n;
        },
        var_set: (context: Context, key: bigint, at: bigint) => {
          const name = start(this.#read(context, key), MAX_NAME_CHARS);
          if (at === 0n) this.#vars.delete(name);
          else this.#vars.set(name, this.#charge(this.#read(context, at).slice()));
        },
        get_log_level: () => 1, // debug, in the SDK's order
        log_trace: log("debug"),
        log_debug: log("debug"),
        log_info: log("info"),
        log_warn: log("warn"),
        log_error: log("error"),
      },
      "extism:host/user": {
        host_call: async (context: Context, name: bigint, request: bigint) => {
          const named = start(this.#read(context, name), MAX_NAME_CHARS);
          const response = await this.#host(named, this.#read(context, request).slice());
          return this.#store(context, response);
        },
        now: () => this.#call.now(),
        random: (context: Context, size: number) => {
          if (size < 0 || size > MAX_RANDOM_BYTES) throw new RangeError(`random takes 0 to ${MAX_RANDOM_BYTES} bytes`);
          return this.#store(context, this.#call.random(size));
        },
      },
    };
  }

  async #host(name: string, request: Uint8Array): Promise<Uint8Array> {
    try {
      return await this.#call.host(name, request);
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
  }

  #log(level: LogLevel, message: string): void {
    try {
      this.#call.log(level, message);
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
  }

  /**
   * Extism's own HTTP, for modules built on its PDKs: it lands in `host_call("http")`, under the same grants. Its
   * interface has no errors, so a refusal ends the guest. Response headers are left out: no cap counts their blocks.
   */
  async fetch(url: string, init?: RequestInit): Promise<Response> {
    const body = init?.body instanceof Uint8Array ? { body_base64: base64(init.body) } : {};
    const asked = { url, method: init?.method ?? "GET", headers: init?.headers ?? {}, ...body };
    const answer = await this.#host("http", new TextEncoder().encode(JSON.stringify(asked)));
    const { ok, error } = JSON.parse(text(answer)) as { ok?: HttpAnswer; error?: GuestError };
    if (!ok) throw this.#endBy(new Ending("guest_error", error?.code ?? "internal", error?.message ?? "no answer"));
    const bytes = ok.body_base64 === undefined ? new TextEncoder().encode(ok.body ?? "") : unbase64(ok.body_base64);
    this.#chargeBytes(undefined, bytes.byteLength);
    return { status: ok.status, arrayBuffer: async () => bytes.buffer } as Partial<Response> as Response;
  }

  #alloc(context: CurrentPlugin, sizeBytes: number): bigint {
    this.#chargeBytes(context, sizeBytes);
    const at = context.alloc(sizeBytes);
    this.#blocks.set(at, sizeBytes);
    return at;
  }

  /** Takes the bytes as they are: the guest may write to them. */
  #store(context: CurrentPlugin, bytes: Uint8Array): bigint {
    this.#chargeBytes(context, bytes.byteLength);
    const at = context.store(bytes);
    this.#blocks.set(at, bytes.byteLength);
    return at;
  }

  #charge(bytes: Uint8Array): Uint8Array {
    this.#chargeBytes(undefined, bytes.byteLength);
    return bytes;
  }

  #chargeBytes(context: CurrentPlugin | undefined, sizeBytes: number): void {
    const cap = this.#call.memoryMaxBytes;
    const costBytes = sizeBytes + BLOCK_OVERHEAD_BYTES;
    this.#blockCount += 1;
    if (this.#blockCount > MAX_BLOCKS) {
      throw this.#endBy(new Ending("out_of_memory", "out_of_memory", `more than ${MAX_BLOCKS} blocks in one call`));
    }
    if (!(sizeBytes >= 0) || this.#held() + costBytes > cap) {
      if (context) this.#recount(context);
      if (!(sizeBytes >= 0) || this.#held() + costBytes > cap) {
        const message = `a block of ${sizeBytes} bytes on top of ${this.#held()} is over the cap of ${cap} bytes`;
        throw this.#endBy(new Ending("out_of_memory", "out_of_memory", message));
      }
    }
    this.#chargedBytes += costBytes;
    this.#call.onMemory(this.#held());
  }

  /** The SDK does not say what was freed; asking it for every block is done only when the cap is reached. */
  #recount(context: CurrentPlugin): void {
    let live = this.#call.input.byteLength;
    for (const value of this.#vars.values()) live += value.byteLength + BLOCK_OVERHEAD_BYTES;
    for (const [at, sizeBytes] of this.#blocks) {
      if (context.length(at) === 0n && sizeBytes > 0) this.#blocks.delete(at);
      else live += sizeBytes + BLOCK_OVERHEAD_BYTES;
    }
    this.#chargedBytes = live;
  }

  #held(): number {
    return this.#chargedBytes + (this.#memory?.buffer.byteLength ?? 0);
  }

  /** The block at an address, not copied. Address 0 is "nothing". */
  #read(context: CurrentPlugin, at: bigint): Uint8Array {
    if (at === 0n) return EMPTY;
    const block = context.read(at);
    if (!block) throw new RangeError(`there is no block at address ${at}`);
    return block.bytes().subarray(Number(BigInt.asUintN(48, at)));
  }

  /** What to throw so that the guest ends: a trap, which a guest with exception handling cannot catch. */
  #endBy(why: unknown): unknown {
    this.#ending ??= why instanceof Ending ? why : new Ending("trap", "trap", String(why));
    return trap();
  }
}

interface HttpAnswer {
  readonly status: number;
  readonly body?: string;
  readonly body_base64?: string;
}

const MEMORY_TAG = "[object WebAssembly.Memory]";

/** A module whose only export is `unreachable`: (module (func (export "t") unreachable)). */
const TRAP_MODULE = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 116, 0, 0, 10, 5, 1, 3, 0, 0, 11,
]);
const trapper = new WebAssembly.Instance(new WebAssembly.Module(TRAP_MODULE)).exports.t as () => void;

/** V8 marks the errors of real traps as uncatchable by wasm; an error made in JavaScript would meet `catch_all`. */
function trap(): unknown {
  try {
    trapper();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("unreachable was reached");
}

const ended = ({ outcome, code, message }: Ending) => failed(outcome, code, message);

function failed(outcome: EngineEnd["outcome"], code: string, message: string): EngineEnd {
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
const start = (bytes: Uint8Array, chars: number) => text(bytes.subarray(0, chars * 4)).slice(0, chars);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const base64 = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
const unbase64 = (encoded: string) => Uint8Array.from(Buffer.from(encoded, "base64"));
