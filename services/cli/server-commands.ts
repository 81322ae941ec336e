/** Commands that run services: all in one process, or one alone on NATS and ClickHouse. */
import { randomUUID } from "node:crypto";
import { openBus } from "../bus/open.ts";
import * as executor from "../executor/main.ts";
import * as gateway from "../gateway/main.ts";
import { type Config, choice, helpOf, readConfig, type Settings, secret, text } from "../kit/config.ts";
import { type Running, runUntilSignal } from "../kit/lifecycle.ts";
import { type Logger, logLevels, makeLog } from "../kit/log.ts";
import * as registry from "../registry/main.ts";
import { openResults } from "../results/results.ts";
import * as scheduler from "../scheduler/main.ts";
import type { Command, Invocation } from "./commands.ts";
import { runDemo } from "./demo.ts";
import { startPlatform } from "./platform.ts";

/** What every service that runs alone reads besides its own settings. */
const alone = {
  nats: secret("NATS_URL", "NATS server, with credentials if it wants any: nats://host:4222"),
  logLevel: choice("MILLRACE_LOG", "how much is logged to stderr", logLevels, "info"),
};
const withResults = {
  ...alone,
  clickhouse: secret(
    "CLICKHOUSE_URL",
    "ClickHouse over HTTP, with credentials if it wants any: http://user:password@host:8123",
  ),
};

const devSettings = {
  http: text("GATEWAY_HTTP", "where HTTP is served, host:port", "127.0.0.1:7400"),
  grpc: text("GATEWAY_GRPC", "where gRPC is served, host:port", "127.0.0.1:7401"),
  folder: text("MILLRACE_FOLDER", "folder of the embedded stores", ".millrace"),
  logLevel: choice("MILLRACE_LOG", "how much is logged to stderr", logLevels, "warn"),
};

const DEFAULT_NATS = "nats://127.0.0.1:4222";
const DEFAULT_CLICKHOUSE = "http://127.0.0.1:8123";

/** Ends with its parent when that started it with a channel: a killed parent leaves no orphans. */
function endWithParent(): void {
  if (process.connected) process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
}

type Service<S extends Settings> = {
  readonly name: string;
  readonly doc: string;
  readonly settings: S;
  readonly start: (
    config: Config<S>,
    env: NodeJS.ProcessEnv,
    log: Logger,
    stack: AsyncDisposableStack,
  ) => Promise<Running>;
};

function serviceCommand<S extends Settings>({ name, doc, settings, start }: Service<S>): Command {
  return {
    path: name,
    args: "",
    doc,
    flags: {},
    settings: () => helpOf(settings),
    run: ({ env }) =>
      runUntilSignal(async (stack) => {
        endWithParent();
        const config = readConfig(settings, env);
        const log = makeLog(name, (config as { logLevel?: (typeof logLevels)[number] }).logLevel);
        const { address } = stack.use(await start(config, env, log, stack));
        log.info({ address }, "ready");
        process.send?.({ ready: address });
      }),
  };
}

const busOf = async (url: string, name: string, log: Logger, stack: AsyncDisposableStack) =>
  stack.use(await openBus({ natsUrl: url || DEFAULT_NATS, name, log }));
const resultsOf = async (url: string, log: Logger, stack: AsyncDisposableStack) =>
  stack.use(await openResults({ url: url || DEFAULT_CLICKHOUSE, log }));

export const serverCommands: readonly Command[] = [
  {
    path: "dev",
    args: "",
    doc: "Runs everything in one process with embedded stores, on loopback.",
    flags: { demo: { type: "boolean", doc: "also build and apply the example plugins, and fetch their data" } },
    settings: () => helpOf({ ...devSettings, ...registry.settings, ...executor.settings, ...gateway.settings }),
    run: (invocation: Invocation) =>
      runUntilSignal(async (stack, signal) => {
        const { env, flags, terminal } = invocation;
        const startedMs = performance.now();
        const config = readConfig(devSettings, env);
        const log = makeLog("dev", config.logLevel);
        terminal.note(`starting in ${config.folder} …`);
        const platform = stack.use(await startPlatform({ ...config, env, log }));
        terminal.note(`up after ${Math.round(performance.now() - startedMs)} ms`);
        terminal.note(`  HTTP  http://${platform.http}   API /v1, /docs, /openapi.json, /readyz`);
        terminal.note(`  gRPC  ${platform.grpc}`);
        if (flags.demo) await runDemo({ platform, terminal, env, stack, signal });
        if (!signal.aborted) terminal.note("Ctrl-C stops it; the data stay.");
      }),
  },
  serviceCommand({
    name: "gateway",
    doc: "Runs one gateway: REST, gRPC and plugin routes. As many as you like.",
    settings: { ...gateway.settings, ...withResults },
    async start(config, _, log, stack) {
      const bus = await busOf(config.nats, "gateway", log, stack);
      const running = await gateway.start(config, {
        bus,
        results: await resultsOf(config.clickhouse, log, stack),
        log,
      });
      return Object.assign(running, { address: running.http });
    },
  }),
  serviceCommand({
    name: "registry",
    doc: "Runs the registry: plugins, instances, pipes, pollers, resources. One at a time.",
    settings: { ...registry.settings, ...alone },
    start: async (config, _, log, stack) =>
      registry.start(config, { bus: await busOf(config.nats, "registry", log, stack), log }),
  }),
  serviceCommand({
    name: "scheduler",
    doc: "Runs one scheduler. Of several, one is active and the others stand by.",
    settings: { ...scheduler.settings, ...alone },
    start: async (config, _, log, stack) =>
      scheduler.start(config, { bus: await busOf(config.nats, "scheduler", log, stack), log }),
  }),
  serviceCommand({
    name: "executor",
    doc: "Runs one executor: sandboxes for jobs and calls. As many as you like.",
    settings: { ...executor.settings, ...withResults },
    async start(config, _, log, stack) {
      const bus = await busOf(config.nats, `executor ${randomUUID()}`, log, stack);
      return executor.start(config, { bus, results: await resultsOf(config.clickhouse, log, stack), log });
    },
  }),
];
