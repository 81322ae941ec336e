/**
 * What does the format of rows cost? Workload: 500,000 rows of four columns, about 80 bytes each as NDJSON, in chunks of
 * 50,000, one after the other, into a dataset with declared columns. The bytes are made by ClickHouse beforehand. Last,
 * the same rows by a SELECT inside the server, in one chunk.
 */
import type { Results, RowFormat } from "../../services/results/results.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { type Arm, measure, report } from "./report.ts";

const CHUNKS = 10;
const ROWS = 50_000;
const COLUMNS = { time: "timestamp", city: "string", temp: "float64", n: "int64" };
const NAMES: Readonly<Record<RowFormat, string>> = { ndjson: "JSONEachRow", csv: "CSVWithNames", arrow: "ArrowStream" };
const select = (numbers: string) =>
  `SELECT toDateTime64('2012-01-01', 6, 'UTC') + number AS time, concat('Zürich-', toString(number % 50)) AS city,
    (number % 400) / 7 AS temp, toInt64(number) AS n FROM ${numbers}`;

await using server = await startTestClickHouse();

async function made(format: RowFormat, chunk: number): Promise<Buffer> {
  const settings = `output_format_arrow_compression_method = 'none', output_format_json_quote_64bit_integers = 0,
    date_time_output_format = 'iso'`;
  const numbers = `numbers(${chunk * ROWS}, ${ROWS})`;
  const body = `${select(numbers)} SETTINGS ${settings} FORMAT ${NAMES[format]}`;
  const answer = await fetch(server.url, { method: "POST", body });
  if (!answer.ok) throw new Error(await answer.text());
  return Buffer.from(await answer.arrayBuffer());
}

async function rate(work: (results: Results) => Promise<void>): Promise<number> {
  await using results = await openTestResults(server);
  await results.ensureDataset({ dataset: "weather", columns: COLUMNS, datetime: "time" });
  const began = performance.now();
  await work(results);
  return ((CHUNKS * ROWS) / (performance.now() - began)) * 1_000;
}

const arms: Arm[] = [];
for (const format of ["ndjson", "csv", "arrow"] as const) {
  const bodies: Buffer[] = [];
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) bodies.push(await made(format, chunk));
  const run = () =>
    rate(async (results) => {
      for (const [chunk, rows] of bodies.entries()) {
        const place = { dataset: "weather", runId: "bench", fence: 1n, attempt: 1, chunk, resource: "" };
        const { rows: stored } = await results.appendChunk({ ...place, format, rows });
        if (stored !== ROWS) throw new Error(`${stored} rows of ${format} were stored`);
      }
    });
  arms.push({ name: `${format}, ${Math.round((bodies[0]?.length ?? 0) / ROWS)} bytes a row`, unit: "rows/s", run });
}
const selected = () =>
  rate(async (results) => {
    const place = { dataset: "weather", runId: "bench", fence: 1n, attempt: 1, chunk: 0 };
    const sql = `${select(`numbers(${CHUNKS * ROWS})`)} WHERE {begin} < {end}`;
    const limits = { maxRows: CHUNKS * ROWS, timeoutMs: 60_000, signal: AbortSignal.timeout(60_000) };
    await results.selectChunk({ ...place, ...limits, sql, beginUs: 0n, endUs: 1n, tables: [] });
  });
arms.push({ name: "SELECT", unit: "rows/s", run: selected });

report({ question: "500,000 rows in chunks of 50,000, by format", rows: await measure(arms) });
