/** One job from its message to its end, in the one order that keeps rows exact whatever is killed in between. */
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { EVENTS, LOCK_TTL_MS } from "../../proto/names.ts";
import type { Events, Kv, Message } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { METRICS, type RowObject } from "../results/results.ts";
import { findWork, type JobCatalog, type Work } from "./catalog.ts";
import { checkpointsOf } from "./checkpoints.ts";
import { outermost } from "./function-calls.ts";
import type { Capabilities } from "./host/functions.ts";
import { progressCapability, runLog } from "./host/log.ts";
import { OwnMetrics, placeOf, withChunk } from "./host/metric.ts";
import type { Caller } from "./invocations.ts";
import { discoverRun } from "./kinds/discover.ts";
import { enrichRun } from "./kinds/enrich.ts";
import { fetchRun } from "./kinds/fetch.ts";
import type { Attempt, Failed, JobRun, Success, Tools } from "./kinds/kind.ts";
import { pollRun } from "./kinds/poll.ts";
import { registerRun } from "./kinds/register.ts";
import { type Lease, takeLease } from "./lease.ts";
import type { Quarantines } from "./quarantine.ts";
import type { Recorder } from "./recording/recorder.ts";
import { retryDelayMs } from "./retry-policy.ts";
import { announceRun, nowUs, type RunEnd, type RunHead, runRecord } from "./run-record.ts";
import type { OnStep } from "./steps.ts";
import { Tally } from "./tally.ts";
import { spanOf } from "./windows.ts";

/** Lookups of something that the catalogue does not know, before the job is given up. */
const MAX_LOOKUPS = 6;
const LOOKUP_DELAY_MS = 500;
/** The bus or the store failed us: not the job's fault, and soon over. */
const TROUBLE_DELAY_MS = 1_000;
/** First wait for another's lock; then twice as long each time, at most as long as the lock lives. */
const LOCKED_DELAY_MS = 250;
/** How long a row of history may take to become durable. ClickHouse may be away for a while. */
const COMMIT_MS = 300_000;

export interface JobPorts {
  readonly catalog: JobCatalog;
  readonly tools: Tools;
  readonly locks: Kv;
  readonly checkpoints: Kv;
  readonly events: Events;
  /** Beside the log and what the grants give. */
  readonly capabilities: (caller: Caller) => Capabilities;
  readonly recorder: Recorder;
  readonly quarantines: Pick<Quarantines, "reason">;
  readonly executor: string;
  readonly log: Logger;
  readonly onStep?: OnStep | undefined;
}

/**
 * Never throws. `stop` aborts when the executor has no more time: the job is handed back. `executed` is called when its
 * guests have ended and the rest is writing down.
 */
export async function runJob(
  message: Message,
  ports: JobPorts,
  stop: AbortSignal,
  executed: () => void = () => {},
): Promise<void> {
  let job: Job;
  try {
    job = Job.decode(message.body);
  } catch (thrown) {
    return message.deadLetter(`not a job: ${Fault.from(thrown).message}`);
  }
  try {
    await new JobAttempt(message, job, ports, stop, executed).run();
  } catch (thrown) {
    const fault = Fault.from(thrown);
    ports.log.warn({ err: fault, run: job.runId }, "a job failed outside its guest; it will be tried again");
    await message.nak(TROUBLE_DELAY_MS).catch(() => {});
  }
}

class JobAttempt {
  readonly #message: Message;
  readonly #job: Job;
  readonly #ports: JobPorts;
  readonly #stop: AbortSignal;
  readonly #executed: () => void;
  readonly #tally: Tally;
  readonly #startedUs = nowUs();

  constructor(message: Message, job: Job, ports: JobPorts, stop: AbortSignal, executed: () => void) {
    this.#message = message;
    this.#job = job;
    this.#ports = ports;
    this.#tally = new Tally(ports.recorder.tape());
    this.#stop = stop;
    this.#executed = executed;
  }

