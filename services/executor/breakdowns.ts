/**
 * How the last guest calls of each version ended, over all executors: one ring in the bus for each version that breaks
 * down now and then, moved by compare-and-set. Versions that never break down have none, and their calls cost nothing.
 */
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { mirror } from "../kit/mirror.ts";

/** A ring that nobody added to for so long is forgotten. */
export const RING_TTL_MS = 24 * 3_600_000;
/** Calls of one version are added to its ring together, this often at most. */
const FLUSH_EVERY_MS = 250;
/** Executors that add to one ring at the same time; then what this one saw is dropped, as counting is no accounting. */
const MAX_CONFLICTS = 20;
const SYNC_MS = 30_000;
const GOOD = 0x2e;
const BROKE = 0x21;

export interface BreakdownRule {
  /** So many of the last `of` guest calls of a version. 0: never. */
  readonly failures: number;
  readonly of: number;
}

/** What made the ring overflow. */
export interface TooMany {
  readonly failures: number;
  readonly calls: number;
  /** Of the last breakdown. */
  readonly last: string;
}

export interface Breakdowns extends AsyncDisposable {
  /** A call of the version with this key ended; `broke` says how it broke down. */
  note(key: string, broke: string | undefined): void;
  /** What was seen of it does not count any more. */
  forget(key: string): void;
}

interface Options {
  readonly kv: Kv;
  readonly rule: BreakdownRule;
  /** Told once; the ring begins anew. */
  readonly onTooMany: (key: string, found: TooMany) => void;
  readonly log: Logger;
}

/** Resolves once the rings that stand are known. Errors: `deadline`. */
export async function openBreakdowns({ kv, rule, onTooMany, log }: Options): Promise<Breakdowns> {
  const seen = new Map<string, (string | undefined)[]>();
  /** Keys of the rings that stand. */
  const rings = mirror<true>(
    "breakdowns",
    async function* (signal) {
      for await (const change of kv.watch("", signal))
        yield change.type === "put" ? { ...change, value: true } : change;
    },
    log,
  );
  await rings.whenSynced(SYNC_MS);

  const flush = async (key: string, ends: readonly (string | undefined)[]) => {
    for (let conflict = 0; conflict < MAX_CONFLICTS; conflict += 1) {
      const entry = await kv.get(key);
      const ring = [...(entry?.value ?? [])];
      const found = added(ring, ends, rule);
      try {
        if (entry && (found || !ring.includes(BROKE))) await kv.delete(key, entry.revision);
        else if (entry) await kv.update(key, Uint8Array.from(ring), entry.revision);
        else if (!found && ring.includes(BROKE)) await kv.create(key, Uint8Array.from(ring));
        if (found) onTooMany(key, found);
        return;
      } catch (thrown) {
        const { code } = Fault.from(thrown);
        if (code !== "conflict" && code !== "exists") throw thrown;
        await pause(Math.random() * FLUSH_EVERY_MS);
      }
    }
  };
  const wake = { now: () => {} };
  const loop = background(
    async (signal) => {
      while (!signal.aborted) {
        if (seen.size === 0) {
          await new Promise<void>((resolve) => {
            wake.now = resolve;
            signal.addEventListener("abort", () => resolve(), { once: true });
          });
        }
        const batch = [...seen];
        seen.clear();
        await Promise.all(
          batch.map(([key, ends]) =>
            flush(key, ends).catch((thrown) =>
              log.debug({ err: Fault.from(thrown), version: key }, "breakdowns of a version were not counted"),
            ),
          ),
        );
        await pause(FLUSH_EVERY_MS, signal);
      }
    },
    (fault) => log.error({ err: fault }, "counting breakdowns ended"),
  );
  return {
    note(key, broke) {
      const waiting = seen.get(key);
      if (rule.failures === 0 || (broke === undefined && !waiting && !rings.get(key))) return;
      if (!waiting) seen.set(key, [broke]);
      else if (waiting.push(broke) > rule.of) waiting.shift();
      wake.now();
    },
    forget: (key) => void seen.delete(key),
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]();
      await rings[Symbol.asyncDispose]();
    },
  };
}

/** Adds to the ring, oldest first, up to where it overflows. */
function added(ring: number[], ends: readonly (string | undefined)[], rule: BreakdownRule): TooMany | undefined {
  for (const broke of ends) {
    ring.push(broke === undefined ? GOOD : BROKE);
    if (ring.length > rule.of) ring.shift();
    const failures = ring.filter((end) => end === BROKE).length;
    if (broke !== undefined && failures >= rule.failures) return { failures, calls: ring.length, last: broke };
  }
  return undefined;
}
