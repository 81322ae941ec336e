/** Rows that do not fit their columns: evolved, frozen or rejected, and nothing lost or guessed. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DatasetSpec, Results, RowObject } from "../../services/results/results.ts";
import { chunkOf, column, ndjson, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

let fences = 100n;
/** One committed window. */
async function write(results: Results, runId: string, rows: readonly RowObject[] | Uint8Array) {
  fences += 1n;
  const fence = fences;
  const stored = await results.appendChunk(chunkOf({ runId, fence, rows }));
  await results.commit(runRecord({ runId, fence }));
  return stored;
}
const columnsOf = async (results: Results) =>
  (await results.listDatasets()).find(({ dataset }) => dataset === "weather")?.columns;
const evolving: DatasetSpec = { dataset: "weather", columns: {}, datetime: "time", index: ["k"], schema: "evolve" };
const at = (second: number) => `2012-01-01T00:00:${String(second).padStart(2, "0")}Z`;

describe("evolve", () => {
  /** What a source sends in window after window, and what `v` is in all of them then. */
  const changes: readonly (readonly [object, string | undefined, readonly unknown[]])[] = [
    [{ v: null }, undefined, []],
    [{ v: 1 }, "int64", ["1"]],
    [{ v: 18446744073709551615n }, "decimal(38,0)", ["1", "18446744073709551615"]],
    [{ v: 2.5 }, "string", ["1", "18446744073709551615", "2.5"]],
    [{ v: true }, "string", ["1", "18446744073709551615", "2.5", "true"]],
    [{ v: { a: [1, 2] } }, "string", ["1", "18446744073709551615", "2.5", "true", '{"a":[1,2]}']],
  ];

  test("a source that changes a column six times and adds four: every old row stays readable", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(evolving);
    let k = 0;
    for (const [row, type, seen] of changes) {
      await write(results, `w/${k}`, [{ time: at(k), k, ...row }]);
      k += 1;
      expect((await columnsOf(results))?.v).toBe(type);
      if (type) expect(await column(results, "SELECT v FROM weather WHERE v IS NOT NULL ORDER BY k")).toEqual(seen);
    }
    const added = { id: "61f0c404-5cb3-11e7-907b-a6006ad3dba0", day: "2012-01-31", tags: ["a", "b"], deep: { x: 1 } };
    for (const [name, value] of Object.entries(added))
      await write(results, `w/${name}`, [{ time: at(k), k: k++, [name]: value }]);
    expect(await columnsOf(results)).toMatchObject({ id: "uuid", day: "date", tags: "array(string)", deep: "json" });
    const sql = "SELECT countIf(id IS NOT NULL), any(day), max(tags), count() FROM weather";
    expect(await rowsOf(results, sql)).toEqual([["1", "2012-01-31", ["a", "b"], String(k)]]);
  });

  test("int grows to float, float to text; date to time, time to text; lists by their elements, then to text", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(evolving);
    await write(results, "w/0", [{ time: at(0), k: 0, n: 7, d: "2012-01-31", l: [1, 2] }]);
    await write(results, "w/1", [{ time: at(1), k: 1, n: 0.5, d: "2012-02-01T10:00:00.25+02:00", l: [1.5, null] }]);
    expect(await columnsOf(results)).toMatchObject({ n: "float64", d: "timestamp", l: "array(float64)" });
    expect(await rowsOf(results, "SELECT n, d, l FROM weather ORDER BY k")).toEqual([
      [7, "2012-01-31T00:00:00.000000Z", [1, 2]],
      [0.5, "2012-02-01T08:00:00.250000Z", [1.5, null]],
    ]);
    const text = Buffer.from(
      `{"time":"${at(2)}","k":2,"n":"n/a","d":"never","l":"none"}\n{"time":"${at(3)}","k":3,"n":1.50}\n`,
    );
    await write(results, "w/2", text);
    await write(results, "w/3", [{ time: at(4), k: 4 }]);
    expect(await rowsOf(results, "SELECT n, d, l FROM weather ORDER BY k")).toEqual([
      ["7", "2012-01-31", "[1,2]"],
      ["0.5", "2012-02-01T08:00:00.25Z", "[1.5,null]"],
      ["n/a", "never", "none"],
      ["1.50", null, null],
      [null, null, null],
    ]);
  });

  test("a window that is fetched again replaces its rows also when the key itself grew to text", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(evolving);
    await write(results, "w/0", [{ time: at(0), k: 1, n: 1 }]);
    await write(results, "w/1", [{ time: at(1), k: "1b", n: 2 }]);
    await write(results, "w/2", [{ time: at(2), k: 1, n: 3 }]);
    expect(await rowsOf(results, "SELECT k, n FROM weather ORDER BY k")).toEqual([
      ["1", "3"],
      ["1b", "2"],
    ]);
  });

  test("two processes that widen one column in two ways lose nothing", async () => {
    const database = "widened";
    await using one = await openTestResults(server, { database });
    await using two = await openTestResults(server, { database });
    for (const results of [one, two]) await results.ensureDataset(evolving);
    await write(one, "w/0", [{ time: at(0), k: 0, v: 1 }]);
    await Promise.all([
      write(one, "w/1", [{ time: at(1), k: 1, v: 1.5 }]),
      write(two, "w/2", [{ time: at(2), k: 2, v: "x", w: 1 }]),
      write(one, "w/3", [{ time: at(3), k: 3, v: false, w: "y" }]),
    ]);
    // A process that still has the old columns in mind.
    await write(two, "w/4", [{ time: at(4), k: 4, v: 2 }]);
    expect(await column(one, "SELECT v FROM weather ORDER BY k")).toEqual(["1", "1.5", "x", "false", "2"]);
    expect(await column(one, "SELECT w FROM weather WHERE w IS NOT NULL ORDER BY k")).toEqual(["1", "y"]);
  });

  test("the time column stays one", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(evolving);
    await write(results, "w/0", [{ time: at(0), k: 0 }]);
    await expect(write(results, "w/1", [{ time: "soon", k: 1 }])).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining('row 1, column time: "soon" is no time'),
    });
    await expect(write(results, "w/2", [{ k: 1 }])).resolves.toMatchObject({ rows: 1 });
  });

  test("the first rows must bring the time column and the key that the pipe names", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(evolving);
    await expect(write(results, "w/0", [{ n: 1 }])).rejects.toMatchObject({ code: "invalid" });
    await write(results, "w/0", [{ time: at(0), k: 1 }]);
    expect(await columnsOf(results)).toEqual({ time: "timestamp", k: "int64" });
  });
});

