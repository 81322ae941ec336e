/** Takes jobs from the queue: only as many as there is room for, and none once it drains. */
import { randomInt } from "node:crypto";
import type { Message, Queue } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { backoffMs, forEver } from "../kit/retry.ts";
import { type JobPorts, runJob } from "./attempt.ts";

const PULL_MS = 5_000;
/** A lane that comes free says nothing; so look again this often. */
const ROOM_POLL_MS = 20;
/** Taken in one pull, so that idle executors get their share. */
const MAX_PULL = 16;

export interface JobsOptions {
  readonly queue: Queue;
  readonly ports: JobPorts;
  /** Jobs at once. */
  readonly limit: number;
  /** Of these at most so many whose guests have not ended: the others are being written down, which takes no lane. */
  readonly guests: number;
  /** How many more guests would start at once. */
  readonly free: () => number;
  readonly log: Logger;
}

export interface Jobs {
  readonly running: number;
  /** Takes no more. Running ones get `graceMs`; then they are stopped and handed back. */
  drain(graceMs: number): Promise<void>;
}

export function takeJobs({ queue, ports, limit, guests, free, log }: JobsOptions): Jobs {
  const stop = new AbortController();
  const running = new Set<Promise<void>>();
  const unexecuted = new Set<Message>();
  const start = (message: Message) => {
    unexecuted.add(message);
    const executed = () => void unexecuted.delete(message);
    const job = runJob(message, ports, stop.signal, executed)
      .catch((thrown) => log.warn({ err: Fault.from(thrown), message: message.id }, "a job could not be handed back"))
      .finally(() => {
        executed();
        running.delete(job);
      });
    running.add(job);
  };
  const loop = background(
    async (signal) => {
      for (let failures = 0; !signal.aborted; ) {
        const room = Math.min(limit - running.size, guests - unexecuted.size, free(), MAX_PULL);
        if (room <= 0 || !ports.catalog.synced) {
          await pause(ROOM_POLL_MS, signal);
          continue;
        }
        try {
          const messages = await queue.pull(room, PULL_MS, signal);
          failures = 0;
          // Taken as the drain began: given back untouched.
          if (signal.aborted) await Promise.all(messages.map((message) => message.nak(0).catch(() => {})));
          else for (const message of messages) start(message);
        } catch (thrown) {
          failures += 1;
          const fault = Fault.from(thrown);
          if (!signal.aborted)
            log[failures > 3 ? "warn" : "debug"]({ err: fault }, "pulling jobs failed; trying again");
          await pause(backoffMs(forEver, failures, randomInt(1_000) / 1_000), signal);
        }
      }
    },
    (fault) => log.error({ err: fault }, "the job loop ended"),
  );
  return {
    get running() {
      return running.size;
    },
    async drain(graceMs) {
      await loop[Symbol.asyncDispose]();
      const late = setTimeout(() => stop.abort(new Fault("unavailable", "the executor stops")), graceMs);
      await Promise.all(running);
      clearTimeout(late);
    },
  };
}
