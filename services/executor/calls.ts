/** Calls that somebody waits for: one stream from each gateway, answers in any order. */
import type {
  ExecutorsServer,
  Failure,
  Invoke,
  ServeRequest,
  ServeResponse,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { bare } from "../../proto/names.ts";
import { Backlog } from "../bus/backlog.ts";
import { Fault } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { pause } from "../kit/lifecycle.ts";
import { type Catalog, findSubject, type Subject } from "./catalog.ts";
import { type FunctionCalls, outermost } from "./function-calls.ts";
import type { InvocationEnd, Invocations } from "./invocations.ts";
import type { CallLimits, LimitsOf } from "./limits.ts";

const MAX_DEADLINE_MS = 900_000;
/** An answer and its envelope must fit into one gRPC message. */
const MAX_ANSWER_BYTES = 16 << 20;
const FUNCTION = "function:";
const DRAIN_POLL_MS = 10;

export interface CallsOptions {
  readonly executor: string;
  readonly catalog: Catalog;
  readonly invocations: Invocations;
  readonly functions: FunctionCalls;
  readonly limits: LimitsOf;
  /** Calls at once on each stream. */
  readonly capacity: number;
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
        void invokeExport(invoke, options, cancel.signal)
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

async function invokeExport(invoke: Invoke, options: CallsOptions, signal: AbortSignal): Promise<Answer> {
  const { instance, export: name, input, deadlineMs, target } = invoke;
  checkDeadline(deadlineMs);
  if (name.startsWith(FUNCTION)) {
    const fn = name.slice(FUNCTION.length);
    return answerOf(await options.functions.call({ instance: bare(instance), fn, input, deadlineMs, signal }));
  }
  const answer = findSubject(options.catalog, instance);
  if ("unknown" in answer) throw new Fault("not_found", answer.unknown);
  if (answer.paused !== undefined) throw new Fault("precondition", answer.paused);
  const subject = answer.found;
  const limits = limitsOf(deadlineMs, subject, options.limits);
  const trail = outermost(`${subject.instance}/${name}`, limits.maxCallDepth);
  const kind = name === "route" ? "route" : "procedure";
  return answerOf(await options.invocations.run({ kind, subject, export: name, target, input, limits, signal, trail }));
}

function answerOf(end: InvocationEnd): Answer {
  const { runId } = end;
  if (end.outcome === "ok") return { $case: "result", value: { output: Buffer.from(end.output), runId } };
  if (end.outcome === "not_run") {
    return { $case: "failure", value: { ...failureOf(end.fault), outcome: "cancelled", runId } };
  }
  const { outcome, error } = end;
  const { code, guestCode } = codesOf(outcome, error.code);
  return { $case: "failure", value: { code, message: error.message, outcome, runId, guestCode } };
}

function checkDeadline(deadlineMs: number): void {
  if (deadlineMs >= 1 && deadlineMs <= MAX_DEADLINE_MS) return;
  const fix = `1–${MAX_DEADLINE_MS}`;
  throw Fault.invalid("invoke", [{ field: "deadline_ms", problem: `${deadlineMs} is out of range`, fix }]);
}

/** The caller's deadline, and the manifest's limits. */
function limitsOf(deadlineMs: number, subject: Subject, limitsUnder: LimitsOf): CallLimits {
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
    case "quarantined":
      return { code: "unavailable", guestCode: "" };
    default:
      return { code: "internal", guestCode: given };
  }
}

const failureOf = ({ code, message }: Fault): Failure => ({ code, message, outcome: "", runId: "", guestCode: "" });
