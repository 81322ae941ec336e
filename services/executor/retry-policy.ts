/** Whether a failed run is worth another attempt, and when. Pure. */
import { backoffMs, type RetryPolicy } from "../kit/retry.ts";
import type { Outcome } from "../results/results.ts";
import type { GuestError } from "./sandbox.ts";

const BACKOFF: RetryPolicy = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 1_000, maxDelayMs: 60_000 };
/** A source may ask for patience, but not for ever. */
const MAX_RETRY_AFTER_MS = 3_600_000;

export interface Failure {
  readonly outcome: Outcome;
  readonly error?: Pick<GuestError, "retryable" | "details"> | undefined;
}

/**
 * The delay before the next attempt in milliseconds, or undefined to give up. Worth it: a time-out, and an error that
 * says so itself. A trap, a denial or too much memory would only happen again.
 */
export function retryDelayMs(failure: Failure, failures: number, attempts: number, random: number): number | undefined {
  const { outcome, error } = failure;
  const again = outcome === "timeout" || (isError(outcome) && error?.retryable === true);
  if (!again || failures >= attempts) return undefined;
  return retryAfterMs(error?.details) ?? backoffMs(BACKOFF, failures, random);
}

const isError = (outcome: Outcome) => outcome === "guest_error" || outcome === "host_error";

/** `retry_after_ms` of an error's details. */
function retryAfterMs(details: unknown): number | undefined {
  const asked = (details as { retry_after_ms?: unknown } | null | undefined)?.retry_after_ms;
  return typeof asked === "number" && asked >= 0 ? Math.min(Math.round(asked), MAX_RETRY_AFTER_MS) : undefined;
}
