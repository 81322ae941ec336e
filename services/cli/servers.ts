/** Runs services: all in one process, or one alone on NATS and ClickHouse. Loaded only by the commands that need it. */
import { openBus } from "../bus/open.ts";
import * as executor from "../executor/main.ts";
import * as gateway from "../gateway/main.ts";
import { type Config, choice, helpOf, readConfig, type Settings, secret, text } from "../kit/config.ts";
import { type Running, runUntilSignal } from "../kit/lifecycle.ts";
import { type Logger, logLevels, makeLog } from "../kit/log.ts";
import * as registry from "../registry/main.ts";
import { openResults } from "../results/results.ts";
import * as scheduler from "../scheduler/main.ts";
import type { Invocation } from "./command.ts";
import { runDemo } from "./demo.ts";
import { embeddedSettings, startPlatform } from "./platform.ts";
import { beat, supervision } from "./supervisor.ts";
import { tellStop } from "./terminal.ts";

const DEFAULT_NATS = "nats://127.0.0.1:4222";
const DEFAULT_CLICKHOUSE = "http://127.0.0.1:8123";

/** What every service that runs alone reads besides its own settings. */
const alone = {
  nats: secret("NATS_URL", `NATS server, with credentials if it wants any; not set: ${DEFAULT_NATS}`),
  logLevel: choice("MILLRACE_LOG", "how much is logged to stderr", logLevels, "info"),
};
const withResults = {
  ...alone,
  clickhouse: secret(
    "CLICKHOUSE_URL",
    `ClickHouse over HTTP, as http://user:password@host:8123; not set: ${DEFAULT_CLICKHOUSE}`,
  ),
  reader: secret(
    "CLICKHOUSE_READER_URL",
    "the same ClickHouse as a user that may only SELECT, for queries from outside",
  ),
};

const devSettings = {
  http: text("GATEWAY_HTTP", "where HTTP is served, host:port", "127.0.0.1:7400"),
  grpc: text("GATEWAY_GRPC", "where gRPC is served, host:port", "127.0.0.1:7401"),
  folder: text("MILLRACE_FOLDER", "folder of the embedded stores", ".millrace"),
  logLevel: choice("MILLRACE_LOG", "how much is logged to stderr", logLevels, "warn"),
};

/** Ends with its parent when that started it with a channel: a killed parent leaves no orphans. */
function endWithParent(): void {
  if (process.connected) process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
}

/**
 * A guest's thread that cannot be ended would keep this process from ending: once told of one, it is killed by itself
 * when everything else on the stack has ended. Tells whether it is the first.
 */
function leaving(stack: AsyncDisposableStack): () => boolean {
  let stuck = false;
  stack.defer(() => {
    if (stuck) process.kill(process.pid, "SIGKILL");
  });
  return () => {
    const first = !stuck;
    stuck = true;
    return first;
  };
}

interface Service<S extends Settings> {
  readonly settings: S;
  readonly start: (
    config: Config<S>,
    log: Logger,
    stack: AsyncDisposableStack,
    signal: AbortSignal,
  ) => Promise<Running>;
}

/** A service with the table it reads; the two meet only here, so that each `start` sees its own settings typed. */
function standalone<S extends Settings>(service: Service<S>) {
  return {
    settings: service.settings,
    help: () => helpOf(service.settings),
    async start(
      name: string,
      env: NodeJS.ProcessEnv,
      stack: AsyncDisposableStack,
      signal: AbortSignal,
    ): Promise<Running> {
      const config = readConfig(service.settings, env);
      const { logLevel } = readConfig({ logLevel: alone.logLevel }, env);
      const log = makeLog(name, logLevel);
      const running = await service.start(config, log, stack, signal);
      log.info({ address: running.address }, "ready");
      return running;
    },
  };
}

const busOf = async (url: string, name: string, log: Logger, stack: AsyncDisposableStack) =>
  stack.use(await openBus({ natsUrl: url || DEFAULT_NATS, name, log }));
