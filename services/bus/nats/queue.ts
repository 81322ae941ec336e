/** The work queue on JetStream: a work-queue stream that refuses when full, and one durable pull consumer. */
import { headers, nanos } from "@nats-io/transport-node";
import { Fault } from "../../kit/fault.ts";
import { pause } from "../../kit/lifecycle.ts";
import { checkMessageId, checkSize, MAX_VALUE_BYTES } from "../keys.ts";
import { checkWhole } from "../options.ts";
import type { Message, Queue, QueueOptions } from "../ports.ts";
import { type DeadStream, ID_HEADER, openDeadStream, startMover } from "./dead.ts";
import type { Link } from "./link.ts";
import { type Delivery, type PullEnd, pull } from "./pull.ts";
import { AckPolicy, DiscardPolicy, ensureConsumer, ensureStream, RetentionPolicy } from "./stores.ts";

const CONSUMER = "work";
/** After a crash the server may have forgotten a delivery; it then passes over the ack without a word. */
const ACK_TIMEOUT_MS = 2_000;
/** A pull longer than this is asked for anew, so that a server that forgot it costs no more. */
const MAX_PULL_MS = 20_000;
const LOST_RETRY_MS = 100;

/** Opens the queue and, for as long as the bus is open, the mover of its dead letters. */
export async function openQueue(link: Link, name: string, options: QueueOptions, stack: AsyncDisposableStack) {
  const stream = `millrace_queue_${name}`;
  const subject = `millrace.queue.${name}`;
  await ensureStream(link, {
    name: stream,
    subjects: [subject],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    max_msgs: options.maxMessages,
    duplicate_window: nanos(options.dedupWindowMs),
  });
  await ensureConsumer(link, stream, {
    durable_name: CONSUMER,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(options.ackWaitMs),
    max_deliver: options.maxDeliveries,
    // The stream's own limit bounds what is at work.
    max_ack_pending: -1,
  });
  const dead = await openDeadStream(link, name);
  stack.use(await startMover(link, name, stream, CONSUMER, dead));
  return new NatsQueue(link, name, stream, subject, dead);
}

class NatsQueue implements Queue {
  readonly #link: Link;
  readonly #name: string;
  readonly #stream: string;
  readonly #subject: string;
  readonly #dead: DeadStream;

  constructor(link: Link, name: string, stream: string, subject: string, dead: DeadStream) {
    this.#link = link;
    this.#name = name;
    this.#stream = stream;
    this.#subject = subject;
    this.#dead = dead;
  }

  async send(id: string, body: Uint8Array): Promise<boolean> {
    checkMessageId(id);
    checkSize(body, MAX_VALUE_BYTES, `message ${id}`);
    return this.#publish(id, body, id);
  }

  async pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]> {
    checkWhole(max, 1, "max");
    checkWhole(waitMs, 0, "waitMs");
    const ends = signal ? AbortSignal.any([signal, this.#link.closing]) : this.#link.closing;
    const endMs = performance.now() + waitMs;
    const taken: Message[] = [];
    const ask = (count: number, leftMs: number): Promise<PullEnd> => {
      const request = { stream: this.#stream, consumer: CONSUMER, max: count, waitMs: leftMs, signal: ends };
      return pull(this.#link, request, (delivery) => taken.push(this.#toMessage(delivery)));
    };
    for (;;) {
      if (this.#link.closing.aborted) throw new Fault("unavailable", `the bus at ${this.#link.where} is closed`);
      let end = await ask(max, 0);
      let leftMs = Math.floor(endMs - performance.now());
      if (taken.length > 0 || leftMs <= 0 || signal?.aborted) return taken;
      // A longer request for many would be held open until full, so: wait for one, then take what else is there.
      if (end !== "lost") end = await ask(1, Math.min(leftMs, MAX_PULL_MS));
      if (taken.length > 0) {
        if (max > 1) await ask(max - 1, 0);
        return taken;
      }
      leftMs = Math.floor(endMs - performance.now());
      if (end === "lost") await this.#afterLoss(Math.min(LOST_RETRY_MS, Math.max(leftMs, 0)), ends);
      if (leftMs <= 0 || signal?.aborted) return taken;
    }
  }

  async depth(): Promise<number> {
    return (await this.#link.ask(() => this.#link.jsm.streams.info(this.#stream))).state.messages;
  }

  async deadLetters(max: number) {
    checkWhole(max, 1, "max");
    return this.#dead.list(max);
  }

  async redrive(id: string): Promise<void> {
    checkMessageId(id);
    const found = await this.#dead.find(id);
    if (!found) throw new Fault("not_found", `no dead letter ${id} in queue ${this.#name}`);
    // An id of its own, for the first sending may still be within the window; the same one if tried twice.
    await this.#publish(id, found.data, `redrive ${found.seq}`);
    await this.#dead.remove(found.seq);
  }

  async #publish(id: string, body: Uint8Array, dedupId: string): Promise<boolean> {
    const given = headers();
    given.set(ID_HEADER, id);
    const options = { headers: given, msgID: dedupId };
    try {
      return !(await this.#link.ask(() => this.#link.js.publish(this.#subject, body, options))).duplicate;
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.code !== "exhausted") throw thrown;
      throw new Fault("exhausted", `queue ${this.#name} is full: ${thrown.message}`, { cause: thrown });
    }
  }

  #toMessage({ headers: given, data, deliveries, storedMs, streamSeq, reply }: Delivery): Message {
    const { nc } = this.#link;
    const id = given?.get(ID_HEADER) ?? "";
    // Every answer is confirmed by the server: a lost one would only show as a redelivery.
    const answer = async (verb: string) => {
      await this.#link.ask(() => nc.request(reply, verb, { timeout: ACK_TIMEOUT_MS }));
    };
    return {
      ...{ id, body: data, deliveries, sentMs: storedMs },
      ack: () => answer("+ACK"),
      nak: async (delayMs) => {
        checkWhole(delayMs, 0, "delayMs");
        await answer(`-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`);
      },
      progress: () => answer("+WPI"),
      deadLetter: async (reason) => {
        await this.#dead.bury(streamSeq, id, data, reason);
        await answer("+ACK");
      },
    };
  }

  /** Waits for the server to come back; a queue that was removed behind our back is told apart. */
  async #afterLoss(waitMs: number, signal: AbortSignal): Promise<void> {
    await pause(waitMs, signal);
    if (!this.#link.isConnected() || signal.aborted) return;
    await this.#link
      .ask(() => this.#link.jsm.consumers.info(this.#stream, CONSUMER))
      .catch((thrown) => {
        const fault = Fault.from(thrown);
        if (!fault.retryable) throw fault;
      });
  }
}
