/** A lane, seen from the main thread: its worker, the calls in it, their deadlines, and what the watchdog sees. */
import { Worker } from "node:worker_threads";
import { Fault } from "../kit/fault.ts";
import { within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { LaneData } from "./lane.ts";
import {
  type Batch,
  BatchReader,
  BatchWriter,
  type FromLane,
  readFromLane,
  type ToLane,
  writeToLane,
} from "./lane-messages.ts";
import type { CompiledModule } from "./module-cache.ts";
import type { EngineName, GuestCall, GuestError, GuestOutcome, GuestResult, Wear } from "./sandbox.ts";
import { monotonicMs, SLICE_BYTES, Slice } from "./slice.ts";

const BOOT_TIMEOUT_MS = 10_000;
/** A guest whose call is settled already may finish a slice this long before its lane is ended for it. */
const LINGER_MS = 50;
/** A lane that does not end an abandoned guest within this time, though idle by its own account, is broken. */
const DEAF_MS = 10_000;
/**
 * Ends a lane whose guests fill the JavaScript heap; blocks and linear memory lie outside it and have their own caps.
 */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 32, stackSizeMb: 4 };
/** Guests name host functions; what they make up is counted under one name past this many. */
const MAX_HOST_NAMES = 32;
/** Longer timers fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const PAGE_BYTES = 65_536;
const EMPTY = new Uint8Array(0);
/** One for all: its stack would say nothing, and making one for each call costs as much as a small guest. */
const CALL_ENDED = new Fault("cancelled", "the guest call has ended");

/** Nothing of the guest ran: the call may be placed in another lane without anyone noticing. */
export const NOT_BEGUN = Symbol("not begun");
export type LaneAnswer = GuestResult | typeof NOT_BEGUN;

/** Why the watchdog wants a lane ended. */
export interface Verdict {
  readonly reason: string;
  readonly label: string;
  /** Of the guest that it is about; absent when the thread has ended already. */
  readonly call?: GuestCall;
}

const clockOf = ({ now }: GuestCall) => (now ? now() : Date.now());

interface Resident {
  readonly id: number;
  readonly call: GuestCall;
  readonly ordinal: number;
  readonly startedMs: number;
  /** Made with the first host call; most calls have none. */
  abort: AbortController | undefined;
  readonly deadline: NodeJS.Timeout;
  readonly cancel: () => void;
  readonly hostCalls: Map<string, number>;
  readonly resolve: (answer: LaneAnswer) => void;
  readonly reject: (fault: Fault) => void;
  readonly release: () => void;
  /** When the caller was answered. The guest may live on until its next wait. */
  settledMs: number | undefined;
  cpuMs: number;
  memoryPeakBytes: number;
  gas: number | undefined;
  bytesIn: number;
  bytesOut: number;
  lastHostFault: string | undefined;
}

export class LaneLink {
  /** Calls placed here and not gone yet, waiting for their module included. Kept by the pool. */
  load = 0;
  readonly #bornMs = monotonicMs();
  readonly #worker: Worker;
  readonly #slice: Slice;
  readonly #residents = new Map<number, Resident>();
  readonly #log: Logger;
  readonly #ready = Promise.withResolvers<void>();
  readonly #onBroken: (verdict: Verdict) => void;
  /** Numbers of the modules that the lane has. */
  readonly #modules = new Set<number>();
  readonly #outbox = new BatchWriter();
  #sent = 0;
  #served = 0;
  #lastId = 0;
  #ended: Promise<void> | undefined;

