/** Pipes of every kind on a platform of processes that are killed and come back, and what a reader sees of them. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MethodDefinition } from "@grpc/grpc-js";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare, SQL_INSTANCE } from "../../proto/names.ts";
import { newSecretKey } from "../../proto/secrets.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import { parseTime, timestampOf } from "../../services/kit/time.ts";
import { openResults, type Results } from "../../services/results/results.ts";
import { startTestClickHouse, type TestClickHouse } from "./clickhouse.ts";
import type { CrashOrder, FromChild, ToChild, Trap } from "./crash-process.ts";
import { kitchenBundles } from "./executing.ts";
import { until } from "./until.ts";

/** Windows of each pipe, a day each. */
export const WINDOWS = 40;
/** Rows of each window; in the pipe with an index each window also brings the first rows of the next. */
const ROWS = 40;
const OVERLAP = 5;
const BEGIN = "2024-01-01T00:00:00Z";
const DAY_MS = 86_400_000;
const DAY_US = 86_400_000_000n;
const READY_MS = 60_000;
const ASK_MS = 10_000;
const MAX_STARTS = 5;

export const KINDS = ["append", "upsert", "checkpointed", "sync", "select"] as const;
export type Kind = (typeof KINDS)[number];
/** Of a plugin. */
const OWN_KINDS = ["append", "upsert", "checkpointed", "sync"] as const;
export interface Source {
  readonly plugin: string;
  readonly config: Record<string, string | number>;
}
const CONFIGS: Readonly<Record<(typeof OWN_KINDS)[number], Source>> = {
  append: { plugin: "plugins/larder", config: { mode: "rows", rows: ROWS } },
  upsert: { plugin: "plugins/kitchen", config: { mode: "rows", rows: ROWS, overlap: OVERLAP } },
  checkpointed: { plugin: "plugins/larder", config: { mode: "emit", rows: ROWS, batches: 4 } },
  sync: { plugin: "plugins/cellar", config: { rows: ROWS, batches: 2 } },
};
/** Reads rows that are being killed for all the time, once it may. */
const SELECT: Partial<PipeParameters> = {
  sql: "SELECT time, id, value * 2 AS value FROM append_rows WHERE time >= {begin} AND time < {end}",
  reads: ["append_rows"],
  after: ["calm-append.rows"],
};

/** A process of the platform that is started again whenever it was killed. */
export interface Part extends AsyncDisposable {
  readonly address: { readonly registry: string; readonly scheduler: string };
  readonly pid: number;
  /** Resolves with the run that reached the step and waits there. */
  reach(trap: Trap, timeoutMs: number): Promise<string>;
  /** Tells of each run that waits at one of the traps. */
  set(traps: readonly Trap[], onReached: (runId: string) => void): void;
  /** Lets all that wait go on. */
  go(): void;
  signal(name: NodeJS.Signals): void;
  /** kill -9; resolves once it is gone. */
  kill9(): Promise<void>;
  /** Starts it again; resolves once it is up. */
  restart(): Promise<void>;
}

async function startPart(order: () => CrashOrder): Promise<Part> {
  let child: ChildProcess;
  let gone: Promise<unknown>;
  let address = { registry: "", scheduler: "" };
  let onReached: (runId: string) => void = () => {};
  const start = async () => {
    const program = join(import.meta.dirname, "crash-process.ts");
    const env = { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "millrace-compiled") };
    child = spawn(process.execPath, [program, JSON.stringify(order())], {
      // Killed in every way, they have much to complain about.
      ...{ env, stdio: ["ignore", "ignore", process.env.CRASH_LOG ? "inherit" : "ignore", "ipc"] },
    });
    gone = new Promise((resolve) => child.once("exit", resolve));
    const ready = Promise.withResolvers<void>();
    child.on("message", (message: FromChild) => {
      if ("ready" in message) {
        address = message.ready;
        ready.resolve();
      } else onReached(message.reached.runId);
    });
    const late = setTimeout(() => ready.reject(new Error("a process of the platform did not start")), READY_MS);
    await Promise.race([ready.promise, gone.then(() => Promise.reject(new Error("it ended while it started")))]);
    clearTimeout(late);
  };
  const tell = (message: ToChild) => child.send(message);
  const set: Part["set"] = (traps, tellReached) => {
    onReached = tellReached;
    tell({ traps });
  };
  // As a supervisor does: a process that begins while its bus is killed gives up.
  const startAgain = async () => {
    for (let failures = 0; ; failures += 1) {
      try {
        return await start();
      } catch (thrown) {
        if (failures === MAX_STARTS) throw thrown;
      }
    }
  };
  await start();
  return {
    set,
    get pid() {
      return child.pid as number;
    },
    get address() {
      return address;
    },
    async reach(trap, timeoutMs) {
      const reached = Promise.withResolvers<string>();
      set([trap], reached.resolve);
      const what = `${trap.pipe} at ${trap.step} ${trap.nth}`;
      const late = setTimeout(() => reached.reject(new Error(`not reached: ${what}`)), timeoutMs);
      return reached.promise.finally(() => clearTimeout(late));
    },
    go: () => void tell({ go: true }),
    signal: (name) => void child.kill(name),
    async kill9() {
      child.kill("SIGKILL");
      await gone;
    },
    restart: startAgain,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await gone;
    },
  };
}

