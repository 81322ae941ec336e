/** One window of a pipe: its rows made by whoever makes them, committed at once, its hooks around it. */
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { WindowState } from "../../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare, SQL_INSTANCE } from "../../../proto/names.ts";
import { microsOf, parseDuration } from "../../kit/time.ts";
import type { DatasetSpec, Storage } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import { fetchedOf, spanOf, unrunState, type WindowChange, type WindowKey, windowWriter } from "../windows.ts";
import { guestRows } from "./guest-rows.ts";
import { afterSync, beforeSync, type Ended } from "./hooks.ts";
import { type Attempt, badAnswer, type Failed, type JobRun, type Success, type Tools } from "./kind.ts";
import type { Produced, WindowRows } from "./produced.ts";
import { selectRows } from "./selected.ts";
import { compareWithSource, noteProblem, skipOutdated } from "./verify.ts";

const DEFAULT_ATTEMPTS = 3;
const SCHEMAS = ["evolve", "freeze", "reject"] as const;
const PARTITIONS = ["day", "month", "none"] as const;

/** `followed`: other pipes are made from this one, and want to know whether a result is another one. */
export function fetchRun(job: Job, subject: Subject, pipe: Pipe, tools: Tools, followed: boolean): JobRun {
  const dataset = bare(pipe.dataset);
  const parameters = pipe.effective;
  const window: WindowKey = { pipe: bare(pipe.name), ...spanOf(job) };
  const write = windowWriter(tools.windows, window);
  const run = job.runId;
  const place = { dataset, job, subject, pipe, tools };
  const produce = async (attempt: Attempt) => {
    if (parameters) await tools.ensureDataset(datasetOf(dataset, parameters));
    return pipe.instance === SQL_INSTANCE ? selectRows(attempt, place) : guestRows(attempt, place);
  };
  const told = (attempt: Attempt, ended: Ended) => afterSync(place, attempt, ended);
  return {
    kind: job.verify ? "verify" : subject.release.manifest?.interfaces?.sync ? "sync" : "fetch",
    dataset,
    target: pipe.name,
    resource: "",
    attempts: parameters?.attempts || DEFAULT_ATTEMPTS,
    lock: run,
    whenLocked: "wait",

    async begin({ fence }) {
      if (job.verify) return skipOutdated(place, window);
      let superseded = false;
      await write((stored) => {
        superseded = microsOf(stored?.dueTime) > job.dueUs;
        const kept = superseded && stored ? stored.state : WindowState.RUNNING;
        return { run, fence, state: kept };
      });
      if (!superseded) return undefined;
      return { outcome: "dropped_late", message: "the window has been queued again since, for a later due moment" };
    },

    async execute(attempt) {
      const stopped = job.verify ? undefined : await beforeSync(place, attempt);
      if (stopped) return stopped;
      const produced = await produce(attempt);
      if (isFailed(produced)) return produced;
      const end = ended(produced);
      if (end.outcome === "not_modified" && produced.allRows) {
        const { chunks, rows } = produced;
        return { ...badAnswer("answered not_modified after rows"), chunks, rows };
      }
      const result = followed && end.outcome !== "not_modified" ? await resultOf(place, produced) : "";
      const watermark = await watermarkOf(place, produced);
      const finish = async () => {
        await write(changeOf(job, attempt.fence, end, result, watermark));
        await attempt.step("settled");
        await told(attempt, end);
      };
      const success: Success = { ...end, parts: produced.parts, chunks: produced.chunks, rows: produced.rows, finish };
      return job.verify ? compareWithSource(place, window, attempt, produced, success) : success;
    },

    async giveUp(attempt, message) {
      if (job.verify) {
        await noteProblem(place, window, attempt.fence, message);
        return "ack";
      }
      await write({ run, fence: attempt.fence, state: WindowState.FAILED, message });
      const [outcome = ""] = message.split(":");
      await told(attempt, { outcome: outcome as Ended["outcome"], rows: 0, message });
      return "dead_letter";
    },

    drop: (message) =>
      job.verify
        ? noteProblem(place, window, undefined, message)
        : write((stored) => ({ run, fence: stored?.fence ?? 0n, state: unrunState(stored), message })),
  };
}

const isFailed = (produced: Produced | Failed): produced is Failed => "error" in produced;

/** Rows speak louder than the word; and no rows without a word are no data. */
function ended({ status, allRows }: Produced): Ended & Pick<Success, "outcome"> {
  const outcome = allRows && status === "no_data" ? "ok" : !allRows && status === "ok" ? "no_data" : status;
  return { outcome, rows: allRows, message: "" };
}

function changeOf(
  job: Job,
  fence: bigint,
  { outcome, rows }: Ended,
  result: string,
  watermark: bigint | undefined,
): WindowChange {
  const ending = { run: job.runId, fence, ...fetchedOf(spanOf(job), watermark) };
  if (outcome === "not_modified") return { ...ending, state: WindowState.DONE };
  const done = { ...ending, state: WindowState.DONE, rows: BigInt(rows), result };
  if (outcome !== "partial") return done;
  return { ...done, state: WindowState.STALE, message: "the plugin got only a part; it will be fetched again" };
}

/**
 * How far the source goes, on an axis of integers. Without its word, rows in a window at the head show that it goes on;
 * a plugin that gives the same rows for whatever it is asked would be asked for ever, so they have to lie inside.
 */
async function watermarkOf({ dataset, job, tools }: WindowRows, { watermark, allRows, parts }: Produced) {
  const { axis, beginUs: begin, untilUs: end, reachUs } = spanOf(job);
  if (axis === "time" || watermark !== undefined || allRows === 0 || reachUs >= end) return watermark;
  const attempt = { dataset, runId: job.runId, parts };
  return (await tools.results.liesWithin({ ...attempt, begin, end })) ? undefined : reachUs;
}

/** Equal for equal rows, in whatever order they came. */
async function resultOf({ dataset, job, tools }: WindowRows, { parts }: Produced): Promise<string> {
  if (parts.length === 0) return "0";
  const { rows, checksum } = await tools.results.sumAttempt({ dataset, runId: job.runId, parts });
  return `${rows}/${checksum}`;
}

function datasetOf(dataset: string, parameters: PipeParameters): DatasetSpec {
  const { columns, datetime, index, schema, timezone } = parameters;
  const types = Object.fromEntries(columns.map(({ name, type }) => [name, type]));
  const policy = SCHEMAS.find((one) => one === schema);
  return {
    dataset,
    columns: types,
    datetime: datetime || undefined,
    index,
    schema: policy,
    timezone: timezone || undefined,
    storage: storageOf(parameters),
  };
}

/** Always said, so that what a pipe no longer asks for is taken back. */
function storageOf({ retention, ttl, partition, codec, codecs }: PipeParameters): Storage {
  const cut = PARTITIONS.find((one) => one === partition);
  return {
    ...(retention && { retentionMs: parseDuration(retention, "retention") }),
    ...(ttl && { ttlMs: parseDuration(ttl, "ttl") }),
    ...(cut && { partition: cut }),
    ...(codec && { codec }),
    ...(Object.keys(codecs).length > 0 && { codecs }),
  };
}