  /** `onBroken`: the thread died by itself; its calls are answered already. */
  constructor(engine: EngineName, log: Logger, onBroken: (verdict: Verdict) => void) {
    this.#log = log;
    this.#onBroken = onBroken;
    const memory = new SharedArrayBuffer(SLICE_BYTES);
    this.#slice = new Slice(memory);
    this.#worker = new Worker(new URL("./lane.ts", import.meta.url), {
      workerData: { slice: memory, engine } satisfies LaneData,
      env: {},
      argv: [],
      execArgv: ["--disable-warning=ExperimentalWarning"],
      resourceLimits: RESOURCE_LIMITS,
      name: "lane",
    });
    this.#worker.on("message", (batch: Batch) => {
      const messages = new BatchReader(batch);
      while (messages.more) this.#receive(readFromLane(messages));
    });
    this.#worker.on("error", (error) => this.#died(error as Error));
    this.#worker.on("exit", () => this.#died(new Error("the thread exited")));
  }

  get dead(): boolean {
    return this.#ended !== undefined;
  }

  /** A guest has held the CPU for a while: what is sent here now has to wait for it. */
  get busy(): boolean {
    const slice = this.#slice.current();
    return slice !== undefined && monotonicMs() - slice.sinceMs > 10;
  }

  /** Whether it has served so many calls, or lived so long. */
  isWorn({ calls, ageMs }: Wear): boolean {
    return this.#served >= calls || monotonicMs() - this.#bornMs >= ageMs;
  }

  /** Errors: `deadline`, `unavailable` when the thread does not start. */
  ready(): Promise<void> {
    return within(BOOT_TIMEOUT_MS, "starting a lane", this.#ready.promise);
  }

  /**
   * `keep`: more calls of the module may come. `release` is called once the guest has left the thread, which may be
   * later than the answer.
   */
  run(module: CompiledModule, keep: boolean, call: GuestCall, release: () => void): Promise<LaneAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<LaneAnswer>();
    this.#served += 1;
    this.#sent = (this.#sent + 1) | 0;
    this.#lastId = (this.#lastId + 1) | 0;
    const startedMs = monotonicMs();
    const resident: Resident = {
      id: this.#lastId,
      call,
      ordinal: this.#sent,
      startedMs,
      abort: undefined,
      deadline: setTimeout(() => this.#expire(resident), Math.min(call.deadlineMs, MAX_TIMER_MS)),
      cancel: () => this.#abandon(resident, "cancelled", "the call was cancelled"),
      hostCalls: new Map(),
      resolve,
      reject,
      release,
      settledMs: undefined,
      cpuMs: 0,
      memoryPeakBytes: 0,
      gas: undefined,
      bytesIn: call.input.byteLength,
      bytesOut: 0,
      lastHostFault: undefined,
    };
    this.#residents.set(resident.id, resident);
    call.signal?.addEventListener("abort", resident.cancel, { once: true });
    if (keep && !this.#modules.has(module.number)) {
      this.#modules.add(module.number);
      this.#post({ type: "module", ...module });
    }
    this.#post({
      type: "start",
      id: resident.id,
      module: keep ? module.number : module.module,
      export: call.export,
      input: call.input,
      startByMs: startedMs + call.deadlineMs,
      memoryMaxBytes: call.memoryMaxPages * PAGE_BYTES,
      maxOutputBytes: call.maxOutputBytes,
      maxHostCalls: call.maxHostCalls,
      reuse: call.reuse,
      maxGas: call.maxGas,
      nowMs: clockOf(call),
      seed: call.seed ?? "",
    });
    return promise;
  }

  forget(number: number): void {
    if (this.#modules.delete(number)) this.#post({ type: "forget", number });
  }

  /** The watchdog's look: settles the call of a guest that is over its limits, and says whether the lane must end. */
  judge(): Verdict | undefined {
    const nowMs = monotonicMs();
    const slice = this.#slice.current();
    const resident = slice && this.#residents.get(slice.guest);
    if (slice && resident) {
      const { call, settledMs } = resident;
      const cpuLimitMs = call.cpuMs ?? call.deadlineMs;
      const elapsedMs = nowMs - slice.sinceMs;
      if (elapsedMs > cpuLimitMs) {
        const message = `held the CPU longer than ${cpuLimitMs} ms`;
        this.#fail(resident, "cpu_exceeded", { code: "cpu_exceeded", message, retryable: false });
        return { reason: message, label: call.label, call };
      }
      if (settledMs !== undefined && nowMs - settledMs > LINGER_MS && elapsedMs > LINGER_MS) {
        return { reason: "held the CPU after its call had ended", label: call.label, call };
      }
      return undefined;
    }
    for (const { settledMs, call } of this.#residents.values()) {
      if (!slice && settledMs !== undefined && nowMs - settledMs > DEAF_MS) {
        return { reason: "did not answer", label: call.label, call };
      }
    }
    return undefined;
  }

  /** Ends the thread. Calls that began are refused with `fault`, the others can be placed again. Resolves when gone. */
  end(fault: Fault): Promise<void> {
    this.#ended ??= this.#worker.terminate().then(() => undefined);
    this.#ready.reject(fault);
    for (const resident of this.#residents.values()) {
      const begun = this.#slice.hasBegun(resident.ordinal);
      this.#settle(resident, () => (begun ? resident.reject(fault) : resident.resolve(NOT_BEGUN)));
    }
    this.#residents.clear();
    return this.#ended;
  }

  #receive(message: FromLane): void {
    if (message.type === "ready") {
      this.#ready.resolve();
      return;
    }
    const resident = this.#residents.get(message.id);
    if (!resident) return;
    if (message.type === "log") {
      const request = new TextEncoder().encode(JSON.stringify({ level: message.level, message: message.message }));
      this.#askHost(resident, "log", request).catch((thrown) =>
        this.#log.warn({ err: thrown }, "a guest's log line was lost"),
      );
      return;
    }
    resident.cpuMs = message.used.cpuMs;
    resident.memoryPeakBytes = message.used.memoryPeakBytes;
    if (message.type === "host") {
      void this.#answerHost(resident, message.name, message.request);
    } else {
      this.#residents.delete(resident.id);
      this.#finish(resident, message.end);
      resident.release();
    }
  }

  async #answerHost(resident: Resident, name: string, request: Uint8Array): Promise<void> {
    let response: Uint8Array;
    try {
      response = await this.#askHost(resident, name, request);
    } catch (thrown) {
      const { code, message, retryable } = Fault.from(thrown);
      resident.lastHostFault = code;
      response = new TextEncoder().encode(JSON.stringify({ error: { code, message, retryable } }));
    }
    if (resident.settledMs !== undefined || this.dead) return;
    resident.bytesIn += response.byteLength;
    this.#post({ type: "reply", id: resident.id, response, nowMs: clockOf(resident.call) });
  }

  async #askHost(resident: Resident, name: string, request: Uint8Array): Promise<Uint8Array> {
    const { call, hostCalls } = resident;
    const known = hostCalls.has(name) || (hostCalls.size < MAX_HOST_NAMES && name.length <= 64);
    const counted = known ? name : "(other)";
    hostCalls.set(counted, (hostCalls.get(counted) ?? 0) + 1);
    resident.bytesOut += request.byteLength;
    if (resident.settledMs !== undefined) throw CALL_ENDED;
    resident.abort ??= new AbortController();
    return await call.host(name, request, resident.abort.signal);
  }

  #finish(resident: Resident, end: Extract<FromLane, { type: "done" }>["end"]): void {
    const { label } = resident.call;
    if (end === "skipped") {
      this.#refuse(resident, new Fault("unavailable", `${label} was not begun in time: its lane was busy`));
      return;
    }
    const { outcome, output, error } = end;
    resident.gas = end.gas;
    if (outcome === "exhausted") {
      this.#refuse(resident, new Fault("exhausted", `no room for another instance: ${error?.message}`));
      return;
    }
    if (outcome === "ok") {
      resident.bytesOut += output.byteLength;
      this.#settle(resident, () => resident.resolve({ outcome, output, usage: this.#usageOf(resident) }));
      return;
    }
    const said = error ?? { code: outcome, message: outcome, retryable: false };
    const fromHost = outcome === "guest_error" && said.code === resident.lastHostFault;
    this.#fail(resident, fromHost ? (said.code === "denied" ? "denied" : "host_error") : outcome, said);
  }

  #expire(resident: Resident): void {
    const { deadlineMs, label } = resident.call;
    if (this.#slice.hasBegun(resident.ordinal)) {
      this.#abandon(resident, "timeout", `did not end within ${deadlineMs} ms`);
    } else {
      const fault = new Fault("unavailable", `${label} was not begun within ${deadlineMs} ms: its lane was busy`);
      this.#refuse(resident, fault);
    }
  }

  #abandon(resident: Resident, outcome: "timeout" | "cancelled", message: string): void {
    this.#fail(resident, outcome, { code: outcome, message, retryable: false });
    this.#post({ type: "abandon", id: resident.id });
  }

  #fail(resident: Resident, outcome: GuestOutcome, error: GuestError): void {
    this.#settle(resident, () => resident.resolve({ outcome, output: EMPTY, error, usage: this.#usageOf(resident) }));
  }

  #refuse(resident: Resident, fault: Fault): void {
    this.#settle(resident, () => resident.reject(fault));
  }

  /** Answers the caller, once; aborts what host functions still do for this call. */
  #settle(resident: Resident, answer: () => void): void {
    if (resident.settledMs !== undefined) return;
    resident.settledMs = monotonicMs();
    clearTimeout(resident.deadline);
    resident.call.signal?.removeEventListener("abort", resident.cancel);
    resident.abort?.abort(CALL_ENDED);
    answer();
  }

  /** The thread ended, and not by us: its heap was full, or a defect of ours. */
  #died(error: Error): void {
    if (this.dead) return;
    const slice = this.#slice.current();
    const guilty = slice && this.#residents.get(slice.guest);
    const full = (error as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY";
    if (guilty && full) {
      this.#fail(guilty, "out_of_memory", {
        code: "out_of_memory",
        message: "filled the heap of its lane",
        retryable: false,
      });
    }
    const label = guilty?.call.label ?? "nobody";
    const reason = error.stack || String(error);
    void this.end(new Fault("unavailable", `the lane was ended by another guest (${label}): ${reason}`));
    this.#onBroken({ reason, label });
  }

  /** Everything of one turn of the loop leaves together. Bytes are copied: the host may keep them. */
  #post(message: ToLane): void {
    if (this.dead) return;
    if (this.#outbox.empty) setImmediate(() => this.#send());
    writeToLane(this.#outbox, message);
  }

  #send(): void {
    if (this.dead) return;
    const { batch, transfers } = this.#outbox.take();
    this.#worker.postMessage(batch, transfers);
  }

  #usageOf(resident: Resident): GuestResult["usage"] {
    const { memoryPeakBytes, gas, hostCalls, bytesIn, bytesOut, startedMs } = resident;
    const nowMs = monotonicMs();
    const slice = this.#slice.current();
    const cpuMs = resident.cpuMs + (slice?.guest === resident.id ? nowMs - slice.sinceMs : 0);
    const wallMs = nowMs - startedMs;
    const used = { wallMs, cpuMs, memoryPeakBytes, hostCalls: Object.fromEntries(hostCalls), bytesIn, bytesOut };
    return gas === undefined ? used : { ...used, gas };
  }
}
