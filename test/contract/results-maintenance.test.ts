/** Work on stored rows: sums, copies, what is superseded swept, what is dropped gone. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Results } from "../../services/results/results.ts";
import { chunkOf, column, numbers, plain, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

const target = "pipes/weather.daily";
const day = (n: number) => 1_325_376_000_000_000n + BigInt(n) * 86_400_000_000n;
async function write(results: Results, n: number, fence: bigint, rows: readonly object[]) {
  const runId = `weather.daily/${n}`;
  await results.appendChunk(chunkOf({ runId, fence, rows: rows as [] }));
  const span = { beginUs: day(n), endUs: day(n + 1), target };
  await results.commit(runRecord({ runId, fence, rows: rows.length, ...span }));
}
const time = (n: number) => new Date(Number(day(n) / 1_000n) + 3_600_000).toISOString();

test("sums name what counts, whatever the order, and see one changed value", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain, datetime: "time" });
  const rows = [1, 2, 3].map((n) => ({ time: time(0), city: "Bern", temp: n / 3, n }));
  await write(results, 0, 1n, rows);
  await write(results, 1, 2n, rows.toReversed());
  await write(results, 2, 3n, [...rows.slice(1), { ...rows[0], temp: 0.5 }]);
  await write(results, 3, 4n, numbers(0, 5));
  await write(results, 3, 5n, numbers(0, 2));
  const runs = await results.committedRuns({ dataset: "weather", target });
  expect(runs.map((run) => [run.runId, run.fence])).toEqual(
    [0, 1, 2, 3].map((n) => [`weather.daily/${n}`, n === 3 ? 5n : BigInt(n + 1)]),
  );
  const sums = await results.sumRuns("weather", runs);
  const of = (n: number) => sums.get(`weather.daily/${n}`);
  expect([0, 1, 2, 3].map((n) => of(n)?.counted)).toEqual([3, 3, 3, 2]);
  expect(of(0)?.checksum).toBe(of(1)?.checksum);
  expect(of(2)?.checksum).not.toBe(of(0)?.checksum);
  expect([0, 1, 2].map((n) => of(n)?.outside)).toEqual([0, 3, 3]);
  const some = await results.committedRuns({ dataset: "weather", target, beginUs: day(1), endUs: day(3) });
  expect(some.map((run) => run.runId)).toEqual(["weather.daily/1", "weather.daily/2"]);
});

test("a copy is there all at once, and replaces the former one", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain, datetime: "time", index: ["n"], schema: "evolve" });
  await write(results, 0, 1n, [
    { time: time(0), n: 1, temp: 1 },
    { time: time(0), n: 2, wind: "north" },
  ]);
  await write(results, 1, 2n, [{ time: time(1), n: 1, temp: "hot" }]);
  const copy = (fence: bigint, over = {}) =>
    results.copyRows({ dataset: "weather", target: "kept", run: runRecord({ runId: "copy/kept", fence }), ...over });
  expect(await copy(10n)).toBe(2);
  const sql = "SELECT n, temp, wind FROM kept ORDER BY n";
  expect(await rowsOf(results, sql)).toEqual([
    ["1", "hot", null],
    ["2", null, "north"],
  ]);
  expect(await copy(11n, { beginUs: day(1) })).toBe(1);
  expect(await rowsOf(results, sql)).toEqual([["1", "hot", null]]);
  await expect(copy(12n, { target: "weather" })).rejects.toMatchObject({ code: "invalid" });
});

test("duplicates are counted: superseded, equal in the index, equal in all", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain });
  await write(results, 0, 1n, numbers(0, 5));
  await write(results, 0, 2n, [...numbers(0, 3), { n: 2 }]);
  expect(await results.countDuplicates("weather")).toEqual({ stored: 9, counted: 4, seen: 4, equal: 1 });
  await results.ensureDataset({ ...plain, index: ["n"] });
  expect(await results.countDuplicates("weather")).toEqual({ stored: 9, counted: 4, seen: 3, equal: 0 });
});

test("what a commit has superseded is swept after its lag; what may be resumed from, and what counts, stays", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain });
  await write(results, 0, 1n, numbers(0, 5));
  await write(results, 0, 2n, numbers(10, 2));
  const { runId } = { runId: "weather.daily/1" };
  // A run that resumed: both fences count. An attempt after it has a checkpoint and no commit yet.
  for (const fence of [3n, 4n])
    await results.appendChunk(chunkOf({ runId, fence, rows: numbers(Number(fence) * 10, 1) as [] }));
  await results.commit(runRecord({ runId, fence: 4n, target, parts: [3n, 4n].map((fence) => ({ fence, chunks: 1 })) }));
  await results.appendChunk(chunkOf({ runId, fence: 6n, rows: numbers(60, 1) as [] }));
  const seen = await column(results);
  expect(seen).toEqual(["10", "11", "30", "40"]);
  expect(await results.sweep(3_600_000)).toEqual([]);
  expect(await results.sweep(0)).toEqual(["weather"]);
  await until("the old rows are gone", async () => (await results.countDuplicates("weather")).stored === 5);
  expect(await column(results)).toEqual(seen);
  expect(await results.sweep(0)).toEqual([]);
  await results.commit(runRecord({ runId, fence: 6n, target, parts: [{ fence: 6n, chunks: 1 }] }));
  expect(await column(results)).toEqual(["10", "11", "60"]);
});

test("a dropped dataset is gone, and may be made again with other types", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain });
  await write(results, 0, 1n, numbers(0, 5));
  expect(await results.dropDataset("weather")).toBeGreaterThanOrEqual(0);
  expect((await results.listDatasets()).map(({ dataset }) => dataset)).toEqual(["metrics"]);
  expect(await results.dropDataset("weather")).toBe(0);
  await results.ensureDataset({ dataset: "weather", columns: { n: "string" } });
  await write(results, 0, 2n, [{ n: "one" }]);
  expect(await column(results)).toEqual(["one"]);
});
