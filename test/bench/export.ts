/**
 * How fast do rows leave as files, and does memory stay bounded? Workload: ten million rows, or as many as the first
 * argument says, of five columns in a dataset with one committed run; each format is read to its end by the reader of
 * the results room, and thrown away.
 */
import { createClient } from "@clickhouse/client";
import type { Format } from "../../services/results/results.ts";
import { openTestResults, runRecord, startTestClickHouse } from "../harness/clickhouse.ts";
import { type Row, report } from "./report.ts";

const ROWS = Number(process.argv[2] ?? 10_000_000);
const FORMATS: readonly Format[] = ["arrow", "parquet", "ndjson", "csv"];
const BYTES_PER_MIB = 2 ** 20;
const LOOK_EVERY_MS = 50;

await using server = await startTestClickHouse();
await using results = await openTestResults(server);
const columns = { time: "timestamp", id: "int64", name: "string", value: "float64", flag: "bool" };
await results.ensureDataset({ dataset: "big", columns, datetime: "time" });
// One row by the front door shows which database it is; the others are made where they lie.
const run = { runId: "big/run", fence: 1n, dataset: "big" };
const client = createClient({ url: server.url });
const found = await client.query({
  query: "SELECT database FROM system.tables WHERE name = 'big__rows'",
  format: "JSONEachRow",
});
const [{ database } = { database: "" }] = await found.json<{ database: string }>();
await client.command({
  query: `INSERT INTO ${database}.big__rows (_run_id, _fence, _attempt, _chunk, time, id, name, value, flag)
    SELECT 'big/run', 1, 1, 0, toDateTime64('2024-01-01', 6, 'UTC') + toIntervalSecond(number), number,
      concat('sensor-', toString(number % 10000)), number / 4, number % 2 = 1 FROM numbers(${ROWS})`,
});
await client.close();
await results.commit(runRecord({ ...run, rows: ROWS }));

const rows: Row[] = [];
let peakBytes = 0;
const look = setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}, LOOK_EVERY_MS);
const startBytes = process.memoryUsage.rss();
for (const format of FORMATS) {
  const startedMs = performance.now();
  let bytes = 0;
  const { signal } = new AbortController();
  for await (const piece of results.export({ from: { dataset: "big" }, format, timeoutMs: 110_000, signal })) {
    bytes += piece.byteLength;
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  rows.push({ name: `${format}: rows`, unit: "rows/s", value: ROWS / seconds });
  rows.push({ name: `${format}: bytes`, unit: "MiB/s", value: bytes / BYTES_PER_MIB / seconds });
}
clearInterval(look);
rows.push({ name: "this process, resident at the start", unit: "MiB", value: startBytes / BYTES_PER_MIB });
rows.push({ name: "this process, resident at most", unit: "MiB", value: peakBytes / BYTES_PER_MIB });
report({ question: `How fast do ${ROWS.toLocaleString("en-US")} rows leave as files, and in how much memory?`, rows });
