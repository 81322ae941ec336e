/**
 * How fast is a fetch, guest to ClickHouse, next to inserting the same bytes with the bare client? Workload: four
 * windows of 250,000 rows of about 130 bytes each, at once. The fetch is the whole chain: job from the queue (NATS) →
 * executor in a process of its own → guest in AssemblyScript that builds each row → `emit` → writer → commit → window
 * done. The bare client inserts bytes that lie ready, in chunks of 50,000 rows, four at a time, into a table of the same
 * columns.
 *
 * Why it is slower than the bare client: the guest makes each row (formats a time, escapes a text) on one lane, which
 * the bare arm does not count. The row "guest CPU" says how much that is: 5.6 of 6.4 µs a row when this was written.
 * The rest is the writer, which test/bench/insert.ts measures alone, on cores shared with ClickHouse's own parsing.
 */
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { createClient } from "@clickhouse/client";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { openBus } from "../../services/bus/open.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { startCli } from "../harness/cli.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { BEGIN, END, type Executing, openExecuting } from "../harness/executing.ts";
import { startNats } from "../harness/nats.ts";
import { until } from "../harness/until.ts";
import { measure, report } from "./report.ts";

const WINDOWS = 4;
const ROWS = 250_000;
/** The guest flushes and checkpoints after each. */
const BATCHES = 5;
const CHUNK_ROWS = 50_000;
const FETCH_TIMEOUT_MS = 120_000;
const KIB_PER_MIB = 1_024;

await using nats = await startNats();
await using clickhouse = await startTestClickHouse();
await using bus = await openBus({ natsUrl: nats.url, name: "bench", log: silentLog });
await using results = await openResults({ url: clickhouse.url, readerUrl: clickhouse.readerUrl, log: silentLog });
await using at = await openExecuting(bus, results);
await using executor = startCli(["executor"], {
  ...{ NATS_URL: nats.url, CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_READER_URL: clickhouse.readerUrl },
  REGISTRY_ADDRESS: at.registry.address,
});
await executor.saying("ready");
const client = createClient({ url: clickhouse.url, clickhouse_settings: { async_insert: 0 } });

let instances = 0;
const guestMicrosOfRows: number[] = [];

/** Fetches `rows` rows in each of the windows and returns rows per second, from the first job to the last window. */
async function fetched(rows: number): Promise<number> {
  const pipes: Awaited<ReturnType<Executing["pipe"]>>[] = [];
  for (let i = 0; i < WINDOWS; i += 1) {
    instances += 1;
    const config = { mode: "emit", rows, batches: BATCHES };
    pipes.push(await at.pipe(await at.instance(`bench-${instances}`, config, { plugin: "plugins/larder" })));
  }
  const beganMs = performance.now();
  await Promise.all(pipes.map((pipe) => at.fetch(pipe)));
  await Promise.all(
    pipes.map((pipe) =>
      until(
        `${pipe.name} is fetched`,
        async () => {
          const window = await at.window(pipe);
          if (window?.state === WindowState.FAILED) throw new Error(window.message);
          return window?.state === WindowState.DONE && Number(window.rows) === rows;
        },
        FETCH_TIMEOUT_MS,
      ),
    ),
  );
  const elapsedMs = performance.now() - beganMs;
  const runs = await Promise.all(pipes.map(async (pipe) => (await at.window(pipe))?.run ?? ""));
  const ended = await Promise.all(runs.map((run) => at.runs(run.replace(/^runs\//, ""), (all) => all.length > 0)));
  guestMicrosOfRows.push((ended.flat().reduce((sum, { cpuMs }) => sum + cpuMs, 0) * 1_000) / (WINDOWS * rows));
  return (WINDOWS * rows * 1_000) / elapsedMs;
}

/** The rows that the guest makes, as it writes them. */
function chunkOf(first: number): Buffer {
  const beginMs = Date.parse(BEGIN);
  const stepUs = Math.floor(((Date.parse(END) - beginMs) * 1_000) / ROWS);
  const line = (i: number) => {
    const us = i * stepUs;
    const time = new Date(beginMs + Math.floor(us / 1_000))
      .toISOString()
      .replace("Z", `${String(us % 1_000).padStart(3, "0")}Z`);
    return `${JSON.stringify({ time, id: i, name: `rød grød ☃ 𝄞 ${i}`, value: i / 4, flag: (i & 1) === 1 })}\n`;
  };
  return Buffer.from(Array.from({ length: CHUNK_ROWS }, (_, i) => line(first + i)).join(""));
}

async function bare(): Promise<number> {
  await client.command({ query: "CREATE DATABASE IF NOT EXISTS bare" });
  const fields =
    "time Nullable(DateTime64(6, 'UTC')), id Nullable(Int64), name Nullable(String), " +
    "value Nullable(Float64), flag Nullable(Bool)";
  const query = `CREATE OR REPLACE TABLE bare.t (${fields}) ENGINE = MergeTree ORDER BY tuple()`;
  await client.command({ query });
  const window = Array.from({ length: ROWS / CHUNK_ROWS }, (_, i) => chunkOf(i * CHUNK_ROWS));
  const beganMs = performance.now();
  const lane = async () => {
    for (const bytes of window) {
      const { stream } = await client.exec({
        query: "INSERT INTO bare.t FORMAT JSONEachRow",
        values: Readable.from(bytes, { objectMode: false }),
        clickhouse_settings: { date_time_input_format: "best_effort" },
      });
      await stream.resume().toArray();
    }
  };
  await Promise.all(Array.from({ length: WINDOWS }, lane));
  return (WINDOWS * ROWS * 1_000) / (performance.now() - beganMs);
}

await fetched(1_000);
const [direct, chain] = await measure([
  { name: "bare client, bytes ready", unit: "rows/s", run: bare },
  { name: "fetch, guest to committed window", unit: "rows/s", run: () => fetched(ROWS) },
]);
if (!direct || !chain) throw new Error("two arms, two rows");
const status = await readFile(`/proc/${executor.pid}/status`, "utf8");
const peakMib = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / KIB_PER_MIB;
await client.close();
report({
  question: "How fast is a fetch, guest to ClickHouse, next to inserting the same bytes with the bare client?",
  rows: [
    direct,
    chain,
    { name: "fetch / bare", unit: "×", value: chain.value / direct.value, aa: (direct.aa ?? 0) + (chain.aa ?? 0) },
    { name: "guest CPU, of each row", unit: "µs", value: guestMicrosOfRows.at(-1) ?? 0 },
    { name: "executor, peak resident", unit: "MiB", value: peakMib },
  ],
});
executor.kill("SIGTERM");
await executor.ended;
