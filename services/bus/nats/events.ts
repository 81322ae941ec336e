/** Events over core NATS: no store, no ack. */
import { Fault } from "../../kit/fault.ts";
import { Backlog, readThen } from "../backlog.ts";
import { checkKey, checkSize, MAX_VALUE_BYTES } from "../keys.ts";
import { MAX_WAITING_EVENTS } from "../options.ts";
import type { BusEvent, Events } from "../ports.ts";
import type { Link } from "./link.ts";

const ROOT = "millrace.events";

export function natsEvents(link: Link): Events {
  return {
    async publish(subject, body) {
      checkKey(subject, "subject");
      checkSize(body, MAX_VALUE_BYTES, `event ${subject}`);
      // The client would keep it, and all that follow, in memory until the server is back.
      if (!link.isConnected()) throw new Fault("unavailable", `NATS at ${link.where}: not connected; reconnecting`);
      await link.ask(async () => link.nc.publish(`${ROOT}.${subject}`, body));
    },

    subscribe(subject, signal) {
      checkKey(subject, "subject");
      const ends = AbortSignal.any([signal, link.closing]);
      const backlog = new Backlog<BusEvent, BusEvent>({ limit: MAX_WAITING_EVENTS, signal: ends });
      if (ends.aborted) return backlog;
      const subscriptions = [`${ROOT}.${subject}`, `${ROOT}.${subject}.>`].map((filter) =>
        link.nc.subscribe(filter, {
          callback: (error, message) => {
            if (error) return backlog.end();
            const event = { subject: message.subject.slice(ROOT.length + 1), body: message.data };
            backlog.push(event, event);
          },
        }),
      );
      const leave = () => {
        for (const subscription of subscriptions) if (!subscription.isClosed()) subscription.unsubscribe();
      };
      ends.addEventListener("abort", leave, { once: true });
      return readThen(backlog, leave);
    },
  };
}
