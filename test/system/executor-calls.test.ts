/** Calls over the stream, as a gateway makes them: answers, failures, limits, cancel, drain, history behind. */
import { expect, test } from "vitest";
import {
  ExecutorsService,
  type ServeRequest,
  type ServeResponse,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { connect, converse } from "../../services/kit/grpc.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { slowServer } from "../harness/slow-server.ts";
import { until } from "../harness/until.ts";

type Kind = NonNullable<ServeResponse["kind"]>;

function dial(address: string) {
  const channel = connect(address);
  const stop = new AbortController();
  const talk = converse<ServeRequest, ServeResponse>(channel, ExecutorsService.serve, stop.signal);
  const said: ServeResponse[] = [];
  const reading = (async () => {
    for await (const response of talk.responses) said.push(response);
  })().catch(() => {});
  let last = 0n;
  const answer = (callId: bigint) =>
    until(`an answer to ${callId}`, () => said.find((response) => response.callId === callId)?.kind);
  return {
    said,
    answer,
    start(path: string, more: { instance?: string; deadlineMs?: number; query?: object } = {}) {
      const { instance = "instances/kitchen", deadlineMs = 5_000, query = {} } = more;
      const input = Buffer.from(JSON.stringify({ method: "GET", path, params: {}, query, headers: {} }));
      last += 1n;
      const value = { instance, export: "route", input, deadlineMs, target: `GET ${path}`, traceparent: "" };
      void talk.send({ callId: last, kind: { $case: "invoke", value } });
      return last;
    },
    async call(path: string, more: { instance?: string; deadlineMs?: number; query?: object } = {}) {
      return answer(this.start(path, more));
    },
    cancel: (callId: bigint) => talk.send({ callId, kind: { $case: "cancel", value: {} } }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await reading;
      channel.close();
    },
  };
}

const bodyOf = (kind: Kind) =>
  kind.$case === "result" ? (JSON.parse(Buffer.from(kind.value.output).toString()) as { body: string }).body : kind;
const failureOf = (kind: Kind) => (kind.$case === "failure" ? [kind.value.code, kind.value.outcome] : kind);

test("a call is answered or fails with a code, and its history is written behind it", async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  const executor = await at.executor({ id: "one", lanes: 2, callsPerLane: 4 });
  await using line = dial(executor.address);
  expect(await line.answer(0n)).toMatchObject({ $case: "hello", value: { executor: "one", capacity: 8 } });
  const found = await until("the catalogue", async () => {
    const kind = await line.call("/hello");
    return kind.$case === "result" && kind;
  });
  expect(bodyOf(found)).toBe("hello");

  expect(failureOf(await line.call("/trap"))).toEqual(["internal", "trap"]);
  expect(failureOf(await line.call("/fail"))).toEqual(["internal", "guest_error"]);
  expect(failureOf(await line.call("/spin", { deadlineMs: 300 }))).toEqual(["deadline", "timeout"]);
  expect(failureOf(await line.call("/hello", { instance: "instances/none" }))).toEqual(["not_found", ""]);
  expect(failureOf(await line.call("/hello", { deadlineMs: 0 }))).toEqual(["invalid", ""]);
  expect(failureOf(await line.call("/slow", { query: { url: "http://10.0.0.1/" } }))).toEqual(["denied", "denied"]);
  expect(String(bodyOf(await line.call("/big", { query: { bytes: "1048576" } }))).length).toBe(1_048_576);

  const spinning = line.start("/spin");
  await line.cancel(spinning);
  expect(failureOf(await line.answer(spinning))).toEqual(["cancelled", "cancelled"]);

  const many = Array.from({ length: 9 }, () => line.start("/hello"));
  const ends = await Promise.all(many.map((callId) => line.answer(callId)));
  const codes = new Set(ends.map((kind) => (kind.$case === "failure" ? kind.value.code : "ok")));
  expect(codes).toContain("ok");
  for (const code of codes) expect(["ok", "exhausted"]).toContain(code);

  const page = await until("history", async () => {
    const { runs } = await results.listRuns({ kind: "route" }, { size: 100 });
    return runs.length >= 8 && runs;
  });
  expect(page.find((run) => run.outcome === "trap")).toMatchObject({ target: "GET /trap", instance: "kitchen" });
}, 60_000);

test("an executor that drains says bye, lets running calls finish and takes no new ones", async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  await using slow = await slowServer();
  const executor = await at.executor();
  await using line = dial(executor.address);
  await until("the catalogue", async () => (await line.call("/hello")).$case === "result");
  const running = line.start("/slow", { query: { url: slow.url } });
  await until("it runs", () => slow.asked() === 1);
  const closing = executor[Symbol.asyncDispose]();
  await until("bye", () => line.said.some(({ kind }) => kind?.$case === "bye"));
  expect(failureOf(await line.call("/hello"))).toEqual(["unavailable", ""]);
  slow.release();
  expect(bodyOf(await line.answer(running))).toBe("late");
  await closing;
}, 60_000);
