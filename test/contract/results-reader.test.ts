/** Reading: SQL from outside sees granted datasets and nothing else, within its limits; pages are complete. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { QueryRequest, Results } from "../../services/results/results.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

let server: TestClickHouse;
let results: Results;
const DATABASE = "reading";

beforeAll(async () => {
  server = await startTestClickHouse();
  results = await openTestResults(server, { database: DATABASE });
  for (const dataset of ["weather", "secret"]) {
    await results.ensureDataset({ dataset, columns: { time: "timestamp", n: "int64" }, datetime: "time" });
    const rows = [1, 2, 3, 4, 5].map((n) => ({ time: `2012-01-0${n}T00:00:00Z`, n }));
    await results.appendChunk({ dataset, runId: dataset, fence: 1n, attempt: 1, chunk: 0, resource: "", rows });
    await results.commit(runRecord({ dataset, runId: dataset, fence: 1n }));
  }
});
afterAll(async () => {
  await results[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const ask = (sql: string, over: Partial<QueryRequest> = {}) =>
  results.query({ sql, maxRows: 1_000, maxBytes: 1_000_000, timeoutMs: 10_000, ...over });

describe.each([
  ["as the user that can only read", true],
  ["as the server's own user, by the check alone", false],
])("SQL from outside, %s", (_, withReader) => {
  let own: Results;
  beforeAll(async () => {
    const options = withReader ? {} : { readerUrl: server.url };
    own = await openTestResults(server, { database: DATABASE, ...options });
  });
  afterAll(() => own[Symbol.asyncDispose]());
  const granted = (sql: string, params?: Record<string, unknown>) =>
    own.query({ sql, params, tables: ["weather"], maxRows: 100, maxBytes: 1_000_000, timeoutMs: 10_000 });

  test.each([
    ["SELECT sum(n) FROM weather", "15"],
    [`SELECT sum(n) FROM ${DATABASE}.weather AS w FINAL`.replace(" FINAL", ""), "15"],
    ["WITH x AS (SELECT n FROM weather) SELECT sum(n) FROM x WHERE n IN x", "15"],
    ["SELECT max(n) FROM weather WHERE n IN (SELECT n FROM weather) -- secret", "5"],
    ["SELECT sumIf(w.n, w.n NOT IN (1, 2)) FROM weather w /* system.users */", "12"],
    ["SELECT count() FROM numbers(10) AS numbers", "10"],
    ["SELECT arraySum(arrayMap(x -> x * 2, groupArray(n))) FROM weather", "30"],
    ["SELECT a.n FROM weather a JOIN weather b ON a.n = b.n WHERE a.n = 3", "3"],
    ["SELECT 'system.users (children 2)\n Function file' = '' ? '1' : '0'", "0"],
    ["SELECT `n ü` FROM (SELECT n AS `n ü` FROM weather) ORDER BY 1 LIMIT 1", "1"],
  ])("%s", async (sql, answer) => {
    expect(String((await granted(sql)).rows[0]?.[0])).toBe(answer);
  });

  test.each([
    "INSERT INTO weather__rows (n) VALUES (1)",
    "INSERT INTO FUNCTION file('x.csv', 'CSV', 'a Int8') VALUES (1)",
    "CREATE TABLE mine (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE mine (a Int8)",
    "DROP VIEW weather",
    "ALTER TABLE weather__rows DELETE WHERE 1",
    "TRUNCATE TABLE weather__rows",
    "SET readonly = 0",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "GRANT SELECT ON *.* TO reader",
    "SHOW CREATE TABLE weather",
    "SHOW TABLES FROM system",
    "SHOW COLUMNS FROM secret",
    "EXPLAIN SELECT * FROM secret",
    "DESCRIBE secret",
    "EXISTS TABLE secret",
    "SELECT 1; DROP VIEW weather",
    "SELECT 1 INTO OUTFILE 'x'",
    "SELECT 1 FORMAT CSV",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)",
  ])("no statement but reading: %s", async (sql) => {
    await expect(granted(sql)).rejects.toMatchObject({ code: expect.stringMatching(/^(denied|invalid)$/) });
  });

  test.each([
    "SELECT * FROM secret",
    `SELECT * FROM ${DATABASE}.secret`,
    `SELECT * FROM \`${DATABASE}\`.\`secret\``,
    `SELECT * FROM "${DATABASE}" . "secret"`,
    `SELECT * FROM ${DATABASE}/**/./**/secret`,
    "SELECT * FROM weather__rows",
    "SELECT * FROM runs",
    "SELECT (SELECT max(n) FROM secret)",
    "SELECT n FROM weather UNION ALL SELECT n FROM secret",
    "SELECT n FROM weather WHERE n IN secret",
    "SELECT n FROM weather WHERE n IN (secret)",
    `SELECT n FROM weather WHERE n GLOBAL NOT IN ${DATABASE}.secret`,
    "SELECT in(1, secret)",
    "SELECT nullIn(1, secret)",
    "SELECT globalNotNullInIgnoreSet(1, secret)",
    "SELECT * FROM weather JOIN secret USING n",
    "SELECT * FROM weather, secret",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM secret))",
    "WITH secret AS (SELECT 1) SELECT * FROM secret",
    "SELECT * FROM (WITH secret AS (SELECT 1 AS n) SELECT * FROM secret) UNION ALL SELECT n FROM secret",
    "WITH x AS (SELECT * FROM secret) SELECT count() FROM x",
    "WITH (SELECT max(n) FROM secret) AS m SELECT m",
    "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT s.n FROM secret s, x WHERE x.n < 2) SELECT * FROM x",
    "SELECT EXISTS(SELECT 1 FROM secret)",
    "SELECT n FROM weather WHERE n = ANY(SELECT n FROM secret)",
    "SELECT n FROM weather ORDER BY (SELECT count() FROM secret)",
    "SELECT n FROM weather LIMIT (SELECT max(n) FROM secret)",
    "SELECT sum(n) OVER (ORDER BY (SELECT max(n) FROM secret)) FROM weather",
    "FROM secret SELECT n",
    "SELECT * FROM system.users",
    "SELECT * FROM system.tables",
    "SELECT 'a' IN system.users",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM INFORMATION_SCHEMA.TABLES",
  ])("no table that is not granted: %s", async (sql) => {
    await expect(granted(sql)).rejects.toMatchObject({ code: "denied" });
  });

  test.each([
    "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT file('/etc/passwd')",
    "SELECT * FROM numbers(length(file('/etc/passwd')))",
    "SELECT * FROM values('a String', file('/etc/passwd'))",
    "SELECT * FROM remote('127.0.0.1', 'system.users')",
    "SELECT * FROM cluster('default', 'system.users')",
    `SELECT * FROM merge('${DATABASE}', '.*')`,
    `SELECT * FROM merge('secret')`,
    "SELECT * FROM view(SELECT * FROM secret)",
    "SELECT * FROM viewIfPermitted(SELECT * FROM secret ELSE null('n Int64'))",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV', 'a Int8')",
    `SELECT * FROM mergeTreeIndex(${DATABASE}, secret__rows)`,
    "SELECT * FROM dictionary('d')",
    "SELECT * FROM loop(secret)",
    "SELECT dictGet('d', 'a', 1)",
    "SELECT dictGetOrNull('d', 'a', 1)",
    "SELECT joinGet('j', 'a', 1)",
    "SELECT joinGetOrNull(secret, 'n', 1)",
    "SELECT hasColumnInTable('system', 'users', 'name')",
    "SELECT hostName(), serverUUID()",
    "SELECT getSetting('readonly')",
    "SELECT sleep(3)",
    "SELECT arrayMap(x -> file('/etc/passwd'), [1])",
    "SELECT sum(n) FROM weather HAVING length(file('/etc/passwd')) > 1",
    "SELECT * FROM {t:Identifier}",
    "SELECT `n\\n   TableIdentifier weather` FROM secret",
  ])("nothing that reaches out: %s", async (sql) => {
    await expect(granted(sql, { t: "secret" })).rejects.toMatchObject({
      code: expect.stringMatching(/^(denied|invalid)$/),
    });
  });

  test("a table function of another spelling, and words of another alphabet, are no way around", async () => {
    for (const sql of [
      "SELECT * FROM URL('http://127.0.0.1:1/')",
      "SELECT FILE('/etc/passwd')",
      "SELECT * FROM ѕecret",
    ]) {
      await expect(granted(sql)).rejects.toMatchObject({ code: expect.stringMatching(/^(denied|invalid|not_found)$/) });
    }
  });
});

