/**
 * What does a plugin route cost next to a bare Fastify hello? Workload: GET /plugins/kitchen/hello, answered by a guest
 * in a fresh instance, through gateway, gRPC stream, executor and lane, with each call's history written to ClickHouse
 * behind it; against Fastify answering "hello" itself. Each arm is a process of its own; this one is the client: a
 * closed loop over 1, 8 and 32 kept-alive connections.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Fastify from "fastify";
import { Agent, request } from "undici";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { settings as executorSettings, start as startExecutor } from "../../services/executor/main.ts";
import { settings, start } from "../../services/gateway/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { startRegistry } from "../harness/registry.ts";
import { until } from "../harness/until.ts";
import { type Row, report } from "./report.ts";

const CONNECTIONS = [1, 8, 32];
const WARM_UP_MS = 1_500;
const MEASURE_MS = 4_000;
const ROUNDS = 2;
const READY_MS = 90_000;

async function bare(stack: AsyncDisposableStack): Promise<string> {
  const app = Fastify({ logger: false });
  app.get("/", async () => "hello");
  stack.defer(() => app.close());
  return `${await app.listen({ host: "127.0.0.1", port: 0 })}/`;
}

async function chain(stack: AsyncDisposableStack): Promise<string> {
  const { bus } = stack.use(await embeddedGround());
  const results = stack.use(await openTestResults(stack.use(await startTestClickHouse())));
  const registry = stack.use(await startRegistry(bus));
  const { address } = registry;
  const ports = { bus, results, log: silentLog };
  const lane = { listen: "127.0.0.1:0", registry: address, lanes: 1 };
  stack.use(await startExecutor(readConfig(executorSettings, {}, lane), ports));
  const doors = { http: "127.0.0.1:0", grpc: "127.0.0.1:0", registry: address, scheduler: "127.0.0.1:1" };
  const gateway = stack.use(await start(readConfig(settings, {}, doors), ports));
  const built = await buildPlugin(join(import.meta.dirname, "../plugins/kitchen"));
  await registry.call(
    PluginsService.publishPlugin,
    { bundle: await readFile(built.path), validateOnly: false },
    30_000,
  );
  const url = `http://${gateway.http}/plugins/kitchen/hello`;
  await until("the route answers", async () => (await fetch(url)).ok, READY_MS);
  return url;
}

interface Figures {
  readonly ratePerS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU of the arm's process, all its threads, for one request. Holds on a busy machine too, where rates do not. */
  readonly cpuUs: number;
}

async function drive({ url, child }: Arm, connections: number): Promise<Figures> {
  const dispatcher = new Agent({ connections, pipelining: 1 });
  const tookMs: number[] = [];
  const loop = async (untilMs: number, keep: boolean) => {
    while (performance.now() < untilMs) {
      const began = performance.now();
      const { statusCode, body } = await request(url, { dispatcher });
      const text = await body.text();
      if (statusCode !== 200 || text !== "hello") throw new Error(`${url} answered ${statusCode}: ${text}`);
      if (keep) tookMs.push(performance.now() - began);
    }
  };
  const all = (ms: number, keep: boolean) => {
    const untilMs = performance.now() + ms;
    return Promise.all(Array.from({ length: connections }, () => loop(untilMs, keep)));
  };
  await all(WARM_UP_MS, false);
  const began = performance.now();
  const cpuBefore = await cpuOf(child);
  await all(MEASURE_MS, true);
  const cpuUs = ((await cpuOf(child)) - cpuBefore) / tookMs.length;
  const ratePerS = (tookMs.length / (performance.now() - began)) * 1_000;
  await dispatcher.close();
  tookMs.sort((a, b) => a - b);
  const at = (share: number) => tookMs[Math.floor(tookMs.length * share)] as number;
  return { ratePerS, p50Ms: at(0.5), p99Ms: at(0.99), cpuUs };
}

async function serveArm(name: "bare" | "chain"): Promise<void> {
  await using stack = new AsyncDisposableStack();
  process.send?.(await (name === "bare" ? bare(stack) : chain(stack)));
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
  await once(process, "disconnect");
}

/** Microseconds so far. */
async function cpuOf(child: ChildProcess): Promise<number> {
  child.send("cpu");
  const [us] = await once(child, "message", { signal: AbortSignal.timeout(READY_MS) });
  return us as number;
}

interface Arm {
  readonly url: string;
  readonly child: ChildProcess;
}

async function startArm(name: "bare" | "chain"): Promise<Arm> {
  const child = fork(import.meta.filename, [name], { execPath: process.execPath });
  const [url] = await once(child, "message", { signal: AbortSignal.timeout(READY_MS) });
  return { url: url as string, child };
}

async function compare(): Promise<void> {
  const arms = [await startArm("bare"), await startArm("chain")] as const;
  const rows: Row[] = [];
  try {
    for (const connections of CONNECTIONS) {
      const seen: [Figures[], Figures[]] = [[], []];
      // A B A B, so that drift of the machine shows as noise and not as a difference.
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const arm of [0, 1] as const) seen[arm].push(await drive(arms[arm], connections));
      }
      const add = (name: string, unit: string, [a, b]: readonly number[]) => {
        const value = ((a as number) + (b as number)) / 2;
        rows.push({ name, unit, value, aa: Math.abs((a as number) - (b as number)) / value });
      };
      const at = `${connections} connection${connections === 1 ? "" : "s"}`;
      const [plain, routed] = seen;
      add(
        `${at}: bare Fastify`,
        "requests/s",
        plain.map(({ ratePerS }) => ratePerS),
      );
      add(
        `${at}: plugin route`,
        "requests/s",
        routed.map(({ ratePerS }) => ratePerS),
      );
      add(
        `${at}: route / bare`,
        "of the rate",
        routed.map(({ ratePerS }, round) => ratePerS / (plain[round] as Figures).ratePerS),
      );
      add(
        `${at}: bare, p50`,
        "ms",
        plain.map(({ p50Ms }) => p50Ms),
      );
      add(
        `${at}: route, p50`,
        "ms",
        routed.map(({ p50Ms }) => p50Ms),
      );
      const cpu = (figures: readonly Figures[]) => figures.map(({ cpuUs }) => cpuUs);
      add(`${at}: bare, CPU a request`, "µs", cpu(plain));
      add(`${at}: route, CPU a request`, "µs", cpu(routed));
      add(
        `${at}: route, p99`,
        "ms",
        routed.map(({ p99Ms }) => p99Ms),
      );
    }
  } finally {
    for (const { child } of arms) child.disconnect();
    await Promise.all(arms.map(({ child }) => (child.exitCode === null ? once(child, "exit") : undefined)));
  }
  report({ question: "What does a plugin route cost next to a bare Fastify hello?", rows });
}

const [arm] = process.argv.slice(2);
await (arm === "bare" || arm === "chain" ? serveArm(arm) : compare());
