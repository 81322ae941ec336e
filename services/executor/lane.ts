/**
 * A lane, inside: the worker thread that runs guests. It reaches the world only by messages to the main thread. One
 * message starts or resumes exactly one guest, and everything that guest then does until it waits happens before the
 * next message is taken (only microtasks lie between), so "who is on the CPU" is known at every moment.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Ending, type EngineEnd, type LogLevel, type RunGuest } from "./engine.ts";
import { Randomness } from "./randomness.ts";
import type { EngineName } from "./sandbox.ts";
import { Slice } from "./slice.ts";

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
const post = (message: FromLane, transfer: ArrayBufferLike[] = []) =>
  port.postMessage(message, transfer as ArrayBuffer[]);

port.on("message", (message: ToLane) => {
  if (message.type === "start") return void run(message);
  if (message.type === "module") return void modules.set(message.number, message.module);
  if (message.type === "forget") return void modules.delete(message.number);
  const resident = residents.get(message.id);
  if (!resident) return;
  const { waiting } = resident;
  if (message.type === "abandon") resident.abandoned = true;
  if (!waiting) return;
  resident.waiting = undefined;
  slice.enter(message.id);
  if (message.type === "reply") {
    resident.nowMs = message.nowMs;
    waiting.resolve(message.response);
  }
  // Rejecting unwinds and frees the guest's stack at once; a stack that is merely dropped stays allocated.
  else waiting.reject(new Ending("cancelled", "cancelled", "abandoned"));
});

async function run(start: StartMessage): Promise<void> {
  slice.begin();
  slice.enter(start.id);
  if (slice.sinceMs > start.startByMs) {
    slice.leave();
    return post({ type: "done", id: start.id, end: "skipped", used: { cpuMs: 0, memoryPeakBytes: 0 } });
  }
  const resident = new Resident(start);
  residents.set(start.id, resident);
  const randomness = new Randomness(start.seed);
  const end = await runGuest({
    module: typeof start.module === "number" ? (modules.get(start.module) as WebAssembly.Module) : start.module,
    export: start.export,
    input: start.input,
    memoryMaxBytes: start.memoryMaxBytes,
    maxOutputBytes: start.maxOutputBytes,
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
  resident.cpuMs += slice.leave();
  const owned = end.output.byteLength > 0 ? [end.output.buffer] : [];
  post({ type: "done", id: start.id, end, used: resident.used }, owned);
}

function callHost(resident: Resident, name: string, request: Uint8Array): Promise<Uint8Array> {
  countHostCall(resident);
  const { id } = resident.start;
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  resident.waiting = { resolve, reject };
  resident.cpuMs += slice.leave();
  post({ type: "host", id, name, request, used: resident.used }, [request.buffer]);
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
