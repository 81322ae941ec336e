/** Rows of a window from a guest, by pages or by `emit`, resumed from the last checkpoint of an attempt cut off. */
import type { Fault } from "../../kit/fault.ts";
import { formatPosition, isInteger } from "../../kit/time.ts";
import type { RunPart } from "../../results/results.ts";
import { RowSink } from "../host/emit.ts";
import { type Capabilities, isObject, parseJson, readRequest } from "../host/functions.ts";
import { returnedRows } from "../returned-rows.ts";
import { type TypedRows, typedRows } from "../typed-rows.ts";
import { spanOf } from "../windows.ts";
import { type Attempt, badAnswer, type Failed, failureOf, type Success } from "./kind.ts";
import { pipeInput } from "./pipe-input.ts";
import type { Produced, WindowRows } from "./produced.ts";

const DEFAULT_TIMEOUT = "60s";
/** Calls with `next` in one run. */
const MAX_PAGES = 100_000;
const STATUSES = ["ok", "no_data", "not_modified", "partial"] as const;

/** Pages of `fetch` until one says that it was the last; or one call of `sync`, which emits its rows itself. */
export async function guestRows(attempt: Attempt, fetch: WindowRows): Promise<Produced | Failed> {
  const { job, subject, pipe, tools } = fetch;
  const { checkpoint, fence, signal, tally } = attempt;
  const manifest = subject.release.manifest;
  const limits = tools.limits(manifest?.limits, pipe.effective?.timeout || DEFAULT_TIMEOUT);
  const asked = manifest?.interfaces?.sync ? "sync" : "fetch";
  using sink = new RowSink({
    maxRows: limits.maxRows - checkpoint.rows,
    append: async (rows, chunk, format, scan) => {
      const { runId } = job;
      const envelope = { dataset: fetch.dataset, runId, fence, attempt: attempt.number, chunk, resource: "" };
      const stored = await tools.results.appendChunk({ ...envelope, format, rows, scan }, signal);
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
    ...sink.capabilities,
    checkpoint: async (request) => save(readRequest("checkpoint", request).cursor ?? null),
  };
  const failed = (failure: Failed): Failed => ({ ...failure, chunks: sink.chunks, rows: sink.rows });

  let cursor = checkpoint.cursor;
  let partial = false;
  for (let page = 1; ; page += 1) {
    const input = Buffer.from(JSON.stringify(fetchInput(fetch, attempt, cursor)));
    const result = await tools.guests.call({ subject, export: asked, input, limits, signal, tally, extra });
    const failure = failureOf(result);
    if (failure) return failed(sink.fault ? refusedRows(sink.fault) : failure);
    const output = result.outcome === "ok" ? result.output : new Uint8Array();
    const answer = asked === "sync" ? readSyncAnswer(output) : readAnswer(output);
    if (typeof answer === "string") return failed(badAnswer(answer));
    try {
      const rows = answer.typed ?? { format: "ndjson", bytes: returnedRows(output) };
      if (rows.bytes) await sink.addAs(rows.format, rows.bytes);
      await sink.flush();
    } catch (thrown) {
      if (sink.fault) return failed(refusedRows(sink.fault));
      throw thrown;
    }
    partial ||= answer.status === "partial";
    if (answer.next === undefined) {
      const watermark = readWatermark(fetch, answer.watermark);
      if (typeof watermark === "string") return failed(badAnswer(watermark));
      const { chunks, rows } = sink;
      const status = partial ? "partial" : answer.status;
      return { status, parts: parts(), chunks, rows, allRows: checkpoint.rows + rows, watermark };
    }
    if (JSON.stringify(answer.next) === JSON.stringify(cursor)) {
      return failed(badAnswer("`next` is the cursor that the call was given: it would never end"));
    }
    if (page >= MAX_PAGES) return failed(badAnswer(`more than ${MAX_PAGES} pages`));
    cursor = answer.next;
    await save(cursor);
  }
}

/** The store's refusal is the guest's error, unless the store itself was away. */
function refusedRows(fault: Fault): Failed {
  const outcome = ["invalid", "too_large", "exhausted"].includes(fault.code) ? "guest_error" : "host_error";
  const retryable = outcome === "host_error" && fault.code !== "conflict";
  return { outcome, error: { code: fault.code, message: fault.message, retryable } };
}

export interface Answer {
  readonly next: unknown;
  /** As it was answered. */
  readonly watermark?: unknown;
  /** Rows that are no array, by the answer's content type. */
  readonly typed?: TypedRows | undefined;
  readonly status: Success["outcome"];
}

/** The answer, or what is wrong with it. Its rows are left as bytes. */
export function readAnswer(output: Uint8Array): Answer | string {
  const answer = parseJson(output);
  if (!isObject(answer)) return "the answer of fetch is not a JSON object";
  const { rows, next, watermark, status = "ok", content_type: contentType } = answer;
  const known = STATUSES.find((one) => one === status);
  if (!known) return `status: ${JSON.stringify(status)} is not one of ${STATUSES.join(" ")}`;
  if (contentType !== undefined && contentType !== null && contentType !== "application/json") {
    const typed = typedRows(contentType, rows);
    return typeof typed === "string" ? typed : { next: next ?? undefined, watermark, status: known, typed };
  }
  if (rows !== undefined && rows !== null && !Array.isArray(rows)) return "rows: is not an array";
  const bad = Array.isArray(rows) ? rows.findIndex((row) => !isObject(row)) : -1;
  if (bad >= 0) return `rows[${bad}]: is not an object`;
  return { next: next ?? undefined, watermark, status: known };
}

/**
 * On an axis of integers, how far the source goes. One that is the end that was asked for is what plugins for time
 * answer by habit, and says nothing about what lies beyond.
 */
function readWatermark({ job }: WindowRows, given: unknown): bigint | undefined | string {
  const { axis, untilUs } = spanOf(job);
  if (axis === "time" || given === undefined || given === null || given === "") return undefined;
  if (typeof given === "number" && !Number.isSafeInteger(given)) {
    return `watermark: ${given} is no whole number that JSON keeps exact: write it as text`;
  }
  const text = String(given);
  if (!isInteger(text)) return `watermark: ${JSON.stringify(given)} is not an integer, and the axis of the pipe is`;
  return BigInt(text) === untilUs ? undefined : BigInt(text);
}

/** `sync` has one call, and its rows went by `emit`. */
function readSyncAnswer(output: Uint8Array): Answer | string {
  const answer = parseJson(output);
  if (isObject(answer)) {
    const stray = ["rows", "next"].find((name) => answer[name] !== undefined && answer[name] !== null);
    if (stray) return `${stray}: sync answers {status}; its rows go by emit, and where it is by checkpoint`;
  }
  const read = readAnswer(output);
  return typeof read === "string" ? read.replace("the answer of fetch", "the answer of sync") : read;
}

function fetchInput({ job, subject, pipe }: WindowRows, attempt: Attempt, cursor: unknown) {
  const { axis, beginUs, untilUs } = spanOf(job);
  return {
    pipe: pipeInput(pipe),
    config: subject.config,
    begin: formatPosition(axis, beginUs),
    end: formatPosition(axis, untilUs),
    cursor: cursor ?? null,
    attempt: attempt.number,
  };
}
