/** Retry with exponential backoff and full jitter (the AWS rule: delay is uniform within [0, cap]). */
import { Fault } from "./fault.ts";
import { pause } from "./lifecycle.ts";

export interface RetryPolicy {
  /** Attempts in all, the first included. Infinity: until the signal aborts. */
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

export const briefly: RetryPolicy = { attempts: 5, firstDelayMs: 50, maxDelayMs: 2_000 };
export const forEver: RetryPolicy = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 100, maxDelayMs: 5_000 };

/** The delay before attempt `attempt + 1` (1 is the first), in milliseconds. Pure: `random` is within [0, 1). */
export function backoffMs(policy: RetryPolicy, attempt: number, random: number): number {
  const cap = Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(cap * (0.5 + random / 2));
}

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** Whether this failure is worth another attempt; default: the fault says so. */
  readonly again?: (fault: Fault) => boolean;
  readonly onRetry?: (fault: Fault, delayMs: number) => void;
}

/** Runs `work` until it succeeds, is not worth retrying, or the policy is spent; then throws the last fault. */
export async function retry<T>(policy: RetryPolicy, work: (attempt: number) => Promise<T>, options: RetryOptions = {}) {
  const again = options.again ?? ((fault: Fault) => fault.retryable);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await work(attempt)) as T;
    } catch (thrown) {
      const fault = Fault.from(thrown);
      if (attempt >= policy.attempts || options.signal?.aborted || !again(fault)) throw fault;
      const delayMs = fault.retryAfterMs ?? backoffMs(policy, attempt, Math.random());
      options.onRetry?.(fault, delayMs);
      if (!(await pause(delayMs, options.signal))) throw fault;
    }
  }
}
