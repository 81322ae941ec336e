/**
 * A server that is killed between writing a token down and putting the part in its place: it knows the token of rows that it
 * does not have. That moment is made by taking the part away while the server is dead.
 */
import { rm } from "node:fs/promises";
import { createClient } from "@clickhouse/client";
import { expect, test } from "vitest";
import type { DatasetSpec, Results } from "../../services/results/results.ts";
import { chunkOf, ndjson, numbers, plain, RUN, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";

/** Enough for an INSERT of its own. */
const MANY = 25_000;
const database = "lost";
const COMMIT = runRecord({ ...RUN, parts: [{ fence: RUN.fence, chunks: 3 }] });

async function partsOf(server: TestClickHouse, table: string): Promise<string[]> {
  const client = createClient({ url: server.url });
  const query = `SELECT path FROM system.parts WHERE table = '${table}' AND active AND rows > 0 ORDER BY partition`;
  const found = await (await client.query({ query, format: "JSONEachRow" })).json<{ path: string }>();
  await client.close();
  return found.map(({ path }) => path);
}

/** Two processes' worth of writers on one database: the second knows nothing of what the first has stored. */
async function openTwo(server: TestClickHouse, spec: DatasetSpec) {
  const [first, second] = [await openTestResults(server, { database }), await openTestResults(server, { database })];
  for (const results of [first, second]) await results.ensureDataset(spec);
  return [first, second] as const;
}

async function killAndLose(server: TestClickHouse, parts: readonly string[]): Promise<void> {
  await server.kill9();
  for (const part of parts) await rm(part, { recursive: true });
}

/** Begins while the server is dead, as the first answer was lost with it. */
async function duringRestart<T>(server: TestClickHouse, work: Promise<T>): Promise<T> {
  work.catch(() => {});
  await server.restart();
  return await work;
}

const counted = (results: Results) => rowsOf(results, "SELECT count(), uniqExact(n) FROM weather");

test("rows of an INSERT of its own, of one shared with others, and of CSV are sent again; so is the commit", async () => {
  await using server = await startTestClickHouse();
  const [first, second] = await openTwo(server, plain);
  await using _first = first;
  await using _second = second;
  const chunks = [
    chunkOf({ chunk: 0, rows: ndjson(numbers(0, MANY)) }),
    chunkOf({ chunk: 1, rows: ndjson(numbers(MANY, 10)) }),
    chunkOf({ chunk: 2, format: "csv", rows: Buffer.from(`n\n${MANY + 10}\n${MANY + 11}\n`) }),
  ];
  for (const chunk of chunks) await first.appendChunk(chunk);
  await first.commit(COMMIT);
  await killAndLose(server, [...(await partsOf(server, "weather__rows")), ...(await partsOf(server, "runs"))]);
  await duringRestart(server, Promise.all(chunks.map((chunk) => second.appendChunk(chunk))));
  await second.commit(COMMIT);
  expect(await counted(second)).toEqual([["0", "0"]]);
  await server.kill9();
  await duringRestart(server, second.commit({ ...COMMIT, message: "again" }));
  expect(await counted(second)).toEqual([[String(MANY + 12), String(MANY + 12)]]);
});

test("rows that are there are not sent again, however often the answer is lost", async () => {
  await using server = await startTestClickHouse();
  const [first, second] = await openTwo(server, plain);
  await using _first = first;
  await using _second = second;
  const chunk = chunkOf({ rows: ndjson(numbers(0, MANY)) });
  await first.appendChunk(chunk);
  await killAndLose(server, []);
  expect(await duringRestart(server, second.appendChunk(chunk))).toMatchObject({ rows: MANY });
  await second.commit(COMMIT);
  await server.kill9();
  await duringRestart(server, second.commit({ ...COMMIT, message: "again" }));
  expect(await counted(second)).toEqual([[String(MANY), String(MANY)]]);
  expect(await rowsOf(second, "SELECT count() FROM runs FINAL")).toEqual([["1"]]);
});

test.each(["ndjson", "csv"] as const)(
  "%s of which only some parts are there: the next attempt replaces them",
  async (format) => {
    await using server = await startTestClickHouse();
    const [first, second] = await openTwo(server, { ...plain, datetime: "time", storage: { partition: "day" } });
    await using _first = first;
    await using _second = second;
    const rows = numbers(0, 10).map(({ n }) => ({ n, time: `2024-01-0${1 + (n % 2)}T00:00:00Z` }));
    const csv = Buffer.from(`n,time\n${rows.map(({ n, time }) => `${n},${time}\n`).join("")}`);
    const chunk = chunkOf({ format, rows: format === "csv" ? csv : ndjson(rows) });
    await first.appendChunk(chunk);
    const [some = ""] = await partsOf(server, "weather__rows");
    await killAndLose(server, [some]);
    const again = duringRestart(server, second.appendChunk(chunk));
    await expect(again).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("a part of the"),
    });
    const next = { runId: RUN.runId, fence: RUN.fence + 1n };
    await second.appendChunk({ ...chunk, ...next });
    await second.commit(runRecord({ ...next, parts: [{ fence: next.fence, chunks: 1 }] }));
    expect(await counted(second)).toEqual([["10", "10"]]);
  },
);
