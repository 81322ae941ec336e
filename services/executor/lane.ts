/**
 * A lane, inside: the worker thread that runs guests. It reaches the world only by messages to the main thread, which
 * come and go in batches. One message starts or resumes exactly one guest, and everything that guest then does until
 * it waits happens before the next message is taken up, so "who is on the CPU" is known at every moment.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Ending, type EngineEnd, type LogLevel, type RunGuest } from "./engine.ts";
import { Randomness } from "./randomness.ts";
import type { EngineName, Reuse } from "./sandbox.ts";
import { monotonicMs, Slice, TRANSFER_OVER_BYTES } from "./slice.ts";

export interface LaneData {
  readonly slice: SharedArrayBuffer;
  readonly engine: EngineName;
}

export interface StartMessage {
  readonly type: "start";
  readonly id: number;
  /** The number of one that was sent before, or itself. */
  readonly module: number | WebAssembly.Module;
  readonly export: string;
  readonly input: Uint8Array;
  /** By the clock of `monotonicMs`; a guest that would start later is skipped. */
  readonly startByMs: number;
  readonly memoryMaxBytes: number;
  readonly maxOutputBytes: number;
  readonly maxHostCalls: number;
  readonly reuse: Reuse | undefined;
  readonly maxGas: number | undefined;
  readonly nowMs: number;
  readonly seed: string;
}
export type ToLane =
  | StartMessage
  /** Sent once; the starts that follow name its number, until it is forgotten. */
  | { readonly type: "module"; readonly number: number; readonly module: WebAssembly.Module }
  | { readonly type: "forget"; readonly number: number }
  | { readonly type: "reply"; readonly id: number; readonly response: Uint8Array; readonly nowMs: number }
  /** Nobody wants the answer any more: end the guest at its next wait. */
  | { readonly type: "abandon"; readonly id: number };