  async run(): Promise<void> {
    const { locks, executor, onStep } = this.#ports;
    await onStep?.("decoded", this.#job.runId, 0n);
    const answer = findWork(this.#ports.catalog, this.#job);
    if ("unknown" in answer) return this.#lookAgain(answer.unknown);
    const { found: work, paused } = answer;
    const run = jobRun(this.#job, work, this.#ports.tools);
    const { expireUs } = this.#job;
    const stopped = this.#ports.quarantines.reason(work.subject.release);
    if (stopped !== undefined) return this.#drop(run, work, "quarantined", stopped);
    if (paused !== undefined) return this.#drop(run, work, "cancelled", paused);
    if (expireUs !== 0n && nowUs() > expireUs) return this.#drop(run, work, "dropped_late", "its time had passed");

    const onRenew = () => this.#message.progress();
    const timed = run.timed ?? false;
    const taken = await takeLease(locks, run.lock, { ttlMs: LOCK_TTL_MS, holder: executor, timed, onRenew });
    if (taken.held) {
      // Delivered again: the holder may be the executor that died with it.
      const wait = run.whenLocked === "wait" || this.#message.deliveries > 1;
      if (wait) return this.#message.nak(lockedDelayMs(taken.remainingMs, this.#message.deliveries));
      return this.#drop(run, work, "skipped_locked", "another executor is at work on it");
    }
    const { lease } = taken;
    try {
      await this.#step("locked", lease.fence);
      await this.#runLeased(run, work, lease);
    } finally {
      // Nothing was recorded when the bus or the store failed us.
      this.#tally.tape?.drop();
      await lease.release();
    }
    await this.#step("released", lease.fence);
  }

  async #runLeased(run: JobRun, work: Work, lease: Lease): Promise<void> {
    const { runId } = this.#job;
    const { tools, events } = this.#ports;
    const { fence } = lease;
    const signal = AbortSignal.any([lease.lost, this.#stop]);
    const { instance } = work.subject;
    const limits = tools.limits(work.subject.release.manifest?.limits);
    const log = runLog({ runId, fence, instance }, (lines) => tools.results.log(lines), nowUs, limits);
    const progress = progressCapability((report) => {
      const body = { run_id: runId, kind: run.kind, target: run.target, ...report };
      events.publish(`${EVENTS.progress}.${run.kind}`, Buffer.from(JSON.stringify(body))).catch(() => {});
    });
    const trail = outermost(`${instance}/${run.kind}`, limits.maxCallDepth);
    const tally = this.#tally;
    const metrics = new OwnMetrics(instance, run.resource, nowUs);
    const caller: Caller = { subject: work.subject, tally, trail, ...(run.resource && { resource: run.resource }) };
    const capabilities = this.#ports.capabilities(caller);
    const checkpoints = checkpointsOf(this.#ports.checkpoints, runId, this.#message.id);
    const attempt: Attempt = {
      job: this.#job,
      subject: work.subject,
      fence,
      grantedMs: lease.grantedMs,
      release: () => lease.release(),
      number: this.#message.deliveries,
      signal,
      tally,
      checkpoint: await checkpoints.read(),
      checkpoints,
      capabilities: { log: log.log, progress, metric: metrics.capability, ...capabilities },
      step: (step) => this.#step(step, fence),
      recordBeside: (name, end, beside) => this.#recordBeside(run, work, name, { ...end, fence }, beside),
    };
    const skip = await run.begin(attempt);
    if (skip) {
      const { outcome, message } = skip;
      if (outcome) await this.#record(run, work, { fence, outcome, committed: false, message }, signal);
      return this.#message.ack();
    }
    await this.#step("begun", fence);

    const ended = await run.execute(attempt).catch((thrown): Failed => troubleOf(Fault.from(thrown)));
    this.#executed();
    log.end();
    if (signal.aborted) return this.#handBack(run, work, attempt, ended);
    if (!isSuccess(ended)) return this.#fail(run, work, attempt, ended);
    await this.#step("executed", fence);
    try {
      await this.#commit(run, work, attempt, ended, metrics.rows);
    } catch (thrown) {
      if (signal.aborted) return this.#handBack(run, work, attempt, ended);
      throw thrown;
    }
    await this.#step("committed", fence);
    await ended.finish();
    await this.#step("finished", fence);
    await checkpoints.delete();
    await this.#step("checkpoint_deleted", fence);
    await this.#message.ack();
    await this.#step("acked", fence);
  }

  /** The run's own record makes its rows count; metrics beside it follow, and a crash in between repeats both. */
  async #commit(
    run: JobRun,
    work: Work,
    attempt: Attempt,
    ended: Success,
    metrics: readonly RowObject[],
  ): Promise<void> {
    const { fence, signal, number } = attempt;
    const { outcome, parts, chunks, rows, message } = ended;
    const { committed = outcome !== "not_modified" } = ended;
    const end: RunEnd = { fence, outcome, committed, parts: committed ? parts : [], chunks, rows, message };
    if (metrics.length === 0 || ended.committed === false) return this.#record(run, work, end, signal);
    const { results } = this.#ports.tools;
    const place = placeOf(this.#job.runId, run.dataset, chunks);
    const [{ dataset }, { resource }] = [METRICS, run];
    await results.appendChunk({ ...place, dataset, fence, attempt: number, resource, rows: metrics }, signal);
    const stored = { committed: true, parts: withChunk(place.own ? parts : [], fence, place.chunk) };
    if (place.own) {
      const whole = { ...end, ...stored, chunks: chunks + 1, rows: rows + metrics.length };
      return this.#record({ ...run, dataset }, work, whole, signal);
    }
    await this.#record(run, work, end, signal);
    const head = { ...this.#head(run, work), runId: place.runId, dataset };
    const beside: RunEnd = { ...stored, fence, outcome: "ok", chunks: 1, rows: metrics.length, message: "own metrics" };
    await results.commit(runRecord(head, beside, new Tally()), signal);
  }

  async #fail(run: JobRun, work: Work, attempt: Attempt, failed: Failed): Promise<void> {
    if (failed.handBack) return this.#handBack(run, work, attempt, failed);
    if (failed.veto) return this.#veto(run, work, attempt, failed.error.message);
    const { fence, checkpoints } = attempt;
    const { outcome, error, chunks = 0, rows = 0 } = failed;
    const { message } = error;
    await this.#record(run, work, { fence, outcome, committed: false, chunks, rows, message }, attempt.signal);
    // Read again: the attempt may have checkpointed since.
    const checkpoint = await checkpoints.read();
    const failures = checkpoint.failures + 1;
    const delayMs = retryDelayMs(failed, failures, run.attempts, Math.random());
    if (delayMs !== undefined) {
      await checkpoints.write({ ...checkpoint, fence, failures });
      await attempt.release();
      return this.#message.nak(delayMs);
    }
    const why = `${outcome}: ${message}`;
    const kept = await run.giveUp(attempt, why);
    await checkpoints.delete();
    await (kept === "dead_letter" ? this.#message.deadLetter(why) : this.#message.ack());
  }

  async #veto(run: JobRun, work: Work, { fence, signal, checkpoints }: Attempt, message: string): Promise<void> {
    await this.#record(run, work, { fence, outcome: "cancelled", committed: false, message }, signal);
    await run.drop(message);
    await checkpoints.delete();
    await this.#message.ack();
  }

  /** What it is about is stored already: the history may be late, and the job does not wait for it. */
  async #recordBeside(
    run: JobRun,
    work: Work,
    name: string,
    end: Omit<RunEnd, "committed">,
    tally: Tally,
  ): Promise<void> {
    const { runId } = this.#job;
    const { log, events } = this.#ports;
    const head = { ...this.#head(run, work), kind: "hook" as const, runId: `${runId}/${name}`, dataset: "" };
    const record = runRecord(head, { ...end, committed: false }, tally);
    if (end.outcome !== "ok")
      log.warn({ run: runId, hook: name, outcome: end.outcome, why: end.message }, "a hook failed");
    await this.#ports.tools.results.commit(record, AbortSignal.timeout(COMMIT_MS));
    announceRun(events, record);
  }

  /** Lost lease, no more time, or an innocent victim: somebody does it again, and it is nobody's failure. */
  async #handBack(run: JobRun, work: Work, attempt: Attempt, ended: Success | Failed): Promise<void> {
    const { fence, signal } = attempt;
    const why = signal.aborted ? Fault.from(signal.reason).message : isSuccess(ended) ? "" : ended.error.message;
    const { chunks = 0, rows = 0 } = ended;
    const end: RunEnd = { fence, outcome: "cancelled", committed: false, chunks, rows, message: `handed back: ${why}` };
    await attempt.release();
    await this.#message.nak(this.#stop.aborted ? 0 : TROUBLE_DELAY_MS);
    // Behind the nak, and not for long: the history may be what we waited for.
    await this.#record(run, work, end, AbortSignal.timeout(TROUBLE_DELAY_MS)).catch(() => {});
  }

  /** The catalogue may lag behind the scheduler's. */
  async #lookAgain(why: string): Promise<void> {
    const { catalog, log } = this.#ports;
    const { deliveries } = this.#message;
    if (deliveries < MAX_LOOKUPS || !catalog.synced) return this.#message.nak(LOOKUP_DELAY_MS * deliveries);
    log.warn({ run: this.#job.runId, why }, "a job is given up: what it is about is not there");
    await this.#message.deadLetter(why);
  }

  async #drop(
    run: JobRun,
    work: Work,
    outcome: "dropped_late" | "skipped_locked" | "cancelled" | "quarantined",
    message: string,
  ): Promise<void> {
    await this.#record(run, work, { fence: 0n, outcome, committed: false, message }, this.#stop);
    if (outcome !== "skipped_locked") await run.drop(message);
    await this.#message.ack();
  }

  async #record(run: JobRun, work: Work, end: RunEnd, signal: AbortSignal): Promise<void> {
    const record = runRecord(this.#head(run, work), end, this.#tally);
    const patience = AbortSignal.any([signal, AbortSignal.timeout(COMMIT_MS)]);
    await this.#ports.tools.results.commit(record, patience);
    this.#ports.recorder.end(this.#tally.tape, record, work.subject);
    announceRun(this.#ports.events, record);
  }

  #head({ kind, dataset, target, resource }: JobRun, { subject }: Work): RunHead {
    const { runId, dueUs } = this.#job;
    const ofWindow = kind === "fetch" || kind === "sync" || kind === "verify";
    return {
      ...{ kind, runId, dataset, target, resource, dueUs, subject },
      startedUs: this.#startedUs,
      ...(ofWindow && { window: spanOf(this.#job) }),
      attempt: this.#message.deliveries,
      executor: this.#ports.executor,
    };
  }

  async #step(step: Parameters<OnStep>[0], fence: bigint): Promise<void> {
    await this.#ports.onStep?.(step, this.#job.runId, fence);
  }
}

function jobRun(job: Job, work: Work, tools: Tools): JobRun {
  switch (work.kind) {
    case "fetch":
      return fetchRun(job, work.subject, work.pipe, tools, work.followed);
    case "register":
      return registerRun(job, work.subject, work.pipe, tools);
    case "poll":
      return pollRun(job, work.subject, work.poller, work.resource, tools);
    case "discover":
      return discoverRun(job, work.subject, work.poller, tools);
    case "enrich":
      return enrichRun(job, work.subject, work.poller, work.resource, tools);
  }
}

/** It may be given back at any moment, or belong to a dead one and live for its whole ttl. */
const lockedDelayMs = (remainingMs: number, deliveries: number) =>
  Math.ceil(Math.min(Math.max(remainingMs, LOCKED_DELAY_MS), LOCKED_DELAY_MS * 2 ** (deliveries - 1)));

const isSuccess = (ended: Success | Failed): ended is Success => "finish" in ended;

/** A fault around the guest: of a store or the registry (worth another attempt), or of what it was given. */
function troubleOf(fault: Fault): Failed {
  const retryable = fault.code !== "conflict" && (fault.retryable || fault.code === "internal");
  return { outcome: "host_error", error: { code: fault.code, message: fault.message, retryable } };
}
