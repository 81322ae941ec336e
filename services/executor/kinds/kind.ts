/** What one kind of job does at the steps that all jobs share. */
import type { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import type { Kv } from "../../bus/ports.ts";
import type { Channel } from "../../kit/grpc.ts";
import type { Outcome, Results, RunKind, RunPart } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import type { Checkpoint, Checkpoints } from "../checkpoints.ts";
import type { Contexts } from "../contexts.ts";
import type { EnsureDataset } from "../declared-datasets.ts";
import type { Guests, NotRun } from "../guests.ts";
import type { Capabilities } from "../host/functions.ts";
import type { LimitsOf } from "../limits.ts";
import type { RunEnd } from "../run-record.ts";
import type { GuestError, GuestResult } from "../sandbox.ts";
import type { Step } from "../steps.ts";
import type { Tally } from "../tally.ts";

/** What the catalogue knows of resources. */
export interface KnownResources {
  /** By bare name. */
  has(name: string): boolean;
  /** Those that an instance discovered, by its full name. */
  of(origin: string): readonly Resource[];
}

/** What all kinds work with. */
export interface Tools {
  readonly guests: Guests;
  readonly results: Results;
  readonly ensureDataset: EnsureDataset;
  readonly limits: LimitsOf;
  readonly registry: Channel;
  readonly windows: Kv;
  readonly lastRuns: Kv;
  readonly contexts: Contexts;
  readonly resources: KnownResources;
}

/** One attempt, from its lease to its end. */
export interface Attempt {
  readonly job: Job;
  readonly subject: Subject;
  readonly fence: bigint;
  /** When the lease was granted, in milliseconds since the epoch: of a timed run by the bus's clock. */
  readonly grantedMs: number;
  /** Gives the lease back early: before the job is put where another executor may take it at once. */
  release(): Promise<void>;
  /** Delivery count, from 1. For information only. */
  readonly number: number;
  /** Aborts when the lease is lost or the executor has no more time. */
  readonly signal: AbortSignal;
  readonly tally: Tally;
  readonly checkpoint: Checkpoint;
  readonly checkpoints: Checkpoints;
  /** `log`, `progress`, `call`, `publish`: what every guest of a job has. */
  readonly capabilities: Capabilities;
  step(step: Step): Promise<void>;
  /** A run of its own in the history, beside this one and named after it: of a hook. */
  recordBeside(name: string, end: Pick<RunEnd, "outcome" | "message">, tally: Tally): Promise<void>;
}

export interface Success {
  readonly outcome: "ok" | "no_data" | "not_modified" | "partial";
  readonly parts: readonly RunPart[];
  readonly chunks: number;
  readonly rows: number;
  readonly message: string;
  /** Whether its rows are seen from now on; absent: unless it is `not_modified`. */
  readonly committed?: boolean;
  /** What stands after the commit, written by compare-and-set. */
  readonly finish: () => Promise<void>;
}

export interface Failed {
  readonly outcome: Exclude<Outcome, Success["outcome"]>;
  readonly error: GuestError;
  readonly chunks?: number;
  readonly rows?: number;
  /** Not the guest's doing and nothing was wrong: another executor does it, and it does not count as a failure. */
  readonly handBack?: boolean;
  /** The plugin said no before it began: nothing has failed, and what it is about stays as it was. */
  readonly veto?: boolean;
}

/** Why a job is not run after all. `undefined` as outcome: it has been done already, and is not recorded again. */
export interface Skip {
  readonly outcome: "skipped_early" | "dropped_late" | undefined;
  readonly message: string;
}

export interface JobRun {
  readonly kind: RunKind;
  /** Dataset of its rows, or "". */
  readonly dataset: string;
  /** Full name of pipe or poller. */
  readonly target: string;
  /** Bare name, or "". */
  readonly resource: string;
  /** Attempts before it is given up; a run that is due again soon has one. */
  readonly attempts: number;
  /** What no two attempts do at once, whatever their run ids. */
  readonly lock: string;
  /** Whether executors compare when it ran, so that only the bus's clock will do. */
  readonly timed?: boolean;
  /** Held by another: wait for it, or leave this one out. */
  readonly whenLocked: "wait" | "skip";
  /** With the lease held, before anything runs. */
  begin(attempt: Attempt): Promise<Skip | undefined>;
  execute(attempt: Attempt): Promise<Success | Failed>;
  /** After the last attempt failed. Whether the job is kept as a dead letter. */
  giveUp(attempt: Attempt, message: string): Promise<"dead_letter" | "ack">;
  /** The job is not run at all: paused, or too late. */
  drop(message: string): Promise<void>;
}

/** What the guest's own failure says, or undefined when it did well. */
export function failureOf(result: GuestResult | NotRun): Failed | undefined {
  if (result.outcome === "ok") return undefined;
  if (result.outcome === "not_run") return notRun(result);
  const error = result.error ?? { code: result.outcome, message: result.outcome, retryable: false };
  return { outcome: result.outcome, error };
}

const notRun = ({ fault }: NotRun): Failed => ({
  outcome: "cancelled",
  error: { code: fault.code, message: fault.message, retryable: true },
  handBack: true,
});

/** The guest answered, and the answer is not what its interface asks for. */
export const badAnswer = (message: string): Failed => ({
  outcome: "guest_error",
  error: { code: "bad_answer", message, retryable: false },
});