const resultsOf = async (at: { clickhouse: string; reader: string }, log: Logger, stack: AsyncDisposableStack) =>
  stack.use(
    await openResults({ url: at.clickhouse || DEFAULT_CLICKHOUSE, ...(at.reader && { readerUrl: at.reader }), log }),
  );

const services = {
  gateway: standalone({
    settings: { ...gateway.settings, ...withResults },
    async start(config, log, stack) {
      const bus = await busOf(config.nats, "gateway", log, stack);
      const results = await resultsOf(config, log, stack);
      const running = await gateway.start(config, { bus, results, log });
      return Object.assign(running, { address: running.http });
    },
  }),
  registry: standalone({
    settings: { ...registry.settings, ...alone },
    start: async (config, log, stack) =>
      registry.start(config, { bus: await busOf(config.nats, "registry", log, stack), log }),
  }),
  scheduler: standalone({
    settings: { ...scheduler.settings, ...alone },
    start: async (config, log, stack) =>
      scheduler.start(config, { bus: await busOf(config.nats, "scheduler", log, stack), log }),
  }),
  executor: standalone({
    settings: { ...executor.settings, ...withResults, ...supervision },
    async start(config, log, stack, signal) {
      beat(config.silentMs);
      const leave = leaving(stack);
      const onStuck = () => {
        // In order and with the time to drain; who started this process starts it again.
        if (leave() && !signal.aborted) process.kill(process.pid, "SIGTERM");
      };
      const bus = await busOf(config.nats, `executor ${config.id || process.pid}`, log, stack);
      return executor.start(config, { bus, results: await resultsOf(config, log, stack), log, onStuck });
    },
  }),
};

export type ServiceName = keyof typeof services;

export const serviceHelp = (name: ServiceName) => services[name].help();

/** Runs one service until it is told to stop. */
export function runService(name: ServiceName, { env }: Invocation): Promise<void> {
  return runUntilSignal(async (stack, signal) => {
    endWithParent();
    const { address } = stack.use(await services[name].start(name, env, stack, signal));
    process.send?.({ ready: address, pid: process.pid });
  });
}

/** In dev the services find each other by themselves: addresses between them are not read. */
const devReads = {
  ...devSettings,
  ...embeddedSettings,
  ...registry.settings,
  ...scheduler.settings,
  ...executor.settings,
  ...gateway.settings,
};
const notInDev = /^(REGISTRY|SCHEDULER|EXECUTOR)_(LISTEN|ADDRESS)$/;
const devTable: Settings = Object.fromEntries(Object.entries(devReads).filter(([, { env }]) => !notInDev.test(env)));

export const devHelp = () => helpOf(devTable);

/** Every setting that a process of ours reads, by its command. */
export const settingTables: Readonly<Record<ServiceName | "dev", Settings>> = {
  gateway: services.gateway.settings,
  registry: services.registry.settings,
  scheduler: services.scheduler.settings,
  executor: services.executor.settings,
  dev: { ...devSettings, ...embeddedSettings },
};

/** Runs all services in this process until it is told to stop. */
export function runDev({ env, flags, terminal }: Invocation): Promise<void> {
  return runUntilSignal(async (stack, signal) => {
    const startedMs = performance.now();
    tellStop(terminal, stack, signal);
    const config = readConfig(devSettings, env);
    const log = makeLog("dev", config.logLevel);
    terminal.note(`starting in ${config.folder} …`);
    const onStuck = leaving(stack);
    const platform = stack.use(await startPlatform({ ...config, env, log, onStuck }));
    terminal.note(`up after ${Math.round(performance.now() - startedMs)} ms`);
    terminal.note(`  HTTP  http://${platform.http}   API /v1, /docs, /openapi.json, /readyz`);
    terminal.note(`  gRPC  ${platform.grpc}`);
    if (flags.demo) await runDemo({ platform, terminal, env, stack, signal });
    if (!signal.aborted) terminal.note("Ctrl-C stops it; the data stay.");
  });
}
