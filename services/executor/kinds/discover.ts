/** `discover`: what there is to poll, handed to the registry, which decides what is new and what is gone. */
import type { Poller } from "../../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import { Resource as ResourceMessage } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import { ResourcesService } from "../../../proto/gen/millrace/registry/v1/resource_service.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare } from "../../../proto/names.ts";
import { Fault } from "../../kit/fault.ts";
import { ask } from "../../kit/grpc.ts";
import type { Subject } from "../catalog.ts";
import { isObject, parseJson } from "../host/functions.ts";
import { badAnswer, type Failed, failureOf, type JobRun, type Tools } from "./kind.ts";

const DEFAULT_TIMEOUT = "30s";
const REGISTRY_MS = 30_000;
const MAX_MISTAKES = 20;
const TEXTS = ["id", "type", "endpoint", "site", "class", "subclass", "ttl"] as const;

export function discoverRun(_job: Job, subject: Subject, poller: Poller, tools: Tools): JobRun {
  const manifest = subject.release.manifest;
  return {
    kind: "discover",
    dataset: "",
    target: poller.name,
    resource: "",
    attempts: 1,
    lock: bare(poller.name),
    whenLocked: "skip",
    begin: async () => undefined,

    async execute(attempt) {
      const { signal, tally, capabilities: extra } = attempt;
      const input = Buffer.from(JSON.stringify({ config: subject.config, site: poller.site }));
      const timeout = poller.timeout || manifest?.interfaces?.discover?.timeout || DEFAULT_TIMEOUT;
      const limits = tools.limits(manifest?.limits, timeout);
      const result = await tools.guests.call({ subject, export: "discover", input, limits, signal, tally, extra });
      const failure = failureOf(result);
      if (failure) return failure;
      const answer = readResources(parseJson(result.outcome === "ok" ? result.output : new Uint8Array()));
      if (typeof answer === "string") return badAnswer(answer);
      const origin = `instances/${subject.instance}`;
      const { resources, complete } = answer;
      try {
        const request = { origin, resources: [...resources], complete };
        const changed = await ask(tools.registry, ResourcesService.replaceResources, request, {
          deadlineMs: REGISTRY_MS,
          signal,
        });
        const { created, updated, removed } = changed;
        return {
          outcome: resources.length ? "ok" : "no_data",
          parts: [],
          chunks: 0,
          rows: resources.length,
          message: `${created} new, ${updated} changed, ${removed} removed`,
          finish: async () => {},
        };
      } catch (thrown) {
        return refusal(Fault.from(thrown));
      }
    },

    giveUp: async () => "ack",
    drop: async () => {},
  };
}

/** What the registry does not take is the guest's error; that it cannot be reached is not. */
function refusal(fault: Fault): Failed {
  const guest = fault.code === "invalid" || fault.code === "precondition";
  const error = { code: fault.code, message: fault.message, retryable: !guest };
  return { outcome: guest ? "guest_error" : "host_error", error };
}

interface Discovered {
  readonly resources: readonly Resource[];
  readonly complete: boolean;
}

/** What was found, or every mistake in the answer. The registry checks the values. Pure. */
export function readResources(answer: unknown): Discovered | string {
  if (!isObject(answer)) return "the answer of discover is not a JSON object";
  const { resources, complete = false } = answer;
  if (!Array.isArray(resources)) return "resources: is not an array";
  const mistakes: string[] = [];
  if (typeof complete !== "boolean") mistakes.push(`complete: ${JSON.stringify(complete)} is neither true nor false`);
  const read = resources.map((raw: unknown, i) => {
    if (!isObject(raw)) {
      mistakes.push(`resources[${i}]: is not an object`);
      return ResourceMessage.fromPartial({});
    }
    for (const field of TEXTS) {
      const value = raw[field];
      if (value !== undefined && value !== null && typeof value !== "string") {
        mistakes.push(`resources[${i}].${field}: ${JSON.stringify(value)} is not text`);
      }
    }
    const labels = isObject(raw.labels) ? Object.entries(raw.labels).map(([name, value]) => [name, String(value)]) : [];
    const texts = TEXTS.map((field) => [field, typeof raw[field] === "string" ? raw[field] : ""]);
    return ResourceMessage.fromPartial({ ...Object.fromEntries(texts), labels: Object.fromEntries(labels) });
  });
  return mistakes.length
    ? mistakes.slice(0, MAX_MISTAKES).join("\n")
    : { resources: read, complete: complete === true };
}
