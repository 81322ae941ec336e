/** Rows as CSV and Arrow, rows that a SELECT makes, and an attempt that nobody sees compared with what is stored. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Results, SelectedChunk } from "../../services/results/results.ts";
import { chunkOf, column, ndjson, numbers, plain, RUN, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

const columns = { ...plain.columns, ok: "bool", price: "decimal(10,2)", tags: "array(string)" };
const commit = (results: Results, over: Partial<Parameters<typeof runRecord>[0]> = {}) =>
  results.commit(runRecord({ ...RUN, ...over }));
const csv = (text: string) => ({ format: "csv" as const, rows: Buffer.from(text) });
/** What ClickHouse itself writes as Arrow. */
async function arrowOf(sql: string): Promise<Buffer> {
  const settings = "SETTINGS output_format_arrow_compression_method = 'none', output_format_arrow_string_as_string = 1";
  const answer = await fetch(server.url, { method: "POST", body: `${sql} ${settings} FORMAT ArrowStream` });
  if (!answer.ok) throw new Error(await answer.text());
  return Buffer.from(await answer.arrayBuffer());
}
const arrow = async (sql: string) => ({ format: "arrow" as const, rows: await arrowOf(sql) });

test("CSV is read as it came: by its header, quotes and empty fields kept apart, once", async () => {
  await using results = await openTestResults(server, { database: "formats" });
  await results.ensureDataset({ ...plain, columns });
  const text =
    'n,city,time,ok,price,tags,temp\r\n1,"Zürich, ""CH""",2012-01-01T00:00:00Z,true,1.50,"[\'a\',\'b\']",\r\n2,"",,false,,,0.5\r\n';
  expect(await results.appendChunk(chunkOf(csv(text)))).toMatchObject({ rows: 2, rejected: 0 });
  // Another process that sends the same bytes under the same token.
  await using other = await openTestResults(server, { database: "formats" });
  expect(await other.appendChunk(chunkOf(csv(text)))).toMatchObject({ rows: 2, rejected: 0 });
  await commit(results);
  const shown = "SELECT n, city, time, ok, price, tags, temp FROM weather ORDER BY n";
  expect(await rowsOf(results, shown)).toEqual([
    ["1", 'Zürich, "CH"', "2012-01-01T00:00:00.000000Z", true, "1.5", ["a", "b"], null],
    ["2", "", null, false, null, [], 0.5],
  ]);
});

test("bad rows of CSV meet the policy: named, set aside, or made room for", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain, dataset: "frozen" });
  const bad = "n,temp,more\n1,0.5,x\ntwo,1,y\n3,1\n";
  await expect(results.appendChunk(chunkOf({ ...csv(bad), dataset: "frozen" }))).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("2 fields, the header has 3"),
  });
  await results.ensureDataset({ ...plain, dataset: "picky", schema: "reject" });
  const picky = { dataset: "picky", runId: "p/1", fence: 3n };
  expect(await results.appendChunk(chunkOf({ ...csv(bad), ...picky }))).toMatchObject({ rows: 1, rejected: 2 });
  await commit(results, { ...picky, rows: 1 });
  expect(await rowsOf(results, "SELECT n, _extra.more FROM picky")).toEqual([["1", "x"]]);
  const { rejects } = await results.listRejects({ dataset: "picky" }, { size: 10 });
  expect(rejects.map(({ row, reason }) => [row, reason])).toEqual([
    [2, 'column n: "two" is not a whole number within 64 bits (int64)'],
    [3, "is not an object"],
  ]);
  // Nothing declared: columns come from the values.
  const open = { dataset: "grown", runId: "g/1", fence: 4n };
  await results.appendChunk(chunkOf({ ...csv("a,b,code\n1,x,007\n2.5,2012-01-01T00:00:00Z,008\n"), ...open }));
  await commit(results, open);
  expect((await results.listDatasets()).find((one) => one.dataset === "grown")?.columns).toEqual({
    ...{ a: "float64", b: "string", code: "string" },
  });
});

