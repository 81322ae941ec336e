/** `publish`: events to whoever listens now, below the instance's own subject, at a bounded rate. */

import { EVENTS } from "../../../proto/names.ts";
import { isSubject } from "../../../proto/patterns.ts";
import type { Events } from "../../bus/ports.ts";
import { Fault, type Mistake } from "../../kit/fault.ts";
import type { Caller } from "../invocations.ts";
import { type Capability, readRequest } from "./functions.ts";

/** Of one event as JSON. */
export const MAX_EVENT_BYTES = 64 * 1_024;
/** Of one instance on one executor: this many at once, and then this many each second. */
export const EVENT_BURST = 200;
export const EVENTS_PER_SECOND = 100;
/** Instances whose rate is remembered; one that was silent for a while has its whole burst again anyway. */
const MAX_BUCKETS = 10_000;

interface Bucket {
  left: number;
  atMs: number;
}

/** For all instances of an executor. Errors of the results: `denied`, `invalid`, `too_large`, `exhausted`. */
export function publisher(events: Events, nowMs: () => number = () => performance.now()) {
  const buckets = new Map<string, Bucket>();
  const take = (instance: string) => {
    const now = nowMs();
    const known = buckets.get(instance) ?? { left: EVENT_BURST, atMs: now };
    const left = Math.min(EVENT_BURST, known.left + ((now - known.atMs) / 1_000) * EVENTS_PER_SECOND);
    buckets.delete(instance);
    buckets.set(instance, { left: Math.max(0, left - 1), atMs: now });
    if (buckets.size > MAX_BUCKETS) buckets.delete(buckets.keys().next().value as string);
    if (left >= 1) return;
    const message = `more than ${EVENTS_PER_SECOND} events a second (${EVENT_BURST} at once) by ${instance}`;
    throw new Fault("exhausted", message, { retryAfterMs: 1_000 / EVENTS_PER_SECOND });
  };
  return ({ subject: { instance, grants }, tally }: Caller): Capability =>
    async (bytes) => {
      const { subject, body = null } = readRequest("publish", bytes);
      if (typeof subject !== "string" || !isSubject(subject)) {
        const problem = `${JSON.stringify(subject)?.slice(0, 100)} is not a subject`;
        const mistake: Mistake = {
          field: "subject",
          problem,
          fix: "letters, digits, _ and -, in up to 8 dotted parts",
        };
        throw Fault.invalid("publish", [mistake]);
      }
      if (!grants.publish(subject)) {
        tally.denied();
        const fix = "the manifest must ask for it and the operator allow it";
        throw new Fault("denied", `publishing on ${JSON.stringify(subject)} is not granted; ${fix}`);
      }
      if (bytes.byteLength > 2 * MAX_EVENT_BYTES) throw tooLarge(bytes.byteLength);
      const event = Buffer.from(JSON.stringify(body));
      if (event.byteLength > MAX_EVENT_BYTES) throw tooLarge(event.byteLength);
      take(instance);
      await events.publish(`${EVENTS.guest}.${instance}.${subject}`, event);
      return {};
    };
}

const tooLarge = (bytes: number) => new Fault("too_large", `the event is ${bytes} bytes; at most ${MAX_EVENT_BYTES}`);
