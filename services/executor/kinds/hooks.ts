/** `before_sync` and `after_sync`: what a plugin says before a window of its pipes, and hears when it has ended. */
import type { HookInterface } from "../../../proto/gen/millrace/registry/v1/manifest.ts";
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { Fault } from "../../kit/fault.ts";
import { formatPosition } from "../../kit/time.ts";
import type { Outcome } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import { isObject, parseJson } from "../host/functions.ts";
import { Tally } from "../tally.ts";
import { spanOf } from "../windows.ts";
import { type Attempt, badAnswer, type Failed, failureOf, type Tools } from "./kind.ts";
import { pipeInput } from "./pipe-input.ts";

const DEFAULT_TIMEOUT = "10s";
const MAX_REASON_CHARACTERS = 500;

export interface HookPlace {
  readonly job: Job;
  readonly subject: Subject;
  readonly pipe: Pipe;
  readonly tools: Tools;
}

export interface Ended {
  readonly outcome: Outcome;
  readonly rows: number;
  readonly message: string;
}

/** Why the window is not to be run now: a veto, or the hook's own failure. Undefined: go ahead. */
export async function beforeSync(place: HookPlace, attempt: Attempt): Promise<Failed | undefined> {
  const hook = place.subject.release.manifest?.interfaces?.beforeSync;
  if (!hook) return undefined;
  const result = await call(place, attempt, "before_sync", hook, {}, attempt.tally);
  const failure = failureOf(result);
  if (failure) return { ...failure, error: { ...failure.error, message: `before_sync: ${failure.error.message}` } };
  const answer = parseJson(result.outcome === "ok" ? result.output : new Uint8Array());
  if (!isObject(answer)) return badAnswer("the answer of before_sync is not a JSON object");
  const { veto } = answer;
  if (veto === undefined || veto === null) {
    await attempt.step("approved");
    return undefined;
  }
  if (typeof veto !== "string" || veto.trim() === "") return badAnswer("before_sync: veto is no reason in words");
  const message = `before_sync said no: ${veto.slice(0, MAX_REASON_CHARACTERS)}`;
  return { outcome: "cancelled", error: { code: "vetoed", message, retryable: false }, veto: true };
}

/** What was committed stays so, whatever happens here: a failure is a run of its own, and a line in the log. */
export async function afterSync(place: HookPlace, attempt: Attempt, ended: Ended): Promise<void> {
  const hook = place.subject.release.manifest?.interfaces?.afterSync;
  if (!hook) return;
  const tally = new Tally();
  let [outcome, message]: [Outcome, string] = ["ok", ""];
  try {
    const result = await call(place, attempt, "after_sync", hook, { ...ended, run: place.job.runId }, tally);
    const failure = failureOf(result);
    if (failure) [outcome, message] = [failure.outcome, failure.error.message];
  } catch (thrown) {
    [outcome, message] = ["host_error", Fault.from(thrown).message];
  }
  await attempt.recordBeside("after_sync", { outcome, message }, tally);
}

function call(
  { job, subject, pipe, tools }: HookPlace,
  { number, signal, capabilities }: Attempt,
  name: "before_sync" | "after_sync",
  { timeout }: HookInterface,
  more: object,
  tally: Tally,
) {
  const { axis, beginUs, untilUs } = spanOf(job);
  const [begin, end] = [beginUs, untilUs].map((at) => formatPosition(axis, at));
  const asked = { pipe: pipeInput(pipe), config: subject.config, begin, end, attempt: number, ...more };
  const limits = tools.limits(subject.release.manifest?.limits, timeout || DEFAULT_TIMEOUT);
  // Metrics are stored with the run's rows, and these are under way or stored already.
  const { metric: _, ...extra } = capabilities;
  const input = Buffer.from(JSON.stringify(asked));
  return tools.guests.call({ subject, export: name, input, limits, signal, tally, extra });
}
