/**
 * How fast is a fetch, guest to ClickHouse, next to inserting the same bytes with the bare client? Workload: ten million
 * rows of 100 bytes, or as many as the first argument says, in four windows at once. The fetch is the whole chain: job
 * from the queue (NATS) → executor in a process of its own → guest in C that writes each row → `emit` → writer → commit
 * → window done. The bare client inserts bytes that lie ready, in chunks of 50,000 rows, four at a time, into a table
 * of the same columns. `test/bench/languages.ts` says what making rows costs in other languages.
 */
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { createClient } from "@clickhouse/client";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { openBus } from "../../services/bus/open.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { startCli } from "../harness/cli.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { startNats } from "../harness/nats.ts";
import { publishTorrents, torrentRows } from "../harness/torrent.ts";
import { until } from "../harness/until.ts";
import { type Row, report } from "./report.ts";

const ROWS = Number(process.argv[2] ?? 10_000_000);
const WINDOWS = 4;
const CHUNK_ROWS = 50_000;
const FETCH_TIMEOUT_MS = 120_000;
const KIB_PER_MIB = 1_024;

await using nats = await startNats();
await using clickhouse = await startTestClickHouse();
await using bus = await openBus({ natsUrl: nats.url, name: "bench", log: silentLog });
await using results = await openResults({ url: clickhouse.url, readerUrl: clickhouse.readerUrl, log: silentLog });
await using at = await openExecuting(bus, results);
await publishTorrents(at.registry);
await using executor = startCli(["executor"], {
  ...{ NATS_URL: nats.url, CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_READER_URL: clickhouse.readerUrl },
  REGISTRY_ADDRESS: at.registry.address,
});
await executor.saying("ready");
const client = createClient({ url: clickhouse.url, clickhouse_settings: { async_insert: 0 } });

let instances = 0;
const cpuUs = new Map<string, number>();

/** Fetches the rows in as many windows and returns rows per second, from the first job to the last window. */
async function fetched(plugin: string, all: number): Promise<number> {
  const rows = all / WINDOWS;
  const pipes: Pipe[] = [];
  for (let i = 0; i < WINDOWS; i += 1) {
    instances += 1;
    pipes.push(await at.pipe(await at.instance(`bench-${instances}`, { rows }, { plugin: `plugins/${plugin}` })));
  }
  const beganMs = performance.now();
  await Promise.all(pipes.map((pipe) => at.fetch(pipe)));
  const done = async (pipe: Pipe) => {
    const window = await at.window(pipe);
    if (window?.state === WindowState.FAILED) throw new Error(window.message);
    return window?.state === WindowState.DONE && Number(window.rows) === rows && window.run;
  };
  const runs = await Promise.all(
    pipes.map((pipe) => until(`${pipe.name} is fetched`, () => done(pipe), FETCH_TIMEOUT_MS)),
  );
  const elapsedMs = performance.now() - beganMs;
  const ended = await Promise.all(runs.map((run) => at.runs(run.replace(/^runs\//, ""), (known) => known.length > 0)));
  cpuUs.set(plugin, (ended.flat().reduce((sum, { cpuMs }) => sum + cpuMs, 0) * 1_000) / all);
  // So that one arm's rows are not merged while another is measured.
  for (const pipe of pipes) await results.dropDataset(pipe.dataset.replace(/^datasets\//, ""));
  return (all * 1_000) / elapsedMs;
}

async function bare(rows: number): Promise<number> {
  await client.command({ query: "CREATE DATABASE IF NOT EXISTS bare" });
  const fields =
    "time Nullable(DateTime64(6, 'UTC')), id Nullable(Int64), name Nullable(String), " +
    "value Nullable(Float64), flag Nullable(Bool)";
  const query = `CREATE OR REPLACE TABLE bare.t (${fields}) ENGINE = MergeTree ORDER BY tuple()`;
  await client.command({ query });
  const ready = Array.from({ length: WINDOWS }, (_, i) => torrentRows(i * CHUNK_ROWS, CHUNK_ROWS));
  const beganMs = performance.now();
  const lane = async (bytes: Buffer) => {
    for (let chunk = 0; chunk < rows / WINDOWS / CHUNK_ROWS; chunk += 1) {
      const { stream } = await client.exec({
        query: "INSERT INTO bare.t FORMAT JSONEachRow",
        values: Readable.from(bytes, { objectMode: false }),
        clickhouse_settings: { date_time_input_format: "best_effort" },
      });
      await stream.resume().toArray();
    }
  };
  await Promise.all(ready.map(lane));
  const rate = (rows * 1_000) / (performance.now() - beganMs);
  await client.command({ query: "DROP TABLE bare.t SYNC" });
  return rate;
}

await fetched("torrent", 40_000);
// The bare client before and after, as drift of the machine is the same for all; each arm once, for it takes long.
const bares = [await bare(ROWS)];
const unit = "rows/s";
const declared: Row = { name: "fetch, declared schema", unit, value: await fetched("torrent", ROWS) };
const inferred: Row = { name: "fetch, inferred schema", unit, value: await fetched("torrent-inferred", ROWS) };
bares.push(await bare(ROWS));
const [before = 0, after = 0] = bares;
const mean = (before + after) / 2;
const direct: Row = { name: "bare client, bytes ready", unit, value: mean, aa: Math.abs(before - after) / mean };
const status = await readFile(`/proc/${executor.pid}/status`, "utf8");
const peakMib = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / KIB_PER_MIB;
await client.close();
const ratio = (name: string, of: Row): Row => ({ name, unit: "×", value: of.value / mean, aa: direct.aa });
report({
  question: "How fast is a fetch, guest to ClickHouse, next to inserting the same bytes with the bare client?",
  rows: [
    direct,
    declared,
    inferred,
    ratio("declared / bare", declared),
    ratio("inferred / bare", inferred),
    { name: "guest CPU, of each row", unit: "µs", value: cpuUs.get("torrent") ?? 0 },
    { name: "executor, peak resident", unit: "MiB", value: peakMib },
  ],
});
executor.kill("SIGTERM");
await executor.ended;
