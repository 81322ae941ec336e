/**
 * How many small windows a second are fetched and committed when very many pipes are due at once? Workload: 1,000 pipes,
 * or as many as the first argument says, each with one window of 10 rows, due at once: on NATS with scheduler and one
 * executor in processes of their own, all pipes writing to one table and then each to a table of its own; and embedded,
 * all services in one process. The clock runs from the first window that is queued to the last that is done. CPU is
 * that of all processes meanwhile, ClickHouse and nats-server included, this one's watching too.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { openBus } from "../../services/bus/open.ts";
import type { Bus, Kv } from "../../services/bus/ports.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { startCli } from "../harness/cli.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { cpuByName } from "../harness/cpu-time.ts";
import { openExecuting } from "../harness/executing.ts";
import { startNats } from "../harness/nats.ts";
import { publishTorrents } from "../harness/torrent.ts";
import { type Row, report } from "./report.ts";

const PIPES = Number(process.argv[2] ?? 1_000);
/** `one`, `own`, `embedded`; default: all three. */
const ONLY = process.argv[3];
const ROWS = 10;
const CREATED_AT_ONCE = 32;
/** A table that is written to takes over a megabyte: 800 of them fill a gigabyte. */
const MEMORY_MIB = 4_096;
const MAX_MS = 300_000;

interface Ground extends AsyncDisposable {
  /** Makes the pipes of a round. */
  create(round: string, targetOf: (pipe: number) => string): Promise<void>;
  /** Schedules until disposed of. */
  scheduler(): Promise<AsyncDisposable>;
  rowsOf(target: string): Promise<number>;
  readonly windows: Kv;
}

interface Found {
  readonly rate: number;
  /** CPU milliseconds of a window, by process. */
  readonly cpu: ReadonlyMap<string, number>;
}

