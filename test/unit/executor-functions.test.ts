/** The rules around functions, events and metrics of guests: chains, schemas, rates, where metrics go. */
import { expect, test } from "vitest";
import type { Events } from "../../services/bus/ports.ts";
import { below, outermost } from "../../services/executor/function-calls.ts";
import { schemaOf } from "../../services/executor/function-schema.ts";
import { placeOf, withChunk } from "../../services/executor/host/metric.ts";
import { EVENT_BURST, EVENTS_PER_SECOND, publisher } from "../../services/executor/host/publish.ts";
import type { Caller } from "../../services/executor/invocations.ts";
import { HttpBudget } from "../../services/executor/limits.ts";
import { Fault } from "../../services/kit/fault.ts";

const codeOf = (thrown: unknown) => Fault.from(thrown).code;
const attempt = (work: () => unknown) => {
  try {
    return work();
  } catch (thrown) {
    return codeOf(thrown);
  }
};

test("a chain is as long as the strictest of its limits allows, and never comes back to itself", () => {
  const first = outermost("a/fetch", 3);
  const second = below(first, "b/f", 8);
  expect(second).toEqual({ path: ["a/fetch", "b/f"], left: 2 });
  expect(below(second, "c/f", 0).left).toBe(0);
  expect(attempt(() => below(below(second, "c/f", 0), "d/f", 8))).toBe("exhausted");
  expect(attempt(() => below(second, "b/f", 8))).toBe("conflict");
  expect(attempt(() => below(second, "b/g", 8))).toEqual({ path: ["a/fetch", "b/f", "b/g"], left: 1 });
});

test("schemas are compiled once, name what is wrong, and do not run for ever", () => {
  const input = { type: "array", items: { type: "object", properties: { n: { type: "number" } } } };
  const declared = { input, output: undefined, timeout: "", description: "" };
  const schema = schemaOf(declared);
  expect(schemaOf(declared)).toBe(schema);
  expect(schema.input([{ n: 1 }], "input")).toEqual([]);
  expect(schema.input([{ n: 1 }, { n: "x" }], "input")).toMatchObject([{ field: "input[1].n" }]);
  expect(schema.output("anything", "output")).toEqual([]);
  const broken = schemaOf({ ...declared, input: { type: "nonsense" } });
  expect(broken.input(1, "input")[0]?.problem).toMatch(/not usable/);
});

test("events: a burst, then so many a second, for each instance by itself", async () => {
  let nowMs = 0;
  const sent: string[] = [];
  const events: Pick<Events, "publish"> = { publish: async (subject) => void sent.push(subject) };
  const of = publisher(events as Events, () => nowMs);
  const http = new HttpBudget({ maxHttpRequests: 1, maxHttpBytes: 1, maxHttpAtOnce: 1 });
  const scope = { signal: new AbortController().signal, remainingMs: () => 1, http };
  const say = (instance: string) => {
    const caller = { subject: { instance, grants: { publish: () => true } }, tally: { denied() {} } };
    const request = Buffer.from('{"subject":"x","body":1}');
    return of(caller as unknown as Caller)(request, scope).then(() => "sent", codeOf);
  };
  const many = async (count: number) => {
    const ends = [];
    for (let i = 0; i < count; i += 1) ends.push(await say("a"));
    return ends.filter((end) => end === "sent").length;
  };
  expect(await many(EVENT_BURST + 10)).toBe(EVENT_BURST);
  expect(await say("b")).toBe("sent");
  nowMs += 500;
  expect(await many(EVENTS_PER_SECOND)).toBe(EVENTS_PER_SECOND / 2);
  expect(new Set(sent)).toEqual(new Set(["guest.a.x", "guest.b.x"]));
});

test("metrics of a guest's own go behind the run's rows, or beside them", () => {
  expect(placeOf("p/r/1", "metrics", 1)).toEqual({ runId: "p/r/1", chunk: 1, own: true });
  expect(placeOf("a/1", "", 0)).toEqual({ runId: "a/1", chunk: 0, own: true });
  expect(placeOf("a.b/1", "a_b", 7)).toEqual({ runId: "a.b/1/metrics", chunk: 0, own: false });
  expect(withChunk([{ fence: 4n, chunks: 2 }], 5n, 0)).toEqual([
    { fence: 4n, chunks: 2 },
    { fence: 5n, chunks: 1 },
  ]);
  expect(withChunk([{ fence: 5n, chunks: 2 }], 5n, 2)).toEqual([{ fence: 5n, chunks: 3 }]);
});
