/** One term of a leader: sends what is due, holds back while the queue is full, loses nothing that is due. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { find } from "../../proto/catalog.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import type { Queue } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import type { Due } from "./due.ts";
import { messageId, pollerJob, registerJob } from "./jobs.ts";
import { usOfMs } from "./moments.ts";
import { resendClaims, syncPipe } from "./pipe-sync.ts";
import { periodAt } from "./schedule.ts";
import { type Catalog, whyPipeRests } from "./standing.ts";
import type { OnStep } from "./steps.ts";
import { type Entry, Timetable } from "./timetable.ts";
import type { WindowStore } from "./window-store.ts";

/** Sends in flight. */
const BATCH = 256;
/** Pipes whose windows are looked at and queued at once. */
const MAX_SYNCS = 32;
/** How long nothing new is taken after the queue was full or the bus away. */
const HOLD_BACK_MS = 500;
/** Looked at in one go: 12 ms on average, 85 ms at most, far below what the lease allows. */
const CATCH_UP_STEPS = 5_000;
/** Then what is due is sent before the rest is looked at. */
const CATCH_UP_MS = 1_000;
/** Work that has not begun after this many periods is dropped by the executor. */
const EXPIRE_PERIODS = 2;

export interface Counts {
  /** Jobs that were stored in the queue. */
  sent: number;
  /** Jobs that were in the queue already: sent by a former leader. */
  repeated: number;
  /** Due moments that passed unserved, because newer ones had come. */
  missed: number;
  /** Times that due work was held back: the queue was full, or the bus did not answer. */
  heldBack: number;
}

export interface TermPorts {
  readonly catalog: Catalog;
  readonly windows: WindowStore;
  readonly queue: Queue;
  readonly log: Logger;
  readonly nowMs: () => number;
  /** Whether the lease of this term still holds. Looked at before every batch. */
  readonly holds: () => boolean;
  readonly counts: Counts;
  readonly onStep?: OnStep | undefined;
}

export class Term implements AsyncDisposable {
  readonly epoch: bigint;
  readonly #ports: TermPorts;
  readonly #timetable: Timetable;
  readonly #problems = new Map<string, string>();
  /** Pipes that are due, by key: the newest moment of each. */
  readonly #pipes = new Map<string, Due<Entry>>();
  readonly #syncing = new Map<string, Promise<void>>();
  readonly #ending = new AbortController();
  #holdUntilMs = 0;
  /** Whether the last that was heard of queue and bus was bad: said once, and once when it is over. */
  #holding = false;
  #repaired = false;

  /** `servedUntilMs`: of the term before, when this process had one. */
  constructor(epoch: bigint, ports: TermPorts, servedUntilMs = 0) {
    this.epoch = epoch;
    this.#ports = ports;
    this.#timetable = new Timetable(ports.catalog, (owner, fault) => this.#report(owner, fault), servedUntilMs);
  }

  get size(): number {
    return this.#timetable.heap.size;
  }

  /** All moments of pollers up to here were sent: what could not be sent was put back, and is due next. 0: unknown. */
  get servedUntilMs(): number {
    const { heap, settled } = this.#timetable;
    return settled && heap.nextMs !== undefined ? heap.nextMs - 1 : 0;
  }

  change(name: string | undefined): void {
    this.#timetable.change(name, this.#ports.nowMs());
  }

