/**
 * What does the results writer cost next to inserting the same bytes with the bare client? Workload: 1 M rows of about
 * 100 bytes in chunks of 50,000, one after the other; then 200,000 rows in chunks of 100 from 64 runs at once, which
 * the writer lets share INSERTs; then polls: one row and one commit each, 512 at once. Both sides on one server.
 */
import { Readable } from "node:stream";
import { createClient } from "@clickhouse/client";
import type { Results } from "../../services/results/results.ts";
import { openTestResults, runRecord, startTestClickHouse } from "../harness/clickhouse.ts";
import { type Arm, measure, type Row, report } from "./report.ts";

const LARGE = { chunks: 20, rows: 50_000, atOnce: 1 };
const SMALL = { chunks: 2_000, rows: 100, atOnce: 64 };
const POLLS = { chunks: 5_000, rows: 1, atOnce: 512 };
type Workload = typeof LARGE;

const COLUMNS = { time: "timestamp", city: "string", temp: "float64", n: "int64" };

const line = (n: number) => {
  const time = new Date(1_325_376_000_000 + n * 1_000).toISOString();
  return `{"time":"${time}","city":"Zürich-${n % 50}","temp":${(n % 400) / 7},"n":${n}}\n`;
};
const chunkBytes = (rows: number, chunk: number) =>
  Buffer.from(Array.from({ length: rows }, (_, i) => line(chunk * rows + i)).join(""));

await using server = await startTestClickHouse();
await using client = disposable(createClient({ url: server.url, clickhouse_settings: { async_insert: 0 } }));

/** Runs the chunks, `atOnce` at a time, and returns rows per second. */
async function rate({ chunks, rows, atOnce }: Workload, write: (chunk: number, bytes: Buffer) => Promise<unknown>) {
  const bodies = Array.from({ length: chunks }, (_, chunk) => chunkBytes(rows, chunk));
  let next = 0;
  const lane = async () => {
    for (let chunk = next++; chunk < chunks; chunk = next++) await write(chunk, bodies[chunk] as Buffer);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: atOnce }, lane));
  return ((chunks * rows) / (performance.now() - began)) * 1_000;
}

async function bare(workload: Workload): Promise<number> {
  await client.command({ query: "CREATE DATABASE IF NOT EXISTS bare" });
  const fields =
    "time Nullable(DateTime64(6, 'UTC')), city Nullable(String), temp Nullable(Float64), n Nullable(Int64)";
  const settings = "allow_nullable_key = 1, non_replicated_deduplication_window = 10000";
  const query = `CREATE OR REPLACE TABLE bare.t (${fields}) ENGINE = MergeTree ORDER BY time SETTINGS ${settings}`;
  await client.command({ query });
  // The client's `insert` takes objects and encodes them; `exec` is its way for bytes.
  return rate(workload, async (_, bytes) => {
    const { stream } = await client.exec({
      query: "INSERT INTO bare.t FORMAT JSONEachRow",
      values: Readable.from(bytes, { objectMode: false }),
      clickhouse_settings: { date_time_input_format: "best_effort" },
    });
    await stream.resume().toArray();
  });
}

async function written(workload: Workload, commits: boolean): Promise<number> {
  await using results: Results = await openTestResults(server);
  await results.ensureDataset({ dataset: "weather", columns: COLUMNS, datetime: "time" });
  return await rate(workload, async (chunk, rows) => {
    const run = { runId: `run-${commits ? chunk : chunk % workload.atOnce}`, fence: BigInt(chunk + 1) };
    await results.appendChunk({ dataset: "weather", ...run, attempt: 1, chunk, resource: "", rows });
    if (commits) await results.commit(runRecord(run));
  });
}

function disposable<T extends { close(): Promise<void> }>(it: T): T & AsyncDisposable {
  return Object.assign(it, { [Symbol.asyncDispose]: () => it.close() });
}

const arms: Arm[] = [
  { name: "large chunks, bare client", unit: "rows/s", run: () => bare(LARGE) },
  { name: "large chunks, appendChunk", unit: "rows/s", run: () => written(LARGE, false) },
  { name: "chunks of 100, bare client", unit: "rows/s", run: () => bare(SMALL) },
  { name: "chunks of 100, appendChunk", unit: "rows/s", run: () => written(SMALL, false) },
  { name: "polls, bare client, rows only", unit: "polls/s", run: () => bare(POLLS) },
  { name: "polls, appendChunk and commit", unit: "polls/s", run: () => written(POLLS, true) },
];
await bare({ ...LARGE, chunks: 4 });
const rows = await measure(arms);
const ratio = (name: string, i: number): Row => ({
  name: `${name}: ratio to the bare client`,
  unit: "×",
  value: (rows[i + 1]?.value ?? 0) / (rows[i]?.value ?? 1),
  aa: (rows[i]?.aa ?? 0) + (rows[i + 1]?.aa ?? 0),
});
report({
  question: "What does the results writer cost next to inserting the same bytes with the bare client?",
  rows: [...rows, ratio("large chunks", 0), ratio("chunks of 100", 2), ratio("polls", 4)],
});