export interface CrashGround extends AsyncDisposable {
  readonly clickhouse: TestClickHouse;
  readonly results: Results;
  part(services: CrashOrder["services"], jobs?: number): Promise<Part>;
  publish(): Promise<void>;
  /** Publishes the plugins and creates a pipe of each kind, and one more that nobody disturbs. */
  furnish(): Promise<void>;
  /** A pipe `<id>.rows` of its own instance, with windows of a day. */
  create(id: string, source: Source, windows?: number, more?: Partial<PipeParameters>): Promise<void>;
  /** `of`: "calm-" for the one that nobody disturbs. */
  pipe(kind: Kind, of?: "calm-"): string;
  /** Queues windows of a pipe, the done ones too. False when the scheduler was not there. */
  refetch(pipe: string, from: number, count: number, scheduler?: string): Promise<boolean>;
  depth(): Promise<number>;
  windows(pipe: string, state?: WindowState): Promise<readonly Window[]>;
  /** Windows whose newest commit no `after_sync` was told of in full. */
  untold(): Promise<readonly unknown[]>;
  /** Windows of which neither all rows nor none are seen, and rows that are seen twice. Undefined: cannot be asked. */
  torn(): Promise<string[] | undefined>;
  ids(pipe: string): Promise<unknown[]>;
  /** What is seen of a pipe, to be compared. */
  seen(pipe: string): Promise<string>;
}

/** Where gRPC is served now: a process that is started again has another port. */
export interface Doors {
  readonly registry: () => string;
  readonly scheduler: () => string;
}

