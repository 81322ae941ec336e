/**
 * What a lane and the main thread say to each other. Many messages cross as one batch of few values: structured clone
 * of an object for each costs more than the small guest it is about.
 */
import type { EngineEnd, LogLevel } from "./engine.ts";
import type { Reuse } from "./sandbox.ts";

/** Larger buffers are given to the other thread, smaller ones are copied into the batch. */
const TRANSFER_OVER_BYTES = 4_096;

export interface StartMessage {
  readonly type: "start";
  readonly id: number;
  /** The number of one that was sent before, or itself. */
  readonly module: number | WebAssembly.Module;
  readonly export: string;
  /** Good until the guest has begun. */
  readonly input: Uint8Array;
  /** By the clock of `monotonicMs`; a guest that would start later is skipped. */
  readonly startByMs: number;
  readonly memoryMaxBytes: number;
  readonly maxOutputBytes: number;
  readonly maxHostCalls: number;
  readonly reuse: Reuse | undefined;
  readonly maxGas: number | undefined;
  readonly nowMs: number;
  /** Empty: any. */
  readonly seed: string;
}
export type ToLane =
  | StartMessage
  /** Sent once; the starts that follow name its number, until it is forgotten. */
  | {
      readonly type: "module";
      readonly number: number;
      readonly module: WebAssembly.Module;
      /** See `EngineCall`. */
      readonly spareBytes: number | undefined;
    }
  | { readonly type: "forget"; readonly number: number }
  | { readonly type: "reply"; readonly id: number; readonly response: Uint8Array; readonly nowMs: number }
  /** Nobody wants the answer any more: end the guest at its next wait. */
  | { readonly type: "abandon"; readonly id: number };

export interface Used {
  readonly cpuMs: number;
  readonly memoryPeakBytes: number;
}
export type FromLane =
  | { readonly type: "ready" }
  | {
      readonly type: "host";
      readonly id: number;
      readonly name: string;
      readonly request: Uint8Array;
      readonly used: Used;
    }
  | { readonly type: "log"; readonly id: number; readonly level: LogLevel; readonly message: string }
  | { readonly type: "done"; readonly id: number; readonly end: EngineEnd | "skipped"; readonly used: Used };

/** Numbers, texts and bytes in the order in which they were written; modules, errors and large buffers as they are. */
export type Batch = readonly [
  numbers: Float64Array,
  texts: readonly string[],
  bytes: Uint8Array,
  values: readonly unknown[],
];

/** Kinds of message, in either direction. */
const KINDS = ["start", "module", "forget", "reply", "abandon", "ready", "host", "log", "done"] as const;
const kindOf = (type: (typeof KINDS)[number]) => KINDS.indexOf(type);
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
/** A writer that a crowd made larger is not kept so. */
const KEPT_NUMBERS = 16_384;
const KEPT_BYTES = 1 << 20;
const FIRST_NUMBERS = 256;
/** Where a number may be absent. */
const ABSENT = -1;

export class BatchWriter {
  #numbers = new Float64Array(FIRST_NUMBERS);
  #count = 0;
  #bytes = new Uint8Array(TRANSFER_OVER_BYTES);
  #byteCount = 0;
  /** Texts repeat: names of exports and host functions. */
  #texts: Map<string, number> = new Map();
  #values: unknown[] = [];
  #transfers: ArrayBuffer[] = [];

  get empty(): boolean {
    return this.#count === 0;
  }

