/** Work on a pipe's stored rows over REST: verified, repaired, cleared, copied, dropped, under the locks of runs. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { compactTime, timestampOf } from "../../services/kit/time.ts";
import type { Results } from "../../services/results/results.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { chunkOf, column } from "../harness/chunks.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { json, post, startWorld, type World } from "../harness/gateway.ts";
import { until } from "../harness/until.ts";

let clickHouse: TestClickHouse;
let results: Results;
let world: World;
const DAY_US = 86_400_000_000n;
const day = (n: number) => 1_325_376_000_000_000n + BigInt(n) * DAY_US;
const runOf = (n: number) => `web.daily/${compactTime(day(n))}`;
const locks = () => world.bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
const windows = () => world.bus.kv(BUCKETS.windows);

beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  results = await openTestResults(clickHouse);
  world = await startWorld(results);
  const columns = { time: "timestamp", n: "int64" };
  const fetch = { columns, datetime: "time", chunk: "1d", begin: "2012-01-01T00:00:00Z" };
  const route = { routes: [{ method: "GET", path: "/api", auth: "public" }] };
  const module = moduleOf("fetch", "route");
  await world.publish(
    bundleOf({ name: "web", interfaces: { fetch, route } }, { "plugin.wasm": module, "static/index.html": "x" }),
  );
  for (const metric of ["daily", "other"]) {
    const pipe = JSON.stringify({ instance: "instances/web", metric });
    expect((await json(await post(`${world.url}/v1/pipes`, pipe))).status).toBe(200);
  }
  await results.ensureDataset({ dataset: "web_daily", columns, datetime: "time" });
  for (const n of [0, 1, 2]) await fetched(n, 3);
  await until("the gateway knows the pipe", async () => (await lines("pipes/web.daily:verify")).length > 1);
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await results?.[Symbol.asyncDispose]();
  await clickHouse?.[Symbol.asyncDispose]();
});

/** A window as an executor leaves it. */
async function fetched(n: number, rows: number): Promise<void> {
  const lock = `run.${encodeKeyPart(runOf(n))}`;
  const fence = await (await locks()).create(lock, Buffer.of(1));
  const span = { beginUs: day(n), endUs: day(n + 1), target: "pipes/web.daily" };
  const time = new Date(Number(day(n) / 1_000n)).toISOString();
  const chunk = Array.from({ length: rows }, (_, i) => ({ time, n: n * 10 + i }));
  await results.appendChunk(chunkOf({ dataset: "web_daily", runId: runOf(n), fence, rows: chunk }));
  await results.commit(runRecord({ dataset: "web_daily", runId: runOf(n), fence, rows, ...span }));
  const window = Window.fromPartial({
    ...{ begin: timestampOf(day(n)), end: timestampOf(day(n + 1)), fetchedUntil: timestampOf(day(n + 1)) },
    ...{ state: WindowState.DONE, rows: BigInt(rows), run: runOf(n), fence },
  });
  await (await windows()).put(`${encodeKeyPart("web.daily")}.${compactTime(day(n))}`, Window.encode(window).finish());
  await (await locks()).delete(lock);
}

const lines = async (path: string, body: object = {}) => {
  const answer = await post(`${world.url}/v1/${path}`, JSON.stringify(body));
  return (await answer.text())
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
};
const seen = () => column(results, "SELECT n FROM web_daily ORDER BY n");
const stateOf = async (n: number) => {
  const { body } = await json(await fetch(`${world.url}/v1/pipes/web.daily/windows?pageSize=5`));
  return body.windows[n].state;
};

test("verify finds a window whose rows are not those of its run, and repair marks it", async () => {
  expect((await lines("pipes/web.daily:verify")).map((line) => line.problem)).toEqual(["", "", ""]);
  // Somebody else's commit: fewer rows than the window says.
  const span = { beginUs: day(1), endUs: day(2), target: "pipes/web.daily" };
  const [run] = await results.getRun(runOf(1));
  await results.commit(
    runRecord({ dataset: "web_daily", runId: runOf(1), fence: (run?.fence ?? 0n) + 1n, rows: 0, parts: [], ...span }),
  );
  const told = await lines("pipes/web.daily:verify", { repair: true });
  expect(told[1]).toMatchObject({
    problem: "0 rows count, its run reported 3",
    marked: true,
    expected: "3",
    counted: "0",
  });
  expect(told.at(-1)).toMatchObject({ done: "3", total: "3", problem: "" });
  expect(await stateOf(1)).toBe("WINDOW_STATE_STALE");
  await fetched(1, 3);
  const again = await lines("pipes/web.daily:verify");
  expect(again.map((line) => line.problem)).toEqual(["", "", ""]);
  expect(again.map((line) => line.checksum)).toHaveLength(new Set(again.map((line) => line.checksum)).size);
});