export async function openCrashGround(
  bus: CrashOrder["bus"],
  doors: Doors,
  stack: AsyncDisposableStack,
): Promise<CrashGround> {
  const clickhouse = stack.use(await startTestClickHouse());
  const { url, readerUrl } = clickhouse;
  const clickHouse = { url, readerUrl, database: `crash_${process.pid}` };
  const results = stack.use(await openResults({ ...clickHouse, log: silentLog }));
  const secretKey = newSecretKey();
  const call = async <I, O>(where: string, method: MethodDefinition<I, O>, request: I): Promise<O> => {
    using channel = connect(where) as ReturnType<typeof connect> & Disposable;
    return await ask(channel, method, request, { deadlineMs: ASK_MS });
  };
  const rows = async (sql: string) =>
    (await results.query({ sql, maxRows: 10_000, maxBytes: 1e7, timeoutMs: 10_000 })).rows;
  const beginUs = parseTime(BEGIN, "begin");
  const timeOf = (window: number) => timestampOf(beginUs + BigInt(window) * DAY_US);
  const create = async (
    id: string,
    { plugin, config }: Source,
    windows = WINDOWS,
    more: Partial<PipeParameters> = {},
  ) => {
    const instance = Instance.fromPartial({ plugin, config, grants: { allRequested: true } });
    await call(doors.registry(), InstancesService.createInstance, { instanceId: id, instance });
    await createPipe(`instances/${id}`, "rows", windows, more);
  };
  const createPipe = async (instance: string, metric: string, windows: number, more: Partial<PipeParameters>) => {
    const id = `${bare(instance)}.${metric}`;
    const end = new Date(Date.parse(BEGIN) + windows * DAY_MS).toISOString();
    const parameters = { begin: BEGIN, end, chunk: "1d", schedule: "every 2s", attempts: 5, ...more };
    const pipe = Pipe.fromPartial({ instance, metric, parameters });
    await call(doors.registry(), PipesService.createPipe, { pipe });
    await until(`${id} is enabled`, async () => {
      const { pipe: now } = await call(doors.registry(), PipesService.getPipe, { name: `pipes/${id}` });
      return now?.state === PipeState.ENABLED;
    });
  };
  const windowsOf: CrashGround["windows"] = async (pipe, state = WindowState.UNSPECIFIED) => {
    const request = { parent: `pipes/${pipe}`, pageSize: 10_000, pageToken: "", state };
    return (await call(doors.scheduler(), SchedulesService.listWindows, request)).windows;
  };
  const publish = async () => {
    for (const bundle of await kitchenBundles()) {
      await call(doors.registry(), PluginsService.publishPlugin, { bundle, validateOnly: false });
    }
  };
  return {
    clickhouse,
    results,
    part: async (services, jobs = 4) =>
      stack.use(await startPart(() => ({ bus, clickHouse, secretKey, services, jobs, registry: doors.registry() }))),
    publish,
    async furnish() {
      await publish();
      for (const kind of OWN_KINDS) {
        await create(`calm-${kind}`, CONFIGS[kind]);
        await create(kind, CONFIGS[kind]);
      }
      const allRead = async () => (await windowsOf(pipeOf("append"), WindowState.DONE)).length === WINDOWS;
      await until("what is read is there", allRead, READY_MS);
      for (const id of [pipeOf("select", "calm-"), pipeOf("select")])
        await createPipe(SQL_INSTANCE, id.slice(id.indexOf(".") + 1), WINDOWS, SELECT);
    },
    create,
    pipe: pipeOf,
    async refetch(pipe, from, count, scheduler = doors.scheduler()) {
      const request = { name: `pipes/${pipe}`, begin: timeOf(from), end: timeOf(from + count), refetch: true };
      const answer = await call(scheduler, SchedulesService.syncPipe, request).catch(() => undefined);
      return answer !== undefined;
    },
    depth: async () => Number((await call(doors.scheduler(), SchedulesService.getQueue, {})).depth),
    windows: windowsOf,
    untold: () =>
      rows(`SELECT run_id, max(fence) AS newest FROM runs WHERE kind = 'sync' AND committed = 1 GROUP BY run_id
            HAVING (run_id || '/after_sync', newest) NOT IN
              (SELECT run_id, fence FROM runs WHERE kind = 'hook' AND outcome = 'ok')`),
    async torn() {
      // Of a window whose neighbour came first the overlap is there, and no more.
      const sql = KINDS.map(
        (kind) =>
          `SELECT '${kind}' AS k, toString(toDate(time)) AS d, count() AS c, uniqExact(id) AS u
           FROM ${tableOf(pipeOf(kind))}
           WHERE time < '${BEGIN}'::DateTime64 + INTERVAL ${WINDOWS} DAY
           GROUP BY d HAVING c != u OR c NOT IN (${kind === "upsert" ? [OVERLAP, ROWS] : ROWS})`,
      ).join(" UNION ALL ");
      return (await rows(sql).catch(() => undefined))?.map((row) => row.join(" "));
    },
    ids: async (pipe) => (await rows(`SELECT id FROM ${tableOf(pipe)} ORDER BY id`)).map(([id]) => id),
    async seen(pipe) {
      const table = tableOf(pipe);
      const line = "formatRow('JSONEachRow', COLUMNS('^([a-z]|_extra$)'))";
      const sql = `SELECT count(), uniqExact(time, id), groupBitXor(cityHash64(${line})) FROM ${table}`;
      return (await rows(sql))[0]?.join(" ") ?? "";
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const pipeOf = (kind: Kind, of = "") => (kind === "select" ? `sql.${of}rows` : `${of}${kind}.rows`);
const tableOf = (pipe: string) => pipe.replaceAll(/[.-]/g, "_");

/** A folder for an embedded bus. */
export async function busFolder(stack: AsyncDisposableStack): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-crash-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  return join(folder, "bus.sqlite");
}
