/** Who leads: a lease in kv, renewed while held, given back on a clean stop, taken over as soon as it lapses. */
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause, within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";

const KEY = "scheduler";

export type LeaseKv = Pick<Kv, "create" | "update" | "delete">;

/** What the lease is judged by. `nowMs` must not jump: a monotonic clock. */
export interface LeaseTiming {
  /** The ttl of the bucket. The holder stops acting well before, at two thirds of it. */
  readonly ttlMs: number;
  readonly nowMs: () => number;
}

export interface Leadership extends AsyncDisposable {
  /** Fence of the lease, growing from leader to leader; undefined while another leads, or nobody is sure. */
  readonly epoch: bigint | undefined;
}

interface Held {
  readonly epoch: bigint;
  revision: bigint;
  /** By the own clock: after this the lease may have lapsed, whatever the bus says later. */
  untilMs: number;
}

/** `name` tells people who leads; it need not be unique. Disposing gives the lease back. */
export function lead(kv: LeaseKv, name: string, { ttlMs, nowMs }: LeaseTiming, log: Logger): Leadership {
  const trustMs = Math.floor((ttlMs * 2) / 3);
  const renewMs = Math.floor(ttlMs / 5);
  const value = new TextEncoder().encode(JSON.stringify({ name }));
  let held: Held | undefined;

  const step = async () => {
    // The lease is counted from before the call: the bus cannot have started its ttl any earlier.
    const startMs = nowMs();
    if (held) {
      held.revision = await within(trustMs, "renewing the lease", kv.update(KEY, value, held.revision));
      held.untilMs = startMs + trustMs;
      return;
    }
    const epoch = await within(trustMs, "taking the lease", kv.create(KEY, value));
    held = { epoch, revision: epoch, untilMs: startMs + trustMs };
    log.info({ epoch: String(epoch) }, "leading");
  };
  const loop = background(
    async (signal) => {
      while (!signal.aborted) {
        await step().catch((thrown) => {
          const fault = Fault.from(thrown);
          const lost = held && (fault.code === "conflict" || nowMs() >= held.untilMs);
          if (lost) {
            held = undefined;
            log.warn({ reason: fault.message }, "lost the lead");
          } else if (fault.code !== "exists") log.warn({ reason: fault.message }, "cannot reach the lease");
        });
        await pause(renewMs, signal);
      }
    },
    (fault) => log.error({ err: fault }, "leadership ended"),
  );
  return {
    get epoch() {
      return held && nowMs() < held.untilMs ? held.epoch : undefined;
    },
    async [Symbol.asyncDispose]() {
      await loop[Symbol.asyncDispose]();
      const last = held;
      held = undefined;
      if (!last) return;
      await within(trustMs, "giving the lease back", kv.delete(KEY, last.revision)).catch((thrown) => {
        log.warn({ reason: Fault.from(thrown).message }, "the lease was not given back; it lapses by itself");
      });
    },
  };
}
