/** The work queue in SQLite: pulls are woken by sends, redelivery by a timer set to the next deadline. */
import { Fault } from "../../kit/fault.ts";
import { checkMessageId, checkSize, MAX_VALUE_BYTES } from "../keys.ts";
import { checkWhole, MAX_DEAD_LETTERS, MAX_REASON_CHARS } from "../options.ts";
import type { DeadLetter, Message, Queue, QueueOptions } from "../ports.ts";
import type { Store } from "./store.ts";

/** What setTimeout can hold. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const RELEASE_RETRY_MS = 1_000;

interface MessageRow {
  readonly seq: number;
  readonly id: string;
  readonly body: Uint8Array;
  readonly sent_ms: number;
  readonly deliveries: number;
  readonly position: number;
}

export class EmbeddedQueue implements Queue {
  readonly #store: Store;
  readonly #name: string;
  readonly #options: QueueOptions;
  readonly #closing: AbortSignal;
  readonly #sleeping = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(store: Store, name: string, options: QueueOptions, closing: AbortSignal) {
    this.#store = store;
    this.#name = name;
    this.#options = options;
    this.#closing = closing;
    closing.addEventListener("abort", () => {
      clearTimeout(this.#timer);
      this.#wake();
    });
  }

  /** Whoever held a message when the process ended is gone: it waits again at once. Deliveries still count. */
  async recover(): Promise<void> {
    const sql = "UPDATE messages SET due_ms = ?, held = 0 WHERE queue = ? AND held = 1";
    await this.#store.write(() => this.#store.run(sql, Date.now(), this.#name));
    await this.#releaseDue();
  }

  async send(id: string, body: Uint8Array): Promise<boolean> {
    checkMessageId(id);
    checkSize(body, MAX_VALUE_BYTES, `message ${id}`);
    const kept = Uint8Array.from(body);
    return this.#store.write(() => {
      const nowMs = Date.now();
      const windowMs = nowMs - this.#options.dedupWindowMs;
      const sent = "SELECT 1 FROM sent_ids WHERE queue = ? AND id = ? AND sent_ms > ?";
      if (this.#store.get(sent, this.#name, id, windowMs)) return false;
      this.#checkRoom();
      this.#store.run("DELETE FROM sent_ids WHERE queue = ? AND sent_ms <= ?", this.#name, windowMs);
      this.#store.run("INSERT INTO sent_ids (queue, id, sent_ms) VALUES (?, ?, ?)", this.#name, id, nowMs);
      this.#insert(id, kept, nowMs);
      return true;
    });
  }

  async pull(max: number, waitMs: number, signal?: AbortSignal): Promise<Message[]> {
    checkWhole(max, 1, "max");
    checkWhole(waitMs, 0, "waitMs");
    const endMs = performance.now() + waitMs;
    for (;;) {
      this.#store.checkOpen();
      if (signal?.aborted) return [];
      if (this.#hasReady()) {
        const taken = await this.#store.write(() => this.#take(max));
        if (taken.length > 0) return taken.map((row) => this.#toMessage(row));
      }
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return [];
      await this.#sleep(leftMs, signal);
    }
  }

  async depth(): Promise<number> {
    return this.#depth();
  }

  async deadLetters(max: number): Promise<DeadLetter[]> {
    checkWhole(max, 1, "max");
    return this.#store
      .all<{ id: string; body: Uint8Array; reason: string; dead_ms: number }>(
        "SELECT id, body, reason, dead_ms FROM dead_letters WHERE queue = ? ORDER BY seq LIMIT ?",
        ...[this.#name, max],
      )
      .map(({ id, body, reason, dead_ms }) => ({ id, body, reason, deadMs: dead_ms }));
  }

  async redrive(id: string): Promise<void> {
    checkMessageId(id);
    await this.#store.write(() => {
      const find = "SELECT body FROM dead_letters WHERE queue = ? AND id = ?";
      const dead = this.#store.get<{ body: Uint8Array }>(find, this.#name, id);
      if (!dead) throw new Fault("not_found", `no dead letter ${id} in queue ${this.#name}`);
      this.#checkRoom();
      this.#store.run("DELETE FROM dead_letters WHERE queue = ? AND id = ?", this.#name, id);
      this.#insert(id, dead.body, Date.now());
    });
  }

  #toMessage({ seq, id, body, sent_ms, deliveries }: MessageRow): Message {
    // An ack counts whoever sends it, as on NATS; the others count only from whoever holds the message now.
    const held = "UPDATE messages SET due_ms = ?, held = ? WHERE seq = ? AND deliveries = ? AND held = 1";
    const putOff = async (delayMs: number, stillHeld: 0 | 1) => {
      const dueMs = Date.now() + delayMs;
      await this.#store.write(() => this.#store.run(held, dueMs, stillHeld, seq, deliveries));
      if (delayMs === 0) await this.#releaseDue();
      else this.#setTimer();
    };
    return {
      id,
      body,
      deliveries,
      sentMs: sent_ms,
      ack: () => this.#store.write(() => this.#remove(seq)),
      nak: async (delayMs) => {
        checkWhole(delayMs, 0, "delayMs");
        await putOff(delayMs, 0);
      },
      progress: () => putOff(this.#options.ackWaitMs, 1),
      deadLetter: (reason) => this.#store.write(() => this.#bury(seq, reason)),
    };
  }

  #take(max: number): MessageRow[] {
    const rows = this.#store.all<MessageRow>(
      `UPDATE messages SET deliveries = deliveries + 1, held = 1, due_ms = ? WHERE seq IN
         (SELECT seq FROM messages WHERE queue = ? AND due_ms IS NULL ORDER BY position LIMIT ?)
       RETURNING seq, id, body, sent_ms, deliveries, position`,
      ...[Date.now() + this.#options.ackWaitMs, this.#name, max],
    );
    this.#store.afterCommit(() => this.#setTimer());
    return rows.sort((a, b) => a.position - b.position);
  }

  /** Puts what is due behind what waits; what was delivered too often goes to the dead letters instead. */
  async #releaseDue(): Promise<void> {
    const due = "SELECT seq, deliveries FROM messages WHERE queue = ? AND due_ms <= ? ORDER BY due_ms, position";
    const release = "UPDATE messages SET due_ms = NULL, held = 0, position = ? WHERE seq = ?";
    await this.#store.write(() => {
      for (const { seq, deliveries } of this.#store.all<MessageRow>(due, this.#name, Date.now())) {
        if (deliveries >= this.#options.maxDeliveries) this.#bury(seq, "too many deliveries");
        else this.#store.run(release, this.#nextPosition(), seq);
      }
      this.#store.afterCommit(() => {
        this.#wake();
        this.#setTimer();
      });
    });
  }

  #setTimer(atLeastMs = 0): void {
    if (this.#closing.aborted) return;
    clearTimeout(this.#timer);
    const sql = "SELECT min(due_ms) AS due_ms FROM messages WHERE queue = ? AND due_ms IS NOT NULL";
    const dueMs = this.#store.get<{ due_ms: number | null }>(sql, this.#name)?.due_ms ?? undefined;
    if (dueMs === undefined) return;
    const delayMs = Math.min(Math.max(dueMs - Date.now(), atLeastMs) + 1, MAX_TIMER_MS);
    const again = () => this.#setTimer(RELEASE_RETRY_MS);
    // Fails only when the bus closes or the disk does: tried again, for a full disk may have room later. A store that
    // cannot even be read reports it at the next pull.
    const release = () =>
      void this.#releaseDue()
        .catch(again)
        .catch(() => {});
    this.#timer = setTimeout(release, delayMs).unref();
  }

  #insert(id: string, body: Uint8Array, sentMs: number): void {
    const sql = "INSERT INTO messages (queue, id, body, sent_ms, position) VALUES (?, ?, ?, ?, ?)";
    this.#store.run(sql, this.#name, id, body, sentMs, this.#nextPosition());
    this.#store.run("UPDATE queues SET depth = depth + 1 WHERE name = ?", this.#name);
    this.#store.afterCommit(() => this.#wake());
  }

  #remove(seq: number): void {
    if (this.#store.run("DELETE FROM messages WHERE seq = ?", seq) === 0) return;
    this.#store.run("UPDATE queues SET depth = depth - 1 WHERE name = ?", this.#name);
  }

  #bury(seq: number, reason: string): void {
    this.#store.run(
      `INSERT OR REPLACE INTO dead_letters (queue, id, body, reason, dead_ms)
         SELECT queue, id, body, ?, ? FROM messages WHERE seq = ?`,
      ...[reason.slice(0, MAX_REASON_CHARS).toWellFormed(), Date.now(), seq],
    );
    this.#store.run(
      `DELETE FROM dead_letters WHERE seq IN
         (SELECT seq FROM dead_letters WHERE queue = ? ORDER BY seq DESC LIMIT -1 OFFSET ?)`,
      ...[this.#name, MAX_DEAD_LETTERS],
    );
    this.#remove(seq);
  }

  #checkRoom(): void {
    if (this.#depth() < this.#options.maxMessages) return;
    throw new Fault(
      "exhausted",
      `queue ${this.#name} is full: ${this.#options.maxMessages} messages wait or are at work`,
    );
  }

  #depth(): number {
    return this.#store.get<{ depth: number }>("SELECT depth FROM queues WHERE name = ?", this.#name)?.depth ?? 0;
  }

  #hasReady(): boolean {
    return !!this.#store.get("SELECT 1 FROM messages WHERE queue = ? AND due_ms IS NULL LIMIT 1", this.#name);
  }

  #nextPosition(): number {
    const sql = "SELECT coalesce(max(position), 0) + 1 AS next FROM messages WHERE queue = ?";
    return this.#store.get<{ next: number }>(sql, this.#name)?.next ?? 1;
  }

  #wake(): void {
    for (const wake of this.#sleeping) wake();
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", wake);
        this.#sleeping.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(ms, MAX_TIMER_MS));
      signal?.addEventListener("abort", wake, { once: true });
      this.#sleeping.add(wake);
    });
  }
}
