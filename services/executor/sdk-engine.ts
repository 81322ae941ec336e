/**
 * Runs one export of a module on a fresh instance, by Extism's JavaScript SDK in the foreground, with JSPI. Of the SDK
 * it uses the instantiation and the blocks. Calling, input, output, errors and allocation are done here, because the
 * SDK's own drop the return code and the output's length, turn error bytes into text, and allocate without a limit.
 */
import { type CurrentPlugin, createPlugin } from "@extism/extism";
import {
  EMPTY,
  Ending,
  type Engine,
  type EngineCall,
  type EngineEnd,
  ended,
  endOfReturn,
  endOfThrow,
  failed,
  Gas,
  httpQuestion,
  type LogLevel,
  MAX_MESSAGE_CHARS,
  MAX_NAME_CHARS,
  MAX_RANDOM_BYTES,
  readHttpAnswer,
  start,
  trap,
} from "./engine.ts";
import { importedMemory, memoryModule } from "./guest-memory.ts";

/** Addresses are a 16-bit index of blocks, read back signed, and indices are not used again: the rest is unusable. */
const MAX_BLOCKS = 32_766;
/** What a block costs on the heap beside its bytes; makes empty blocks count too. */
const BLOCK_OVERHEAD_BYTES = 256;

export const openSdkEngine = (): Engine => ({ run: runGuest, prepare: () => false, forget() {} });

/** Never throws: whatever the guest does is an end. */
async function runGuest(call: EngineCall): Promise<EngineEnd> {
  const guest = new Guest(call);
  let gas: Gas | undefined;
  try {
    const memory = importedMemory(call.module);
    const provided = memory ? [{ name: memory.module, module: memoryModule(memory) }] : [];
    const plugin = await createPlugin({ wasm: [...provided, { name: "main", module: call.module }] } as never, {
      functions: guest.functions(),
      useWasi: false,
      // The SDK cannot be kept from its own `http_request`, only given the fetch beneath it: the grants are the host's.
      fetch: (url, init) => guest.fetch(String(url), init),
      allowedHosts: ["*"],
      allowHttpResponseHeaders: true,
    });
    const instance = (await plugin.getInstance()) as WebAssembly.Instance;
    gas = new Gas(call, instance.exports);
    const exported = instance.exports[call.export];
    if (typeof exported !== "function") return failed("guest_error", "not_found", `no export named "${call.export}"`);
    guest.watch(instance);
    const code = await WebAssembly.promising(exported)();
    return gas.judge(guest.end(code));
  } catch (thrown) {
    const end = guest.broken(thrown);
    return gas?.judge(end) ?? end;
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
    const output = this.#output;
    return endOfReturn(this.#call, {
      ...{ code, error: this.#error, outputBytes: output.byteLength },
      output: () => output.slice(),
    });
  }

  /** The guest was thrown out of: by an ending of ours, a trap, or the engine. */
  broken(thrown: unknown): EngineEnd {
    const heldBytes = this.#held();
    this.#call.onMemory(heldBytes);
    if (this.#ending) return ended(this.#ending);
    return endOfThrow(this.#call, thrown, heldBytes, this.#error);
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
          return this.#store(context, response.slice());
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
    const body = init?.body instanceof Uint8Array ? init.body : undefined;
    const answer = await this.#host("http", httpQuestion(url, init?.method ?? "GET", init?.headers ?? {}, body));
    try {
      const { status, headers, body: bytes } = readHttpAnswer(answer);
      this.#chargeBytes(undefined, bytes.byteLength);
      return {
        status,
        headers: Object.entries(headers ?? {}),
        arrayBuffer: async () => bytes.buffer,
      } as object as Response;
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
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

const MEMORY_TAG = "[object WebAssembly.Memory]";

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
