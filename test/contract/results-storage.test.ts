/** How tables keep their rows: for how long, cut how, compressed how; made so, changed so, refused where it cannot be. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DatasetSpec, Results, Storage } from "../../services/results/results.ts";
import { chunkOf, column, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let server: TestClickHouse;
let database: string;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

let count = 0;
/** Results whose database has a name that is known. */
function open(): Promise<Results> {
  count += 1;
  database = `storage_${process.pid}_${count}`;
  return openTestResults(server, { database });
}
async function ask(sql: string): Promise<string> {
  const answer = await fetch(server.url, { method: "POST", body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text.trim();
}
const engine = () =>
  ask(`SELECT partition_key, engine_full FROM system.tables WHERE database = '${database}' AND name = 'weather__rows'`);
const codecs = async () => {
  const text = await ask(`SELECT name, compression_codec FROM system.columns
    WHERE database = '${database}' AND table = 'weather__rows' AND compression_codec != '' ORDER BY name`);
  return Object.fromEntries(text.split("\n").map((line) => line.split("\t")));
};
const columns = { time: "timestamp", city: "string", temp: "float64" };
const spec = (storage?: Storage, over: Partial<DatasetSpec> = {}): DatasetSpec => ({
  ...{ dataset: "weather", columns, datetime: "time", index: ["time", "city"], storage },
  ...over,
});
const ago = (ms: number) => new Date(Date.now() - ms).toISOString();

let fences = 1n;
async function write(results: Results, runId: string, rows: readonly object[], dataset = "weather"): Promise<void> {
  fences += 1n;
  await results.appendChunk(chunkOf({ dataset, runId, fence: fences, rows: rows.map((row) => ({ ...row })) }));
  await results.commit(runRecord({ dataset, runId, fence: fences, rows: rows.length }));
}

test("rows past their retention are not seen at once, and go from the disk; those without a time stay", async () => {
  await using results = await open();
  await results.ensureDataset(spec({ retentionMs: DAY_MS, partition: "month" }));
  const row = (time: string | null, city: string) => ({ time, city, temp: 1 });
  const rows = [
    row(ago(2 * DAY_MS), "old"),
    row("1950-01-01T00:00:00Z", "ancient"),
    row(ago(DAY_MS - HOUR_MS), "new"),
    row("2150-01-01T00:00:00Z", "far"),
    row(null, "timeless"),
  ];
  await write(results, "w/0", rows);
  const seen = ["far", "new", "timeless"];
  expect(await column(results, "SELECT city FROM weather ORDER BY city")).toEqual(seen);
  await ask(`OPTIMIZE TABLE ${database}.weather__rows FINAL`);
  await until("what is over is off the disk", async () => {
    return (await ask(`SELECT count() FROM ${database}.weather__rows`)) === "3";
  });
  expect(await column(results, "SELECT city FROM weather ORDER BY city")).toEqual(seen);
  // The same rows fetched again are over again.
  await write(results, "w/0", rows);
  expect(await column(results, "SELECT city FROM weather ORDER BY city")).toEqual(seen);
});

test("ttl goes by when rows came; both together take whichever is first; taken away, rows stay", async () => {
  await using results = await open();
  await results.ensureDataset(spec({ ttlMs: HOUR_MS, retentionMs: 30 * DAY_MS }));
  expect(await engine()).toContain("TTL least(");
  await write(results, "w/0", [
    { time: ago(DAY_MS), city: "a", temp: 1 },
    { time: ago(40 * DAY_MS), city: "b", temp: 1 },
  ]);
  expect(await column(results, "SELECT city FROM weather")).toEqual(["a"]);
  await ask(`ALTER TABLE ${database}.weather__rows UPDATE _ingested_at = now() - 7200 WHERE 1
    SETTINGS mutations_sync = 1`).catch(() => {});
  await results.ensureDataset(spec({}));
  expect(await engine()).not.toContain("TTL");
  await results.ensureDataset(spec({}));
  // Another process that says nothing about storage leaves it as it is.
  await results.ensureDataset(spec({ retentionMs: DAY_MS }));
  await results.ensureDataset(spec(undefined));
  expect(await engine()).toContain("TTL");
});

test("compression by column and for all others, on new columns and changed on old ones", async () => {
  await using results = await open();
  await results.ensureDataset(spec({ codec: "ZSTD(3)", codecs: { temp: "Gorilla, ZSTD", time: "Delta, LZ4" } }));
  const made = { city: "CODEC(ZSTD(3))", temp: "CODEC(Gorilla(8), ZSTD(1))", time: "CODEC(Delta(8), LZ4)" };
  expect(await codecs()).toEqual(made);
  await write(results, "w/0", [{ time: ago(0), city: "a", temp: 1.5 }]);
  await results.ensureDataset(spec({ codec: "LZ4HC(9)" }, { columns: { ...columns, wind: "float64" } }));
  const all = Object.fromEntries(["city", "temp", "time", "wind"].map((name) => [name, "CODEC(LZ4HC(9))"]));
  expect(await codecs()).toEqual(all);
  expect(await rowsOf(results, "SELECT city, temp, wind FROM weather")).toEqual([["a", 1.5, null]]);
  const bad = results.ensureDataset(spec({ codecs: { city: "Gorilla, ZSTD" } }, { dataset: "other" }));
  await expect(bad).rejects.toMatchObject({ code: "invalid" });
  const injected = results.ensureDataset(spec({ codec: "LZ4) , x UInt8 CODEC(LZ4" }));
  await expect(injected).rejects.toMatchObject({ code: "invalid" });
});

test("inferred columns get the compression of their dataset, and wider ones the one that fits all", async () => {
  await using results = await open();
  const wish = { columns: {}, index: ["time"], schema: "evolve" as const };
  await results.ensureDataset(spec({ codec: "ZSTD(2)", codecs: { n: "T64, LZ4" }, partition: "day" }, wish));
  await write(results, "w/0", [{ time: ago(0), n: 1 }]);
  await write(results, "w/1", [{ time: ago(1_000), n: "text" }]);
  expect(await codecs()).toEqual({ n: "CODEC(T64, LZ4)", "n:string": "CODEC(ZSTD(2))", time: "CODEC(ZSTD(2))" });
  expect((await engine()).split("\t")[0]).toBe("toYYYYMMDD(time)");
  expect(await column(results, "SELECT n FROM weather ORDER BY time")).toEqual(["text", "1"]);
});

test.each([
  ["day", "time", "toYYYYMMDD(time)"],
  ["month", "time", "toYYYYMM(time)"],
  ["day", undefined, "toYYYYMMDD(_ingested_at)"],
  ["none", "time", ""],
  [undefined, "time", "toYYYYMM(_ingested_at)"],
] as const)("cut by %s of %s; once it stands it cannot be cut otherwise", async (partition, datetime, key) => {
  await using results = await open();
  const storage = partition ? { partition } : {};
  const over = { datetime, index: ["city"] };
  await results.ensureDataset(spec(storage, over));
  expect((await engine()).split("\t")[0]?.replace("tuple()", "")).toBe(key);
  await results.ensureDataset(spec(storage, over));
  const other = spec({ partition: partition === "month" ? "none" : "month" }, { ...over, datetime: "time" });
  const refusal = await results.ensureDataset(other).catch((thrown) => thrown);
  expect(refusal).toMatchObject({ code: "conflict", mistakes: [{ field: "partition" }] });
  await write(results, "w/0", [{ time: ago(0), city: "a", temp: 1 }]);
  expect(await column(results, "SELECT city FROM weather")).toEqual(["a"]);
});

test("a chunk that lies in too many partitions is refused and not tried for ever; superseded rows are swept", async () => {
  await using results = await open();
  await results.ensureDataset(spec({ partition: "day" }));
  const days = (from: number, length: number) =>
    Array.from({ length }, (_, i) => ({ time: ago((from + i) * DAY_MS), city: "a", temp: i }));
  await expect(write(results, "w/0", days(0, 120))).rejects.toMatchObject({ code: "invalid" });
  await write(results, "w/1", days(0, 6));
  await write(results, "w/1", days(0, 5));
  expect(await column(results, "SELECT count() FROM weather")).toEqual(["5"]);
  expect(await results.sweep(0)).toEqual(["weather"]);
  await until("the superseded rows are gone", async () => {
    return (await ask(`SELECT count() FROM ${database}.weather__rows`)) === "5";
  });
  expect(await column(results, "SELECT count() FROM weather")).toEqual(["5"]);
});
