/** Calls that somebody waits for: one stream from each gateway, answers in any order, history written behind them. */
import { randomFillSync } from "node:crypto";
import { monotonicFactory } from "ulid";
import type {
  ExecutorsServer,
  Failure,
  Invoke,
  ServeRequest,
  ServeResponse,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { runIds } from "../../proto/names.ts";
import { Backlog } from "../bus/backlog.ts";
import type { Events } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { Results, RunKind } from "../results/results.ts";
import { type Catalog, findSubject, type Subject } from "./catalog.ts";
import type { Guests } from "./guests.ts";
import { runLog } from "./host/log.ts";
import type { CallLimits, LimitsOf } from "./limits.ts";
import { announceRun, nowUs, type RunEnd, type RunHead, runRecord } from "./run-record.ts";
import { Tally } from "./tally.ts";

const MAX_DEADLINE_MS = 900_000;
/** An answer and its envelope must fit into one gRPC message. */
const MAX_ANSWER_BYTES = 16 << 20;
/** Rows of history that wait for the store; over it they are dropped, and the log says how many. */
const MAX_RECORDS_BEHIND = 10_000;
/** A call whose lane was ended by another guest, before it did anything: tried again this often. */
const MAX_DISPATCHES = 3;
const DRAIN_POLL_MS = 10;

/** The library's own source of randomness asks the operating system for one byte at a time, 16 times an id. */
const randomWords = new Uint32Array(1_024);
let randomLeft = 0;
const ulid = monotonicFactory(() => {
  if (randomLeft === 0) randomLeft = randomFillSync(randomWords).length;
  randomLeft -= 1;
  return (randomWords[randomLeft] as number) / 2 ** 32;
});

export interface CallsOptions {
  readonly executor: string;
  readonly catalog: Catalog;
  readonly guests: Guests;
  readonly results: Results;
  readonly events: Events;
  readonly limits: LimitsOf;
  /** Calls at once on each stream. */
  readonly capacity: number;
  readonly log: Logger;
}

export interface Calls {
  readonly methods: Methods<ExecutorsServer>;
  readonly running: number;
  /** Says `bye` on every stream and refuses new calls. Running ones get `graceMs`, then they are cancelled. */
  drain(graceMs: number): Promise<void>;
}

type Answer = NonNullable<ServeResponse["kind"]>;

export function serveCalls(options: CallsOptions): Calls {
  const { executor, capacity } = options;
  const streams = new Set<{
    readonly outbox: Backlog<bigint, ServeResponse>;
    readonly cancelAll: (why: Fault) => void;
  }>();
  const history = writeBehind(options);
  let running = 0;
  let draining = false;

  const methods: Methods<ExecutorsServer> = {
    async *serve(requests, { signal }) {
      const closed = new AbortController();
      const outbox = new Backlog<bigint, ServeResponse>({ signal: AbortSignal.any([signal, closed.signal]) });
      const calls = new Map<bigint, AbortController>();
      const cancelAll = (why: Fault) => {
        for (const call of calls.values()) call.abort(why);
      };
      const close = (why: Fault) => {
        closed.abort(why);
        cancelAll(why);
      };
      const stream = { outbox, cancelAll };
      const say = (callId: bigint, kind: Answer) => outbox.push(callId, { callId, kind });
      const refuse = (callId: bigint, fault: Fault) => say(callId, { $case: "failure", value: failureOf(fault) });
      streams.add(stream);
      say(0n, { $case: "hello", value: { executor, capacity } });

      const begin = (callId: bigint, invoke: Invoke) => {
        if (draining || closed.signal.aborted) return refuse(callId, new Fault("unavailable", "the executor drains"));
        if (calls.has(callId)) return refuse(callId, new Fault("invalid", `call ${callId} is running already`));
        if (calls.size >= capacity) {
          return refuse(callId, new Fault("exhausted", `${capacity} calls are running on this stream`));
        }
        const cancel = new AbortController();
        calls.set(callId, cancel);
        running += 1;
        void invokeExport(invoke, options, history, cancel.signal)
          .catch((thrown): Answer => ({ $case: "failure", value: failureOf(Fault.from(thrown)) }))
          .then((answer) => say(callId, answer))
          .finally(() => {
            calls.delete(callId);
            running -= 1;
          });
      };
      const read = async () => {
        for await (const { callId, kind } of requests as AsyncIterable<ServeRequest>) {
          if (kind?.$case === "invoke") begin(callId, kind.value);
          else if (kind?.$case === "cancel") calls.get(callId)?.abort(new Fault("cancelled", "nobody waits any more"));
        }
      };
      const reading = read().then(
        () => outbox.end(),
        () => close(new Fault("cancelled", "the stream broke")),
      );
      try {
        yield* outbox;
      } finally {
        streams.delete(stream);
        close(new Fault("cancelled", "the stream ended"));
      }
      await reading;
    },
  };
  return {
    methods,
    get running() {
      return running;
    },
    async drain(graceMs) {
      draining = true;
      for (const { outbox } of streams) outbox.push(0n, { callId: 0n, kind: { $case: "bye", value: {} } });
      const endMs = performance.now() + graceMs;
      while (running > 0 && performance.now() < endMs) await pause(DRAIN_POLL_MS);
      const why = new Fault("unavailable", "the executor stops");
      for (const { cancelAll } of streams) cancelAll(why);
      while (running > 0 && performance.now() < endMs + graceMs) await pause(DRAIN_POLL_MS);
      // The last answers leave with the next turn of the loop.
      await pause(DRAIN_POLL_MS);
    },
  };
}

type History = (head: RunHead, end: RunEnd, tally: Tally) => void;

async function invokeExport(
  invoke: Invoke,
  { catalog, guests, results, executor, limits: limitsUnder }: CallsOptions,
  history: History,
  signal: AbortSignal,
): Promise<Answer> {
  const startedUs = nowUs();
  const answer = findSubject(catalog, invoke.instance);
  if ("unknown" in answer) throw new Fault("not_found", answer.unknown);
  if (answer.paused !== undefined) throw new Fault("precondition", answer.paused);
  const subject = answer.found;
  const limits = limitsOf(invoke, subject, limitsUnder);
  const runId = runIds.call(subject.instance, ulid());
  const tally = new Tally();
  const log = runLog({ runId, fence: 0n, instance: subject.instance }, (lines) => results.log(lines), nowUs, limits);
  const head: RunHead = {
    ...{ kind: kindOf(invoke.export), runId, dataset: "", target: invoke.target, resource: "", subject },
    ...{ dueUs: startedUs, startedUs, attempt: 1, executor },
  };
  const end = (outcome: RunEnd["outcome"], message: string) => {
    log.end();
    history(head, { fence: 0n, outcome, committed: false, message }, tally);
  };

  for (let dispatch = 1; ; dispatch += 1) {
    let touched = false;
    const result = await guests.call({
      ...{ subject, export: invoke.export, input: invoke.input, limits, signal, tally },
      extra: { log: log.log },
      onHostCall: () => {
        touched = true;
      },
    });
    if (result.outcome === "not_run") {
      const again = result.fault.code === "unavailable" && !touched && dispatch < MAX_DISPATCHES && !signal.aborted;
      if (again) continue;
      end("cancelled", result.fault.message);
      return { $case: "failure", value: { ...failureOf(result.fault), outcome: "cancelled", runId } };
    }
    if (result.outcome === "ok") {
      end("ok", "");
      return { $case: "result", value: { output: Buffer.from(result.output), runId } };
    }
    const { outcome, error = { code: "", message: outcome, retryable: false } } = result;
    end(outcome, error.message);
    const { code, guestCode } = codesOf(outcome, error.code);
    return { $case: "failure", value: { code, message: error.message, outcome, runId, guestCode } };
  }
}

/** The caller's deadline, and the manifest's limits. */
function limitsOf({ deadlineMs }: Invoke, subject: Subject, limitsUnder: LimitsOf): CallLimits {
  if (deadlineMs < 1 || deadlineMs > MAX_DEADLINE_MS) {
    const fix = `1–${MAX_DEADLINE_MS}`;
    throw Fault.invalid("invoke", [{ field: "deadline_ms", problem: `${deadlineMs} is out of range`, fix }]);
  }
  const limits = limitsUnder(subject.release.manifest?.limits, `${deadlineMs}ms`);
  return { ...limits, maxOutputBytes: Math.min(limits.maxOutputBytes, MAX_ANSWER_BYTES) };
}

/** What the caller is told: a stable code for the outcome, and the guest's own beside it. */
function codesOf(outcome: string, given: string): Pick<Failure, "code" | "guestCode"> {
  switch (outcome) {
    case "timeout":
      return { code: "deadline", guestCode: "" };
    case "cancelled":
      return { code: "cancelled", guestCode: "" };
    case "denied":
      return { code: "denied", guestCode: given };
    case "cpu_exceeded":
    case "out_of_memory":
      return { code: "exhausted", guestCode: "" };
    default:
      return { code: "internal", guestCode: given };
  }
}

const failureOf = ({ code, message }: Fault): Failure => ({ code, message, outcome: "", runId: "", guestCode: "" });

function kindOf(name: string): RunKind {
  return name === "route" ? "route" : name.startsWith("procedure:") ? "procedure" : "function";
}

/** Nobody waits for the history of a call; what waits is bounded. */
function writeBehind({ results, events, log }: CallsOptions): History {
  let behind = 0;
  let dropped = 0;
  return (head, end, tally) => {
    const record = runRecord(head, end, tally);
    announceRun(events, record);
    if (behind >= MAX_RECORDS_BEHIND) {
      dropped += 1;
      if (Number.isInteger(Math.log10(dropped)))
        log.warn({ dropped }, "history of calls is dropped: the store is behind");
      return;
    }
    behind += 1;
    results
      .commit(record)
      .catch((thrown) => log.warn({ err: Fault.from(thrown), run: record.runId }, "history of a call was not stored"))
      .finally(() => {
        behind -= 1;
      });
  };
}
