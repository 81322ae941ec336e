/** Reading rows: chosen, filtered, in order, page by page without gaps, and as files. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Export, Format, Results, RowObject, RowSelection } from "../../services/results/results.ts";
import { chunkOf, RUN } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";

let server: TestClickHouse;
let results: Results;
const COUNT = 997;
const minute = (i: number) => new Date(Date.UTC(2012, 0, 1, 0, i)).toISOString();
/** Every seventh city is missing, three rows share a minute, and some rows are there twice. */
const rows: RowObject[] = Array.from({ length: COUNT }, (_, i) => ({
  time: minute(Math.floor(i / 3)),
  city: i % 7 === 0 ? null : ["Bern", "Basel", "Zürich"][i % 3],
  temp: i % 11 === 0 ? null : (i % 50) / 2,
  n: i % 100 === 5 ? 5 : i,
  j: { i },
}));

beforeAll(async () => {
  server = await startTestClickHouse();
  results = await openTestResults(server);
  await results.ensureDataset({
    dataset: "weather",
    columns: { time: "timestamp", city: "string", temp: "float64", n: "int64", j: "json" },
    datetime: "time",
  });
  await results.appendChunk(chunkOf({ fence: 1n, rows }));
  await results.commit(runRecord({ runId: chunkOf({}).runId, fence: 1n }));
});
afterAll(async () => {
  await results[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function readAll(over: Partial<RowSelection>, size: number): Promise<RowObject[]> {
  const all: RowObject[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await results.readRows({ dataset: "weather", ...over, limit: size, cursor });
    all.push(...page.rows);
    cursor = page.nextCursor;
    if (cursor === undefined) return all;
    expect(page.rows).toHaveLength(size);
  }
}
const sorted = (values: readonly unknown[]) => values.map((value) => JSON.stringify(value)).sort();

describe("pages", () => {
  test.each(["", "temp desc, city", "city asc", "n desc"])("in the order %o give every row once", async (orderBy) => {
    for (const size of [1_000, 100, 7]) {
      const all = await readAll({ orderBy, select: ["n", "city", "temp", "j"] }, size);
      expect(sorted(all.map((row) => (row.j as { i: unknown }).i))).toEqual(sorted(rows.map((_, i) => String(i))));
    }
    const [first = ""] = orderBy.split(/[ ,]/);
    if (!first) return;
    const values = (await readAll({ orderBy }, 100)).map((row) => row[first]);
    const filled = values.filter((value) => value !== null);
    expect(values.slice(filled.length).every((value) => value === null)).toBe(true);
    const up = filled.toSorted(
      (a, b) => Number(a) - Number(b) || (String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0),
    );
    expect(filled).toEqual(orderBy.includes("desc") ? up.toReversed() : up);
  });

  test("many rows that are all equal are paged by count", async () => {
    await using own = await openTestResults(server);
    await own.ensureDataset({ dataset: "weather", columns: { n: "int64" } });
    await own.appendChunk(chunkOf({ rows: Array.from({ length: 25 }, () => ({ n: 1 })) }));
    await own.commit(runRecord(RUN));
    let [count, cursor]: [number, string | undefined] = [0, undefined];
    do {
      const page = await own.readRows({ dataset: "weather", limit: 4, cursor });
      count += page.rows.length;
      cursor = page.nextCursor;
    } while (cursor);
    expect(count).toBe(25);
  });

  test("a token of another order is refused", async () => {
    const { nextCursor } = await results.readRows({ dataset: "weather", limit: 1, orderBy: "n" });
    const wrong = results.readRows({ dataset: "weather", limit: 1, orderBy: "temp", cursor: nextCursor });
    await expect(wrong).rejects.toMatchObject({ code: "invalid" });
  });
});

test.each<[string[], (row: RowObject) => boolean]>([
  [["city=Bern"], (row) => row.city === "Bern"],
  [['city=["Bern","Zürich",null]'], (row) => row.city !== "Basel"],
  [["city!=Bern"], (row) => row.city !== "Bern"],
  [["city=null"], (row) => row.city === null],
  [["temp>=20", "temp < 22"], (row) => row.temp !== null && Number(row.temp) >= 20 && Number(row.temp) < 22],
  [["n=5"], (row) => row.n === 5],
  [["time>=2012-01-01T01:00:00+01:00", "time<2012-01-01T00:02:00Z"], (row) => String(row.time) < minute(2)],
  [["city=Bern' OR 1=1 --"], () => false],
])("where %j", async (where, fits) => {
  const read = await readAll({ where, select: ["j"] }, 1_000);
  const wanted = rows.flatMap((row, i) => (fits(row) ? [{ j: { i: String(i) } }] : []));
  expect(sorted(read)).toEqual(sorted(wanted));
});

test("every mistake of a selection at once", async () => {
  const wrong = { select: ["wind"], where: ["nonsense", "rain=1", "j=1", "n>[1,2]", "time>noon"], orderBy: "j,m" };
  await expect(results.readRows({ dataset: "weather", limit: 1, ...wrong })).rejects.toMatchObject({
    code: "invalid",
    mistakes: ["select[0]", "order_by", "order_by", "where[0]", "where[1]", "where[2]", "where[3]", "where[4]"].map(
      (field) => expect.objectContaining({ field }),
    ),
  });
});

describe("files", () => {
  const read = async (over: Partial<Export> & Pick<Export, "format">) => {
    const pieces: Uint8Array[] = [];
    const from = { dataset: "weather", orderBy: "n,time" };
    const signal = AbortSignal.timeout(30_000);
    for await (const piece of results.export({ from, timeoutMs: 30_000, signal, ...over })) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  /** ClickHouse itself reads the file back. */
  const countIn = async (bytes: Buffer, format: string) => {
    await using store = await openTestResults(server, { database: "files" });
    const answer = await fetch(
      `${server.url}/?query=${encodeURIComponent("CREATE OR REPLACE TABLE files.f (time DateTime64(6), city Nullable(String), temp Nullable(Float64), n Int64, j String) ENGINE = MergeTree ORDER BY n")}`,
      { method: "POST" },
    );
    expect(await answer.text()).toBe("");
    const put = await fetch(
      `${server.url}/?date_time_input_format=best_effort&query=${encodeURIComponent(`INSERT INTO files.f FORMAT ${format}`)}`,
      { method: "POST", body: new Uint8Array(bytes) },
    );
    expect(await put.text()).toBe("");
    expect((await store.listDatasets()).length).toBeGreaterThan(0);
    const told = await fetch(
      `${server.url}/?query=${encodeURIComponent("SELECT count(), sum(n), countIf(city IS NULL), min(time) FROM files.f FORMAT JSONCompact")}`,
    );
    return ((await told.json()) as { data: unknown[][] }).data[0];
  };

  test.each<[Format, string]>([
    ["csv", "CSVWithNames"],
    ["arrow", "ArrowStream"],
    ["parquet", "Parquet"],
  ])("%s holds every row", async (format, name) => {
    const sum = rows.reduce((total, row) => total + Number(row.n), 0);
    const nulls = rows.filter((row) => row.city === null).length;
    expect((await countIn(await read({ format }), name))?.map(String)).toEqual([
      String(COUNT),
      String(sum),
      String(nulls),
      "2012-01-01 00:00:00.000000",
    ]);
  });

  test("json is one list, ndjson a line a row", async () => {
    const list = JSON.parse((await read({ format: "json" })).toString()) as RowObject[];
    expect(list).toHaveLength(COUNT);
    const lines = (await read({ format: "ndjson" })).toString().trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(list);
    expect(
      JSON.parse((await read({ format: "json", from: { dataset: "weather", where: ["n<0"] } })).toString()),
    ).toEqual([]);
  });

  test("an error in the middle is an error, and no part of the file", async () => {
    const from = { sql: "SELECT toUInt8(number) / intDiv(10, number < 3000000 ? 5 : 0) AS x FROM numbers(4000000)" };
    let text = "";
    const reading = (async () => {
      for await (const piece of results.export({
        from,
        format: "csv",
        timeoutMs: 30_000,
        signal: AbortSignal.timeout(30_000),
      }))
        text += Buffer.from(piece).toString();
    })();
    await expect(reading).rejects.toMatchObject({ message: expect.stringMatching(/zero/i) });
    expect(text).not.toContain("exception");
  });

  test("SQL from outside is guarded here, too, and a reader who leaves stops it", async () => {
    const denied = read({ format: "csv", from: { sql: "SELECT * FROM system.users" } });
    await expect(denied).rejects.toMatchObject({ code: "denied" });
    const gone = new AbortController();
    const endless = results.export({
      from: { sql: "SELECT number FROM numbers(100000000000)" },
      format: "csv",
      timeoutMs: 30_000,
      signal: gone.signal,
    });
    const reading = (async () => {
      for await (const _ of endless) gone.abort();
    })();
    await expect(reading).rejects.toMatchObject({ code: "cancelled" });
  });
});
