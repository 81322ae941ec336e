/**
 * How many small windows a second are fetched and committed when very many pipes are due at once? Workload: 1,000 pipes,
 * or as many as the first argument says, each with one window of 10 rows, queued at once on NATS; scheduler and one
 * executor in processes of their own; the clock runs from the first window that is queued to the last that is done.
 */
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { openBus } from "../../services/bus/open.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { startCli } from "../harness/cli.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { startNats } from "../harness/nats.ts";
import { publishTorrents } from "../harness/torrent.ts";
import { report } from "./report.ts";

const PIPES = Number(process.argv[2] ?? 1_000);
const ROWS = 10;
const CREATED_AT_ONCE = 32;
const ROUNDS = 2;
const MAX_MS = 90_000;

await using nats = await startNats();
await using clickhouse = await startTestClickHouse();
await using bus = await openBus({ natsUrl: nats.url, name: "bench", log: silentLog });
await using results = await openResults({ url: clickhouse.url, readerUrl: clickhouse.readerUrl, log: silentLog });
await using at = await openExecuting(bus, results);
await publishTorrents(at.registry);
const stores = {
  ...{ NATS_URL: nats.url, CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_READER_URL: clickhouse.readerUrl },
  REGISTRY_ADDRESS: at.registry.address,
};
await using executor = startCli(["executor"], stores);
await executor.saying("ready");
const instance = await at.instance("small", { rows: ROWS }, { plugin: "plugins/torrent" });
const windows = await bus.kv(BUCKETS.windows);

/** Due at a moment that all share; all of them write to one table. */
async function create(round: number): Promise<void> {
  const parameters = {
    ...{ begin: "2024-01-01T00:00:00Z", end: "2024-01-02T00:00:00Z", chunk: "1d" },
    ...{ schedule: "every 1h", target: `small_${round}` },
  };
  for (let first = 0; first < PIPES; first += CREATED_AT_ONCE) {
    const some = Array.from({ length: Math.min(CREATED_AT_ONCE, PIPES - first) }, (_, i) => first + i);
    await Promise.all(
      some.map((i) => {
        const pipe = Pipe.fromPartial({ instance, metric: `m${round}`, location: `l${i}`, parameters });
        return at.registry.call(PipesService.createPipe, { pipe });
      }),
    );
  }
}

/** Windows a second, from the first that was queued to the last that is done. */
async function round(n: number): Promise<number> {
  await create(n);
  const ends = AbortSignal.timeout(MAX_MS);
  const done = new Set<string>();
  let beganMs = 0;
  const watching = (async () => {
    for await (const change of windows.watch("", ends)) {
      if (change.type !== "put" || !change.key.includes(`m${n}`)) continue;
      beganMs ||= performance.now();
      if (Window.decode(change.value).state === WindowState.DONE) done.add(change.key);
      if (done.size === PIPES) return (PIPES * 1_000) / (performance.now() - beganMs);
    }
    throw new Error(`${done.size} of ${PIPES} windows were done within ${MAX_MS} ms`);
  })();
  await using scheduler = startCli(["scheduler"], { ...stores, SCHEDULER_LISTEN: "127.0.0.1:0" });
  const rate = await watching;
  scheduler.kill("SIGTERM");
  await scheduler.ended;
  const { rows } = await results.query({
    ...{ sql: `SELECT count() FROM small_${n}`, maxRows: 1, maxBytes: 1_000, timeoutMs: 10_000 },
  });
  if (Number(rows[0]?.[0]) !== PIPES * ROWS) throw new Error(`${rows[0]?.[0]} rows are seen`);
  return rate;
}

const rates: number[] = [];
for (let n = 0; n < ROUNDS; n += 1) rates.push(await round(n));
const [a = 0, b = 0] = rates;
report({
  question: `How many small windows a second, of ${PIPES} pipes that are due at once?`,
  rows: [
    {
      name: "windows of 10 rows, queued, fetched, committed",
      unit: "windows/s",
      value: (a + b) / 2,
      aa: (2 * Math.abs(a - b)) / (a + b),
    },
  ],
});
executor.kill("SIGTERM");
await executor.ended;
