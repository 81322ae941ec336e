/**
 * A lane, inside: the worker thread that runs guests. It reaches the world only by messages to the main thread, which
 * come and go in batches. One message starts or resumes exactly one guest, and everything that guest then does until
 * it waits happens before the next message is taken up, so "who is on the CPU" is known at every moment.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Ending, type Engine, type EngineCall, type LogLevel } from "./engine.ts";
import {
  type Batch,
  BatchReader,
  BatchWriter,
  type FromLane,
  readToLane,
  type StartMessage,
  type ToLane,
  type Used,
  writeFromLane,
} from "./lane-messages.ts";
import { newSeed, Randomness } from "./randomness.ts";
import type { EngineName, Reuse } from "./sandbox.ts";
import { monotonicMs, Slice } from "./slice.ts";
import { warmUp } from "./warm-up.ts";

export interface LaneData {
  readonly slice: SharedArrayBuffer;
  readonly engine: EngineName;
}

/** Of one host call: an HTTP body of 16 MiB in base64, and some. The main thread, which all share, copies it. */
const MAX_REQUEST_BYTES = 24 << 20;

/**
 * Of one call, and as much as any run may log: nothing leaves a lane while its guest computes, and what is said beyond
 * would only fill the heap until it is dropped.
 */
const MAX_LOG_LINES = 100_000;
const MAX_LOG_CHARS = 16 << 20;

interface Waiting {
  resolve(response: Uint8Array): void;
  reject(ending: Ending): void;
}

interface Known {
  readonly module: WebAssembly.Module;
  readonly spareBytes: number | undefined;
}

/** One guest of this lane, as its engine sees it. */
class Resident implements EngineCall {
  readonly id: number;
  readonly moduleNumber: number | undefined;
  readonly module: WebAssembly.Module;
  readonly spareBytes: number | undefined;
  readonly export: string;
  readonly input: Uint8Array;
  readonly memoryMaxBytes: number;
  readonly maxOutputBytes: number;
  readonly reuse: Reuse | undefined;
  readonly maxGas: number | undefined;
  readonly #maxHostCalls: number;
  readonly #seed: string;
  #randomness: Randomness | undefined;
  #hostCalls = 0;
  #logLines = 0;
  #logChars = 0;
  waiting: Waiting | undefined;
  abandoned = false;
  nowMs: number;
  cpuMs = 0;
  memoryPeakBytes = 0;

  constructor(start: StartMessage, { module, spareBytes }: Known) {
    this.id = start.id;
    this.moduleNumber = numberOf(start);
    this.module = module;
    this.spareBytes = spareBytes;
    this.export = start.export;
    this.input = start.input;
    this.memoryMaxBytes = start.memoryMaxBytes;
    this.maxOutputBytes = start.maxOutputBytes;
    this.reuse = start.reuse;
    this.maxGas = start.maxGas;
    this.nowMs = start.nowMs;
    this.#maxHostCalls = start.maxHostCalls;
    this.#seed = start.seed;
  }

  get used(): Used {
    return { cpuMs: this.cpuMs, memoryPeakBytes: this.memoryPeakBytes };
  }

  onMemory(bytes: number): void {
    if (bytes > this.memoryPeakBytes) this.memoryPeakBytes = bytes;
  }

  now(): number {
    return this.nowMs;
  }

  random(bytes: number): Uint8Array {
    this.#randomness ??= new Randomness(this.#seed || newSeed());
    return this.#randomness.draw(bytes);
  }

