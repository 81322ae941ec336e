/** All services composed in one process: what `millrace dev` runs, and what the system tests start. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { openBus } from "../bus/open.ts";
import type { Bus } from "../bus/ports.ts";
import * as executor from "../executor/main.ts";
import * as gateway from "../gateway/main.ts";
import { readConfig, whole } from "../kit/config.ts";
import type { Logger } from "../kit/log.ts";
import * as registry from "../registry/main.ts";
import { openResults, type Results, startClickHouse } from "../results/results.ts";
import * as scheduler from "../scheduler/main.ts";
import { secretKeyOf } from "./secret-key.ts";

/** What the embedded stores read. */
export const embeddedSettings = {
  memoryMib: whole(
    "CLICKHOUSE_MEMORY_MIB",
    "memory that the embedded ClickHouse may take, in MiB",
    [512, 1 << 20],
    2_048,
  ),
};

export interface PlatformOptions {
  /** Where the embedded stores live. */
  readonly folder: string;
  /** `host:port` of the two doors; port 0 picks a free one. */
  readonly http: string;
  readonly grpc: string;
  readonly log: Logger;
  /** Settings beyond these come from here, under their own names. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Use these stores instead of embedded ones. They stay the caller's. */
  readonly bus?: Bus;
  readonly results?: Results;
  /** Told when a guest's thread cannot be ended: this process will not end in order any more. */
  readonly onStuck?: () => void;
}

export interface Platform extends AsyncDisposable {
  readonly http: string;
  readonly grpc: string;
  readonly bus: Bus;
  readonly results: Results;
}

const LOOPBACK = "127.0.0.1:0";
/** In dev, guests may reach servers of this machine; the manifest and the grant must still name them. */
const DEV_PRIVATE_HOSTS = ["127.0.0.1", "::1", "localhost"];

/** Errors: `precondition` when another process has the folder; `unavailable` when a port is taken. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { folder, env, log } = options;
  await using stack = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true });
  // The bus first: its lock says at once, and by name, who has the folder.
  const bus = options.bus ?? stack.use(await openBus({ file: join(folder, "bus.sqlite"), log }));
  const results = options.results ?? (await openEmbeddedResults(stack, join(folder, "clickhouse"), env, log));

  const ports = { bus, results, log };
  const secretKey = await secretKeyOf(folder, env);
  const registryConfig = readConfig(registry.settings, env, {
    listen: LOOPBACK,
    secretKey,
    defaultGrants: env.REGISTRY_DEFAULT_GRANTS === "none" ? "none" : "manifest",
    widening: env.REGISTRY_WIDENING === "hold" ? "hold" : "allow",
  });
  const { address: registryAddress } = stack.use(await registry.start(registryConfig, ports));
  const schedulerConfig = readConfig(scheduler.settings, env, { listen: LOOPBACK, registry: registryAddress });
  const { address: schedulerAddress } = stack.use(await scheduler.start(schedulerConfig, ports));
  const executorConfig = readConfig(executor.settings, env, {
    listen: LOOPBACK,
    registry: registryAddress,
    secretKey,
    ...(env.EXECUTOR_PRIVATE_HOSTS === undefined && { privateHosts: DEV_PRIVATE_HOSTS }),
  });
  stack.use(await executor.start(executorConfig, { ...ports, ...(options.onStuck && { onStuck: options.onStuck }) }));
  const doors = { http: options.http, grpc: options.grpc };
  const gatewayConfig = readConfig(gateway.settings, env, {
    ...doors,
    registry: registryAddress,
    scheduler: schedulerAddress,
  });
  const { http, grpc } = stack.use(await gateway.start(gatewayConfig, ports));
  const life = stack.move();
  return { http, grpc, bus, results, [Symbol.asyncDispose]: () => life.disposeAsync() };
}

async function openEmbeddedResults(
  stack: AsyncDisposableStack,
  folder: string,
  env: PlatformOptions["env"],
  log: Logger,
): Promise<Results> {
  const { memoryMib } = readConfig(embeddedSettings, env);
  const server = stack.use(await startClickHouse({ folder, port: 0, memoryMib, log }));
  return stack.use(await openResults({ url: server.url, readerUrl: server.readerUrl, log }));
}
