/** `fetch`: the rows of one window, by pages or by `emit`, resumed from the last checkpoint of an attempt cut off. */
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { type Window, WindowState } from "../../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../../proto/names.ts";
import type { Fault } from "../../kit/fault.ts";
import { formatTime, microsOf, timestampOf } from "../../kit/time.ts";
import type { DatasetSpec, RunPart } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import { RowSink } from "../host/emit.ts";
import { type Capabilities, isObject, parseJson, readRequest } from "../host/functions.ts";
import { returnedRows } from "../returned-rows.ts";
import { unrunState, type WindowChange, type WindowKey, writeWindow } from "../windows.ts";
import { type Attempt, badAnswer, type Failed, failureOf, type JobRun, type Success, type Tools } from "./kind.ts";

const DEFAULT_ATTEMPTS = 3;
const DEFAULT_TIMEOUT = "60s";
/** Calls with `next` in one run. */
const MAX_PAGES = 100_000;
const SCHEMAS = ["evolve", "freeze", "reject"] as const;
const STATUSES = ["ok", "no_data", "not_modified", "partial"] as const;

export function fetchRun(job: Job, subject: Subject, pipe: Pipe, tools: Tools): JobRun {
  const dataset = bare(pipe.dataset);
  const parameters = pipe.effective;
  const window: WindowKey = { pipe: bare(pipe.name), beginUs: job.beginUs, endUs: job.endUs };
  const write = (change: WindowChange | ((stored: Window | undefined) => WindowChange)) =>
    writeWindow(tools.windows, window, change);
  const run = job.runId;
  return {
    kind: "fetch",
    dataset,
    target: pipe.name,
    resource: "",
    attempts: parameters?.attempts || DEFAULT_ATTEMPTS,
    lock: run,
    whenLocked: "wait",

    async begin({ fence }) {
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
      if (parameters) await tools.ensureDataset(datasetOf(dataset, parameters));
      return fetchPages(attempt, { dataset, job, subject, pipe, tools, write });
    },

    async giveUp({ fence }, message) {
      await write({ run, fence, state: WindowState.FAILED, message });
      return "dead_letter";
    },

    drop: (message) => write((stored) => ({ run, fence: stored?.fence ?? 0n, state: unrunState(stored), message })),
  };
}

interface Fetch {
  readonly dataset: string;
  readonly job: Job;
  readonly subject: Subject;
  readonly pipe: Pipe;
  readonly tools: Tools;
  readonly write: (change: WindowChange) => Promise<void>;
}

async function fetchPages(attempt: Attempt, fetch: Fetch): Promise<Success | Failed> {
  const { job, subject, pipe, tools } = fetch;
  const { checkpoint, fence, signal, tally } = attempt;
  const manifest = subject.release.manifest;
  const limits = tools.limits(manifest?.limits, pipe.effective?.timeout || DEFAULT_TIMEOUT);
  const sink = new RowSink({
    maxRows: limits.maxRows - checkpoint.rows,
    append: async (rows, chunk) => {
      const { runId } = job;
      const piece = { dataset: fetch.dataset, runId, fence, attempt: attempt.number, chunk, resource: "", rows };
      const stored = await tools.results.appendChunk(piece, signal);
      await attempt.step("chunk_stored");
      return stored;
    },
  });
  const parts = (): RunPart[] => [...checkpoint.parts, ...(sink.chunks ? [{ fence, chunks: sink.chunks }] : [])];
  const save = async (cursor: unknown) => {
    await sink.flush();
    await attempt.checkpoints.write({
      ...checkpoint,
      fence,
      cursor,
      parts: parts(),
      rows: checkpoint.rows + sink.rows,
    });
    await attempt.step("checkpointed");
  };
  const extra: Capabilities = {
    ...attempt.capabilities,
    emit: sink.capability,
    checkpoint: async (request) => save(readRequest("checkpoint", request).cursor ?? null),
  };
  const failed = (failure: Failed): Failed => ({ ...failure, chunks: sink.chunks, rows: sink.rows });

  let cursor = checkpoint.cursor;
  let partial = false;
  for (let page = 1; ; page += 1) {
    const input = Buffer.from(JSON.stringify(fetchInput(fetch, attempt, cursor)));
    const result = await tools.guests.call({ subject, export: "fetch", input, limits, signal, tally, extra });
    const failure = failureOf(result);
    if (failure) return failed(sink.fault ? refusedRows(sink.fault) : failure);
    const output = result.outcome === "ok" ? result.output : new Uint8Array();
    const answer = readAnswer(output);
    if (typeof answer === "string") return failed(badAnswer(answer));
    try {
      const rows = returnedRows(output);
      if (rows) await sink.add(rows);
      await sink.flush();
    } catch (thrown) {
      if (sink.fault) return failed(refusedRows(sink.fault));
      throw thrown;
    }
    partial ||= answer.status === "partial";
    if (answer.next === undefined) return success(attempt, fetch, sink, parts(), partial ? "partial" : answer.status);
    if (JSON.stringify(answer.next) === JSON.stringify(cursor)) {
      return failed(badAnswer("`next` is the cursor that the call was given: it would never end"));
    }
    if (page >= MAX_PAGES) return failed(badAnswer(`more than ${MAX_PAGES} pages`));
    cursor = answer.next;
    await save(cursor);
  }
}

