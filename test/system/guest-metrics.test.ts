/** Metrics of a guest's own: seen once and only with their run, whatever kind of run it is. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { bare, runIds } from "../../proto/names.ts";
import type { Results } from "../../services/results/results.ts";
import { type Capable, openCapable } from "../harness/capable.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

let stack: AsyncDisposableStack;
let results: Results;
let at: Capable;
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  results = stack.use(await openTestResults(stack.use(await startTestClickHouse())));
  at = stack.use(await openCapable(results));
}, 60_000);
afterAll(() => stack.disposeAsync());

async function seen(name: string): Promise<Record<string, unknown>[]> {
  const sql = `SELECT group, name, type, value, resource, dimensions FROM metrics WHERE name = {name:String}`;
  const limits = { maxRows: 100, maxBytes: 1 << 20, timeoutMs: 5_000 };
  const { rows } = await results.query({ sql, params: { name }, ...limits });
  return rows.map(([group, , type, value, resource, dimensions]) => ({ group, type, value, resource, dimensions }));
}

test("of a function: with its run, and not when it fails", async () => {
  const metric = { name: "called", value: 1.5, dimensions: { unit: "°C" } };
  expect((await at.ask("metric", metric)).ok).toEqual({});
  const [row] = await until("the metric", async () => {
    const rows = await seen("called");
    return rows.length > 0 && rows;
  });
  expect(row).toMatchObject({ group: "capable", type: "gauge", value: 1.5, dimensions: { unit: "°C" } });
});

test("what is wrong is refused with every mistake, and there is a limit", async () => {
  const wrong = { name: "a b", value: "1", type: "rate", time: "yesterday", dimensions: [1] };
  const { error } = await at.ask("metric", wrong);
  for (const field of ["name", "value", "type", "time", "dimensions"]) expect(error?.message).toContain(`${field}:`);
});

test("of a fetch: of the attempt that was committed, once, also when the window runs again", async () => {
  const instance = await at.executing.instance(
    "twice",
    {},
    {
      plugin: "plugins/capable",
      config: { fail: true },
    },
  );
  const pipe = await at.executing.pipe(instance);
  const job = await at.executing.fetch(pipe);
  await at.executing.runs(job.runId, (runs) => runs.some((run) => run.committed));
  const again = async () => {
    const rows = await seen("fetched");
    return rows.length === 1 && rows;
  };
  const [row] = await until("one metric", again);
  expect(row).toMatchObject({ group: "twice", type: "counter", dimensions: { unit: "attempts" } });
  expect(Number(row?.value)).toBeGreaterThan(1);
  await at.executing.fetch(pipe, { dueUs: job.dueUs + 1_000_000n });
  await at.executing.runs(job.runId, (runs) => runs.filter((run) => run.committed).length === 2);
  await until("still one", again);
}, 30_000);

test("of a poll: beside those that it gives", async () => {
  const poller = await at.executing.poller("watch", "instances/capable", PollerKind.POLL);
  const resource = await at.executing.resource("oven-1", "http://127.0.0.1/");
  const runId = runIds.poll(bare(poller.name), bare(resource.name), "20240101T000000Z");
  await at.executing.send({
    ...{ kind: JobKind.POLL, runId, instance: "instances/capable", poller: poller.name, resource: resource.name },
  });
  const [run] = await at.executing.runs(runId, (runs) => runs.some((one) => one.committed));
  expect(run).toMatchObject({ rows: 2, chunks: 2, dataset: "metrics" });
  expect(await until("both", async () => (await seen("own")).length === 1 && (await seen("value")))).toHaveLength(1);
  expect(await seen("own")).toMatchObject([{ group: "capable", resource: "oven-1", value: 2 }]);
});
