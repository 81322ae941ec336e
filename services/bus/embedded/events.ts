/** Events within one process. */
import { Fault } from "../../kit/fault.ts";
import { Backlog, readThen } from "../backlog.ts";
import { checkKey, checkSize, isBelow, MAX_VALUE_BYTES } from "../keys.ts";
import { MAX_WAITING_EVENTS } from "../options.ts";
import type { BusEvent, Events } from "../ports.ts";

export class EmbeddedEvents implements Events {
  readonly #closing: AbortSignal;
  readonly #listeners = new Set<(event: BusEvent) => void>();

  constructor(closing: AbortSignal) {
    this.#closing = closing;
  }

  async publish(subject: string, body: Uint8Array): Promise<void> {
    checkKey(subject, "subject");
    checkSize(body, MAX_VALUE_BYTES, `event ${subject}`);
    if (this.#closing.aborted) throw new Fault("unavailable", "the bus is closed");
    const event = { subject, body: Uint8Array.from(body) };
    for (const listener of this.#listeners) listener(event);
  }

  subscribe(subject: string, signal: AbortSignal): AsyncIterable<BusEvent> {
    checkKey(subject, "subject");
    const ends = AbortSignal.any([signal, this.#closing]);
    const backlog = new Backlog<BusEvent, BusEvent>({ limit: MAX_WAITING_EVENTS, signal: ends });
    const listener = (event: BusEvent) => {
      if (isBelow(event.subject, subject)) backlog.push(event, event);
    };
    const leave = () => this.#listeners.delete(listener);
    if (!ends.aborted) this.#listeners.add(listener);
    ends.addEventListener("abort", leave, { once: true });
    return readThen(backlog, leave);
  }
}
