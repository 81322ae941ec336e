/** The pool of lanes: admission, placing calls, the warm spare, and the watchdog that ends a lane held by its guest. */
import { setFlagsFromString } from "node:v8";
import { Fault } from "../kit/fault.ts";
import { pause, within } from "../kit/lifecycle.ts";
import { forEver, retry } from "../kit/retry.ts";
import { LaneLink, NOT_BEGUN, type Verdict } from "./lane-link.ts";
import { ModuleCache } from "./module-cache.ts";
import type { GuestCall, GuestResult, Sandbox, SandboxOptions, SandboxStats } from "./sandbox.ts";

/**
 * Set before any guest is compiled. With dynamic tiering V8 looks for interrupts in a loop of bulk memory operations
 * only now and then: on Node 26.10 a loop of `memory.fill` ends 2.6 s after `terminate()` with 1 MiB each and is alive
 * after 8 s with 16 MiB; without, 1, 16 and 64 MiB end in 4, 5 and 8 ms (test/bench/call.ts).
 */
const V8_FLAGS = ["--no-wasm-dynamic-tiering"];
/**
 * A timer on the main thread is enough: only this thread can end a lane, and a slice is timed by the lane itself, so a
 * late look never blames the innocent.
 */
const WATCH_EVERY_MS = 20;
const CLOSE_GRACE_MS = 10_000;
/** Ending a thread takes 1 to 10 ms; longer means a guest in one long bulk operation, and is worth a line. */
const SLOW_END_MS = 250;
/** Some constructs have no point at which V8 looks for interrupts: a row of bulk operations without a loop. */
const STUCK_MS = 5_000;

/**
 * A new spare is started so long after the one before took over: starting a thread takes a core for about 50 ms, and
 * the calls that waited for the lane come first. Spinners come further apart.
 */
const SPARE_DELAY_MS = 50;

interface Queued {
  readonly place: (lane: LaneLink) => void;
  readonly refuse: (fault: Fault) => void;
}

export class LanePool implements Sandbox {
  readonly #options: SandboxOptions;
  readonly #modules = new ModuleCache((number) => {
    for (const lane of [...this.#lanes, ...this.#retired]) lane.forget(number);
  });
  readonly #queue: Queued[] = [];
  readonly #booting = new Set<LaneLink>();
  /** Get no more calls, and end with their last. */
  readonly #retired = new Set<LaneLink>();
  readonly #endings = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #watch: NodeJS.Timeout;
  #lanes: LaneLink[] = [];
  #spare: LaneLink | undefined;
  #lanesKilled = 0;
  #lanesRecycled = 0;
  #running = 0;

  constructor(options: SandboxOptions) {
    for (const flag of V8_FLAGS) setFlagsFromString(flag);
    this.#options = options;
    this.#watch = setInterval(() => this.#look(), WATCH_EVERY_MS);
    this.#watch.unref();
  }

