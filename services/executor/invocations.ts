/** One export run because somebody waits for its answer: another try when innocent, history written behind it. */
import { randomFillSync } from "node:crypto";
import { monotonicFactory } from "ulid";
import { runIds } from "../../proto/names.ts";
import type { Events } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { METRICS, type Results, type RowObject, type RunKind } from "../results/results.ts";
import type { Subject } from "./catalog.ts";
import type { Guests, NotRun } from "./guests.ts";
import type { Capabilities } from "./host/functions.ts";
import { runLog } from "./host/log.ts";
import { OwnMetrics } from "./host/metric.ts";
import type { CallLimits } from "./limits.ts";
import type { Quarantines } from "./quarantine.ts";
import type { Recorder } from "./recording/recorder.ts";
import { announceRun, nowUs, type RunEnd, type RunHead, runRecord } from "./run-record.ts";
import type { GuestError, GuestOutcome } from "./sandbox.ts";
import { Tally } from "./tally.ts";

/** Rows of history that wait for the store; over it they are dropped, and the log says how many. */
const MAX_RECORDS_BEHIND = 10_000;
/** A call whose lane was ended by another guest, before it did anything: tried again this often. */
const MAX_DISPATCHES = 3;

/** A call holds no lease, and its run id is its own: its metrics are the first chunk of fence 0. */
const ONE_CHUNK = [{ fence: 0n, chunks: 1 }];

/** The library's own source of randomness asks the operating system for one byte at a time, 16 times an id. */
const randomWords = new Uint32Array(1_024);
let randomLeft = 0;
const ulid = monotonicFactory(() => {
  if (randomLeft === 0) randomLeft = randomFillSync(randomWords).length;
  randomLeft -= 1;
  return (randomWords[randomLeft] as number) / 2 ** 32;
});

/** How a run came to be called: who called whom, and how much deeper it may go. */
export interface Trail {
  /** `instance/export`, outermost first, the run itself last. */
  readonly path: readonly string[];
  /** Nested calls that may still lie below the run. */
  readonly left: number;
}

/** A run whose guest asks the host for something. */
export interface Caller {
  readonly subject: Subject;
  readonly tally: Tally;
  readonly trail: Trail;
  /** Bare name of the resource that the run is about. */
  readonly resource?: string;
}

export interface Invocation {
  readonly kind: RunKind;
  readonly subject: Subject;
  readonly export: string;
  /** What is called, for the record. */
  readonly target: string;
  /** JSON. */
  readonly input: Uint8Array;
  readonly limits: CallLimits;
  readonly signal: AbortSignal;
  readonly trail: Trail;
  /** What is wrong with an answer; undefined when nothing is. The run then ends as `guest_error`. */
  readonly judge?: (output: Uint8Array) => string | undefined;
  /** Called by a guest, which keeps its own place in a lane meanwhile. */
  readonly nested?: boolean;
}

export type InvocationEnd = { readonly runId: string } & (
  | { readonly outcome: "ok"; readonly output: Uint8Array }
  | { readonly outcome: Exclude<GuestOutcome, "ok"> | "quarantined"; readonly error: GuestError }
  | NotRun
);

export interface Invocations {
  /** Resolves for everything that a guest does. */
  run(invocation: Invocation): Promise<InvocationEnd>;
}

export interface InvocationsOptions {
  readonly executor: string;
  readonly guests: Guests;
  readonly results: Results;
  readonly events: Events;
  /** Beside the log and what the grants give. */
  readonly capabilities: (caller: Caller) => Capabilities;
  readonly recorder: Recorder;
  readonly quarantines: Pick<Quarantines, "reason">;
  readonly log: Logger;
}

export function invocationsOf(options: InvocationsOptions): Invocations {
  const { executor, guests, results, recorder, quarantines } = options;
  const history = writeBehind(options);
  return {
    async run({ kind, subject, target, input, limits, signal, trail, judge, nested = false, ...invocation }) {
      const startedUs = nowUs();
      const runId = runIds.call(subject.instance, ulid());
      const tally = new Tally(recorder.tape());
      const log = runLog(
        { runId, fence: 0n, instance: subject.instance },
        (lines) => results.log(lines),
        nowUs,
        limits,
      );
      const metrics = new OwnMetrics(subject.instance, "", nowUs);
      const head: RunHead = {
        ...{ kind, runId, dataset: "", target, resource: "", subject },
        ...{ dueUs: startedUs, startedUs, attempt: 1, executor },
      };
      const end = (outcome: RunEnd["outcome"], message: string) => {
        log.end();
        history(head, { fence: 0n, outcome, committed: false, message }, tally, outcome === "ok" ? metrics.rows : []);
      };
      const fail = (outcome: Exclude<InvocationEnd["outcome"], "ok" | "not_run">, error: GuestError): InvocationEnd => {
        end(outcome, error.message);
        return { outcome, error, runId };
      };
      const stopped = quarantines.reason(subject.release);
      if (stopped !== undefined) return fail("quarantined", { code: "", message: stopped, retryable: false });
      const extra = { log: log.log, metric: metrics.capability, ...options.capabilities({ subject, tally, trail }) };
      for (let dispatch = 1; ; dispatch += 1) {
        let touched = false;
        const called = guests.call({
          ...{ subject, export: invocation.export, input, limits, signal, tally, extra, nested },
          onHostCall: () => {
            touched = true;
          },
        });
        const result = await called.catch((thrown) => {
          tally.tape?.drop();
          throw thrown;
        });
        if (result.outcome === "not_run") {
          const again = result.fault.code === "unavailable" && !touched && dispatch < MAX_DISPATCHES && !signal.aborted;
          if (again) continue;
          end("cancelled", result.fault.message);
          return { ...result, runId };
        }
        const { outcome, output, error = { code: "", message: outcome, retryable: false } } = result;
        if (outcome !== "ok") return fail(outcome, error);
        const problem = judge?.(output);
        if (problem !== undefined) {
          return fail("guest_error", { code: "bad_answer", message: problem, retryable: false });
        }
        end("ok", "");
        return { outcome, output, runId };
      }
    },
  };
}

/** Nobody waits for the history of a call; what waits is bounded. */
function writeBehind({ results, events, recorder, log }: InvocationsOptions) {
  let behind = 0;
  let dropped = 0;
  return (head: RunHead, end: RunEnd, tally: Tally, metrics: readonly RowObject[]) => {
    const stored = metrics.length > 0 && { committed: true, parts: ONE_CHUNK, chunks: 1, rows: metrics.length };
    const { dataset } = metrics.length > 0 ? METRICS : head;
    const record = runRecord({ ...head, dataset }, { ...end, ...stored }, tally);
    recorder.end(tally.tape, record, head.subject);
    announceRun(events, record);
    if (behind >= MAX_RECORDS_BEHIND) {
      dropped += 1;
      if (Number.isInteger(Math.log10(dropped)))
        log.warn({ dropped }, "history of calls is dropped: the store is behind");
      return;
    }
    behind += 1;
    const chunk = { dataset, runId: record.runId, fence: 0n, attempt: 1, chunk: 0, resource: "", rows: metrics };
    const appended = metrics.length > 0 ? results.appendChunk(chunk) : Promise.resolve();
    appended
      .then(() => results.commit(record))
      .catch((thrown) => log.warn({ err: Fault.from(thrown), run: record.runId }, "history of a call was not stored"))
      .finally(() => {
        behind -= 1;
      });
  };
}