  /** Empties it. */
  take(): { readonly batch: Batch; readonly transfers: ArrayBuffer[] } {
    const bytes = this.#bytes.slice(0, this.#byteCount);
    const batch = [this.#numbers.slice(0, this.#count), [...this.#texts.keys()], bytes, this.#values] as const;
    const transfers = this.#transfers;
    this.#count = 0;
    this.#byteCount = 0;
    if (this.#numbers.length > KEPT_NUMBERS) this.#numbers = new Float64Array(FIRST_NUMBERS);
    if (this.#bytes.byteLength > KEPT_BYTES) this.#bytes = new Uint8Array(TRANSFER_OVER_BYTES);
    if (this.#texts.size > 0) this.#texts = new Map();
    if (this.#values.length > 0) this.#values = [];
    if (transfers.length > 0) this.#transfers = [];
    return { batch, transfers };
  }

  number(value: number): void {
    if (this.#count === this.#numbers.length) {
      const larger = new Float64Array(this.#count * 2);
      larger.set(this.#numbers);
      this.#numbers = larger;
    }
    this.#numbers[this.#count] = value;
    this.#count += 1;
  }

  text(text: string): void {
    let at = this.#texts.get(text);
    if (at === undefined) {
      at = this.#texts.size;
      this.#texts.set(text, at);
    }
    this.number(at);
  }

  value(value: unknown): void {
    this.number(this.#values.push(value) - 1);
  }

  /** Copies them, unless they are large and `owned`: then they are gone here. */
  bytes(bytes: Uint8Array, owned = false): void {
    const { byteLength } = bytes;
    this.number(byteLength);
    if (byteLength > TRANSFER_OVER_BYTES) {
      const whole = owned && byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
      this.#transfers.push(whole.buffer as ArrayBuffer);
      this.value(whole);
      return;
    }
    const end = this.#byteCount + byteLength;
    if (end > this.#bytes.byteLength) {
      const larger = new Uint8Array(end * 2);
      larger.set(this.#bytes.subarray(0, this.#byteCount));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#byteCount);
    this.#byteCount = end;
  }
}

export class BatchReader {
  readonly #batch: Batch;
  #at = 0;
  #byteAt = 0;

  constructor(batch: Batch) {
    this.#batch = batch;
  }

  get more(): boolean {
    return this.#at < this.#batch[0].length;
  }

  number(): number {
    this.#at += 1;
    return this.#batch[0][this.#at - 1] as number;
  }

  text(): string {
    return this.#batch[1][this.number()] as string;
  }

  value(): unknown {
    return this.#batch[3][this.number()];
  }

  /** A view of what others of the batch see too: not to be kept, nor written to. */
  view(): Uint8Array {
    const byteLength = this.number();
    if (byteLength > TRANSFER_OVER_BYTES) return this.value() as Uint8Array;
    this.#byteAt += byteLength;
    return this.#batch[2].subarray(this.#byteAt - byteLength, this.#byteAt);
  }

  /** The reader's own. */
  bytes(): Uint8Array {
    const byteLength = this.number();
    if (byteLength > TRANSFER_OVER_BYTES) return this.value() as Uint8Array;
    this.#byteAt += byteLength;
    return this.#batch[2].slice(this.#byteAt - byteLength, this.#byteAt);
  }
}

export function writeToLane(out: BatchWriter, message: ToLane): void {
  out.number(kindOf(message.type));
  switch (message.type) {
    case "start":
      out.number(message.id);
      writeModule(out, message.module);
      out.text(message.export);
      out.bytes(message.input);
      out.number(message.startByMs);
      out.number(message.memoryMaxBytes);
      out.number(message.maxOutputBytes);
      out.number(message.maxHostCalls);
      out.number(message.reuse?.calls ?? ABSENT);
      if (message.reuse) out.text(message.reuse.key);
      out.number(message.maxGas ?? ABSENT);
      out.number(message.nowMs);
      out.text(message.seed);
      return;
    case "module":
      out.number(message.number);
      out.value(message.module);
      out.number(message.spareBytes ?? ABSENT);
      return;
    case "forget":
      out.number(message.number);
      return;
    case "reply":
      out.number(message.id);
      out.bytes(message.response);
      out.number(message.nowMs);
      return;
    case "abandon":
      out.number(message.id);
  }
}

export function readToLane(batch: BatchReader): ToLane {
  const type = KINDS[batch.number()];
  switch (type) {
    case "start":
      return {
        type,
        id: batch.number(),
        module: readModule(batch),
        export: batch.text(),
        input: batch.view(),
        startByMs: batch.number(),
        memoryMaxBytes: batch.number(),
        maxOutputBytes: batch.number(),
        maxHostCalls: batch.number(),
        reuse: readReuse(batch),
        maxGas: present(batch.number()),
        nowMs: batch.number(),
        seed: batch.text(),
      };
    case "module":
      return {
        type,
        number: batch.number(),
        module: batch.value() as WebAssembly.Module,
        spareBytes: present(batch.number()),
      };
    case "forget":
      return { type, number: batch.number() };
    case "reply":
      return { type, id: batch.number(), response: batch.view(), nowMs: batch.number() };
    case "abandon":
      return { type, id: batch.number() };
    default:
      throw new Error(`a lane is not told "${type}"`);
  }
}

/** An output is given away; a request is copied. */
export function writeFromLane(out: BatchWriter, message: FromLane): void {
  out.number(kindOf(message.type));
  switch (message.type) {
    case "ready":
      return;
    case "host":
      out.number(message.id);
      out.text(message.name);
      out.bytes(message.request);
      writeUsed(out, message.used);
      return;
    case "log":
      out.number(message.id);
      out.number(LEVELS.indexOf(message.level));
      out.text(message.message);
      return;
    case "done": {
      out.number(message.id);
      const { end } = message;
      if (end === "skipped" || end.outcome !== "ok") {
        out.number(1);
        out.value(end);
      } else {
        out.number(0);
        out.bytes(end.output, true);
        out.number(end.gas ?? ABSENT);
      }
      writeUsed(out, message.used);
    }
  }
}

export function readFromLane(batch: BatchReader): FromLane {
  const type = KINDS[batch.number()];
  switch (type) {
    case "ready":
      return { type };
    case "host":
      return { type, id: batch.number(), name: batch.text(), request: batch.bytes(), used: readUsed(batch) };
    case "log":
      return { type, id: batch.number(), level: LEVELS[batch.number()] ?? "info", message: batch.text() };
    case "done":
      return { type, id: batch.number(), end: readEnd(batch), used: readUsed(batch) };
    default:
      throw new Error(`a lane does not say "${type}"`);
  }
}

function writeModule(out: BatchWriter, module: number | WebAssembly.Module): void {
  if (typeof module === "number") {
    out.number(module);
    return;
  }
  out.number(ABSENT);
  out.value(module);
}

function readModule(batch: BatchReader): number | WebAssembly.Module {
  const number = batch.number();
  return number === ABSENT ? (batch.value() as WebAssembly.Module) : number;
}

function readReuse(batch: BatchReader): Reuse | undefined {
  const calls = batch.number();
  return calls === ABSENT ? undefined : { calls, key: batch.text() };
}

function readEnd(batch: BatchReader): EngineEnd | "skipped" {
  if (batch.number() === 1) return batch.value() as EngineEnd | "skipped";
  const output = batch.bytes();
  const gas = present(batch.number());
  return gas === undefined ? { outcome: "ok", output } : { outcome: "ok", output, gas };
}

function writeUsed(out: BatchWriter, { cpuMs, memoryPeakBytes }: Used): void {
  out.number(cpuMs);
  out.number(memoryPeakBytes);
}

const readUsed = (batch: BatchReader): Used => ({ cpuMs: batch.number(), memoryPeakBytes: batch.number() });

const present = (number: number) => (number === ABSENT ? undefined : number);
