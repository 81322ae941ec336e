/** Functions and Events over gRPC: calls go through the executors' streams, events come from the bus. */
import { all, type Entity, find } from "../../proto/catalog.ts";
import { type EventsServer, EventsService } from "../../proto/gen/millrace/executor/v1/event_service.ts";
import {
  type FunctionMessage,
  type FunctionsServer,
  FunctionsService,
} from "../../proto/gen/millrace/executor/v1/function_service.ts";
import { type Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { EVENTS } from "../../proto/names.ts";
import type { BusEvent, Events } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { type Methods, type Service, service } from "../kit/grpc.ts";
import { parseDuration, timestampOf } from "../kit/time.ts";
import type { Executors } from "./executors.ts";
import { refusalOf, versionOf } from "./plugin-routes.ts";

const DEFAULT_TIMEOUT = "10s";
const ANY = "instances/-";
const SUBJECTS = Object.values(EVENTS);
const SUBJECT = /^[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+)*$/;

export interface FunctionsPorts {
  readonly catalog: { get(key: string): Entity | undefined; values(): Iterable<Entity> };
  readonly executors: Executors;
  readonly events: Events;
}

export const executorServices = (ports: FunctionsPorts): readonly Service[] => [
  service(FunctionsService, functionMethods(ports)),
  service(EventsService, eventMethods(ports.events)),
];

function functionMethods({ catalog, executors }: FunctionsPorts): Methods<FunctionsServer> {
  return {
    async listFunctions({ parent }) {
      if (parent !== ANY && !find(catalog, "instance", parent)) throw new Fault("not_found", `there is no ${parent}`);
      const instances = [...all(catalog, "instance")].filter(
        ({ name, state }) => (parent === ANY || name === parent) && state === InstanceState.ENABLED,
      );
      const functions = instances.flatMap((instance) => functionsOf(catalog, instance));
      return { functions: functions.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    },
    async callFunction({ name, function: fn, input }, { signal, remainingMs }) {
      const instance = find(catalog, "instance", name);
      if (!instance) throw new Fault("not_found", `there is no ${name}`);
      const declared = functionsOf(catalog, instance);
      const known = declared.find((one) => one.name === `${name}/functions/${fn}`);
      if (!known) {
        const names = declared.map((one) => one.name.slice(one.name.lastIndexOf("/") + 1)).join(", ") || "none";
        throw new Fault("not_found", `${name} has no function ${JSON.stringify(fn)}; there are: ${names}`);
      }
      const end = await executors.call({
        instance: name,
        export: `function:${fn}`,
        input: Buffer.from(JSON.stringify(input ?? null)),
        deadlineMs: Math.max(1, Math.floor(Math.min(parseDuration(known.timeout, "timeout"), remainingMs()))),
        target: `function:${fn}`,
        traceparent: "",
        idempotent: false,
        signal,
      });
      if (end.type === "failure") throw refusalOf(name, end);
      return { output: JSON.parse(Buffer.from(end.output).toString("utf8")), run: `runs/${end.runId}` };
    },
  };
}

/** Errors: `unavailable` when the instance runs no version. */
function functionsOf(catalog: FunctionsPorts["catalog"], instance: Instance): FunctionMessage[] {
  const functions = versionOf(catalog, instance).manifest?.interfaces?.functions ?? {};
  return Object.entries(functions).map(([fn, { description, input, output, timeout }]) => ({
    name: `${instance.name}/functions/${fn}`,
    ...{ description, input, output, timeout: timeout || DEFAULT_TIMEOUT },
  }));
}

function eventMethods(events: Events): Methods<EventsServer> {
  return {
    async *watchEvents({ subject }, { signal }) {
      if (subject !== "" && !(SUBJECT.test(subject) && SUBJECTS.some((one) => one === subject.split(".", 1)[0]))) {
        const fix = `one that begins with ${SUBJECTS.join(", ")}`;
        const problem = `${JSON.stringify(subject)} is not a subject that can be watched`;
        throw Fault.invalid("bad subject", [{ field: "subject", problem, fix }]);
      }
      const left = new AbortController();
      const stop = AbortSignal.any([signal, left.signal]);
      const wanted = subject === "" ? SUBJECTS : [subject];
      try {
        for await (const event of merged(wanted.map((one) => events.subscribe(one, stop)))) {
          yield { subject: event.subject, time: timestampOf(BigInt(Date.now()) * 1_000n), body: bodyOf(event) };
        }
      } finally {
        left.abort();
      }
    },
  };
}

/** What each gives, as it comes. At most one event of each is held. */
async function* merged(streams: readonly AsyncIterable<BusEvent>[]): AsyncGenerator<BusEvent> {
  const next = async (iterator: AsyncIterator<BusEvent>) => ({ iterator, got: await iterator.next() });
  const waiting = new Map(
    streams.map((stream) => {
      const iterator = stream[Symbol.asyncIterator]();
      return [iterator, next(iterator)];
    }),
  );
  while (waiting.size > 0) {
    const { iterator, got } = await Promise.race(waiting.values());
    if (got.done) waiting.delete(iterator);
    else {
      waiting.set(iterator, next(iterator));
      yield got.value;
    }
  }
}

/** Bodies are JSON; what is none, of some other publisher, is shown as text. */
function bodyOf({ body }: BusEvent): unknown {
  const text = Buffer.from(body).toString("utf8");
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