test.each([
  ["freeze", { rows: 0 }],
  ["reject", { rows: 2, rejected: 1 }],
] as const)("digits that a decimal has no room for are not cut off: %s", async (schema, stored) => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ dataset: "weather", columns: { m: "decimal(20,2)" }, schema });
  const written = write(results, "w/0", Buffer.from('{"m":123456789012345678.90}\n{"m":1.239}\n{"m":"0.10"}\n'));
  if (schema === "reject") await expect(written).resolves.toMatchObject(stored);
  else
    await expect(written).rejects.toMatchObject({ message: expect.stringContaining("row 2, column m: 1.239 is not") });
  const seen = schema === "reject" ? ["0.1", "123456789012345678.9"] : [];
  expect(await column(results, "SELECT m FROM weather ORDER BY m")).toEqual(seen);
});

describe("naive times", () => {
  const columns = { time: "timestamp", note: "string" };

  test.each([
    ["small", 1],
    ["large", 6_000],
  ])("are refused in a %s chunk by row and value; texts that look like them are not", async (_, count) => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns });
    const good = { time: at(0), note: "see you at 2012-01-01T10:00:00" };
    const rows = Array.from({ length: count }, () => good);
    await write(results, "w/0", ndjson(rows));
    const wrong = write(results, "w/1", ndjson([...rows, { time: "2012-01-01 10:00:00", note: "" }]));
    await expect(wrong).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(`row ${count + 1}, column time: "2012-01-01 10:00:00" has no offset`),
    });
    expect(await column(results, "SELECT count() FROM weather")).toEqual([String(count)]);
  });

  test("are in the declared zone, summer and winter; an offset that is written holds", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset({ dataset: "weather", columns, timezone: "Europe/Berlin" });
    const times = ["2012-01-01T10:00:00", "2012-07-01 10:00:00.5", "2012-07-01T10:00:00Z"];
    await write(
      results,
      "w/0",
      times.map((time) => ({ time })),
    );
    expect(await column(results, "SELECT time FROM weather ORDER BY time")).toEqual([
      "2012-01-01T09:00:00.000000Z",
      "2012-07-01T08:00:00.500000Z",
      "2012-07-01T10:00:00.000000Z",
    ]);
  });
});

test("frozen: unknown fields go to _extra, a wrong type fails the chunk and says which", async () => {
  await using results = await openTestResults(server);
  await results.ensureDataset({ dataset: "weather", columns: { n: "int64" }, schema: "freeze" });
  await write(results, "w/0", [{ n: 1, wind: "north" }]);
  await expect(write(results, "w/1", [{ n: 1 }, { n: 1.5 }])).rejects.toMatchObject({
    message: expect.stringContaining("row 2, column n: 1.5 is not a whole number"),
  });
  expect(await columnsOf(results)).toEqual({ n: "int64" });
  expect(await rowsOf(results, "SELECT n, _extra.wind FROM weather")).toEqual([["1", "north"]]);
});

