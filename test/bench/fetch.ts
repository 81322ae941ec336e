/**
 * How fast is a fetch, guest to ClickHouse, next to inserting the same bytes with the bare client? Workload: ten million
 * rows of 100 bytes, or as many as the first argument says, in four windows at once. The fetch is the whole chain: job
 * from the queue (NATS) → executor in a process of its own → guest in C that writes each row → `emit` → writer → commit
 * → window done. The bare client inserts bytes that lie ready, in INSERTs of as many rows as the fetch's, four at a
 * time, into a table that one would make by hand: the same columns, sorted by the time as the pipe's table is. Its rows
 * are also inserted into one without any order, which is the most that the server can take. Neither has the columns that
 * say which attempt a row is of. CPU is of all processes in the chain, the server's merges meanwhile included: on a busy
 * machine its ratio says more than that of the rates. `test/bench/languages.ts` says what making rows costs.
 */
import { readFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { createClient } from "@clickhouse/client";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { openBus } from "../../services/bus/open.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { startCli } from "../harness/cli.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { cpuByName } from "../harness/cpu-time.ts";
import { openExecuting } from "../harness/executing.ts";
import { startNats } from "../harness/nats.ts";
import { publishTorrents, torrentRows } from "../harness/torrent.ts";
import { type Row, report } from "./report.ts";

const ROWS = Number(process.argv[2] ?? 10_000_000);
const WINDOWS = 4;
/** A chunk of a fetch is sent with the piece that brings it to 6 MiB. */
const CHUNK_ROWS = 70_000;
const FETCH_TIMEOUT_MS = 280_000;
const LOOK_MS = 100;
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
const guestUs = new Map<string, number>();

interface Cost {
  readonly rate: number;
  /** Of each row, in all processes of the chain. */
  readonly cpuUs: number;
}

/** `insert` sets up, has its work measured, and tears down. */
async function measured(rows: number, insert: (measure: (work: () => Promise<unknown>) => Promise<void>) => unknown) {
  let cost: Cost | undefined;
  await insert(async (work) => {
    const before = await cpuOfChain();
    const beganMs = performance.now();
    await work();
    const rate = (rows * 1_000) / (performance.now() - beganMs);
    cost = { rate, cpuUs: (((await cpuOfChain()) - before) * 1_000) / rows };
  });
  return cost as Cost;
}

async function cpuOfChain(): Promise<number> {
  const used = await cpuByName((words) => words.join(" "));
  return [...used.values()].reduce((sum, ms) => sum + ms, 0);
}

/** The rows in as many windows, from the first job to the last window. */
const fetched = (plugin: string, all: number) =>
  measured(all, async (measure) => {
    const rows = all / WINDOWS;
    const pipes: Pipe[] = [];
    for (let i = 0; i < WINDOWS; i += 1) {
      instances += 1;
      pipes.push(await at.pipe(await at.instance(`bench-${instances}`, { rows }, { plugin: `plugins/${plugin}` })));
    }
    const runs: string[] = [];
    await measure(async () => {
      await Promise.all(pipes.map((pipe) => at.fetch(pipe)));
      const end = AbortSignal.timeout(FETCH_TIMEOUT_MS);
      for (const pipe of pipes) runs.push(await runOf(pipe, rows, end));
    });
    const ended = await Promise.all(
      runs.map((run) => at.runs(run.replace(/^runs\//, ""), (known) => known.length > 0)),
    );
    guestUs.set(plugin, (ended.flat().reduce((sum, { cpuMs }) => sum + cpuMs, 0) * 1_000) / all);
    // So that one arm's rows are not merged while another is measured.
    for (const pipe of pipes) await results.dropDataset(pipe.dataset.replace(/^datasets\//, ""));
  });

/** Once its window is done. Looks seldom: what looks is of this process, and its CPU is counted. */
async function runOf(pipe: Pipe, rows: number, end: AbortSignal): Promise<string> {
  for (;;) {
    const window = await at.window(pipe);
    if (window?.state === WindowState.FAILED) throw new Error(window.message);
    if (window?.state === WindowState.DONE && Number(window.rows) === rows) return window.run;
    await wait(LOOK_MS, undefined, { signal: end });
  }
}

const bare = (all: number, order: string) =>
  measured(all, async (measure) => {
    await client.command({ query: "CREATE DATABASE IF NOT EXISTS bare" });
    const fields =
      "time Nullable(DateTime64(6, 'UTC')), id Nullable(Int64), name Nullable(String), " +
      "value Nullable(Float64), flag Nullable(Bool)";
    const engine = `MergeTree ORDER BY ${order} SETTINGS allow_nullable_key = 1`;
    await client.command({ query: `CREATE OR REPLACE TABLE bare.t (${fields}) ENGINE = ${engine}` });
    const rows = all / WINDOWS;
    const ready = Array.from({ length: WINDOWS }, (_, i) => torrentRows(i * CHUNK_ROWS, Math.min(CHUNK_ROWS, rows)));
    const bytesPerRow = (ready[0] as Buffer).length / Math.min(CHUNK_ROWS, rows);
    await measure(async () => {
      const lane = async (bytes: Buffer) => {
        for (let left = rows; left > 0; left -= CHUNK_ROWS) {
          const { stream } = await client.exec({
            query: "INSERT INTO bare.t FORMAT JSONEachRow",
            values: Readable.from(bytes.subarray(0, left * bytesPerRow), { objectMode: false }),
            clickhouse_settings: { date_time_input_format: "best_effort" },
          });
          await stream.resume().toArray();
        }
      };
      await Promise.all(ready.map(lane));
    });
    await client.command({ query: "DROP TABLE bare.t SYNC" });
  });

await fetched("torrent", 40_000);
await bare(400_000, "time");
// The bare client before and after, as drift of the machine is the same for all; each fetch once, for it takes long.
const sorted = [await bare(ROWS, "time")];
const unsorted = [await bare(ROWS, "tuple()")];
const declared = await fetched("torrent", ROWS);
const inferred = await fetched("torrent-inferred", ROWS);
unsorted.push(await bare(ROWS, "tuple()"));
sorted.push(await bare(ROWS, "time"));
// What was started is the supervisor; the executor is below it.
const child = await readFile(`/proc/${executor.pid}/task/${executor.pid}/children`, "utf8");
const [peakMib, supervisorMib] = [await peakOf(Number(child)), await peakOf(executor.pid)];
await client.close();

async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / KIB_PER_MIB;
}
const mean = (costs: readonly Cost[], of: (cost: Cost) => number): Omit<Row, "name" | "unit"> => {
  const [a = 0, b = a] = costs.map(of);
  return { value: (a + b) / 2, aa: costs.length > 1 ? Math.abs(a - b) / ((a + b) / 2) : undefined };
};
const byRate = ({ rate }: Cost) => rate;
const byCpu = ({ cpuUs }: Cost) => cpuUs;
/** Of speed: above 1 is better than the bare client. */
const share = (name: string, fetch: Cost, table: readonly Cost[]): Row[] => {
  const [rate, cpu] = [mean(table, byRate), mean(table, byCpu)];
  return [
    { name: `${name}, by rate`, unit: "×", value: fetch.rate / rate.value, aa: rate.aa },
    { name: `${name}, by CPU`, unit: "×", value: cpu.value / fetch.cpuUs, aa: cpu.aa },
  ];
};
const arms = { "bare client, sorted table": sorted, "bare client, no order": unsorted, "fetch, declared": [declared] };
report({
  question: "How fast is a fetch, guest to ClickHouse, next to inserting the same bytes with the bare client?",
  rows: [
    ...Object.entries({ ...arms, "fetch, inferred": [inferred] }).flatMap(([name, costs]): Row[] => [
      { name, unit: "rows/s", ...mean(costs, byRate) },
      { name: `${name}: CPU of each row`, unit: "µs", ...mean(costs, byCpu) },
    ]),
    ...share("declared / bare sorted", declared, sorted),
    ...share("declared / bare without order", declared, unsorted),
    ...share("inferred / bare sorted", inferred, sorted),
    { name: "guest CPU, of each row", unit: "µs", value: guestUs.get("torrent") ?? 0 },
    { name: "executor, peak resident", unit: "MiB", value: peakMib },
    { name: "its supervisor", unit: "MiB", value: supervisorMib },
  ],
});
executor.kill("SIGTERM");
await executor.ended;
