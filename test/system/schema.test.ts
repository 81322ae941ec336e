/** Schema policies from a pipe's parameters through registry and executor into its dataset and its run. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { until } from "../harness/until.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

test.each([
  ["evolve", "undeclared", { state: WindowState.DONE, rows: 3n, rejected: 0 }],
  ["freeze", "undeclared", { state: WindowState.DONE, rows: 3n, rejected: 0 }],
  ["reject", "wrong_types", { state: WindowState.DONE, rows: 0n, rejected: 1 }],
  ["freeze", "wrong_types", { state: WindowState.FAILED, rows: 0n, rejected: 0 }],
  // Its time is no time: that column stays one.
  ["evolve", "wrong_types", { state: WindowState.FAILED, rows: 0n, rejected: 0 }],
] as const)("%s, rows %s", async (schema, mode, wanted) => {
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  await at.executor();
  const instance = await at.instance("pantry", { mode, rows: 3 }, { plugin: "plugins/larder" });
  const pipe = Pipe.fromPartial({ instance, metric: "rows", parameters: { schema, attempts: 1 } });
  const made = (await at.registry.call(PipesService.createPipe, { pipe })).pipe as Pipe;
  expect(made.effective).toMatchObject({ schema });
  const { runId } = await at.fetch(made);
  const window = await until("the window has ended", async () => {
    const now = await at.window(made);
    return now !== undefined && now.state !== WindowState.RUNNING && now;
  });
  expect(window).toMatchObject({ state: wanted.state, rows: wanted.rows });
  const [run] = await at.runs(runId, (runs) => runs.length > 0);
  expect(run).toMatchObject({ rejected: wanted.rejected, committed: wanted.state === WindowState.DONE });
  const columns = (await results.listDatasets()).find(({ dataset }) => dataset === "pantry_rows")?.columns;
  expect(Object.hasOwn(columns ?? {}, "mood")).toBe(schema === "evolve" && mode === "undeclared");
  if (mode === "wrong_types" && schema === "reject") {
    const { rejects } = await results.listRejects({ dataset: "pantry_rows" }, { size: 10 });
    expect(rejects).toMatchObject([{ runId, row: 1, reason: expect.stringContaining("is not") }]);
  }
});
