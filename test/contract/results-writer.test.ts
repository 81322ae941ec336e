/** Writing: exactly the committed rows are seen, whatever is retried, killed, replaced or refused. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Results } from "../../services/results/results.ts";
import { chunkOf, column, ndjson, numbers, plain, RUN, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

test("a chunk that is appended again is stored once, by the same process and by another", async () => {
  const database = "retried";
  await using results = await openTestResults(server, { database });
  await using other = await openTestResults(server, { database });
  await results.ensureDataset(plain);
  for (const writer of [results, results, other]) await writer.appendChunk(chunkOf({ rows: ndjson(numbers(0, 3)) }));
  // As a guest's bytes come: not a Buffer.
  const large = { chunk: 1, rows: Uint8Array.from(ndjson(numbers(10, 30_000))) };
  for (const writer of [results, other, other]) await writer.appendChunk(chunkOf(large));
  const { runId, fence } = chunkOf({});
  await results.commit(runRecord({ runId, fence, parts: [{ fence, chunks: 2 }] }));
  expect(await rowsOf(results, "SELECT count(), uniqExact(n) FROM weather")).toEqual([["30003", "30003"]]);
});

test("many small chunks share INSERTs and all are there", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset(plain);
  const runs = numbers(0, 200).map(({ n }) => ({ runId: `poll/r${n}`, fence: BigInt(n + 1) }));
  const startedMs = performance.now();
  await Promise.all(
    runs.map(async (run, n) => {
      await results.appendChunk(chunkOf({ ...run, resource: `r${n}`, rows: [{ n }] }));
      await results.commit(runRecord(run));
    }),
  );
  // 400 INSERTs of their own would take more than that.
  expect(performance.now() - startedMs).toBeLessThan(4_000);
  expect(await column(results)).toEqual(runs.map((_, n) => String(n)));
  const parts = await rowsOf(results, "SELECT uniqExact(_ingested_at), uniqExact(_resource) FROM weather");
  expect(parts[0]?.[1]).toBe("200");
});

test("a half-written attempt is invisible, its successor replaces it, and a stale fence changes nothing", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset(plain);
  const { runId } = chunkOf({});
  await results.appendChunk(chunkOf({ fence: 7n, rows: [{ n: 1 }] }));
  expect(await column(results)).toEqual([]);
  await results.appendChunk(chunkOf({ fence: 9n, rows: [{ n: 2 }] }));
  await results.commit(runRecord({ runId, fence: 9n }));
  expect(await column(results)).toEqual(["2"]);
  // The first attempt wakes up late and commits as well.
  await results.commit(runRecord({ runId, fence: 7n }));
  expect(await column(results)).toEqual(["2"]);
  // A failed attempt with a greater fence replaces nothing.
  await results.appendChunk(chunkOf({ fence: 11n, rows: [{ n: 3 }] }));
  await results.commit(runRecord({ runId, fence: 11n, outcome: "trap", committed: false, parts: [] }));
  expect(await column(results)).toEqual(["2"]);
  // The window is fetched again, and there is nothing in it any more.
  await results.commit(runRecord({ runId, fence: 12n, outcome: "no_data", parts: [] }));
  expect(await column(results)).toEqual([]);
  expect((await results.getRun(runId)).map((run) => run.fence)).toEqual([12n, 11n, 9n, 7n]);
});

test("a resumed run keeps the checkpointed chunks of its earlier attempt, and only those", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset(plain);
  const { runId } = chunkOf({});
  for (const chunk of [0, 1, 2]) await results.appendChunk(chunkOf({ fence: 3n, chunk, rows: [{ n: chunk }] }));
  await results.appendChunk(chunkOf({ fence: 4n, chunk: 0, rows: [{ n: 20 }] }));
  const parts = [
    { fence: 3n, chunks: 2 },
    { fence: 4n, chunks: 1 },
  ];
  await results.commit(runRecord({ runId, fence: 4n, parts }));
  expect(await column(results)).toEqual(["0", "1", "20"]);
});

test("a commit waits for chunks that were handed over before it", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset(plain);
  const { runId, fence } = chunkOf({});
  const appended = results.appendChunk(chunkOf({}));
  await results.commit(runRecord({ runId, fence }));
  expect(await column(results)).toEqual(["1"]);
  await appended;
});

test("rows equal in the index are one: the newest fence, then the later chunk", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ ...plain, datetime: "time", index: ["time", "city"] });
  const time = "2012-01-01T00:00:00Z";
  const write = async (runId: string, fence: bigint, n: number, chunk = 0) => {
    await results.appendChunk(chunkOf({ runId, fence, chunk, rows: [{ time, city: "Zürich", n }] }));
    await results.commit(runRecord({ runId, fence, parts: [{ fence, chunks: chunk + 1 }] }));
  };
  await write("a", 5n, 1);
  await write("b", 8n, 2);
  await write("c", 6n, 3);
  expect(await column(results)).toEqual(["2"]);
  await write("b", 8n, 4, 1);
  expect(await column(results)).toEqual(["4"]);
  const filtered = "SELECT n FROM weather WHERE time >= '2012-01-01' AND city = 'Zürich' AND n = 2";
  expect(await column(results, filtered)).toEqual([]);
});

describe("what a row may hold", () => {
  const columns = {
    s: "string",
    i: "int64",
    u: "uint64",
    f: "float64",
    b: "bool",
    t: "timestamp",
    d: "date",
    m: "decimal(18,4)",
    id: "uuid",
    j: "json",
  };
  const odd = {
    s: 'Zürich "数据" 🚀 \\ \n',
    i: -9223372036854775808n,
    u: 18446744073709551615n,
    f: 0.1,
    b: true,
    t: "2012-01-01T02:00:00.123456+02:00",
    d: "2012-02-29",
    m: "12345.6789",
    id: "61f0c404-5cb3-11e7-907b-a6006ad3dba0",
    j: { deep: { er: ["x", "ü"] }, n: null },
  };
  const seen = {
    ...odd,
    i: String(odd.i),
    u: String(odd.u),
    t: "2012-01-01T00:00:00.123456Z",
    j: { deep: { er: ["x", "ü"] } },
    _extra: {},
  };
  const empty = Object.fromEntries(Object.keys(columns).map((name) => [name, null]));

  test.each([
    ["small", 1],
    ["large", 4_000],
  ])("every type, nulls and missing fields, in a %s chunk", async (_, times) => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns });
    const rows = Array.from({ length: times }, () => [odd, {}, empty]).flat();
    expect(await results.appendChunk(chunkOf({ rows }))).toMatchObject({ rows: rows.length });
    await results.commit(runRecord(RUN));
    const page = await results.readRows({ dataset: "weather", limit: 10_000 });
    const full = page.rows.filter((row) => row.s !== null);
    expect(full[0]).toEqual(seen);
    expect(await rowsOf(results, "SELECT count(), countIf(s IS NULL AND j IS NULL) FROM weather")).toEqual([
      [String(rows.length), String(2 * times)],
    ]);
  });

  test.each([
    ["small", 1],
    ["large", 30_000],
  ])("undeclared fields of a %s chunk move to _extra", async (_, times) => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns: { n: "int64" } });
    const strange = { n: 1, wind: "north", _run_id: "someone else's", nested: { a: true } };
    await results.appendChunk(chunkOf({ rows: ndjson(Array.from({ length: times }, () => strange)) }));
    await results.commit(runRecord(RUN));
    const sql = "SELECT DISTINCT n, _extra.wind, _extra._run_id, _extra.nested.a, _run_id FROM weather";
    expect(await rowsOf(results, sql)).toEqual([["1", "north", "someone else's", true, chunkOf({}).runId]]);
    expect(await column(results, "SELECT count() FROM weather")).toEqual([String(times)]);
  });

  test.each([
    ["a word for a number", { i: "many" }, 'row 2, column i: "many" is not a whole number'],
    ["a number over 64 bits", { i: 99999999999999999999n }, "row 2, column i: 99999999999999999999 is not"],
    ["a number for a text", { s: 5 }, "row 2, column s: 5 is not a string"],
    ["a day that is none", { t: "yesterday" }, 'row 2, column t: "yesterday" is not a time'],
    ["an object for a number", { f: { a: 1 } }, 'row 2, column f: {"a":1} is not a number'],
    ["a list for a json object", { j: [1] }, "row 2, column j: [1] is not a JSON object"],
    ["no UUID", { id: "7" }, 'row 2, column id: "7" is not a UUID'],
  ])("%s is refused by column, row and value, and nothing of the chunk stays", async (_, bad, message) => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns });
    const appended = results.appendChunk(chunkOf({ rows: [odd, bad, odd] }));
    await expect(appended).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining(message) });
    await results.commit(runRecord(RUN));
    expect(await rowsOf(results, "SELECT * FROM weather")).toEqual([]);
  });

  test("a bad row far into a chunk of several INSERTs takes the whole chunk with it; a good neighbour stays", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns: { n: "int64" } });
    const rows = Buffer.concat([ndjson(numbers(0, 300_000)), Buffer.from('{"n":"x"}\n')]);
    await results.appendChunk(chunkOf({ chunk: 0, rows: [{ n: -1 }] }));
    await expect(results.appendChunk(chunkOf({ chunk: 1, rows }))).rejects.toMatchObject({ code: "invalid" });
    await results.commit(runRecord({ ...RUN, parts: [{ fence: 7n, chunks: 2 }] }));
    expect(await column(results)).toEqual(["-1"]);
  });

  test("of chunks that share an INSERT a bad one fails alone", async () => {
    await using results = await openTestResults(server, { batchAgeMs: 200 });
    await results.ensureDataset({ dataset: "weather", columns: { n: "int64" } });
    await results.appendChunk(chunkOf({ chunk: 0, rows: [{ n: 0 }] }));
    const values: (number | string)[] = [1, 2, "bad", 4, 5];
    const settled = await Promise.allSettled(
      values.map((n, i) => results.appendChunk(chunkOf({ chunk: i + 1, rows: [{ n }] }))),
    );
    expect(settled.map(({ status }) => status === "fulfilled")).toEqual([true, true, false, true, true]);
    await results.commit(runRecord({ ...RUN, parts: [{ fence: 7n, chunks: 6 }] }));
    expect(await column(results)).toEqual(["0", "1", "2", "4", "5"]);
  });

  test.each(["nonsense", '{"n":1}{"n":2}', "[1]", '{"n":1', "5"])("%s is no row", async (line) => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns: { n: "int64" } });
    const appended = results.appendChunk(chunkOf({ rows: Buffer.from(`{"n":0}\n\n${line}\n`) }));
    await expect(appended).rejects.toMatchObject({ code: "invalid", message: expect.stringContaining("row 2") });
  });
});

describe("schema", () => {
  test("a new column is added and old rows have none of it; another type is a conflict that names both", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(plain);
    await results.appendChunk(chunkOf({ rows: [{ n: 1 }] }));
    await results.ensureDataset({ dataset: "weather", columns: { wind: "string" } });
    await results.appendChunk(chunkOf({ chunk: 1, rows: [{ n: 2, wind: "north" }] }));
    await results.commit(runRecord({ ...RUN, parts: [{ fence: 7n, chunks: 2 }] }));
    const all = [
      ["1", null],
      ["2", "north"],
    ];
    expect(await rowsOf(results, "SELECT n, wind FROM weather ORDER BY n")).toEqual(all);
    const other = results.ensureDataset({ dataset: "weather", columns: { n: "string" } });
    await expect(other).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("columns.n: is stored as int64 and cannot become string"),
    });
  });

  test("several processes that widen one dataset at once end with one table and a view of all its columns", async () => {
    const database = "widened";
    await using stack = new AsyncDisposableStack();
    const many: Results[] = [];
    for (let i = 0; i < 4; i += 1) many.push(stack.use(await openTestResults(server, { database })));
    const spec = (i: number) => ({ dataset: "weather", columns: { n: "int64", [`c${i}`]: "string" } });
    await Promise.all(many.map((results, i) => results.ensureDataset(spec(i))));
    const columns = (await rowsOf(many[0] as Results, "DESCRIBE weather")).map((row) => row[0]);
    expect(columns).toEqual(expect.arrayContaining(["n", "c0", "c1", "c2", "c3"]));
  });

  test("every mistake of a spec is reported", async () => {
    await using results = await openTestResults(server);
    const spec = { dataset: "Weather", columns: { _a: "string", b: "number" }, datetime: "c", index: ["d"] };
    await expect(results.ensureDataset(spec)).rejects.toMatchObject({
      code: "invalid",
      mistakes: [
        { field: "dataset" },
        { field: "columns._a" },
        { field: "columns.b" },
        { field: "datetime" },
        { field: "index[0]" },
      ].map((mistake) => expect.objectContaining(mistake)),
    });
  });

  test("rows of a dataset that nobody declared give it its columns", async () => {
    await using results = await openTestResults(server);
    const rows = [
      { a: 1, b: 1, c: "2012-01-01T00:00:00Z", d: null, e: true, f: 1, g: { x: 1 } },
      { a: 2, b: 1.5, c: "2012-01-01T00:00:00Z", d: null, e: false, f: "x", g: { x: 2 } },
    ].map(({ f, ...row }) => ({ ...row, f: String(f) }));
    await results.appendChunk(chunkOf({ rows }));
    const dataset = (await results.listDatasets()).find((d) => d.dataset === "weather");
    expect(dataset?.columns).toEqual({ a: "int64", b: "float64", c: "timestamp", e: "bool", f: "string", g: "json" });
    await results.commit(runRecord(RUN));
    expect(await column(results, "SELECT g.x::Int64 AS x FROM weather ORDER BY x")).toEqual(["1", "2"]);
  });

  test("opening twice changes nothing; a newer schema is refused", async () => {
    await using _ = await openTestResults(server, { database: "twice" });
    await using results = await openTestResults(server, { database: "twice" });
    expect((await results.listDatasets()).map((d) => d.dataset)).toEqual(["metrics"]);
    await fetch(server.url, { method: "POST", body: "INSERT INTO twice.schema_version (version) VALUES (99)" });
    const again = openTestResults(server, { database: "twice" });
    await expect(again).rejects.toMatchObject({ code: "precondition", message: expect.stringContaining("schema 99") });
  });
});
