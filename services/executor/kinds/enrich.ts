/** `enrich`: documents about a resource, each checked by its namespace's JSON Schema and kept until its ttl is over. */
import type { ContextNamespace } from "../../../proto/gen/millrace/registry/v1/manifest.ts";
import type { Poller } from "../../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare } from "../../../proto/names.ts";
import { Fault } from "../../kit/fault.ts";
import { parseDuration } from "../../kit/time.ts";
import type { Subject } from "../catalog.ts";
import type { NewDocument } from "../contexts.ts";
import { type Check, checkOf } from "../function-schema.ts";
import { MAX_CONTEXT_KEY_BYTES } from "../host/context.ts";
import { isObject, parseJson } from "../host/functions.ts";
import { minimumInterval, writeLastRun } from "../last-run.ts";
import { badAnswer, failureOf, type JobRun, type Tools } from "./kind.ts";
import { resourceInput } from "./poll.ts";

const DEFAULT_TIMEOUT = "30s";
const DEFAULT_EVERY = "5m";
const DEFAULT_TTL = "1d";
const MIN_TTL_MS = 1_000;
const MAX_ANSWER = 10_000;
const MAX_DOCUMENT_BYTES = 64 * 1_024;
const MAX_MISTAKES = 20;
/** Of all checks of one answer together: schemas come from strangers, and the main thread is everybody's. */
const CHECKS_MS = 2_000;
const STATUSES = ["ok", "no_data", "partial"] as const;

export function enrichRun(job: Job, subject: Subject, poller: Poller, resource: Resource, tools: Tools): JobRun {
  const [pollerId, resourceId] = [bare(poller.name), bare(resource.name)];
  const manifest = subject.release.manifest;
  const declared = manifest?.interfaces?.enrich;
  return {
    kind: "enrich",
    dataset: "",
    target: poller.name,
    resource: resourceId,
    attempts: 1,
    lock: `${pollerId}/${resourceId}`,
    whenLocked: "skip",
    timed: true,

    async begin({ grantedMs }) {
      const schedule = poller.schedule || `every ${declared?.every || DEFAULT_EVERY}`;
      return (await minimumInterval(tools.lastRuns, { job, pollerId, resourceId, schedule, grantedMs })).skip;
    },

    async execute(attempt) {
      const { fence, signal, tally, capabilities: extra } = attempt;
      const given = { resource: resourceInput(resource), config: subject.config, attempt: attempt.number };
      const input = Buffer.from(JSON.stringify(given));
      const timeout = poller.timeout || declared?.timeout || DEFAULT_TIMEOUT;
      const limits = tools.limits(manifest?.limits, timeout);
      const result = await tools.guests.call({ subject, export: "enrich", input, limits, signal, tally, extra });
      const failure = failureOf(result);
      if (failure) return failure;
      const answer = parseJson(result.outcome === "ok" ? result.output : new Uint8Array());
      const read = readDocuments(answer, namespacesOf(declared?.namespaces ?? {}), {
        own: resourceId,
        find: finder(tools, resource),
      });
      if (typeof read === "string") return badAnswer(read);
      const by = { instance: subject.instance, runId: job.runId, fence };
      const refusals = await tools.contexts.store(
        read.documents.map(({ document }) => document),
        by,
        signal,
      );
      await attempt.step("chunk_stored");
      const refused = refusals.flatMap((why, i) => (why === undefined ? [] : [`${read.documents[i]?.field}: ${why}`]));
      const mistakes = [...read.mistakes, ...refused];
      const rows = refusals.length - refused.length;
      const more = mistakes.length > MAX_MISTAKES ? [`and ${mistakes.length - MAX_MISTAKES} more`] : [];
      const message = [...mistakes.slice(0, MAX_MISTAKES), ...more].join("\n");
      if (rows === 0 && mistakes.length) return badAnswer(message);
      const last = { runId: job.runId, fence, startedMs: attempt.grantedMs, answer: null };
      const complete = mistakes.length === 0 && read.status !== "partial";
      return {
        outcome: complete ? (rows ? "ok" : "no_data") : "partial",
        parts: [],
        chunks: 0,
        rows,
        message,
        finish: () => writeLastRun(tools.lastRuns, pollerId, resourceId, last),
      };
    },

    // The next one is due soon, and there is nothing to be made up for.
    giveUp: async () => "ack",
    drop: async () => {},
  };
}

/** By bare name, else by the id that its discovery knows it by, among those that were found together with this one. */
function finder({ resources }: Tools, about: Resource): (named: string) => string | undefined {
  let byId: Map<string, string> | undefined;
  return (named) => {
    if (resources.has(named)) return named;
    if (about.origin === "") return undefined;
    byId ??= new Map(resources.of(about.origin).map(({ id, name }) => [id, bare(name)]));
    return byId.get(named);
  };
}

export interface Namespace {
  readonly check: Check;
  readonly ttlMs: number;
}

const compiled = new WeakMap<object, ReadonlyMap<string, Namespace>>();

