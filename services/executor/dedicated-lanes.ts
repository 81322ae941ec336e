/** Lanes of their own for plugins that ask for it (`isolation: dedicated`), opened with the first call. */
import { Fault } from "../kit/fault.ts";
import { LanePool } from "./lanes.ts";
import type { GuestCall, GuestResult, Sandbox, SandboxOptions, SandboxStats } from "./sandbox.ts";

/** Each is a lane and its spare, about 15 MB together. */
const MAX_OWNERS = 16;
/** Nobody called for so long: its lanes are ended. */
const IDLE_MS = 60_000;
const LOOK_EVERY_MS = 5_000;

interface Owned {
  readonly pool: Promise<LanePool>;
  running: number;
  usedMs: number;
}

/** Calls without `lane` share the lanes of one pool; every other has a pool of one lane by that name. */
export class DedicatedLanes implements Sandbox {
  readonly #options: SandboxOptions;
  readonly #shared: LanePool;
  readonly #owned = new Map<string, Owned>();
  readonly #look: NodeJS.Timeout;

  constructor(options: SandboxOptions, shared: LanePool) {
    this.#options = options;
    this.#shared = shared;
    this.#look = setInterval(() => this.#dropIdle(), LOOK_EVERY_MS);
    this.#look.unref();
  }

  async call(call: GuestCall): Promise<GuestResult> {
    if (call.lane === undefined) return this.#shared.call(call);
    const owned = this.#owned.get(call.lane) ?? this.#open(call.lane);
    owned.running += 1;
    try {
      return await (await owned.pool).call(call);
    } finally {
      owned.running -= 1;
      owned.usedMs = performance.now();
    }
  }

  /** Of the shared lanes. */
  free(): number {
    return this.#shared.free();
  }

  stats(): SandboxStats {
    return this.#shared.stats();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#look);
    const pools = [...this.#owned.values()].map(({ pool }) => close(pool));
    this.#owned.clear();
    await Promise.all([this.#shared[Symbol.asyncDispose](), ...pools]);
  }

  #open(lane: string): Owned {
    if (this.#owned.size >= MAX_OWNERS && !this.#dropLongestIdle()) {
      const message = `${MAX_OWNERS} plugins have a lane of their own already, and all are busy`;
      throw new Fault("exhausted", message, { retryAfterMs: 1_000 });
    }
    const pool = new LanePool({ ...this.#options, lanes: 1 });
    const owned: Owned = { pool: pool.ready().then(() => pool), running: 0, usedMs: performance.now() };
    this.#owned.set(lane, owned);
    owned.pool.catch(() => {
      if (this.#owned.get(lane) === owned) this.#owned.delete(lane);
    });
    return owned;
  }

  #dropIdle(): void {
    const sinceMs = performance.now() - IDLE_MS;
    for (const [lane, { running, usedMs }] of this.#owned) if (running === 0 && usedMs < sinceMs) this.#drop(lane);
  }

  #dropLongestIdle(): boolean {
    const idle = [...this.#owned].filter(([, { running }]) => running === 0);
    const [longest] = idle.sort(([, a], [, b]) => a.usedMs - b.usedMs);
    if (longest) this.#drop(longest[0]);
    return longest !== undefined;
  }

  #drop(lane: string): void {
    const owned = this.#owned.get(lane);
    this.#owned.delete(lane);
    if (owned) void close(owned.pool);
  }
}

/** One that did not start has ended its lanes already. */
async function close(pool: Promise<LanePool>): Promise<void> {
  const opened = await pool.catch(() => undefined);
  await opened?.[Symbol.asyncDispose]();
}