interface Used {
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

/** Of one host call: an HTTP body of 16 MiB in base64, and some. The main thread, which all share, copies it. */
const MAX_REQUEST_BYTES = 24 << 20;

interface Waiting {
  resolve(response: Uint8Array): void;
  reject(ending: Ending): void;
}

/** One guest of this lane. */
class Resident {
  readonly start: StartMessage;
  waiting: Waiting | undefined;
  abandoned = false;
  nowMs: number;
  hostCalls = 0;
  cpuMs = 0;
  memoryPeakBytes = 0;
  constructor(start: StartMessage) {
    this.start = start;
    this.nowMs = start.nowMs;
  }
  get used(): Used {
    return { cpuMs: this.cpuMs, memoryPeakBytes: this.memoryPeakBytes };
  }
}

/** A guest that never held the CPU for longer may run before the answers of those before it have left. */
const QUICK_MS = 0.5;
const QUICK_RUNS = 50;
const port = parentPort;
if (!port) throw new Error("lane.ts runs as a worker thread");
const data = workerData as LaneData;
const slice = new Slice(data.slice);
/** Loaded only when it is used: the SDK takes longer to load than all the rest. */
const runGuest: RunGuest =
  data.engine === "sdk"
    ? (await import("./sdk-engine.ts")).runGuest
    : (await import("./kernel-engine.ts")).openKernelEngine();
const modules = new Map<number, WebAssembly.Module>();
const residents = new Map<number, Resident>();
/** What came and was not taken up, what was said and not sent. */
const inbox: ToLane[] = [];
let outbox: FromLane[] = [];
let outboxSinceMs = 0;
let transfers: ArrayBuffer[] = [];
/** By module: guests of it that ran without a long slice since the last one that had one. */
const quickRuns = new Map<number, number>();

/** `bytes` are given away. */
function post(message: FromLane, bytes?: Uint8Array): void {
  if (bytes && bytes.byteLength > TRANSFER_OVER_BYTES) transfers.push(bytes.buffer as ArrayBuffer);
  if (outbox.push(message) === 1) outboxSinceMs = monotonicMs();
}

function send(): void {
  if (outbox.length === 0) return;
  port?.postMessage(outbox, transfers);
  outbox = [];
  transfers = [];
}

port.on("message", (batch: readonly ToLane[]) => {
  inbox.push(...batch);
  work();
});

/** Takes up messages until a guest is on the CPU; called again when it has left it. */
function work(): void {
  for (let message = inbox.shift(); message; message = inbox.shift()) {
    if (take(message)) return;
  }
  send();
}

function leaveCpu(resident: Resident): void {
  const sliceMs = slice.leave();
  resident.cpuMs += sliceMs;
  const { module } = resident.start;
  if (typeof module === "number") quickRuns.set(module, sliceMs > QUICK_MS ? 0 : (quickRuns.get(module) ?? 0) + 1);
  // Not at once: the guest that waits from here on is still on the stack.
  queueMicrotask(work);
}

/** What others wait for leaves before a guest that may take long begins, or when it has waited long enough. */
function enterCpu(id: number, { module }: StartMessage): void {
  const quick = typeof module === "number" && (quickRuns.get(module) ?? 0) >= QUICK_RUNS;
  if (!quick || (outbox.length > 0 && monotonicMs() - outboxSinceMs > QUICK_MS)) send();
  slice.enter(id);
}

/** Returns whether a guest is on the CPU now. */
function take(message: ToLane): boolean {
  if (message.type === "start") return begin(message);
  if (message.type === "module") modules.set(message.number, message.module);
  if (message.type === "forget") {
    modules.delete(message.number);
    quickRuns.delete(message.number);
  }
  if (message.type !== "reply" && message.type !== "abandon") return false;
  const resident = residents.get(message.id);
  if (!resident) return false;
  const { waiting } = resident;
  if (message.type === "abandon") resident.abandoned = true;
  if (!waiting) return false;
  resident.waiting = undefined;
  enterCpu(message.id, resident.start);
  if (message.type === "reply") {
    resident.nowMs = message.nowMs;
    waiting.resolve(message.response);
  }
  // Rejecting unwinds and frees the guest's stack at once; a stack that is merely dropped stays allocated.
  else waiting.reject(new Ending("cancelled", "cancelled", "abandoned"));
  return true;
}

function begin(start: StartMessage): boolean {
  slice.begin();
  enterCpu(start.id, start);
  if (slice.sinceMs > start.startByMs) {
    slice.leave();
    post({ type: "done", id: start.id, end: "skipped", used: { cpuMs: 0, memoryPeakBytes: 0 } });
    return false;
  }
  void run(start);
  return true;
}

async function run(start: StartMessage): Promise<void> {
  const resident = new Resident(start);
  residents.set(start.id, resident);
  const randomness = new Randomness(start.seed);
  const end = await runGuest({
    module: typeof start.module === "number" ? (modules.get(start.module) as WebAssembly.Module) : start.module,
    export: start.export,
    input: start.input,
    memoryMaxBytes: start.memoryMaxBytes,
    maxOutputBytes: start.maxOutputBytes,
    reuse: start.reuse,
    maxGas: start.maxGas,
    onMemory(bytes) {
      if (bytes > resident.memoryPeakBytes) resident.memoryPeakBytes = bytes;
    },
    host: (name, request) => callHost(resident, name, request),
    now: () => resident.nowMs,
    random: (bytes) => randomness.draw(bytes),
    log(level, message) {
      countHostCall(resident);
      post({ type: "log", id: start.id, level, message });
    },
  });
  residents.delete(start.id);
  leaveCpu(resident);
  post({ type: "done", id: start.id, end, used: resident.used }, end.output);
}

function callHost(resident: Resident, name: string, request: Uint8Array): Promise<Uint8Array> {
  countHostCall(resident);
  if (request.byteLength > MAX_REQUEST_BYTES) {
    const message = `a request of ${request.byteLength} bytes to "${name}"; at most ${MAX_REQUEST_BYTES}`;
    throw new Ending("guest_error", "too_large", message);
  }
  const { id } = resident.start;
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  resident.waiting = { resolve, reject };
  leaveCpu(resident);
  post({ type: "host", id, name, request, used: resident.used }, request);
  return promise;
}

function countHostCall(resident: Resident): void {
  const { maxHostCalls } = resident.start;
  if (resident.abandoned) throw new Ending("cancelled", "cancelled", "abandoned");
  resident.hostCalls += 1;
  if (resident.hostCalls > maxHostCalls) {
    throw new Ending("guest_error", "exhausted", `more than ${maxHostCalls} host calls in one call`);
  }
}

post({ type: "ready" });
send();