function success(
  { checkpoint, fence }: Attempt,
  { job, write }: Fetch,
  sink: RowSink,
  parts: readonly RunPart[],
  status: Success["outcome"],
): Success | Failed {
  const rows = checkpoint.rows + sink.rows;
  if (status === "not_modified" && rows) {
    return { ...badAnswer("answered not_modified after rows"), chunks: sink.chunks, rows: sink.rows };
  }
  // Rows speak louder than the word; and no rows without a word are no data.
  const outcome = rows && status === "no_data" ? "ok" : !rows && status === "ok" ? "no_data" : status;
  const ending = { run: job.runId, fence, fetchedUntil: timestampOf(job.untilUs || job.endUs) };
  const finish = () => {
    if (outcome === "not_modified") return write({ ...ending, state: WindowState.DONE });
    if (outcome !== "partial") return write({ ...ending, state: WindowState.DONE, rows: BigInt(rows) });
    const message = "the plugin got only a part; it will be fetched again";
    return write({ ...ending, state: WindowState.STALE, rows: BigInt(rows), message });
  };
  return { outcome, parts, chunks: sink.chunks, rows: sink.rows, message: "", finish };
}

/** The store's refusal is the guest's error, unless the store itself was away. */
function refusedRows(fault: Fault): Failed {
  const outcome = ["invalid", "too_large", "exhausted"].includes(fault.code) ? "guest_error" : "host_error";
  const retryable = outcome === "host_error" && fault.code !== "conflict";
  return { outcome, error: { code: fault.code, message: fault.message, retryable } };
}

export interface Answer {
  readonly next: unknown;
  readonly status: Success["outcome"];
}

/** The answer, or what is wrong with it. Its rows are left as bytes. */
export function readAnswer(output: Uint8Array): Answer | string {
  const answer = parseJson(output);
  if (!isObject(answer)) return "the answer of fetch is not a JSON object";
  const { rows, next, status = "ok" } = answer;
  const known = STATUSES.find((one) => one === status);
  if (!known) return `status: ${JSON.stringify(status)} is not one of ${STATUSES.join(" ")}`;
  if (rows !== undefined && rows !== null && !Array.isArray(rows)) return "rows: is not an array";
  const bad = Array.isArray(rows) ? rows.findIndex((row) => !isObject(row)) : -1;
  if (bad >= 0) return `rows[${bad}]: is not an object`;
  return { next: next ?? undefined, status: known };
}

function fetchInput({ job, subject, pipe }: Fetch, attempt: Attempt, cursor: unknown) {
  return {
    pipe: pipeInput(pipe),
    config: subject.config,
    begin: formatTime(job.beginUs),
    end: formatTime(job.untilUs || job.endUs),
    cursor: cursor ?? null,
    attempt: attempt.number,
  };
}

/** A pipe as guests see it: parameters in the manifest's own writing, those that are set. */
export function pipeInput(pipe: Pipe) {
  const { columns = [], index = [], attempts = 0, ...texts } = pipe.effective ?? {};
  const set = Object.entries(texts).filter(([, value]) => Object.keys(value).length > 0);
  const parameters = {
    ...Object.fromEntries(set),
    ...(columns.length > 0 && { columns: Object.fromEntries(columns.map(({ name, type }) => [name, type])) }),
    ...(index.length > 0 && { index }),
    ...(attempts > 0 && { attempts }),
  };
  const { metric, location } = pipe;
  return { name: bare(pipe.name), connector: bare(pipe.instance), metric, location, parameters };
}

function datasetOf(dataset: string, { columns, datetime, index, schema, timezone }: PipeParameters): DatasetSpec {
  const types = Object.fromEntries(columns.map(({ name, type }) => [name, type]));
  const policy = SCHEMAS.find((one) => one === schema);
  return {
    dataset,
    columns: types,
    datetime: datetime || undefined,
    index,
    schema: policy,
    timezone: timezone || undefined,
  };
}
