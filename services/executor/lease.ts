/** The lease of a run: at most one executor works on it, and its fence says which attempt is the newest. */
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";

/** Renewals in one ttl: one may be lost on the way. */
const RENEWALS_PER_TTL = 3;
/** A lock may vanish a little before we think so: clocks and round trips. */
const SAFETY_PART = 0.1;

export interface Lease {
  /** Revision of the lock's `create`: of two attempts of one run the later one has the greater fence. */
  readonly fence: bigint;
  /** When the lease was granted, in milliseconds since the epoch: by the bus's own clock if that was asked for. */
  readonly grantedMs: number;
  /** Aborts as soon as the lease may be another's. */
  readonly lost: AbortSignal;
  /** Gives the lock back. Never fails: what is not given back, expires. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  readonly ttlMs: number;
  /** Who holds it, for people who look into the bucket. */
  readonly holder: string;
  /** Whether `grantedMs` must be by the bus's clock: the server is asked for it, and that it holds. */
  readonly timed?: boolean;
  /** Called after each renewal, to keep whatever else must be kept alive. Its failures are not the lease's. */
  readonly onRenew?: () => Promise<void>;
}

export type LeaseAnswer =
  | { readonly held: false; readonly lease: Lease }
  /** Another works on it, for `remainingMs` more at least unless it gives the lock back. */
  | { readonly held: true; readonly remainingMs: number };

/** `what` is any text: it becomes the key `run.<encoded>`. */
export async function takeLease(locks: Kv, what: string, options: LeaseOptions): Promise<LeaseAnswer> {
  const key = `run.${encodeKeyPart(what)}`;
  const value = Buffer.from(JSON.stringify({ holder: options.holder }));
  const askedMs = performance.now();
  let fence: bigint;
  try {
    fence = await locks.create(key, value);
  } catch (thrown) {
    if (Fault.from(thrown).code !== "exists") throw thrown;
    const entry = await locks.get(key);
    const ageMs = entry ? Date.now() - entry.createdMs : options.ttlMs;
    return { held: true, remainingMs: Math.min(options.ttlMs, Math.max(0, options.ttlMs - ageMs)) };
  }
  const lost = () => new Fault("conflict", `the lock of ${what} was lost as soon as it was taken`);
  let grantedMs = Date.now();
  if (options.timed) {
    const entry = await locks.get(key);
    if (entry?.revision !== fence) throw lost();
    grantedMs = entry.createdMs;
  }
  // The answer itself may have come late.
  if (isDoubtful(performance.now() - askedMs, options.ttlMs)) throw lost();
  return { held: false, lease: keep(locks, key, value, fence, grantedMs, askedMs, options) };
}

/** Whether a lease that was asked for or renewed so long ago may be over. */
const isDoubtful = (ageMs: number, ttlMs: number) => ageMs > ttlMs * (1 - SAFETY_PART);

function keep(
  locks: Kv,
  key: string,
  value: Uint8Array,
  fence: bigint,
  grantedMs: number,
  askedMs: number,
  { ttlMs, onRenew }: LeaseOptions,
): Lease {
  const lost = new AbortController();
  let revision = fence;
  let renewedMs = askedMs;
  const lose = (why: string) => lost.abort(new Fault("conflict", `the lease was lost: ${why}`));
  const renewal = background(
    async (signal) => {
      while (await pause(ttlMs / RENEWALS_PER_TTL, signal)) {
        const startedMs = performance.now();
        try {
          revision = await locks.update(key, value, revision);
          renewedMs = startedMs;
          await onRenew?.().catch(() => {});
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
      if (isDoubtful(ageMs, ttlMs)) lose(`not renewed for ${Math.round(ageMs)} ms`);
    },
    ttlMs / (RENEWALS_PER_TTL * 4),
  ).unref();
  return {
    fence,
    grantedMs,
    lost: lost.signal,
    async release() {
      clearInterval(watch);
      await renewal[Symbol.asyncDispose]();
      if (!lost.signal.aborted) await locks.delete(key, revision).catch(() => {});
    },
  };
}
