/** Pipes whose axis is an integer column: windows open as far as the source goes, by every door. */
import { expect, test } from "vitest";
import { embeddedGround } from "../harness/bus-ground.ts";
import { column } from "../harness/chunks.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { openLedger } from "../harness/ledger.ts";
import { until } from "../harness/until.ts";

test("windows open one after another, or all that the source says it has", { timeout: 300_000 }, async () => {
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
  await ledger.sync("mute.all");
  await ledger.become("mute.all", [
    ...["0-100 DONE 3", "100-200 DONE 1", "200-300 DONE 2", "300-400 DONE 1", "400-500 DONE 0"],
  ]);
  expect(await ids("mute_all")).toEqual(["0", "1", "99", "100", "205", "206", "301"]);
  expect(ledger.asked).not.toContain("0-100");

  // One that gives the same whatever it is asked: nothing lies in the second window, so it opens no third.
  await ledger.instance("deaf", { deaf: true });
  await ledger.pipe("deaf.all", { chunk: "1000" });
  await ledger.sync("deaf.all");
  await ledger.become("deaf.all", ["0-1000 DONE 7", "1000-2000 DONE 7"]);

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
  expect((await ledger.sync("telling.all")).windows).toHaveLength(2);
  await until("both were asked", () => ledger.asked.length === 2);
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

test("ends of the columns, a SELECT that comes after, and words for the other axis", { timeout: 300_000 }, async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using ledger = await openLedger(ground.bus, results);
  const ids = (table: string, name = "id") => column(results, `SELECT ${name} FROM ${table} ORDER BY ${name}`);
  await ledger.instance("mute");
  await ledger.instance("telling", { head: true });

  // All of a signed column but its last number, which no exclusive end can follow.
  const last = 2n ** 63n - 1n;
  ledger.entries.push(-last - 1n, -1n, 0n, last - 1n, last);
  await ledger.pipe("mute.whole", { begin: String(-last - 1n), chunk: String(2n ** 62n) });
  await ledger.sync("mute.whole");
  await ledger.become("mute.whole", [
    "-9223372036854775808--4611686018427387904 DONE 1",
    "-4611686018427387904-0 DONE 1",
    "0-4611686018427387904 DONE 1",
    "4611686018427387904-9223372036854775808 DONE 1",
  ]);
  expect(ledger.asked).toContain(`${2n ** 62n}-${last}`);
  expect(await ids("mute_whole")).toEqual([String(-last - 1n), "-1", "0", String(last - 1n)]);

  const top = 2n ** 64n - 1n;
  ledger.entries.splice(0, 5, top - 210n, top - 1n);
  const columns = [
    { name: "id", type: "uint64" },
    { name: "value", type: "string" },
  ];
  await ledger.pipe("telling.top", { columns, begin: String(top - 215n), end: String(top), chunk: "100" });
  await ledger.sync("telling.top");
  await ledger.become("telling.top", [
    "18446744073709551400-18446744073709551500 DONE 1",
    "18446744073709551500-18446744073709551600 DONE 0",
    "18446744073709551600-18446744073709551700 DONE 1",
  ]);
  expect(await ids("telling_top")).toEqual([String(top - 210n), String(top - 1n)]);
  expect(await column(results, "SELECT max(end_int) FROM runs WHERE target = 'pipes/telling.top'")).toEqual([
    "18446744073709551700",
  ]);

  // Made from the windows before it, up to where the source is known to go.
  ledger.entries.splice(0, 2, 7n, 350n, 420n);
  await ledger.pipe("telling.all");
  const select = {
    ...{ begin: "0", chunk: "200", datetime: "id", after: ["telling.all"], reads: ["telling_all"] },
    columns: columns.map(({ name }) => ({ name: name === "id" ? name : "twice", type: "int64" })),
    sql: "SELECT id, id * 2 AS twice FROM telling_all WHERE id >= {begin} AND id < {end}",
  };
  await ledger.pipe("sql.twice", select);
  await ledger.sync("telling.all");
  await ledger.become("sql.twice", ["0-200 DONE 1", "200-400 DONE 1", "400-600 DONE 1"]);
  ledger.entries.push(433n);
  await ledger.sync("telling.all");
  await ledger.become("sql.twice", ["0-200 DONE 1", "200-400 DONE 1", "400-600 DONE 2"]);
  expect(await ids("sql_twice", "twice")).toEqual(["14", "700", "840", "866"]);

  const time = { seconds: 0n, nanos: 0 };
  const told = (field: string, problem: string) => ({
    code: "invalid",
    mistakes: [{ field, problem: expect.stringContaining(problem) }],
  });
  const refused = expect(ledger.sync("telling.all", { begin: time })).rejects;
  await refused.toMatchObject(told("begin", "is a time, and the axis of the pipe is an int64 column"));
  const odd = expect(ledger.sync("telling.all", { beginInt: "1e3" })).rejects;
  await odd.toMatchObject(told("begin_int", '"1e3" is not an integer'));
  const empty = expect(ledger.sync("telling.all", { beginInt: "5", endInt: "5" })).rejects;
  await empty.toMatchObject(told("end_int", "5 is not after begin, 5"));
  const beyond = expect(ledger.sync("telling.all", { endInt: String(2n ** 63n) })).rejects;
  await beyond.toMatchObject(told("end_int", "out of range"));
});