test("CSV with a naive time is refused; with a zone it is a time there", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset(plain);
  const naive = csv("n,time\n1,2024-07-01T12:00:00\n");
  await expect(results.appendChunk(chunkOf(naive))).rejects.toThrow("has no offset");
  await results.ensureDataset({ ...plain, dataset: "local", timezone: "Europe/Berlin" });
  const local = { dataset: "local", runId: "l/1", fence: 3n };
  await results.appendChunk(chunkOf({ ...naive, ...local }));
  await commit(results, local);
  expect(await column(results, "SELECT time FROM local")).toEqual(["2024-07-01T10:00:00.000000Z"]);
});

test("Arrow is read by its own schema; a column that does not fit is named, nothing is lost", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain, columns });
  const sql = `SELECT toInt64(number) AS n, toString(number) AS city, toDateTime64('2012-01-01', 6, 'UTC') AS time,
    CAST(number = 1 AS Bool) AS ok, [toString(number)] AS tags, 'kept' AS more FROM numbers(3)`;
  expect(await results.appendChunk(chunkOf(await arrow(sql)))).toMatchObject({ rows: 3 });
  await commit(results);
  expect(await rowsOf(results, "SELECT n, city, tags, _extra.more, time FROM weather ORDER BY n LIMIT 1")).toEqual([
    ["0", "0", ["0"], "kept", "2012-01-01T00:00:00.000000Z"],
  ]);
  const wrong = await arrow("SELECT toUInt64(18446744073709551615) AS n, 1.5 AS city, 0.5 AS temp");
  await expect(results.appendChunk(chunkOf({ ...wrong, chunk: 1 }))).rejects.toMatchObject({
    mistakes: [
      { field: "column n", problem: "is uint64 in Arrow, int64 in the dataset" },
      { field: "column city", problem: "is float64 in Arrow, string in the dataset" },
    ],
  });
  await expect(results.appendChunk(chunkOf({ ...csv("n\n1\n"), format: "arrow", chunk: 2 }))).rejects.toThrow(
    "no Arrow",
  );
  const open = { dataset: "grown", runId: "g/1", fence: 4n };
  await results.appendChunk(chunkOf({ ...(await arrow("SELECT toInt32(1) AS a, today() AS b")), ...open }));
  expect((await results.listDatasets()).find((one) => one.dataset === "grown")?.columns).toEqual({
    a: "int64",
    b: "date",
  });
});

const day = (n: number) => 1_325_376_000_000_000n + BigInt(n) * 86_400_000_000n;
const select = (sql: string, over: Partial<SelectedChunk> = {}): SelectedChunk => ({
  ...{ dataset: "daily", runId: "sql.daily/1", fence: 11n, attempt: 1, chunk: 0, sql, tables: ["weather"] },
  ...{
    beginUs: day(0),
    endUs: day(1),
    maxRows: 1_000,
    timeoutMs: 10_000,
    signal: AbortSignal.timeout(30_000),
    ...over,
  },
});

