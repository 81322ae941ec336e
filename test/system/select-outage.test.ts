/** ClickHouse is killed -9 while it runs the SELECT of a window: the window waits for it, and its rows are there once. */
import { expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { rowsOf } from "../harness/chunks.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { BEGIN, dayOf, openFlow } from "../harness/flowing.ts";
import { until } from "../harness/until.ts";

/** Some seconds of work for one row. */
const SLOW = "SELECT {begin} AS time, sum(sipHash64(number)) AS n FROM numbers(150000000) WHERE {begin} < {end}";

test("a SELECT that ClickHouse took with it is done again, and counts once", { timeout: 120_000 }, async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using flow = await openFlow(ground.bus, results);
  await flow.pipe("sql.slow", { begin: BEGIN, end: dayOf(1), chunk: "1d", sql: SLOW });
  await flow.sync("sql.slow");
  const running = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO%sql_slow__rows%'";
  await until("the INSERT is under way", async () => {
    const answer = await fetch(server.url, { method: "POST", body: running });
    return (await answer.text()).trim() === "1";
  });
  await server.kill9();
  const [away] = await flow.windows("sql.slow");
  expect(away?.state).toBe(WindowState.RUNNING);
  await server.restart();
  const window = await until(
    "the window is done",
    async () => (await flow.windows("sql.slow")).find(({ state }) => state !== WindowState.RUNNING),
    80_000,
  );
  expect(window).toMatchObject({ rows: 1n, message: "" });
  expect(await rowsOf(results, "SELECT count(), countDistinct(n) FROM sql_slow")).toEqual([["1", "1"]]);
  const runs = await results.getRun("sql.slow/20240101T000000Z");
  expect(runs[0]).toMatchObject({ outcome: "ok", committed: true, rows: 1 });
  // Nobody's failure: the attempts before it were handed back.
  expect(runs.slice(1).every(({ outcome }) => outcome === "cancelled")).toBe(true);
});
