/** One pull request to a consumer, told apart into messages and the way it ended. */
import { createInbox, type Msg, type MsgHdrs, nanos } from "@nats-io/transport-node";
import type { Link } from "./link.ts";

/** How much later than the server the client gives up on a request. */
const SLACK_MS = 2_000;
const DRAIN_TIMEOUT_MS = 1_000;

/**
 * filled: all that was asked for; empty: nothing more for now; lost: ended early, and messages may have been missed.
 */
export type PullEnd = "filled" | "empty" | "lost";

export interface PullRequest {
  readonly stream: string;
  readonly consumer: string;
  readonly max: number;
  /** 0: only what is there now. */
  readonly waitMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Delivery {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
  /** Acks go here. */
  readonly reply: string;
  /** 1 on the first delivery. */
  readonly deliveries: number;
  readonly streamSeq: number;
  /** Grows by one with every message of a consumer: a gap means one was missed. */
  readonly consumerSeq: number;
  /** When the stream stored it, milliseconds since the epoch. */
  readonly storedMs: number;
}

/** Hands each message on as it comes. Never throws: a server that is away is an end, too. */
export function pull(link: Link, request: PullRequest, onDelivery: (delivery: Delivery) => void): Promise<PullEnd> {
  const { stream, consumer, max, waitMs, signal } = request;
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve("empty");
    if (!link.isConnected()) return resolve("lost");
    const connection = link.connection();
    const inbox = createInbox();
    let taken = 0;
    let ended = false;
    const subscription = link.nc.subscribe(inbox, {
      callback: (error, message) => {
        if (error) return finish("lost");
        const code = statusOf(message);
        if (code === undefined) {
          taken += 1;
          onDelivery(readDelivery(message));
          if (taken === max) finish("filled");
        } else if (code === 404 || code === 408) finish("empty");
        // 100 is a heartbeat; 409 and 503 mean that the consumer or the server has gone.
        else if (code !== 100) finish("lost");
      },
    });
    const finish = (end: PullEnd) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      connection.removeEventListener("abort", broken);
      if (!subscription.isClosed()) subscription.unsubscribe();
      resolve(end);
    };
    // A request left open may have messages on their way: drain takes in what the server sent before it heard of it.
    const leave = (end: PullEnd) => {
      if (ended) return;
      setTimeout(() => finish(end), DRAIN_TIMEOUT_MS).unref();
      subscription.drain().then(
        () => finish(end),
        () => finish("lost"),
      );
    };
    const aborted = () => leave("empty");
    const broken = () => finish("lost");
    const timer = setTimeout(() => leave("lost"), waitMs + SLACK_MS);
    signal?.addEventListener("abort", aborted, { once: true });
    connection.addEventListener("abort", broken, { once: true });
    const body = waitMs === 0 ? { batch: max, no_wait: true } : { batch: max, expires: nanos(waitMs) };
    try {
      link.nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(body), { reply: inbox });
    } catch {
      finish("lost");
    }
  });
}

function statusOf(message: Msg): number | undefined {
  if (message.data.length > 0 || !message.headers?.code) return undefined;
  return message.headers.code;
}

/**
 * `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>[.<random>]`
 */
function readDelivery(message: Msg): Delivery {
  const reply = message.reply ?? "";
  const tokens = reply.split(".");
  const [deliveries, streamSeq, consumerSeq, stored] = tokens.slice(tokens.length === 9 ? 4 : 6);
  return {
    subject: message.subject,
    data: message.data,
    headers: message.headers,
    reply,
    deliveries: Number(deliveries),
    streamSeq: Number(streamSeq),
    consumerSeq: Number(consumerSeq),
    storedMs: Number(BigInt(stored ?? 0) / 1_000_000n),
  };
}
