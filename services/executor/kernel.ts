/** One kernel (kernel.wat) and its region: the host interface that one guest at a time is linked to. */
import type { Arena, Region } from "./arena.ts";
import {
  EMPTY,
  Ending,
  type EngineCall,
  type EngineEnd,
  ended,
  endOfReturn,
  endOfThrow,
  httpQuestion,
  type LogLevel,
  MAX_MESSAGE_CHARS,
  MAX_NAME_CHARS,
  MAX_RANDOM_BYTES,
  readHttpAnswer,
  start,
  text,
  trap,
} from "./engine.ts";
import { KERNEL_BYTES } from "./kernel-bytes.ts";

const kernelModule = new WebAssembly.Module(KERNEL_BYTES);

/** Header and lists at the begin of a region, the first header, and some room for an answer. */
const REGION_OVERHEAD_BYTES = 512;
/** A larger region goes back to the arena after the call, a smaller one stays with its kernel. */
const KEPT_REGION_BYTES = 65_536;
const MAX_BLOCK_BYTES = 2 ** 30;
/** What a variable costs on the heap beside its bytes. */
const VARIABLE_OVERHEAD_BYTES = 256;
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Guests are given these and nothing else of the kernel: with `tell` one could reach another's region. */
const ABI = [
  ...["alloc", "free", "length", "load_u8", "load_u64", "store_u8", "store_u64"],
  ...["input_offset", "input_length", "input_load_u8", "input_load_u64", "output_set", "error_set", "error_get"],
  ...["config_get", "var_get", "var_set", "http_request", "http_status_code", "http_headers"],
  ...["get_log_level", "log_debug", "log_info", "log_warn", "log_error"],
];
const nothing = () => 0;
/** A parser cannot be interrupted, and takes ten times the memory: 96 MiB of `[` were 12 s and 1.3 GB. */
const MAX_HTTP_HEAD_BYTES = 131_072;
const MEMORY_TAG = "[object WebAssembly.Memory]";

interface KernelExports {
  tell(what: number, a: number, b: number, c: number): number;
}

/** What `tell` answers and does, by the numbers of kernel.wat. */
const HIGH = 0;
const OUTPUT_AT = 1;
const OUTPUT_LENGTH = 2;
const ERROR_AT = 3;
const ERROR_LENGTH = 4;
const TAKE = 5;
export const RESET = 6;
const STATUS = 7;
const MOVE = 8;

/** A kernel with the imports that kernel.wat names. */
export function linkKernel(lane: Readonly<Record<string, unknown>>) {
  const { exports } = new WebAssembly.Instance(kernelModule, { lane });
  return exports as Readonly<Record<string, unknown>> & KernelExports;
}

