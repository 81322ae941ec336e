/** What goes into the queue. Pure; the same work at the same due moment is the same message, whoever sends it. */
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Poller, PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Job, JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare, runIds } from "../../proto/names.ts";
import { type Axis, axisAmong, compactPosition, compactTime } from "../kit/time.ts";
import { usOfMs } from "./moments.ts";
import type { PlannedWindow } from "./windows.ts";

/** Who asks: a leader by its epoch, or somebody by hand (epoch 0). */
export interface Asked {
  readonly dueUs: bigint;
  readonly epoch: bigint;
  readonly manual: boolean;
}

export function fetchJob(pipe: Pipe, window: PlannedWindow, { dueUs, epoch, manual }: Asked): Job {
  const { beginUs, endUs, untilUs, reachUs = untilUs } = window;
  const axis = axisOfPipe(pipe);
  const runId = runIds.fetch(bare(pipe.name), compactPosition(axis, beginUs));
  const job = { dueUs, epoch, manual, ...ofPipe(pipe), runId, kind: JobKind.FETCH };
  if (axis === "time") return Job.fromPartial({ ...job, beginUs, endUs, untilUs });
  const bounds = { beginInt: String(beginUs), endInt: String(endUs) };
  return Job.fromPartial({ ...job, ...bounds, untilInt: String(untilUs), reachInt: String(reachUs) });
}

/** The axis that the windows of a pipe lie on. */
export function axisOfPipe({ effective, parameters }: Pipe): Axis {
  const { columns = [], datetime = "" } = effective ?? parameters ?? {};
  return axisAmong(columns, datetime);
}

export function registerJob(pipe: Pipe, asked: Asked): Job {
  const runId = runIds.register(bare(pipe.name), pipe.etag);
  return Job.fromPartial({ ...asked, ...ofPipe(pipe), runId, kind: JobKind.REGISTER });
}

const JOB_KINDS = {
  [PollerKind.POLL]: JobKind.POLL,
  [PollerKind.DISCOVER]: JobKind.DISCOVER,
  [PollerKind.ENRICH]: JobKind.ENRICH,
} as const;

/** `resource` is the full name, "" for a discover. `expireMs` 0: never. */
export function pollerJob(poller: Poller, resource: string, asked: Asked, expireMs: number): Job {
  const kind = JOB_KINDS[poller.kind as keyof typeof JOB_KINDS] ?? JobKind.POLL;
  const due = compactTime(asked.dueUs);
  const name = bare(poller.name);
  return Job.fromPartial({
    ...asked,
    kind,
    runId: kind === JobKind.DISCOVER ? runIds.discover(name, due) : runIds.poll(name, bare(resource), due),
    instance: poller.instance,
    poller: poller.name,
    resource,
    expireUs: usOfMs(expireMs),
  });
}

export function messageId({ runId, dueUs }: Pick<Job, "runId" | "dueUs">): string {
  return `${runId}@${compactTime(dueUs)}`;
}

const ofPipe = (pipe: Pipe) => ({ pipe: pipe.name, instance: pipe.instance });
