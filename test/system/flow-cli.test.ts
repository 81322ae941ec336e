/** Backfills, the source asked again, SELECTs and vetoes by command line and REST. */
import { expect, test } from "vitest";
import { embeddedGround } from "../harness/bus-ground.ts";
import { column } from "../harness/chunks.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { BEGIN, dayOf, openFlow } from "../harness/flowing.ts";
import { json, post } from "../harness/gateway.ts";
import { until } from "../harness/until.ts";

const csv = (day: number, id: number) => `id,time,name\n${id},${dayOf(day)},n${id}\n`;

test("backfill, verify --source, a SELECT after others, a veto", { timeout: 120_000 }, async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using flow = await openFlow(ground.bus, results);
  const { source } = flow;
  const { grpc, http } = await flow.gateway();
  const run = (...args: string[]) => runCli([...args, "--address", grpc]);
  for (const day of [0, 1, 2]) source.rows.set(dayOf(day), csv(day, day));
  await flow.pipe("larder.a", { begin: BEGIN, end: dayOf(3) });

  const sql = "SELECT time, id * 2 AS twice FROM larder_a WHERE time >= {begin} AND time < {end}";
  const span = ["--begin", BEGIN, "--end", dayOf(3), "--chunk", "1d"];
  const made = await run(
    "pipe",
    "create",
    "sql",
    "twice",
    ...span,
    "--sql",
    sql,
    "--reads",
    "larder_a",
    "--after",
    "larder.a",
  );
  expect(made).toMatchObject({ code: 0, stdout: "pipes/sql.twice is created; rows go to sql_twice\n" });
  const filled = await run("pipe", "backfill", "larder.a", "--rate", "60000", "--follow");
  expect(filled).toMatchObject({ code: 0, stdout: expect.stringContaining("3 of 3 windows done, 0 failed, 3 queued") });
  expect(filled.stdout).toMatch(/^larder\.a\/[0-9a-z]{26} is DONE/);
  const [name = ""] = filled.stdout.split(" ");
  await until("the SELECT has run", async () => {
    return (await column(results, "SELECT twice FROM sql_twice ORDER BY twice")).join() === "0,2,4";
  });

  source.rows.set(dayOf(1), csv(1, 7));
  const differing = await run("pipe", "verify", "larder.a", "--source");
  expect(differing).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("1 of 3 windows are not as at the source"),
  });
  expect(differing.stdout).toContain("differs");
  expect(await column(results, "SELECT id FROM larder_a ORDER BY id")).toEqual(["0", "1", "2"]);
  const atRate = ["--repair", "--rate", "60000"];
  const repaired = await run("pipe", "verify", "larder.a", "--source", ...atRate);
  expect(repaired).toMatchObject({ code: 0, stdout: expect.stringContaining("replaced") });
  expect(await column(results, "SELECT id FROM larder_a ORDER BY id")).toEqual(["0", "2", "7"]);

  source.before = "no more today";
  const [vetoed, listed, shown, cancelled, unknown] = await Promise.all([
    run("pipe", "sync", "larder.a", "--refetch"),
    run("pipe", "backfills"),
    run("backfill", "show", name, "--json"),
    run("backfill", "cancel", name),
    run("backfill", "show", "larder.a"),
  ]);
  expect(vetoed).toMatchObject({ code: 1, stderr: expect.stringContaining("before_sync said no: no more today") });
  expect(listed.stdout).toContain(name);
  expect(JSON.parse(shown.stdout)).toMatchObject({ state: "BACKFILL_STATE_DONE", done: "3", rows: "3" });
  expect(cancelled).toMatchObject({ code: 1, stderr: expect.stringContaining("is over: DONE") });
  expect(unknown.code).toBe(2);

  const rest = await json(await fetch(`http://${http}/v1/pipes/-/backfills`));
  expect(rest.body.backfills).toMatchObject([
    { verify: true, answered: "3", repaired: "1" },
    { name: name.replace("larder.a/", "pipes/larder.a/backfills/"), total: "3" },
  ]);
  const asked = await json(
    await post(`http://${http}/v1/pipes/larder.a:verifySource`, JSON.stringify({ end: dayOf(1) })),
  );
  expect(asked).toMatchObject({ status: 200, body: { windows: [{ verification: { differs: false } }], skipped: 0 } });
  const wrong = await json(await post(`http://${http}/v1/pipes/larder.a/backfills`, '{"windowsPerMinute": 70000}'));
  expect(wrong).toMatchObject({ status: 400, body: { error: { mistakes: [{ field: "windows_per_minute" }] } } });
});
