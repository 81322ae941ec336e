/** Pipes whose axis is an integer column: windows open as far as the source goes, by every door. */
import { expect, test } from "vitest";
import { embeddedGround } from "../harness/bus-ground.ts";
import { column } from "../harness/chunks.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { openLedger } from "../harness/ledger.ts";

test("windows open one after another, or all that the source says it has", { timeout: 120_000 }, async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using ledger = await openLedger(ground.bus, results);
  const run = (...args: string[]) => runCli([...args, "--address", ledger.gateway.grpc]);
  const ids = (table: string) => column(results, `SELECT id FROM ${table} ORDER BY id`);

  // A source that does not say how far it goes.
  ledger.entries.push(0n, 1n, 99n, 100n, 205n);
  await ledger.instance("mute");
  await ledger.pipe("mute.all");
  await ledger.become("mute.all", ["0-100 MISSING 0"]);
  const synced = await run("pipe", "sync", "mute.all");
  expect(synced).toMatchObject({ code: 0, stdout: expect.stringMatching(/^4 windows done, 0 failed.*5 rows/) });
  await ledger.become("mute.all", ["0-100 DONE 3", "100-200 DONE 1", "200-300 DONE 1", "300-400 DONE 0"]);
  expect(await ids("mute_all")).toEqual(["0", "1", "99", "100", "205"]);

  // It grows: the last window with rows is asked again, and the one behind it.
  ledger.entries.push(206n, 301n);
  ledger.asked.length = 0;
  expect(await run("pipe", "sync", "mute.all")).toMatchObject({ code: 0 });
  await ledger.become("mute.all", [
    ...["0-100 DONE 3", "100-200 DONE 1", "200-300 DONE 2", "300-400 DONE 1", "400-500 DONE 0"],
  ]);
  expect(await ids("mute_all")).toEqual(["0", "1", "99", "100", "205", "206", "301"]);
  expect(ledger.asked).not.toContain("0-100");

  // One that does: holes longer than a window are no end, and each window is asked once.
  ledger.entries.push(1_005n);
  ledger.asked.length = 0;
  await ledger.instance("telling", { head: true });
  await ledger.pipe("telling.all", { index: ["id"], backtrack: "100" });
  expect(await run("pipe", "sync", "telling.all")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^11 windows done, 0 failed.*8 rows/),
  });
  const [first, ...others] = ledger.asked;
  expect(first).toBe("0-100");
  expect(others.toSorted()).toEqual(Array.from({ length: 10 }, (_, i) => `${i + 1}00-${i + 2}00`).toSorted());
  expect(await ids("telling_all")).toEqual(["0", "1", "99", "100", "205", "206", "301", "1005"]);
  // Nothing is new: what is not over is asked again, and what lies within backtrack of the head.
  ledger.asked.length = 0;
  expect(await run("pipe", "sync", "telling.all")).toMatchObject({ code: 0 });
  expect(ledger.asked.toSorted()).toEqual(["1000-1100", "900-1000"]);

  const { http } = ledger.gateway;
  const listed = await run("pipe", "windows", "telling.all");
  expect(listed.stdout).toMatch(/^BEGIN +END +STATE +ROWS.*\n0 +100 +DONE +3/);
  const rest = async (path: string) => {
    const answer = await fetch(`http://${http}${path}`);
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const [window] = (await rest("/v1/pipes/telling.all/windows?pageSize=1")).body.windows as object[];
  expect(window).toMatchObject({ beginInt: "0", endInt: "100", fetchedUntilInt: "100", watermarkInt: "1006" });
  expect(window).not.toHaveProperty("begin");
  expect((await rest("/v1/pipes/telling.all/rows?beginInt=100&endInt=206&select=id")).body.rows).toEqual([
    { id: "100" },
    { id: "205" },
  ]);
  expect((await rest("/v1/pipes/telling.all/rows?begin=2024-01-01T00:00:00Z")).status).toBe(400);
  const data = await run("pipe", "data", "telling.all", "--begin", "301", "--order", "id", "--select", "id");
  expect(data.stdout).toBe('{"id":"301"}\n{"id":"1005"}\n');
  expect((await rest("/v1/freshness")).body.pipes).toContainEqual(
    expect.objectContaining({ name: "pipes/telling.all", unknown: expect.stringContaining("no now") }),
  );
  const runs = (await rest("/v1/runs?target=pipes/telling.all&pageSize=1")).body.runs as object[];
  expect(runs[0]).toMatchObject({ name: expect.stringMatching(/^runs\/telling\.all\/(900|1000)$/) });

  // The source forgets an entry and gets a late one: told by asking it again, and replaced at once.
  ledger.entries.splice(ledger.entries.indexOf(100n), 1, 150n);
  expect(await run("pipe", "verify", "telling.all")).toMatchObject({ code: 0 });
  const differing = await run("pipe", "verify", "telling.all", "--source", "--begin", "100", "--end", "400");
  expect(differing).toMatchObject({ code: 1, stdout: expect.stringMatching(/100 +200 +1 +1 +differs/) });
  expect(await run("pipe", "verify", "telling.all", "--source", "--repair")).toMatchObject({ code: 0 });
  expect((await ids("telling_all")).slice(3, 5)).toEqual(["150", "205"]);

  expect(await run("pipe", "clear", "telling.all", "--begin", "200", "--end", "400")).toMatchObject({
    stdout: "2 windows with 3 rows are empty\n",
  });
  expect((await ids("telling_all")).slice(3)).toEqual(["150", "1005"]);
  const filled = await run(
    ...["pipe", "backfill", "telling.all", "--begin", "150", "--end", "400", "--rate", "60000", "--follow"],
  );
  expect(filled).toMatchObject({ code: 0, stdout: expect.stringContaining("3 of 3 windows done, 0 failed, 2 queued") });
  expect(await ids("telling_all")).toEqual(["0", "1", "99", "150", "205", "206", "301", "1005"]);
  const backfills = (await rest("/v1/pipes/telling.all/backfills")).body.backfills as object[];
  expect(backfills[0]).toMatchObject({ beginInt: "100", endInt: "400" });
});