test("verify leaves out windows of which retention may have taken rows: there is nothing to compare", async () => {
  const patch = (retention: string) =>
    fetch(`${world.url}/v1/pipes/web.daily?updateMask=parameters.retention`, {
      method: "PATCH",
      body: JSON.stringify({ parameters: { retention } }),
      headers: { "content-type": "application/json" },
    });
  expect((await patch("1d")).status).toBe(200);
  await until("the windows are left out", async () => (await lines("pipes/web.daily:verify")).length === 0);
  expect((await patch("")).status).toBe(200);
  await until("the windows are compared again", async () => (await lines("pipes/web.daily:verify")).length === 3);
});

test("clear empties the windows of a range at once each, and they are missing then", async () => {
  const range = { begin: "2012-01-02T00:00:00Z", end: "2012-01-03T00:00:00Z" };
  expect(await lines("pipes/web.daily:clear", range)).toMatchObject([{ rows: "3", done: "1", total: "1" }]);
  expect(await seen()).toEqual(["0", "1", "2", "20", "21", "22"]);
  expect([await stateOf(0), await stateOf(1)]).toEqual(["WINDOW_STATE_DONE", "WINDOW_STATE_MISSING"]);
  await fetched(1, 2);
  expect(await seen()).toEqual(["0", "1", "2", "10", "11", "20", "21", "22"]);
});

test("a window that is being fetched is not cleared", async () => {
  const lock = `run.${encodeKeyPart(runOf(0))}`;
  await (await locks()).create(lock, Buffer.of(1));
  const [error] = await lines("pipes/web.daily:clear", { end: "2012-01-02T00:00:00Z" });
  expect(error).toMatchObject({ error: { code: "conflict" } });
  expect((await seen()).slice(0, 3)).toEqual(["0", "1", "2"]);
  await (await locks()).delete(lock);
});

test("the same by the command line", { timeout: 90_000 }, async () => {
  const run = (...args: string[]) => runCli([...args, "--address", world.gateway.grpc]);
  const where = ["--select", "n", "--where", "n>=10 and n<21", "--order", "n"];
  const [data, answer, verified, counted, refused, rejects] = await Promise.all([
    run("pipe", "data", "web.daily", "--format", "csv", ...where),
    run("export", "SELECT count() AS rows FROM web_daily", "--format", "ndjson"),
    run("pipe", "verify", "web.daily"),
    run("pipe", "duplicates", "web.daily"),
    run("pipe", "clear", "web.daily"),
    run("rejects", "list", "web.daily"),
  ]);
  expect(data).toMatchObject({ code: 0, stdout: '"n"\n10\n11\n20\n' });
  expect(answer).toMatchObject({ code: 0, stdout: '{"rows":"8"}\n' });
  expect(verified).toMatchObject({ code: 0, stdout: "3 windows are as their runs left them\n" });
  expect(counted?.stdout).toContain("8 count, 8 seen, 0 equal another one");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("--all") });
  expect(rejects).toMatchObject({ code: 0, stdout: "none\n" });
  const edited = await run("pipe", "edit", "web.other", "--schema", "reject", "--chunk", "2d", "--json");
  expect(JSON.parse(edited.stdout)).toMatchObject({ effective: { schema: "reject", chunk: "2d" } });
  const [stale, wrong] = await Promise.all([
    run("pipe", "edit", "web.other", "--schema", "evolve", "--etag", "1"),
    run("pipe", "edit", "web.other", "--timezone", "Mars"),
  ]);
  expect(stale).toMatchObject({ code: 1, stderr: expect.stringContaining("web.other") });
  expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining("no time zone") });
});

test("copy, duplicates, drop", async () => {
  const copied = await json(
    await post(`${world.url}/v1/pipes/web.daily:copy`, JSON.stringify({ target: "datasets/kept" })),
  );
  expect(copied).toMatchObject({ status: 200, body: { rows: "8" } });
  const counts = await json(await fetch(`${world.url}/v1/pipes/web.daily:duplicates`));
  expect(counts.body).toMatchObject({ counted: "8", seen: "8", equal: "0" });
  const taken = await post(`${world.url}/v1/pipes/web.daily:copy`, JSON.stringify({ target: "datasets/web_other" }));
  expect((await json(taken)).status).toBe(400);
  expect((await json(await post(`${world.url}/v1/pipes/web.daily:drop`, "{}"))).status).toBe(200);
  expect((await json(await fetch(`${world.url}/v1/pipes/web.daily`))).status).toBe(404);
  expect(await (await windows()).list(encodeKeyPart("web.daily"))).toEqual([]);
  expect((await results.listDatasets()).map(({ dataset }) => dataset).sort()).toEqual(["kept", "metrics"]);
  expect(await column(results, "SELECT count() FROM kept")).toEqual(["8"]);
});