  /** Starts every lane and the spare. Errors: `deadline`, `unavailable`. */
  async ready(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: this.#options.lanes + 1 }, () => this.#boot()));
    } catch (thrown) {
      await this[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  free(): number {
    const room = this.#lanes.reduce((sum, lane) => sum + this.#options.callsPerLane - lane.load, 0);
    return this.#closing.signal.aborted ? 0 : Math.max(0, room - this.#queue.length);
  }

  stats(): SandboxStats {
    return {
      lanes: this.#lanes.length,
      running: this.#running,
      queued: this.#queue.length,
      lanesKilled: this.#lanesKilled,
      lanesRecycled: this.#lanesRecycled,
      modulesCached: this.#modules.size,
    };
  }

  async call(call: GuestCall): Promise<GuestResult> {
    for (;;) {
      if (call.signal?.aborted) return cancelled(call);
      const lane = await this.#room(call);
      if (!lane) return cancelled(call);
      this.#running += 1;
      try {
        const module = await this.#modules.get(call.module).catch((thrown) => {
          this.#leave(lane);
          throw thrown;
        });
        if (call.signal?.aborted) this.#leave(lane);
        else if (!lane.dead) {
          const answer = await lane.run(module, this.#modules.keeps(module.number), call, () => this.#leave(lane));
          if (answer !== NOT_BEGUN) return answer;
        }
      } finally {
        this.#running -= 1;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const fault = new Fault("unavailable", "the sandbox is closing");
    this.#closing.abort(fault);
    for (const { refuse } of this.#queue.splice(0)) refuse(fault);
    const endMs = performance.now() + (this.#options.closeGraceMs ?? CLOSE_GRACE_MS);
    while (this.#running > 0 && performance.now() < endMs) await pause(5);
    clearInterval(this.#watch);
    const lanes = [...this.#lanes, ...this.#retired, ...this.#booting, ...(this.#spare ? [this.#spare] : [])];
    this.#lanes = [];
    this.#retired.clear();
    this.#spare = undefined;
    await Promise.all([...lanes.map((lane) => this.#gone(lane.end(fault))), ...this.#endings]);
  }

  /** A lane with a place taken in it; waits for one in order. Undefined when cancelled meanwhile. */
  async #room(call: GuestCall): Promise<LaneLink | undefined> {
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
    const lane = call.nested ? this.#leastLoaded() : this.#queue.length === 0 && this.#emptiest();
    if (lane) {
      lane.load += 1;
      return lane;
    }
    const most = this.#options.maxQueued ?? this.#options.lanes * this.#options.callsPerLane;
    if (this.#queue.length >= most) {
      throw new Fault("exhausted", `${most} calls are waiting for a lane already`, { retryAfterMs: 100 });
    }
    const { promise, resolve, reject } = Promise.withResolvers<LaneLink | undefined>();
    const queued: Queued = { place: resolve, refuse: reject };
    this.#queue.push(queued);
    const leaveQueue = () => {
      const at = this.#queue.indexOf(queued);
      if (at >= 0) this.#queue.splice(at, 1);
      return at >= 0;
    };
    const late = setTimeout(() => {
      const fault = new Fault("exhausted", `${call.label} waited ${call.deadlineMs} ms for a lane`);
      if (leaveQueue()) reject(fault);
    }, call.deadlineMs);
    const cancel = () => leaveQueue() && resolve(undefined);
    call.signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(late);
      call.signal?.removeEventListener("abort", cancel);
    }
  }

  /** Least calls; a lane whose CPU is taken comes last. */
  #emptiest(): LaneLink | undefined {
    let best: LaneLink | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes) {
      if (lane.load >= this.#options.callsPerLane) continue;
      const rank = lane.load + (lane.busy ? this.#options.callsPerLane : 0);
      if (rank < bestRank) [best, bestRank] = [lane, rank];
    }
    return best;
  }

  /** Whether or not it has a place left. */
  #leastLoaded(): LaneLink | undefined {
    const rank = (lane: LaneLink) => lane.load + (lane.busy ? this.#options.callsPerLane : 0);
    return this.#lanes.reduce<LaneLink | undefined>((a, b) => (a && rank(a) <= rank(b) ? a : b), undefined);
  }

  #leave(lane: LaneLink): void {
    lane.load -= 1;
    this.#serveQueue();
  }

  #serveQueue(): void {
    while (this.#queue.length) {
      const lane = this.#emptiest();
      if (!lane) return;
      lane.load += 1;
      this.#queue.shift()?.place(lane);
    }
  }

  #look(): void {
    this.#modules.dropIdle();
    for (const lane of [...this.#lanes, ...this.#retired]) {
      const verdict = lane.judge();
      if (!verdict) continue;
      const ended = lane.end(new Fault("unavailable", `the lane was ended by another guest (${verdict.label})`));
      this.#lanesKilled += 1;
      this.#replace(lane);
      const noted = this.#note(ended, verdict).finally(() => this.#endings.delete(noted));
      this.#endings.add(noted);
    }
    this.#recycle();
  }

  /** One at a time, and only while another is ready to take over: whoever calls notices nothing. */
  #recycle(): void {
    const { wear } = this.#options;
    const worn = wear && this.#spare && this.#lanes.find((lane) => lane.isWorn(wear));
    if (worn) {
      this.#lanesRecycled += 1;
      this.#replace(worn);
      this.#retired.add(worn);
    }
    for (const lane of this.#retired) {
      if (lane.load > 0) continue;
      this.#retired.delete(lane);
      const ended: Promise<void> = this.#gone(lane.end(new Fault("unavailable", "the lane was recycled"))).then(() => {
        this.#endings.delete(ended);
      });
      this.#endings.add(ended);
    }
  }

  async #note(ended: Promise<void>, { label, reason, call }: Verdict): Promise<void> {
    const { log } = this.#options;
    const sinceMs = performance.now();
    const gone = await this.#gone(ended);
    const tookMs = Math.round(performance.now() - sinceMs);
    if (gone) return log[tookMs > SLOW_END_MS ? "error" : "warn"]({ label, reason, tookMs }, "a lane was ended");
    call?.onStuck?.();
    log.error({ label, reason, tookMs }, "a lane cannot be ended: its thread takes a core until the process ends");
  }

  /** Whether the thread ends; if not, it is left behind. */
  async #gone(ended: Promise<void>): Promise<boolean> {
    const stuckMs = this.#options.stuckMs ?? STUCK_MS;
    const gone = await within(stuckMs, "a thread", ended).then(
      () => true,
      () => false,
    );
    if (!gone) this.#options.onStuck?.();
    return gone;
  }

  #broken(lane: LaneLink, verdict: Verdict): void {
    this.#lanesKilled += 1;
    this.#options.log.warn(verdict, "a lane broke down");
    this.#replace(lane);
  }

  /** The spare takes over at once; a new spare is started behind it. */
  #replace(lane: LaneLink): void {
    // Another has its place already.
    if (this.#retired.delete(lane)) return;
    if (this.#spare === lane) this.#spare = undefined;
    this.#lanes = this.#lanes.filter((other) => other !== lane);
    this.#promote();
    if (this.#closing.signal.aborted) return;
    const onRetry = (fault: Fault, delayMs: number) =>
      this.#options.log.error({ err: fault, delayMs }, "a lane did not start");
    const options = { signal: this.#closing.signal, again: () => true, onRetry };
    const delayMs = this.#lanes.length < this.#options.lanes ? 0 : SPARE_DELAY_MS;
    const boot = async () => {
      if (await pause(delayMs, this.#closing.signal)) await retry(forEver, () => this.#boot(), options);
    };
    boot().catch((thrown) => {
      if (!this.#closing.signal.aborted) this.#options.log.error({ err: thrown }, "a lane was not replaced");
    });
  }

  #promote(): void {
    if (this.#spare && this.#lanes.length < this.#options.lanes) {
      this.#lanes.push(this.#spare);
      this.#spare = undefined;
    }
    this.#serveQueue();
  }

  async #boot(): Promise<void> {
    const lane: LaneLink = new LaneLink(this.#options.engine ?? "kernel", this.#options.log, (verdict) => {
      if (!this.#booting.has(lane)) this.#broken(lane, verdict);
    });
    this.#booting.add(lane);
    try {
      await lane.ready();
    } catch (thrown) {
      this.#endings.add(lane.end(Fault.from(thrown)));
      throw thrown;
    } finally {
      this.#booting.delete(lane);
    }
    if (this.#closing.signal.aborted) return lane.end(this.#closing.signal.reason);
    if (this.#spare === undefined) this.#spare = lane;
    else this.#lanes.push(lane);
    this.#promote();
  }
}

const NOTHING_USED = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: 0 };

function cancelled({ label }: GuestCall): GuestResult {
  const error = { code: "cancelled", message: `${label} was cancelled before it began`, retryable: false };
  return { outcome: "cancelled", output: new Uint8Array(0), error, usage: NOTHING_USED };
}