export function namespacesOf(declared: Readonly<Record<string, ContextNamespace>>): ReadonlyMap<string, Namespace> {
  const known = compiled.get(declared);
  if (known) return known;
  const namespaces = new Map(
    Object.entries(declared).map(([name, { schema, ttl }]) => {
      return [name, { check: checkOf(schema, true), ttlMs: parseDuration(ttl || DEFAULT_TTL, "ttl") }] as const;
    }),
  );
  compiled.set(declared, namespaces);
  return namespaces;
}

interface Resources {
  /** Bare name of the resource at hand. */
  readonly own: string;
  /** Bare name by name or id; undefined when there is none. */
  readonly find: (named: string) => string | undefined;
}

interface Documents {
  readonly documents: readonly { readonly field: string; readonly document: NewDocument }[];
  /** Of the documents that are left out. */
  readonly mistakes: readonly string[];
  readonly status: (typeof STATUSES)[number];
}

/** The documents of an answer that fit and every mistake of the others, or why it is no answer. */
export function readDocuments(
  answer: unknown,
  namespaces: ReadonlyMap<string, Namespace>,
  resources: Resources,
  nowMs: () => number = () => performance.now(),
): Documents | string {
  if (!isObject(answer)) return "the answer of enrich is not a JSON object";
  const { documents: given = [], status: said = "ok" } = answer;
  const status = STATUSES.find((one) => one === said);
  if (!status) return `status: ${JSON.stringify(said)} is not one of ${STATUSES.join(" ")}`;
  if (!Array.isArray(given)) return "documents: is not an array";
  if (given.length > MAX_ANSWER) return `documents: there are ${given.length}; at most ${MAX_ANSWER}`;
  const documents: { field: string; document: NewDocument }[] = [];
  const mistakes: string[] = [];
  const taken = new Set<string>();
  let left = CHECKS_MS;
  for (const [i, raw] of (given as unknown[]).entries()) {
    const field = `documents[${i}]`;
    const before = mistakes.length;
    const wrong = (name: string, problem: string) => mistakes.push(`${field}${name && `.${name}`}: ${problem}`);
    if (!isObject(raw)) {
      wrong("", "is not an object");
      continue;
    }
    const name = typeof raw.namespace === "string" ? raw.namespace : "";
    const namespace = namespaces.get(name);
    if (!namespace) {
      const known = [...namespaces.keys()].join(" ");
      wrong(
        "namespace",
        `${shown(raw.namespace)} is not declared in interfaces.enrich.namespaces; there are: ${known}`,
      );
    }
    const key = typeof raw.key === "string" && raw.key.isWellFormed() ? raw.key : "";
    if (key === "" || Buffer.byteLength(key) > MAX_CONTEXT_KEY_BYTES) {
      wrong("key", `${shown(raw.key)} is not text of 1 to ${MAX_CONTEXT_KEY_BYTES} bytes`);
    }
    const resource = resourceOf(raw.resource, resources);
    if (resource === undefined) wrong("resource", `there is no resource ${shown(raw.resource)}`);
    const json = Buffer.from(JSON.stringify(raw.value ?? null));
    if (json.byteLength > MAX_DOCUMENT_BYTES) {
      wrong("value", `is ${json.byteLength} bytes; at most ${MAX_DOCUMENT_BYTES}`);
    } else if (namespace && left <= 0) {
      wrong("value", `was not checked: the checks before it took over ${CHECKS_MS} ms`);
    } else if (namespace) {
      const beganMs = nowMs();
      for (const { field: at, problem } of namespace.check(raw.value ?? null, "value")) wrong(at, problem);
      left -= nowMs() - beganMs;
    }
    const ttlMs = namespace ? readTtl(raw.ttl, namespace.ttlMs, (problem) => wrong("ttl", problem)) : 0;
    const place = JSON.stringify([resource, name, key]);
    if (taken.has(place)) wrong("key", `${shown(key)} is there twice`);
    if (mistakes.length > before || resource === undefined) continue;
    taken.add(place);
    documents.push({ field, document: { resource, namespace: name, key, json, ttlMs } });
  }
  return { documents, mistakes, status };
}

const shown = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";

function resourceOf(named: unknown, { own, find }: Resources): string | undefined {
  if (named === undefined || named === null || named === "") return own;
  return typeof named === "string" ? find(named) : undefined;
}

/** At most what the namespace says: readers know how old a document may be. */
function readTtl(given: unknown, mostMs: number, wrong: (problem: string) => void): number {
  if (given === undefined || given === null || given === "") return mostMs;
  let ttlMs: number;
  try {
    ttlMs = parseDuration(String(given), "ttl");
  } catch (thrown) {
    for (const { problem } of Fault.from(thrown).mistakes) wrong(problem);
    return mostMs;
  }
  if (ttlMs < MIN_TTL_MS) wrong(`${shown(given)} is too short: at least ${MIN_TTL_MS} ms`);
  if (ttlMs > mostMs) wrong(`${shown(given)} is longer than the namespace's ttl of ${mostMs} ms`);
  return ttlMs;
}
