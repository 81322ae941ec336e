/** `poll`: the metrics of one resource, one row for each value. */
import type { Poller } from "../../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare } from "../../../proto/names.ts";
import { Fault } from "../../kit/fault.ts";
import { formatTime, parseTime } from "../../kit/time.ts";
import { METRICS, type RowObject } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import { contextFor } from "../context-input.ts";
import { isObject, parseJson } from "../host/functions.ts";
import { minimumInterval, writeLastRun } from "../last-run.ts";
import { badAnswer, failureOf, type JobRun, type Tools } from "./kind.ts";

const DEFAULT_TIMEOUT = "10s";
const MAX_VALUES = 10_000;
const MAX_MISTAKES = 20;
const STATUSES = ["ok", "no_data", "partial"] as const;
const TYPES = ["gauge", "counter"];

export function pollRun(job: Job, subject: Subject, poller: Poller, resource: Resource, tools: Tools): JobRun {
  const [pollerId, resourceId] = [bare(poller.name), bare(resource.name)];
  const manifest = subject.release.manifest;
  const interfaceDefaults = manifest?.interfaces?.poll;
  const schedule = poller.schedule || `every ${interfaceDefaults?.every || "60s"}`;
  let previous: unknown = null;
  return {
    kind: "poll",
    dataset: METRICS.dataset,
    target: poller.name,
    resource: resourceId,
    attempts: 1,
    lock: `${pollerId}/${resourceId}`,
    whenLocked: "skip",
    timed: true,

    async begin({ grantedMs }) {
      const begun = { job, pollerId, resourceId, schedule, grantedMs };
      const { last, skip } = await minimumInterval(tools.lastRuns, begun);
      previous = last?.answer ?? null;
      return skip;
    },

    async execute(attempt) {
      const { fence, signal, tally, capabilities: extra } = attempt;
      const asked = formatTime(BigInt(Date.now()) * 1_000n);
      const { context, leftOut } = await contextFor(tools.contexts, subject.grants, interfaceDefaults?.context, {
        resource: resourceId,
        onDenied: () => tally.denied(),
      });
      const input = Buffer.from(
        JSON.stringify({
          resource: resourceInput(resource),
          config: subject.config,
          previous,
          context,
          attempt: attempt.number,
        }),
      );
      const timeout = poller.timeout || interfaceDefaults?.timeout || DEFAULT_TIMEOUT;
      const limits = tools.limits(manifest?.limits, timeout);
      const result = await tools.guests.call({ subject, export: "poll", input, limits, signal, tally, extra });
      const failure = failureOf(result);
      if (failure) return failure;
      const answer = parseJson(result.outcome === "ok" ? result.output : new Uint8Array());
      const read = readMetrics(answer, asked, resourceId);
      if (typeof read === "string") return badAnswer(read);
      const { rows } = read;
      if (rows.length) {
        const { runId } = job;
        const chunk = {
          dataset: METRICS.dataset,
          runId,
          fence,
          attempt: attempt.number,
          chunk: 0,
          resource: resourceId,
          rows,
        };
        await tools.results.appendChunk(chunk, signal);
        await attempt.step("chunk_stored");
      }
      const chunks = rows.length ? 1 : 0;
      const kept = isObject(answer) ? { ...answer, time: asked } : null;
      const last = { runId: job.runId, fence, startedMs: attempt.grantedMs, answer: kept };
      return {
        outcome: rows.length || read.status === "partial" ? read.status : "no_data",
        parts: chunks ? [{ fence, chunks }] : [],
        chunks,
        rows: rows.length,
        message: leftOut.length ? `context left out: ${leftOut.join(", ")}` : "",
        finish: () => writeLastRun(tools.lastRuns, pollerId, resourceId, last),
      };
    },

    // The next one is due soon, and there is nothing to be made up for.
    giveUp: async () => "ack",
    drop: async () => {},
  };
}

/** A resource as its guests see it. */
export const resourceInput = ({ name, id, type, endpoint, site, class: klass, subclass, labels }: Resource) => ({
  name: bare(name),
  ...{ id, type, endpoint, site, class: klass, subclass, labels },
});

interface Metrics {
  readonly rows: readonly RowObject[];
  readonly status: (typeof STATUSES)[number];
}

/** The rows of an answer, or every mistake in it. Pure. */
export function readMetrics(answer: unknown, asked: string, resource: string): Metrics | string {
  if (!isObject(answer)) return "the answer of poll is not a JSON object";
  const mistakes: string[] = [];
  const rows: RowObject[] = [];
  const { metrics = [], status = "ok" } = answer;
  const known = STATUSES.find((one) => one === status);
  if (!known) mistakes.push(`status: ${JSON.stringify(status)} is not one of ${STATUSES.join(" ")}`);
  if (!Array.isArray(metrics)) return [...mistakes, "metrics: is not an array"].join("\n");
  for (const [i, group] of metrics.entries()) {
    const where = `metrics[${i}]`;
    if (!isObject(group) || typeof group.group !== "string" || !isObject(group.values)) {
      mistakes.push(`${where}: is not {"group": text, "values": {…}}`);
      continue;
    }
    const dimensions = isObject(group.dimensions) ? group.dimensions : {};
    const labels = Object.fromEntries(Object.entries(dimensions).map(([name, value]) => [name, String(value)]));
    const time = readTime(group.time, asked, `${where}.time`, mistakes);
    for (const [name, entry] of Object.entries(group.values)) {
      const { value, type = "gauge" } = isObject(entry) ? entry : { value: entry };
      if (!Number.isFinite(value)) mistakes.push(`${where}.values.${name}: ${JSON.stringify(value)} is not a number`);
      else if (!TYPES.includes(String(type))) mistakes.push(`${where}.values.${name}: type is not gauge or counter`);
      else rows.push({ time, resource, group: group.group, dimensions: labels, name, type, value });
    }
    if (rows.length > MAX_VALUES) mistakes.push(`more than ${MAX_VALUES} values`);
    if (mistakes.length > MAX_MISTAKES || rows.length > MAX_VALUES) break;
  }
  return mistakes.length || !known ? mistakes.slice(0, MAX_MISTAKES).join("\n") : { rows, status: known };
}

function readTime(given: unknown, asked: string, field: string, mistakes: string[]): string {
  if (given === undefined || given === null || given === "") return asked;
  try {
    return formatTime(parseTime(String(given), field));
  } catch (thrown) {
    mistakes.push(
      Fault.from(thrown)
        .mistakes.map((m) => `${m.field}: ${m.problem}`)
        .join(", "),
    );
    return asked;
  }
}