export class Kernel {
  readonly arena: Arena;
  /** What guests import, memory apart. */
  readonly env: Readonly<Record<string, unknown>>;
  readonly user: Readonly<Record<string, unknown>>;
  readonly #exports: KernelExports;
  /** Made with the first; most guests have none. */
  #vars: Map<string, Uint8Array> | undefined;
  #varsBytes = 0;
  #region: Region | undefined;
  #memory: WebAssembly.Memory | undefined;
  #call: EngineCall | undefined;
  #ending: Ending | undefined;
  #headers: unknown;
  readonly #storing = (bytes: Uint8Array): number => this.#store(bytes);
  readonly #endingBy = (thrown: unknown): never => {
    throw this.#endBy(thrown);
  };

  constructor(arena: Arena) {
    this.arena = arena;
    const lane = {
      memory: arena.memory,
      grow: (end: number) => this.#grow(end >>> 0),
      refuse: (what: number, value: bigint) => this.#refuse(what, value),
      host_call: new WebAssembly.Suspending((...spans: [number, number, number, number]) => this.#hostCall(...spans)),
      http_request: new WebAssembly.Suspending((...spans: [number, number, number, number]) => this.#http(...spans)),
      http_headers: () => this.#httpHeaders(),
      random: (bytes: number) => this.#random(bytes),
      log: (level: number, at: number, length: number) => this.#log(level, at, length),
      // Config reaches a guest in its input.
      config_get: nothing,
      var_get: (at: number, length: number) => {
        const value = this.#vars?.get(start(this.#read(at, length), MAX_NAME_CHARS));
        return value ? this.#store(value) : 0;
      },
      var_set: (keyAt: number, keyLength: number, at: number, length: number, given: number) => {
        const name = start(this.#read(keyAt, keyLength), MAX_NAME_CHARS);
        this.#setVariable(name, given === 0 ? undefined : this.#read(at, length).slice());
      },
    };
    const exported = linkKernel(lane);
    this.#exports = exported;
    const abi = Object.fromEntries(ABI.map((name) => [name, exported[name]]));
    this.env = { ...abi, length_unsafe: exported.length, log_trace: exported.log_debug };
    this.user = {
      host_call: exported.host_call,
      random: exported.random,
      now: () => (this.#call as EngineCall).now(),
    };
  }

  /** Errors: an `Ending` when the lane has no room for the input. */
  begin(call: EngineCall, memory: WebAssembly.Memory | undefined): void {
    const { input } = call;
    this.#call = call;
    this.#memory ??= memory;
    this.#ending = undefined;
    this.#headers = undefined;
    const needed = input.byteLength + REGION_OVERHEAD_BYTES;
    if (this.#region && this.#region.bytes < needed) {
      this.arena.give(this.#region, 0);
      this.#region = undefined;
    }
    this.#region ??= this.arena.take(needed);
    if (!this.#region) throw new Ending("out_of_memory", "out_of_memory", "the lane has no room for the input");
    const { base, bytes } = this.#region;
    this.arena.bytes.set(input, base + this.#tell(RESET, base, bytes, input.byteLength));
  }

  /** A module that brings a memory of its own: it counts when it is exported, and is held by its own maximum else. */
  watch(exports: Readonly<Record<string, unknown>>): void {
    if (this.#memory) return;
    const memory = Object.values(exports).find((e) => Object.prototype.toString.call(e) === MEMORY_TAG);
    this.#memory = memory as WebAssembly.Memory | undefined;
  }

  /** The guest returned. */
  end(code: number): EngineEnd {
    const call = this.#call as EngineCall;
    call.onMemory(this.heldBytes);
    if (this.#ending) return ended(this.#ending);
    const length = this.#tell(OUTPUT_LENGTH);
    return endOfReturn(call, {
      ...{ code, error: this.#error(), outputBytes: length >>> 0 },
      output: () => this.#read(this.#tell(OUTPUT_AT), length).slice(),
    });
  }

  /** The guest was thrown out of. */
  broken(thrown: unknown): EngineEnd {
    const call = this.#call as EngineCall;
    const heldBytes = this.heldBytes;
    call.onMemory(heldBytes);
    return this.#ending ? ended(this.#ending) : endOfThrow(call, thrown, heldBytes, this.#error());
  }

  /** The call is over: whatever the guest left in its blocks is zeroed. The variables stay, for another call of it. */
  wipe(): void {
    const region = this.#region;
    this.#call = undefined;
    this.#headers = undefined;
    if (!region) return;
    const dirtyBytes = Math.min(this.#highBytes, region.bytes);
    if (region.bytes > KEPT_REGION_BYTES) {
      this.arena.give(region, dirtyBytes);
      this.#region = undefined;
    } else this.arena.bytes.fill(0, region.base, region.base + dirtyBytes);
  }

  /** The guest is over: the next one finds a kernel as new. */
  forget(): void {
    this.wipe();
    this.#memory = undefined;
    this.#vars = undefined;
    this.#varsBytes = 0;
  }

  /** The kernel itself will not be used again. */
  release(): void {
    if (this.#region) this.arena.give(this.#region, 0);
    this.#region = undefined;
  }

  /** Linear memory, blocks and variables. */
  get heldBytes(): number {
    return (this.#memory?.buffer.byteLength ?? 0) + this.#highBytes + this.#varsBytes;
  }

  /** The end of the furthest block that there ever was in this call. */
  get #highBytes(): number {
    return this.#tell(HIGH) >>> 0;
  }

  #tell(what: number, a = 0, b = 0, c = 0): number {
    return this.#exports.tell(what, a, b, c);
  }

  get #base(): number {
    return (this.#region as Region).base;
  }

  /** The kernel has checked that the span lies within the blocks; it is no longer true after the next block. */
  #read(at: number, length: number): Uint8Array<ArrayBuffer> {
    if (length === 0) return EMPTY;
    const from = this.#base + (at >>> 0);
    return this.arena.bytes.subarray(from, from + (length >>> 0));
  }

  #store(bytes: Uint8Array): number {
    if (bytes.byteLength > MAX_BLOCK_BYTES) this.#refuse(2, BigInt(bytes.byteLength));
    const at = this.#tell(TAKE, bytes.byteLength) >>> 0;
    this.arena.bytes.set(bytes, this.#base + at);
    return at;
  }

  #error(): Uint8Array | undefined {
    const at = this.#tell(ERROR_AT);
    return at === 0 ? undefined : this.#read(at, this.#tell(ERROR_LENGTH));
  }

  #grow(endBytes: number): void {
    const call = this.#call as EngineCall;
    const { memoryMaxBytes } = call;
    const held = (this.#memory?.buffer.byteLength ?? 0) + this.#varsBytes;
    if (held + endBytes > memoryMaxBytes) {
      call.onMemory(this.heldBytes);
      const message = `blocks of ${endBytes} bytes beside ${held} are over the cap of ${memoryMaxBytes} bytes`;
      throw this.#endBy(new Ending("out_of_memory", "out_of_memory", message));
    }
    const old = this.#region as Region;
    const region = this.arena.take(endBytes);
    if (!region)
      throw this.#endBy(new Ending("out_of_memory", "out_of_memory", "the lane has no room for more blocks"));
    const usedBytes = Math.min(this.#highBytes, old.bytes);
    this.arena.bytes.copyWithin(region.base, old.base, old.base + usedBytes);
    this.arena.give(old, usedBytes);
    this.#region = region;
    this.#tell(MOVE, region.base, region.bytes);
  }

  #refuse(what: number, value: bigint): never {
    const unsigned = BigInt.asUintN(64, value);
    if (what === 2) {
      const message = `a block of ${unsigned} bytes is over the cap`;
      throw this.#endBy(new Ending("out_of_memory", "out_of_memory", message));
    }
    const reasons = [`there is nothing at address ${unsigned}`, `there is no block at ${unsigned}`];
    const message = reasons[what] ?? `output of ${unsigned} bytes is no block`;
    throw this.#endBy(new Ending("trap", "trap", message));
  }

  #hostCall(nameAt: number, nameLength: number, at: number, length: number): Promise<number> {
    const name = start(this.#read(nameAt, nameLength), MAX_NAME_CHARS);
    return this.#host(name, this.#read(at, length)).then(this.#storing, this.#endingBy);
  }

  /** Extism's own HTTP lands in the host function `http`; that has the grants. */
  async #http(at: number, length: number, bodyAt: number, bodyLength: number): Promise<number> {
    const asked = this.#parse(this.#read(at, length));
    const method = asked.method === undefined ? "GET" : String(asked.method);
    const body = bodyLength === 0 ? undefined : this.#read(bodyAt, bodyLength);
    const question = httpQuestion(String(asked.url), method, asked.headers ?? {}, body);
    const answer = await this.#host("http", question).catch(this.#endingBy);
    try {
      const { status, headers, body: bytes } = readHttpAnswer(answer);
      this.#tell(STATUS, status);
      this.#headers = headers;
      return this.#store(bytes);
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
  }

  #parse(bytes: Uint8Array): Readonly<Record<string, unknown>> {
    if (bytes.byteLength > MAX_HTTP_HEAD_BYTES) {
      const message = `URL and headers of a request have ${bytes.byteLength} bytes; at most ${MAX_HTTP_HEAD_BYTES}`;
      throw this.#endBy(new Ending("guest_error", "too_large", message));
    }
    try {
      return JSON.parse(text(bytes)) as Readonly<Record<string, unknown>>;
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
  }

  #httpHeaders(): number {
    return this.#headers === undefined ? 0 : this.#store(new TextEncoder().encode(JSON.stringify(this.#headers)));
  }

  /** Not async, nor are its callers' closures made for each call: ten thousand guests may wait here. */
  #host(name: string, request: Uint8Array): Promise<Uint8Array> {
    const call = this.#call as EngineCall;
    call.onMemory(this.heldBytes);
    try {
      return call.host(name, request);
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
  }

  #log(level: number, at: number, length: number): void {
    const message = start(this.#read(at, length), MAX_MESSAGE_CHARS);
    try {
      (this.#call as EngineCall).log(LEVELS[level] ?? "info", message);
    } catch (thrown) {
      throw this.#endBy(thrown);
    }
  }

  #random(bytes: number): number {
    if (bytes < 0 || bytes > MAX_RANDOM_BYTES) {
      throw this.#endBy(new Ending("trap", "trap", `random takes 0 to ${MAX_RANDOM_BYTES} bytes`));
    }
    return this.#store((this.#call as EngineCall).random(bytes));
  }

  #setVariable(name: string, value: Uint8Array | undefined): void {
    const { memoryMaxBytes } = this.#call as EngineCall;
    this.#vars ??= new Map();
    const vars = this.#vars;
    const old = vars.get(name);
    if (old) this.#varsBytes -= old.byteLength + VARIABLE_OVERHEAD_BYTES;
    vars.delete(name);
    if (!value) return;
    const costBytes = value.byteLength + VARIABLE_OVERHEAD_BYTES;
    if (this.heldBytes + costBytes > memoryMaxBytes) {
      const message = `a variable of ${value.byteLength} bytes is over the cap of ${memoryMaxBytes} bytes`;
      throw this.#endBy(new Ending("out_of_memory", "out_of_memory", message));
    }
    vars.set(name, value);
    this.#varsBytes += costBytes;
  }

  /** What to throw so that the guest ends: a trap, which a guest with exception handling cannot catch. */
  #endBy(why: unknown): unknown {
    // What a nested step threw has its reason already.
    this.#ending ??= why instanceof Ending ? why : new Ending("trap", "trap", String(why));
    return trap();
  }
}