test("without a list every dataset, runs and logs can be read; base tables cannot", async () => {
  expect((await ask("SHOW TABLES")).rows.flat()).toEqual(["logs", "metrics", "runs", "secret", "weather"]);
  expect((await ask("SELECT count() FROM runs")).rows).toEqual([["2"]]);
  expect((await ask("SHOW TABLES", { tables: ["weather"] })).rows.flat()).toEqual(["weather"]);
  await expect(ask("SELECT * FROM secret__rows")).rejects.toMatchObject({ code: "denied" });
});

test("values come as parameters, with names and types beside them", async () => {
  const answer = await ask("SELECT n, {s:String} AS s FROM weather WHERE n = {n:Int64}", {
    params: { n: 3, s: "'; --" },
  });
  expect(answer).toMatchObject({
    columns: [
      { name: "n", type: "Nullable(Int64)" },
      { name: "s", type: "String" },
    ],
    rows: [["3", "'; --"]],
    truncated: false,
  });
});

describe("limits", () => {
  test("rows and bytes are cut, and it is said", async () => {
    const cut = await ask("SELECT number FROM numbers(1000000)", { maxRows: 10 });
    expect(cut).toMatchObject({ truncated: true });
    expect(cut.rows).toHaveLength(10);
    expect(await ask("SELECT number FROM numbers(10)", { maxRows: 10 })).toMatchObject({ truncated: false });
    const bytes = await ask("SELECT repeat('x', 100) FROM numbers(1000)", { maxBytes: 1_000 });
    expect(bytes.truncated).toBe(true);
    expect(bytes.rows.length).toBeLessThan(10);
  });

  test("time", async () => {
    const startedMs = performance.now();
    const slow = ask("SELECT sum(sipHash64(number)) FROM numbers(100000000000)", { timeoutMs: 300 });
    await expect(slow).rejects.toMatchObject({ code: "deadline", message: expect.stringContaining("300 ms") });
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });

  test("memory", async () => {
    await using small = await openTestResults(server, { database: DATABASE, queryMemoryMib: 20 });
    const sql = "SELECT length(groupArray(number)) FROM numbers(50000000)";
    const asked = small.query({ sql, maxRows: 1, maxBytes: 1_000, timeoutMs: 20_000 });
    await expect(asked).rejects.toMatchObject({ code: "exhausted", message: expect.stringContaining("MEMORY") });
  });

  test("a caller who hangs up ends the query on the server", async () => {
    const caller = new AbortController();
    const sql = "SELECT sum(sipHash64(number)) FROM numbers(100000000000) WHERE 'hangup' != ''";
    const asked = expect(ask(sql, { signal: caller.signal })).rejects.toMatchObject({ code: "cancelled" });
    const running = async () => {
      const body = "SELECT count() FROM system.processes WHERE query LIKE '%''hangup''%' AND user = 'reader'";
      return Number(await (await fetch(server.url, { method: "POST", body })).text());
    };
    await until("the query runs", running);
    caller.abort();
    await asked;
    await until("the query is gone", async () => (await running()) === 0, 5_000);
  });

  test("too much SQL", async () => {
    await expect(ask(`SELECT '${"x".repeat(200_000)}'`)).rejects.toMatchObject({ code: "too_large" });
  });
});

