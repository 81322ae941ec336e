/** The options of buckets and queues, checked alike by both adapters, and the limits that have no option. */
import { Fault, type Mistake } from "../kit/fault.ts";
import type { KvOptions, QueueOptions } from "./ports.ts";

/** Of each queue; then the oldest dead letter goes. */
export const MAX_DEAD_LETTERS = 100_000;
/** Of a reason for a dead letter, in characters; the rest is cut. */
export const MAX_REASON_CHARS = 1_000;
/** Of each subscription; then the oldest event goes. */
export const MAX_WAITING_EVENTS = 1_024;

/** NATS takes no shorter ttl or window. */
const MIN_WINDOW_MS = 100;

/** Returns the ttl, 0 for none. Errors: `invalid`. */
export function checkKvOptions({ ttlMs = 0 }: KvOptions): number {
  if (ttlMs !== 0) refuse("kv options", outOfRange("ttlMs", ttlMs, MIN_WINDOW_MS));
  return ttlMs;
}

/** Returns the options in a fixed order, so that two of them can be compared as text. Errors: `invalid`. */
export function checkQueueOptions(options: QueueOptions): QueueOptions {
  const { ackWaitMs, maxDeliveries, maxMessages, dedupWindowMs } = options;
  refuse("queue options", [
    ...outOfRange("ackWaitMs", ackWaitMs, 1),
    ...outOfRange("maxDeliveries", maxDeliveries, 1),
    ...outOfRange("maxMessages", maxMessages, 1),
    ...outOfRange("dedupWindowMs", dedupWindowMs, MIN_WINDOW_MS),
  ]);
  return { ackWaitMs, maxDeliveries, maxMessages, dedupWindowMs };
}

/** A whole number of at least `least`. Errors: `invalid`, naming `field`. */
export function checkWhole(value: number, least: number, field: string): void {
  refuse(field, outOfRange(field, value, least));
}

function outOfRange(field: string, value: number, least: number): Mistake[] {
  if (Number.isSafeInteger(value) && value >= least) return [];
  return [{ field, problem: `${value} is out of range`, fix: `a whole number, ${least} or more` }];
}

function refuse(what: string, mistakes: readonly Mistake[]): void {
  if (mistakes.length > 0) throw Fault.invalid(what, mistakes);
}
