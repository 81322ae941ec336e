/** What the neighbours of a hostile guest notice, and what it leaves behind. */
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { GuestCall, Sandbox } from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { pause } from "../../services/kit/lifecycle.ts";
import { encode, redispatch } from "./guest-call.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const MIB = 2 ** 20;
const GOOD_PAUSE_MS = 2;
/** A batch of good calls that is measured. */
const MEASURED = 100;

export const percentile = (sorted: readonly number[], part: number) =>
  sorted[Math.floor((sorted.length - 1) * part)] ?? 0;

/** Answers for everybody else, all the while: how long the good calls took, sorted, and what went wrong with them. */
export function neighbours(sandbox: Sandbox, good: GuestCall) {
  const stop = new AbortController();
  const tookMs: number[] = [];
  const failed: string[] = [];
  const loop = async () => {
    for (let i = 0; !stop.signal.aborted; i += 1) {
      const startedMs = performance.now();
      try {
        const result = await redispatch(sandbox, { ...good, input: encode(`good ${i}`) });
        if (Buffer.from(result.output).toString() !== `good ${i}`) failed.push(JSON.stringify(result.error));
      } catch (thrown) {
        failed.push(Fault.from(thrown).message);
      }
      tookMs.push(performance.now() - startedMs);
      await pause(GOOD_PAUSE_MS);
    }
  };
  const ended = loop();
  return {
    /** Good calls that were answered. */
    get answered() {
      return tookMs.length;
    },
    async end() {
      stop.abort();
      await ended;
      return { tookMs: tookMs.toSorted((a, b) => a - b), failed };
    },
  };
}

export interface Speed {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Of good calls, one after another. */
export async function speedOf(sandbox: Sandbox, good: GuestCall): Promise<Speed> {
  const tookMs: number[] = [];
  for (let i = 0; i < MEASURED; i += 1) {
    const startedMs = performance.now();
    await redispatch(sandbox, good);
    tookMs.push(performance.now() - startedMs);
  }
  tookMs.sort((a, b) => a - b);
  return { p50Ms: percentile(tookMs, 0.5), p99Ms: percentile(tookMs, 0.99) };
}

export interface Level {
  readonly rssMib: number;
  /** Of this thread: what is reachable, on its heap and in buffers beside it. */
  readonly heldMib: number;
  readonly threads: number;
  readonly descriptors: number;
}

export const threads = () => readdirSync("/proc/self/task").length;
export const descriptors = () => readdirSync("/proc/self/fd").length;

/** Once what can be collected is. */
export async function level(): Promise<Level> {
  // Buffers go one collection after those who held them.
  for (let round = 0; round < 3; round += 1) {
    collect();
    await pause(20);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  const heldMib = (heapUsed + external) / MIB;
  return { rssMib: rss / MIB, heldMib, threads: threads(), descriptors: descriptors() };
}