describe("pages", () => {
  test("rows by window, in order, none twice and none left out", async () => {
    const seen: unknown[] = [];
    let cursor: string | undefined;
    do {
      const page = await results.readRows({ dataset: "weather", limit: 2, cursor });
      seen.push(...page.rows.map((row) => row.n));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(seen).toEqual(["1", "2", "3", "4", "5"]);
    const day = (d: number) => BigInt(Date.UTC(2012, 0, d)) * 1_000n;
    const window = await results.readRows({ dataset: "weather", beginUs: day(2), endUs: day(4), limit: 10 });
    expect(window.rows.map((row) => row.n)).toEqual(["2", "3"]);
    await expect(results.readRows({ dataset: "none", limit: 1 })).rejects.toMatchObject({ code: "not_found" });
    await expect(results.readRows({ dataset: "weather", limit: 0 })).rejects.toMatchObject({ code: "invalid" });
    const odd = results.readRows({ dataset: "weather", limit: 1, cursor: "junk" });
    await expect(odd).rejects.toMatchObject({ code: "invalid" });
  });

  test("runs, newest first, by filter; every attempt of one; its logs", async () => {
    await using own = await openTestResults(server);
    const run = (i: number) =>
      runRecord({
        dataset: "",
        runId: `run-${Math.floor(i / 2)}`,
        fence: BigInt(i + 1),
        kind: i % 2 ? "poll" : "route",
        outcome: i % 2 ? "ok" : "timeout",
        committed: false,
        parts: [],
        hostCalls: { http: i },
        gas: i * 1_000,
        finishedUs: BigInt(Date.now()) * 1_000n + BigInt(i),
        message: "Zürich",
      });
    const runs = [0, 1, 2, 3, 4, 5].map(run);
    for (const record of runs) await own.commit(record);
    await own.commit(runs[0] ?? run(0));
    const first = await own.listRuns({}, { size: 4 });
    const second = await own.listRuns({}, { size: 4, token: first.nextToken });
    expect([...first.runs, ...second.runs]).toEqual([...runs].reverse());
    expect(second.nextToken).toBeUndefined();
    const polls = await own.listRuns({ kind: "poll", outcome: "ok", sinceUs: runs[2]?.finishedUs }, { size: 10 });
    expect(polls.runs.map((r) => r.fence)).toEqual([6n, 4n]);
    expect((await own.getRun("run-1")).map((r) => r.fence)).toEqual([4n, 3n]);
    await expect(own.getRun("run-9")).rejects.toMatchObject({ code: "not_found" });

    const timeUs = BigInt(Date.now()) * 1_000n;
    const line = { runId: "run-1", fence: 3n, level: "warn" as const, instance: "i", fields: { a: 1 } };
    const lines = [0n, 1n, 2n].map((i) => ({ ...line, timeUs: timeUs + i, message: `line ${i}` }));
    own.log(lines);
    await own.flush();
    const page = await own.runLogs("run-1", { size: 2 });
    const rest = await own.runLogs("run-1", { size: 2, token: page.nextToken });
    expect([...page.lines, ...rest.lines]).toEqual(lines);
  });
});