  /** Sends what is due by now. Returns when all of it is sent or held back; syncs of pipes go on behind it. */
  async tick(): Promise<void> {
    const { holds, nowMs, counts } = this.#ports;
    if (!this.#repaired) await this.#repair();
    await this.#catchUp();
    while (holds() && nowMs() >= this.#holdUntilMs) {
      const taken = this.#timetable.heap.take(nowMs(), BATCH);
      this.#startSyncs();
      if (taken.length === 0) return;
      const jobs: Due<Entry>[] = [];
      for (const due of taken) {
        counts.missed += due.missed;
        if (due.entry.kind === "sync") this.#pipes.set(due.entry.key, due);
        else jobs.push(due);
      }
      this.#startSyncs();
      const results = await Promise.allSettled(jobs.map((due) => this.#send(due)));
      for (const [index, result] of results.entries()) {
        if (result.status === "rejected") this.#holdBack(jobs[index] as Due<Entry>, Fault.from(result.reason));
      }
    }
  }

  /** Syncs that run end after their batch. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    this.#pipes.clear();
    await Promise.all(this.#syncing.values());
  }

  /** A change of the catalogue may touch a million entries: the lease must be renewed meanwhile. */
  async #catchUp(): Promise<void> {
    const { holds, nowMs } = this.#ports;
    const endMs = nowMs() + CATCH_UP_MS;
    while (this.#timetable.catchUp(nowMs(), CATCH_UP_STEPS) && holds() && nowMs() < endMs) await nextTurn();
  }

  /** What a former leader claimed and did not send. Pipes with a manual schedule have no due moment to heal at. */
  async #repair(): Promise<void> {
    const { windows, catalog, log } = this.#ports;
    const pipeOf = (id: string) => find(catalog, "pipe", `pipes/${id}`);
    const sent = await resendClaims(this.#ports, await windows.live(), pipeOf, { epoch: this.epoch, manual: false });
    this.#repaired = true;
    if (sent > 0) log.info({ sent }, "queued windows that were claimed and not sent");
  }

  async #send(due: Due<Entry>): Promise<void> {
    const job = this.#jobOf(due);
    if (!job) return;
    const stored = await this.#ports.queue.send(messageId(job), Job.encode(job).finish());
    this.#ports.counts[stored ? "sent" : "repeated"] += 1;
    this.#resume();
  }

  /** Undefined for what is gone or too late by now. */
  #jobOf({ entry, dueMs }: Due<Entry>): Job | undefined {
    const { catalog, nowMs } = this.#ports;
    const asked = { dueUs: usOfMs(dueMs), epoch: this.epoch, manual: false };
    if (entry.kind === "register") {
      const pipe = find(catalog, "pipe", entry.owner);
      return pipe && registerJob(pipe, asked);
    }
    const poller = find(catalog, "poller", entry.owner);
    if (!poller) return undefined;
    const expireMs = dueMs + EXPIRE_PERIODS * periodAt(entry.schedule, dueMs);
    if (nowMs() >= expireMs) return undefined;
    return pollerJob(poller, entry.resource, asked, Number.isFinite(expireMs) ? expireMs : 0);
  }

  /** Each that ends makes room for the next at once: a tick comes too seldom for very many pipes. */
  #startSyncs(): void {
    const { holds, nowMs } = this.#ports;
    for (const [key, due] of this.#pipes) {
      if (this.#syncing.size >= MAX_SYNCS || nowMs() < this.#holdUntilMs || !holds()) return;
      if (this.#syncing.has(key)) continue;
      this.#pipes.delete(key);
      const ended = () => {
        this.#syncing.delete(key);
        this.#startSyncs();
      };
      this.#syncing.set(key, this.#sync(due).finally(ended));
    }
  }

  async #sync(due: Due<Entry>): Promise<void> {
    const { catalog, counts, holds } = this.#ports;
    const pipe = find(catalog, "pipe", due.entry.owner);
    if (!pipe || whyPipeRests(catalog, pipe) || !holds()) return;
    const asked = { dueUs: usOfMs(due.dueMs), epoch: this.epoch, manual: false, refetch: false };
    const { signal } = this.#ending;
    try {
      const { queued } = await syncPipe(this.#ports, { ...asked, pipe, signal });
      counts.sent += queued.length;
      this.#resume();
    } catch (thrown) {
      if (signal.aborted) return;
      const fault = Fault.from(thrown);
      if (fault.retryable || fault.code === "internal") this.#holdBack(due, fault);
      else this.#report(pipe.name, fault);
    }
  }

  #holdBack(due: Due<Entry>, fault: Fault): void {
    const { counts, log, nowMs } = this.#ports;
    this.#timetable.heap.putBack(due);
    const nowIs = nowMs();
    if (nowIs < this.#holdUntilMs) return;
    counts.heldBack += 1;
    this.#holdUntilMs = nowIs + HOLD_BACK_MS;
    if (this.#holding) return;
    this.#holding = true;
    const level = fault.code === "internal" ? "error" : "warn";
    log[level]({ reason: fault.message, entry: due.entry.key }, "due work is held back");
  }

  #resume(): void {
    if (!this.#holding || this.#ports.nowMs() < this.#holdUntilMs) return;
    this.#holding = false;
    this.#ports.log.info("due work goes out again");
  }

  /** Once for each new problem, not at every change of the catalogue. */
  #report(owner: string, fault: Fault): void {
    if (this.#problems.get(owner) === fault.message) return;
    this.#problems.set(owner, fault.message);
    this.#ports.log.warn({ owner, reason: fault.message }, "cannot be scheduled");
  }
}
