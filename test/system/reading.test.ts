/** Rows through the gateway: pages, files by Accept, rejects and their redrive, over HTTP. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import type { Results } from "../../services/results/results.ts";
import { chunkOf, ndjson, numbers, plain, RUN } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { json, post, startWorld, type World } from "../harness/gateway.ts";

let clickHouse: TestClickHouse;
let results: Results;
let world: World;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  results = await openTestResults(clickHouse);
  world = await startWorld(results);
  await results.ensureDataset(plain);
  await results.appendChunk(chunkOf({ rows: ndjson(numbers(0, 50_000)) }));
  await results.commit(runRecord(RUN));
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await results?.[Symbol.asyncDispose]();
  await clickHouse?.[Symbol.asyncDispose]();
});

test.each([
  ["text/csv", "", "text/csv"],
  ["text/html, application/vnd.apache.parquet;q=0.9", "", "application/vnd.apache.parquet"],
  ["*/*", "", "application/x-ndjson"],
  ["text/csv", "format=json", "application/json"],
])("Accept %s with %o is answered as %s", async (accept, query, type) => {
  const path = `/v1/datasets/weather/data?where=n%3C1000&select=n&orderBy=n&${query}`;
  const answer = await fetch(`${world.url}${path}`, { headers: { accept } });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toContain(type);
  const body = Buffer.from(await answer.arrayBuffer());
  if (type === "application/vnd.apache.parquet") return expect(body.subarray(0, 4).toString()).toBe("PAR1");
  const count =
    type === "application/json" ? JSON.parse(body.toString()).length : body.toString().trim().split("\n").length;
  expect(count).toBe(type === "text/csv" ? 1_001 : 1_000);
});

test("what cannot be read is refused with a status of its own", async () => {
  const at = (path: string, accept = "*/*") => fetch(`${world.url}/v1/${path}`, { headers: { accept } }).then(json);
  expect(await at("datasets/weather/data", "image/png")).toMatchObject({
    status: 400,
    body: { error: { mistakes: [{ field: "format" }] } },
  });
  expect(await at("datasets/none/data")).toMatchObject({ status: 404 });
  expect(await at("pipes/none.daily/data")).toMatchObject({ status: 404 });
  expect(await at("datasets/weather/data?where=nonsense")).toMatchObject({ status: 400 });
  const sql = await post(
    `${world.url}/v1/query:export`,
    JSON.stringify({ sql: "DROP TABLE weather" }),
    "application/json",
  );
  expect((await json(sql)).status).toBe(403);
});

test("SQL comes as a file, and every row of it", async () => {
  const request = JSON.stringify({ sql: "SELECT n FROM weather ORDER BY n", format: "csv" });
  const answer = await post(`${world.url}/v1/query:export`, request, "application/json");
  const lines = (await answer.text()).trim().split("\n");
  expect([lines.length, lines[0], lines.at(-1)]).toEqual([50_001, '"n"', "49999"]);
});

test("pages by conditions and order", async () => {
  const path = `${world.url}/v1/datasets/weather/rows?where=n%3E%3D10&where=n%3C15&orderBy=n%20desc&select=n&pageSize=3`;
  const first = await json(await fetch(path));
  expect(first.body.rows).toEqual([{ n: "14" }, { n: "13" }, { n: "12" }]);
  const second = await json(await fetch(`${path}&pageToken=${first.body.nextPageToken}`));
  expect(second.body).toEqual({ rows: [{ n: "11" }, { n: "10" }], nextPageToken: "" });
});

test("rejects are listed, redriven under the run's lock, and then gone", async () => {
  const spec = { dataset: "picky", columns: { n: "int64" }, schema: "reject" } as const;
  await results.ensureDataset(spec);
  const run = { runId: "picky/1", fence: 1n };
  await results.appendChunk(chunkOf({ ...run, dataset: "picky", rows: [{ n: 1 }, { n: "two" }] }));
  await results.commit(runRecord({ ...run, dataset: "picky" }));
  const at = `${world.url}/v1/datasets/picky/rejects`;
  const listed = await json(await fetch(at));
  expect(listed.body.rejects).toMatchObject([{ run: "runs/picky/1", row: 2, raw: '{"n":"two"}' }]);
  expect((await json(await fetch(`${world.url}/v1/runs/picky/1`))).body.run).toMatchObject({ rejected: "1" });
  await results.ensureDataset({ ...spec, columns: { n: "string" }, schema: "evolve" });
  const locks = await world.bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
  // Locks of a young bus have small fences; this run has had one already.
  for (let i = 0; i < 3; i += 1) await locks.put(`spacer.${i}`, Buffer.of(i));
  const told = await json(await post(`${at}:redrive`, "{}", "application/json"));
  expect(told).toMatchObject({ status: 200, body: { stored: "1", rejected: "0" } });
  expect((await json(await fetch(at))).body.rejects).toEqual([]);
  const rows = await json(await fetch(`${world.url}/v1/datasets/picky/rows?select=n&orderBy=n`));
  expect(rows.body.rows).toEqual([{ n: "1" }, { n: "two" }]);
});
