/** `register`: the defaults of a pipe that its plugin computes, handed to the registry. */
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipeParameters } from "../../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../../proto/gen/millrace/registry/v1/pipe_service.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare } from "../../../proto/names.ts";
import { Fault } from "../../kit/fault.ts";
import { ask } from "../../kit/grpc.ts";
import type { Subject } from "../catalog.ts";
import { isObject, parseJson } from "../host/functions.ts";
import { badAnswer, failureOf, type JobRun, type Tools } from "./kind.ts";
import { pipeInput } from "./pipe-input.ts";

const ATTEMPTS = 3;
const REGISTRY_MS = 10_000;
const SPANS = ["schedule", "chunk", "begin", "end", "backtrack", "timeout", "retention", "ttl", "freshness"];
const TEXTS = ["datetime", "target", "schema", "timezone", "partition", "codec", ...SPANS];
const MAPS = ["columns", "codecs"];
const KNOWN = [...MAPS, "index", "attempts", ...TEXTS];

export function registerRun(_job: Job, subject: Subject, pipe: Pipe, tools: Tools): JobRun {
  const tell = async (defaults: PipeParameters | undefined, failure: string) => {
    const { name, etag } = pipe;
    const request = { name, etag, defaults, failure };
    try {
      await ask(tools.registry, PipesService.registerPipe, request, { deadlineMs: REGISTRY_MS });
      return "";
    } catch (thrown) {
      const { code } = Fault.from(thrown);
      // Changed or deleted since we were asked: another question follows, or none.
      if (code === "conflict" || code === "not_found") return "the pipe has changed since; this answer is not kept";
      throw thrown;
    }
  };
  return {
    kind: "register",
    dataset: "",
    target: pipe.name,
    resource: "",
    attempts: ATTEMPTS,
    lock: `${bare(pipe.name)}/register`,
    whenLocked: "wait",
    begin: async () => undefined,

    async execute(attempt) {
      const { signal, tally, capabilities: extra } = attempt;
      const input = Buffer.from(JSON.stringify({ pipe: pipeInput(pipe), config: subject.config }));
      const limits = tools.limits(subject.release.manifest?.limits);
      const result = await tools.guests.call({ subject, export: "register", input, limits, signal, tally, extra });
      const failure = failureOf(result);
      if (failure) return failure;
      const defaults = readDefaults(parseJson(result.outcome === "ok" ? result.output : new Uint8Array()));
      if (typeof defaults === "string") return badAnswer(defaults);
      try {
        const message = await tell(defaults, "");
        return { outcome: "ok", parts: [], chunks: 0, rows: 0, message, finish: async () => {} };
      } catch (thrown) {
        const fault = Fault.from(thrown);
        if (fault.code === "invalid") return badAnswer(fault.message);
        throw fault;
      }
    },

    async giveUp(_attempt, message) {
      await tell(undefined, message);
      return "ack";
    },
    drop: async () => {},
  };
}

/** The parameters of an answer, or every mistake in its form. The registry checks the values. Pure. */
export function readDefaults(answer: unknown): PipeParameters | string {
  if (!isObject(answer)) return "the answer of register is not a JSON object";
  const { columns, codecs, index, attempts } = answer;
  const mistakes = Object.keys(answer)
    .filter((key) => !KNOWN.includes(key))
    .map((key) => `${key}: is not a parameter of a pipe; there are: ${KNOWN.join(" ")}`);
  for (const field of TEXTS) {
    const value = answer[field];
    if (value !== undefined && typeof value !== "string")
      mistakes.push(`${field}: ${JSON.stringify(value)} is not text`);
  }
  for (const field of MAPS) {
    const map = answer[field];
    if (map === undefined || (isObject(map) && Object.values(map).every((value) => typeof value === "string")))
      continue;
    mistakes.push(`${field}: is not {"column": "text"}`);
  }
  if (index !== undefined && !(Array.isArray(index) && index.every((name) => typeof name === "string"))) {
    mistakes.push("index: is not an array of column names");
  }
  if (attempts !== undefined && !Number.isInteger(attempts)) mistakes.push("attempts: is not a whole number");
  if (mistakes.length) return mistakes.join("\n");
  const listed = isObject(columns) ? Object.entries(columns).map(([name, type]) => ({ name, type: String(type) })) : [];
  const texts = TEXTS.flatMap((field) => (answer[field] === undefined ? [] : [[field, answer[field]]]));
  return PipeParameters.fromPartial({
    ...Object.fromEntries(texts),
    columns: listed,
    codecs: isObject(codecs)
      ? Object.fromEntries(Object.entries(codecs).map(([name, codec]) => [name, String(codec)]))
      : {},
    index: Array.isArray(index) ? index.map(String) : [],
    attempts: Number(attempts ?? 0),
  });
}