  log(level: LogLevel, message: string): void {
    this.#countHostCall();
    this.#logLines += 1;
    this.#logChars += message.length;
    if (this.#logLines > MAX_LOG_LINES || this.#logChars > MAX_LOG_CHARS) return;
    post({ type: "log", id: this.id, level, message });
  }

  /** The request is copied before this returns. */
  host(name: string, request: Uint8Array): Promise<Uint8Array> {
    this.#countHostCall();
    if (request.byteLength > MAX_REQUEST_BYTES) {
      const message = `a request of ${request.byteLength} bytes to "${name}"; at most ${MAX_REQUEST_BYTES}`;
      throw new Ending("guest_error", "too_large", message);
    }
    leaveCpu(this);
    post({ type: "host", id: this.id, name, request, used: this.used });
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  #countHostCall(): void {
    if (this.abandoned) throw new Ending("cancelled", "cancelled", "abandoned");
    this.#hostCalls += 1;
    if (this.#hostCalls > this.#maxHostCalls) {
      throw new Ending("guest_error", "exhausted", `more than ${this.#maxHostCalls} host calls in one call`);
    }
  }
}

const numberOf = ({ module }: StartMessage) => (typeof module === "number" ? module : undefined);

/** A guest that never held the CPU for longer may run before the answers of those before it have left. */
const QUICK_MS = 0.5;
const QUICK_RUNS = 50;
const port = parentPort;
if (!port) throw new Error("lane.ts runs as a worker thread");
const data = workerData as LaneData;
const slice = new Slice(data.slice);
/** Loaded only when it is used: the SDK takes longer to load than all the rest. */
const engine: Engine =
  data.engine === "sdk"
    ? (await import("./sdk-engine.ts")).openSdkEngine()
    : (await import("./kernel-engine.ts")).openKernelEngine();
const modules = new Map<number, Known>();
const residents = new Map<number, Resident>();
/** What came and was not taken up, what was said and not sent. */
const inbox: BatchReader[] = [];
const outbox = new BatchWriter();
let outboxSinceMs = 0;
let resting = false;
/** By module: guests of it that ran without a long slice since the last one that had one. */
const quickRuns = new Map<number, number>();

function post(message: FromLane): void {
  if (outbox.empty) outboxSinceMs = monotonicMs();
  writeFromLane(outbox, message);
}

function send(): void {
  if (outbox.empty) return;
  const { batch, transfers } = outbox.take();
  port?.postMessage(batch, transfers);
}

port.on("message", (batch: Batch) => {
  inbox.push(new BatchReader(batch));
  work();
});

/** Takes up messages until a guest is on the CPU; called again when it has left it. */
function work(): void {
  for (let batch = inbox[0]; batch; batch = inbox[0]) {
    while (batch.more) if (take(readToLane(batch))) return;
    inbox.shift();
  }
  send();
  rest();
}

/** Nobody waits for this lane: it makes ahead what it lacks, in pieces, until somebody does. */
function rest(): void {
  if (resting) return;
  resting = true;
  setImmediate(() => {
    resting = false;
    if (inbox.length === 0 && !slice.current() && engine.prepare()) rest();
  });
}

function leaveCpu(resident: Resident): void {
  const sliceMs = slice.leave();
  resident.cpuMs += sliceMs;
  const { moduleNumber } = resident;
  if (moduleNumber !== undefined) {
    quickRuns.set(moduleNumber, sliceMs > QUICK_MS ? 0 : (quickRuns.get(moduleNumber) ?? 0) + 1);
  }
  // Not at once: the guest that waits from here on is still on the stack.
  queueMicrotask(work);
}

/** What others wait for leaves before a guest that may take long begins, or when it has waited long enough. */
function enterCpu(id: number, moduleNumber: number | undefined): void {
  const quick = moduleNumber !== undefined && (quickRuns.get(moduleNumber) ?? 0) >= QUICK_RUNS;
  if (!quick || (!outbox.empty && monotonicMs() - outboxSinceMs > QUICK_MS)) send();
  slice.enter(id);
}

/** Returns whether a guest is on the CPU now. */
function take(message: ToLane): boolean {
  if (message.type === "start") return begin(message);
  if (message.type === "module") modules.set(message.number, message);
  if (message.type === "forget") {
    const known = modules.get(message.number);
    if (known) engine.forget(known.module);
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
  enterCpu(message.id, resident.moduleNumber);
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
  enterCpu(start.id, numberOf(start));
  if (slice.sinceMs > start.startByMs) {
    slice.leave();
    post({ type: "done", id: start.id, end: "skipped", used: { cpuMs: 0, memoryPeakBytes: 0 } });
    return false;
  }
  const { module } = start;
  const known = typeof module === "number" ? (modules.get(module) as Known) : { module, spareBytes: undefined };
  void run(new Resident(start, known));
  return true;
}

async function run(resident: Resident): Promise<void> {
  residents.set(resident.id, resident);
  const end = await engine.run(resident);
  residents.delete(resident.id);
  leaveCpu(resident);
  post({ type: "done", id: resident.id, end, used: resident.used });
}

await warmUp(engine.run);
post({ type: "ready" });
send();