test("fields without a column get theirs with the first of them; a process that has not heard of it writes on", async () => {
  await using one = await openTestResults(server, { database: "test_extra" });
  await using other = await openTestResults(server, { database: "test_extra" });
  const spec = { dataset: "weather", columns: { n: "int64" }, schema: "freeze" } as const;
  expect(await one.ensureDataset(spec)).toMatchObject({ extra: false });
  await write(one, "w/1", [{ n: 1 }]);
  await write(other, "w/2", [{ n: 2 }]);
  expect(await rowsOf(one, "SELECT n, _extra, _extra.wind FROM weather WHERE n = 1")).toEqual([["1", {}, null]]);
  const before = await one.sumRuns("weather", [runRecord({ runId: "w/1", fence: 1n })]);
  await write(one, "w/3", [{ n: 3, wind: "north" }]);
  await write(other, "w/4", [{ n: 4 }]);
  await write(other, "w/5", [{ n: 5, wind: "south" }]);
  expect(await one.ensureDataset(spec)).toMatchObject({ extra: true });
  const winds = [null, null, "north", null, "south"].map((wind, i) => [String(i + 1), wind]);
  expect(await rowsOf(other, "SELECT n, _extra.wind FROM weather ORDER BY n")).toEqual(winds);
  expect(await one.sumRuns("weather", [runRecord({ runId: "w/1", fence: 1n })])).toEqual(before);
});

describe("reject", () => {
  const spec: DatasetSpec = { dataset: "weather", columns: { n: "int64", m: "decimal(6,2)" }, schema: "reject" };

  test("bad rows are set aside with their reason and counted, the good ones count", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(spec);
    const lines = ['{"n":1}', '{"n":"x"}', "nonsense", '{"n":2,"z":1}', '{"n":3,"m":123456789}', "[1]", '{"n":4}'];
    expect(await write(results, "w/0", Buffer.from(lines.join("\n")))).toMatchObject({ rows: 3, rejected: 4 });
    expect(await column(results)).toEqual(["1", "2", "4"]);
    const { rejects } = await results.listRejects({ dataset: "weather" }, { size: 100 });
    expect(rejects.map(({ row, raw }) => [row, raw])).toEqual([2, 3, 5, 6].map((row) => [row, lines[row - 1]]));
    expect(rejects[0]?.reason).toContain('column n: "x" is not a whole number');
    const [run] = await results.getRun("w/0");
    expect(run?.rejected).toBe(4);
    // What is fetched again, without them, has none.
    await write(results, "w/0", [{ n: 5 }]);
    expect((await results.listRejects({ dataset: "weather" }, { size: 100 })).rejects).toEqual([]);
  });

  test("one in twenty of many rows", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(spec);
    const rows = Array.from({ length: 40_000 }, (_, i) => ({ n: i % 20 === 7 ? "bad" : i }));
    expect(await write(results, "w/0", ndjson(rows))).toMatchObject({ rows: 38_000, rejected: 2_000 });
    expect(await column(results, "SELECT count() FROM weather")).toEqual(["38000"]);
    const first = await results.listRejects({ dataset: "weather" }, { size: 1_000 });
    const second = await results.listRejects({ dataset: "weather" }, { size: 1_000, token: first.nextToken });
    expect(new Set([...first.rejects, ...second.rejects].map(({ row }) => row)).size).toBe(2_000);
    expect(second.nextToken).toBeUndefined();
  });

  test("what was wrong is mended, and the rows are redriven into their run", async () => {
    await using results = await openTestResults(server);
    await results.ensureDataset(spec);
    await write(results, "w/0", [{ n: 1 }, { n: 2, m: "x" }, { n: "no number" }]);
    await results.ensureDataset({ ...spec, columns: { ...spec.columns, m: "string" }, schema: "evolve" });
    await results.ensureDataset({ ...spec, columns: { ...spec.columns, m: "string" } });
    fences += 1n;
    const told = await results.redriveRejects({ dataset: "weather", runId: "w/0", fence: fences });
    expect(told).toEqual({ stored: 1, rejected: 1 });
    expect(await rowsOf(results, "SELECT n, m FROM weather ORDER BY n")).toEqual([
      ["1", null],
      ["2", "x"],
    ]);
    const { rejects } = await results.listRejects({ dataset: "weather" }, { size: 100 });
    expect(rejects.map(({ raw }) => raw)).toEqual(['{"n":"no number"}']);
    fences += 1n;
    expect(await results.redriveRejects({ dataset: "weather", runId: "w/0", fence: fences })).toEqual({
      stored: 0,
      rejected: 1,
    });
    expect(await column(results)).toEqual(["1", "2"]);
  });
});
