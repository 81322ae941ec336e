/** Dead letters of a queue: a stream of their own, and the mover that fills it with what was delivered too often. */
import type { StoredMsg } from "@nats-io/jetstream";
import { headers, nanos } from "@nats-io/transport-node";
import { Fault } from "../../kit/fault.ts";
import { background, pause } from "../../kit/lifecycle.ts";
import { encodeKeyPart } from "../keys.ts";
import { MAX_DEAD_LETTERS, MAX_REASON_CHARS } from "../options.ts";
import type { DeadLetter } from "../ports.ts";
import type { Link } from "./link.ts";
import { type Delivery, pull } from "./pull.ts";
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  ensureConsumer,
  ensureStream,
  RetentionPolicy,
  readThrough,
} from "./stores.ts";

export const ID_HEADER = "Millrace-Id";
const REASON_HEADER = "Millrace-Reason";
const MOVER = "mover";
const MOVER_BATCH = 64;
const MOVER_WAIT_MS = 10_000;
const MOVER_RETRY_MS = 250;
const MOVER_ACK_WAIT_MS = 30_000;

export interface DeadStream {
  /** Stores a dead letter; the caller then removes the message. `seq` is the message's own: a second try is a no-op. */
  bury(seq: number, id: string, body: Uint8Array, reason: string): Promise<void>;
  list(max: number): Promise<DeadLetter[]>;
  find(id: string): Promise<StoredMsg | undefined>;
  remove(seq: number): Promise<void>;
}

export async function openDeadStream(link: Link, queue: string): Promise<DeadStream> {
  const stream = `millrace_dead_${queue}`;
  const subject = (id: string) => `millrace.dead.${queue}.${encodeKeyPart(id)}`;
  await ensureStream(link, {
    name: stream,
    subjects: [`millrace.dead.${queue}.>`],
    max_msgs: MAX_DEAD_LETTERS,
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.Old,
  });
  return {
    async bury(seq, id, body, reason) {
      const given = headers();
      given.set(ID_HEADER, id);
      given.set(REASON_HEADER, encodeURIComponent(reason.slice(0, MAX_REASON_CHARS).toWellFormed()));
      await link.ask(() => link.js.publish(subject(id), body, { headers: given, msgID: `${seq}` }));
    },
    async list(max) {
      const found = await readThrough(link, stream, [`millrace.dead.${queue}.>`], DeliverPolicy.All, max);
      return found.map(({ headers: given, data, storedMs }) => ({
        id: given?.get(ID_HEADER) ?? "",
        body: data,
        reason: decodeURIComponent(given?.get(REASON_HEADER) ?? ""),
        deadMs: storedMs,
      }));
    },
    async find(id) {
      const query = { last_by_subj: subject(id) };
      return (await link.ask(() => link.jsm.streams.getMessage(stream, query))) ?? undefined;
    },
    async remove(seq) {
      await link.ask(() => link.jsm.streams.deleteMessage(stream, seq));
    },
  };
}

/**
 * JetStream leaves a message that was delivered too often where it is, and only says so in an advisory. Advisories
 * pass by like any event, so a stream of their own keeps them until one of the connections has moved the message.
 */
export async function startMover(link: Link, queue: string, stream: string, consumer: string, dead: DeadStream) {
  const advisories = `millrace_lapsed_${queue}`;
  await ensureStream(link, {
    name: advisories,
    subjects: [`$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.${stream}.${consumer}`],
    retention: RetentionPolicy.Workqueue,
    max_msgs: MAX_DEAD_LETTERS,
    discard: DiscardPolicy.Old,
  });
  await ensureConsumer(link, advisories, {
    durable_name: MOVER,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(MOVER_ACK_WAIT_MS),
  });
  const { jsm } = link;
  const move = async ({ data, reply }: Delivery) => {
    const { stream_seq: seq } = JSON.parse(new TextDecoder().decode(data)) as { stream_seq: number };
    const stored = await link.ask(() => jsm.streams.getMessage(stream, { seq }));
    if (stored) {
      await dead.bury(seq, stored.header.get(ID_HEADER), stored.data, "too many deliveries");
      await link.ask(() => jsm.streams.deleteMessage(stream, seq));
    }
    link.nc.publish(reply, "+ACK");
  };
  return background(
    async (stopping) => {
      const signal = AbortSignal.any([stopping, link.closing]);
      const request = { stream: advisories, consumer: MOVER, max: MOVER_BATCH, waitMs: MOVER_WAIT_MS, signal };
      while (!signal.aborted) {
        const moves: Promise<void>[] = [];
        const end = await pull(link, request, (advisory) => moves.push(move(advisory)));
        for (const done of await Promise.allSettled(moves)) {
          // The advisory was not acked, so it comes again after the mover's ack wait.
          if (done.status === "rejected") link.log.warn({ queue, fault: Fault.from(done.reason).message }, "not moved");
        }
        if (end === "lost") await pause(MOVER_RETRY_MS, signal);
      }
    },
    (fault) => link.log.error({ queue, fault: fault.message }, "the mover of dead letters ended"),
  );
}