test("a SELECT stores its rows inside the server, reads what it may, and is exact about types", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset(plain);
  const rows = numbers(0, 48).map(({ n }) => ({
    n,
    time: new Date(Date.UTC(2012, 0, 1, n)).toISOString(),
    temp: n / 2,
  }));
  await results.appendChunk(chunkOf({ rows }));
  await commit(results);
  const sql = `SELECT toStartOfDay(time) AS day, count() AS n, max(temp) AS top, 'x' AS note FROM weather
    WHERE time >= {begin} AND time < {end} GROUP BY day`;
  expect(await results.selectChunk(select(sql))).toMatchObject({ rows: 1 });
  // Not committed: nobody sees it.
  expect(await column(results, "SELECT count() FROM daily")).toEqual(["0"]);
  await commit(results, { dataset: "daily", runId: "sql.daily/1", fence: 11n });
  expect(await rowsOf(results, "SELECT day, n, top, note FROM daily")).toEqual([
    ["2012-01-01T00:00:00.000000Z", "24", 11.5, "x"],
  ]);
  await results.ensureDataset({ dataset: "narrow", columns: { n: "int64", day: "timestamp" } });
  const narrow = (text: string) => results.selectChunk(select(text, { dataset: "narrow", fence: 12n }));
  await expect(narrow("SELECT 1.5 AS n WHERE {begin} < {end}")).rejects.toMatchObject({ code: "invalid" });
  await expect(narrow("SELECT '2012-01-01 00:00:00' AS day WHERE {begin} < {end}")).rejects.toThrow("parse it");
  expect(await narrow("SELECT 2 AS n, 'more' AS other WHERE {begin} < {end}")).toMatchObject({ rows: 1 });
  await expect(narrow("SELECT * FROM metrics WHERE {begin} < {end}")).rejects.toMatchObject({ code: "denied" });
  await expect(narrow("SELECT * FROM weather__rows")).rejects.toMatchObject({ code: "denied" });
  await expect(narrow("SELECT 1 FROM system.users")).rejects.toMatchObject({ code: "denied" });
  await expect(narrow("INSERT INTO weather__rows SELECT 1")).rejects.toMatchObject({ code: "denied" });
  await expect(results.selectChunk(select("SELECT number AS n FROM numbers(1001)"))).rejects.toMatchObject({
    code: "exhausted",
  });
  const slow = select("SELECT sum(a.number) AS n FROM numbers(1000000) a, numbers(1000000) b", { timeoutMs: 300 });
  await expect(results.selectChunk(slow)).rejects.toMatchObject({ code: "deadline" });
});

test("an attempt that is not committed is compared with what is, and stays unseen", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain, schema: "evolve" });
  const run = { runId: "weather.daily/1" };
  await results.appendChunk(chunkOf({ ...run, fence: 1n, rows: ndjson([{ n: 1 }, { n: 2, city: "Bern" }]) }));
  await commit(results, { ...run, fence: 1n });
  const shadow = async (fence: bigint, rows: readonly object[]) => {
    await results.appendChunk(chunkOf({ ...run, fence, rows: ndjson(rows) }));
    return results.compareAttempt({ dataset: "weather", ...run, parts: [{ fence, chunks: 1 }] });
  };
  expect(await shadow(2n, [{ n: 2, city: "Bern" }, { n: 1 }])).toMatchObject({ differ: false, shadow: { rows: 2 } });
  expect(await shadow(3n, [{ n: 1 }, { n: 3, city: "Bern" }])).toMatchObject({ differ: true, shadow: { rows: 2 } });
  expect(await shadow(4n, [{ n: 1 }])).toMatchObject({ differ: true, stored: { rows: 2 }, shadow: { rows: 1 } });
  // The column grows: what was stored before is the same value.
  expect(await shadow(5n, [{ n: 1.5 }])).toMatchObject({ differ: true });
  expect(await shadow(6n, [{ n: 1 }, { n: 2, city: "Bern" }])).toMatchObject({ differ: false });
  expect(await column(results)).toEqual([1, 2]);
  // Once it has ended, its rows are nobody's any more.
  const stored = async () => (await results.countDuplicates("weather")).stored;
  expect(await stored()).toBe(10);
  await commit(results, { ...run, fence: 3n, kind: "verify", committed: false, parts: [] });
  await results.sweep(-60_000);
  await until("the rows of the shadow are gone", async () => (await stored()) === 8);
  expect(await column(results)).toEqual([1, 2]);
  const none = { dataset: "weather", runId: "weather.daily/9", parts: [] };
  expect(await results.compareAttempt(none)).toMatchObject({ differ: false, stored: { rows: 0 }, shadow: { rows: 0 } });
});