async function openGround(nats: boolean): Promise<Ground> {
  const stack = new AsyncDisposableStack();
  const clickhouse = stack.use(await startTestClickHouse(MEMORY_MIB));
  const stores = { CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_READER_URL: clickhouse.readerUrl };
  const open = { url: clickhouse.url, readerUrl: clickhouse.readerUrl, log: silentLog };
  let bus: Bus;
  let scheduler: Ground["scheduler"];
  let url = "";
  if (nats) {
    url = stack.use(await startNats()).url;
    bus = stack.use(await openBus({ natsUrl: url, name: "bench", log: silentLog }));
  } else {
    const folder = await mkdtemp(join(tmpdir(), "millrace-small-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    bus = stack.use(await openBus({ file: join(folder, "bus.sqlite"), log: silentLog }));
  }
  const results = stack.use(await openResults(open));
  const at = stack.use(await openExecuting(bus, results));
  const env = { ...stores, NATS_URL: url, REGISTRY_ADDRESS: at.registry.address, SCHEDULER_LISTEN: "127.0.0.1:0" };
  if (nats) {
    const executor = stack.use(startCli(["executor"], env));
    await executor.saying("ready");
    scheduler = async () => startCli(["scheduler"], env);
  } else {
    await at.executor();
    const config = readConfig(schedulerSettings, {}, { listen: "127.0.0.1:0", registry: at.registry.address });
    scheduler = () => startScheduler(config, { bus, log: silentLog });
  }
  await publishTorrents(at.registry);
  const instance = await at.instance("small", { rows: ROWS }, { plugin: "plugins/torrent" });
  return {
    windows: await bus.kv(BUCKETS.windows),
    scheduler,
    async create(round, targetOf) {
      const due = { begin: "2024-01-01T00:00:00Z", end: "2024-01-02T00:00:00Z", chunk: "1d", schedule: "every 1h" };
      for (let first = 0; first < PIPES; first += CREATED_AT_ONCE) {
        const some = Array.from({ length: Math.min(CREATED_AT_ONCE, PIPES - first) }, (_, i) => first + i);
        await Promise.all(
          some.map((i) => {
            const parameters = { ...due, target: targetOf(i) };
            const pipe = Pipe.fromPartial({ instance, metric: round, location: `l${i}`, parameters });
            return at.registry.call(PipesService.createPipe, { pipe });
          }),
        );
      }
    },
    async rowsOf(target) {
      const sql = `SELECT count() FROM ${target}`;
      const { rows } = await results.query({ sql, maxRows: 1, maxBytes: 1_000, timeoutMs: 10_000 });
      return Number(rows[0]?.[0]);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** From the first window that is queued to the last that is done. */
async function run(ground: Ground, round: string): Promise<Found> {
  const ends = AbortSignal.timeout(MAX_MS);
  const done = new Set<string>();
  let beganMs = 0;
  let before: Promise<Map<string, number>> | undefined;
  const watching = (async () => {
    for await (const change of ground.windows.watch("", ends)) {
      if (change.type !== "put" || !change.key.includes(`=2E${round}=2E`)) continue;
      beganMs ||= performance.now();
      before ??= cpuByName(roleOf);
      if (Window.decode(change.value).state === WindowState.DONE) done.add(change.key);
      if (done.size === PIPES) return (PIPES * 1_000) / (performance.now() - beganMs);
    }
    throw new Error(`${done.size} of ${PIPES} windows were done within ${MAX_MS} ms`);
  })();
  await using _ = await ground.scheduler();
  const rate = await watching;
  const [was, is] = [await before, await cpuByName(roleOf)];
  return { rate, cpu: new Map([...is].map(([name, ms]) => [name, (ms - (was?.get(name) ?? 0)) / PIPES])) };
}

/** What a process is, by the words of its command line. */
function roleOf(words: readonly string[]): string {
  const line = words.join(" ");
  if (line.includes("server-child")) return "ClickHouse";
  return ["nats-server", "executor", "scheduler"].find((role) => words.includes(role)) ?? words[0] ?? "";
}

function rowsOf(name: string, [a, b]: readonly [Found, Found]): Row[] {
  const mean = (of: (found: Found) => number) => (of(a) + of(b)) / 2;
  const sum = ({ cpu }: Found) => [...cpu.values()].reduce((all, ms) => all + ms, 0);
  const noise = (of: (found: Found) => number) => Math.abs(of(a) - of(b)) / mean(of);
  const parts = [...new Set([...a.cpu.keys(), ...b.cpu.keys()])].map((role): Row => {
    const of = ({ cpu }: Found) => cpu.get(role) ?? 0;
    return { name: `${name}: CPU of a window, ${role}`, unit: "ms", value: mean(of) };
  });
  return [
    {
      name: `${name}: queued, fetched, committed`,
      unit: "windows/s",
      value: mean(({ rate }) => rate),
      aa: noise(({ rate }) => rate),
    },
    { name: `${name}: CPU of a window, all processes`, unit: "ms", value: mean(sum), aa: noise(sum) },
    ...parts.filter(({ value }) => value >= 0.01),
  ];
}

async function twice(ground: Ground, name: string, targetOf: (pipe: number) => string): Promise<[Found, Found]> {
  const found: Found[] = [];
  for (const round of [`${name}0`, `${name}1`]) {
    await ground.create(round, targetOf);
    found.push(await run(ground, round));
  }
  const targets = new Set(Array.from({ length: PIPES }, (_, i) => targetOf(i)));
  const [first = ""] = targets;
  const rows = await ground.rowsOf(first);
  const expected = (2 * PIPES * ROWS) / targets.size;
  if (rows !== expected) throw new Error(`${rows} rows are seen in ${first}, not ${expected}`);
  return found as [Found, Found];
}

const rows: Row[] = [];
const wanted = (arm: string) => ONLY === undefined || ONLY === arm;
if (wanted("one") || wanted("own")) {
  await using ground = await openGround(true);
  if (wanted("one")) rows.push(...rowsOf("NATS, one table", await twice(ground, "one", () => "small")));
  if (wanted("own")) {
    const [made, there] = await twice(ground, "own", (pipe) => `small_${pipe}`);
    rows.push(...rowsOf("NATS, a table each, made meanwhile", [made, made]));
    rows.push(...rowsOf("NATS, a table each", [there, there]));
  }
}
if (wanted("embedded")) {
  await using ground = await openGround(false);
  rows.push(...rowsOf("embedded, one table", await twice(ground, "one", () => "small")));
}
report({ question: `How many small windows a second, of ${PIPES} pipes that are due at once?`, rows });
