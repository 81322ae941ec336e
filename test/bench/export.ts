/**
 * How fast do rows leave as files, and does memory stay bounded? Workload: ten million rows, or as many as the first
 * argument says, of five columns in a dataset with one committed run. Each format is read to its end from the gateway
 * over HTTP by another process, which throws it away: first a tenth of the rows, then all. The gateway is this process.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createClient } from "@clickhouse/client";
import type { Format } from "../../services/results/results.ts";
import { openTestResults, runRecord, startTestClickHouse } from "../harness/clickhouse.ts";
import { startWorld } from "../harness/gateway.ts";
import { type Row, report } from "./report.ts";

const ROWS = Number(process.argv[2] ?? 10_000_000);
const FORMATS: readonly Format[] = ["arrow", "parquet", "ndjson", "csv"];
const BYTES_PER_MIB = 2 ** 20;
const LOOK_EVERY_MS = 50;
const READ_MS = 600_000;

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

await using world = await startWorld(results);
/** Another process: what it holds is not the gateway's. Prints how many bytes came. */
const READ = `
  let bytes = 0;
  const answer = await fetch(process.argv[1]);
  if (!answer.ok) throw new Error(await answer.text());
  for await (const piece of answer.body) bytes += piece.byteLength;
  process.stdout.write(String(bytes));`;

async function read(format: Format, count: number): Promise<number> {
  const url = `${world.url}/v1/datasets/big/data?format=${format}&limit=${count}`;
  const flags = ["--input-type=module", "-e", READ, url];
  const reader = spawn(process.execPath, flags, { stdio: ["ignore", "pipe", "inherit"], timeout: READ_MS });
  let said = "";
  reader.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const [code] = await once(reader, "close");
  if (code !== 0 || !Number(said)) throw new Error(`${format}: the reader ended with ${code}`);
  return Number(said);
}

const rows: Row[] = [];
const mib = (bytes: number) => bytes / BYTES_PER_MIB;
const startBytes = process.memoryUsage.rss();
for (const format of FORMATS) {
  const peaks: number[] = [];
  for (const count of [ROWS / 10, ROWS]) {
    let peakBytes = 0;
    const look = setInterval(() => {
      peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
    }, LOOK_EVERY_MS);
    const startedMs = performance.now();
    const bytes = await read(format, count);
    clearInterval(look);
    peaks.push(mib(peakBytes));
    if (count < ROWS) continue;
    const seconds = (performance.now() - startedMs) / 1_000;
    rows.push({ name: `${format}: rows`, unit: "rows/s", value: ROWS / seconds });
    rows.push({ name: `${format}: bytes`, unit: "MiB/s", value: mib(bytes) / seconds });
  }
  const [few = 0, all = 0] = peaks;
  rows.push({ name: `${format}: resident at most, a tenth of the rows`, unit: "MiB", value: few });
  rows.push({ name: `${format}: resident at most, all`, unit: "MiB", value: all });
}
rows.push({ name: "resident at the start", unit: "MiB", value: mib(startBytes) });
report({ question: `How fast do ${ROWS.toLocaleString("en-US")} rows leave as files, and in how much memory?`, rows });
