/** The lock of a run, taken as an executor takes it: whoever holds it may write the run's rows under its fence. */
import { LOCK_TTL_MS } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";

/** Renewals in one ttl: one may be lost on the way. */
const RENEWALS_PER_TTL = 3;
/** A lock may vanish a little before we think so: clocks and round trips. */
const SAFETY_PART = 0.1;

/**
 * Renewed for as long as the work lasts. `lost` aborts as soon as the lock may be another's: what the work does from
 * then on may be superseded, for of two commits the greater fence counts, and must not be reported as done. Errors:
 * `conflict` when the run is being worked on, or when the lock was lost before the work ended.
 */
export async function withRunLock<T>(
  locks: Kv,
  runId: string,
  work: (fence: bigint, lost: AbortSignal) => Promise<T>,
  ttlMs = LOCK_TTL_MS,
): Promise<T> {
  const key = `run.${encodeKeyPart(runId)}`;
  const value = Buffer.from(JSON.stringify({ holder: "gateway" }));
  let renewedMs = performance.now();
  const fence = await locks.create(key, value).catch((thrown) => {
    if (Fault.from(thrown).code !== "exists") throw thrown;
    throw new Fault("conflict", `run ${runId} is being worked on; try again when it has ended`);
  });
  let revision = fence;
  const lost = new AbortController();
  const lose = (why: string) => lost.abort(new Fault("conflict", `the lock of run ${runId} was lost: ${why}`));
  const renewal = background(
    async (signal) => {
      while (await pause(ttlMs / RENEWALS_PER_TTL, signal)) {
        const startedMs = performance.now();
        try {
          revision = await locks.update(key, value, revision);
          renewedMs = startedMs;
        } catch (thrown) {
          const fault = Fault.from(thrown);
          if (fault.code === "conflict") return lose(fault.message);
          // Anything else may pass; the watch below knows when it has lasted too long.
        }
      }
    },
    (fault) => lose(fault.message),
  );
  // Not part of the loop: a bus that does not answer must not keep us from noticing.
  const watch = setInterval(
    () => {
      const ageMs = performance.now() - renewedMs;
      if (ageMs > ttlMs * (1 - SAFETY_PART)) lose(`not renewed for ${Math.round(ageMs)} ms`);
    },
    ttlMs / (RENEWALS_PER_TTL * 4),
  ).unref();
  try {
    const result = await work(fence, lost.signal);
    lost.signal.throwIfAborted();
    return result;
  } finally {
    clearInterval(watch);
    await renewal[Symbol.asyncDispose]();
    if (!lost.signal.aborted) await locks.delete(key, revision).catch(() => {});
  }
}
