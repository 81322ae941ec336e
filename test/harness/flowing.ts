/** Registry, scheduler and executor on one bus, a plugin that writes its rows itself, and the source that it asks. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { settings as executorSettings, start as startExecutor } from "../../services/executor/main.ts";
import { settings as gatewaySettings, start as startGateway } from "../../services/gateway/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { packed } from "./bundle.ts";
import { startServer } from "./http-guest.ts";
import { startRegistry } from "./registry.ts";
import { until } from "./until.ts";

const PANTRY = join(import.meta.dirname, "../plugins/pantry");
export const BEGIN = "2024-01-01T00:00:00Z";
const DAY_MS = 86_400_000;
export const dayOf = (n: number) => `${new Date(Date.parse(BEGIN) + n * DAY_MS).toISOString().slice(0, 10)}T00:00:00Z`;

/** What the plugin finds when it asks; a test changes it as it goes. */
export interface Source {
  /** CSV by begin of the window; bytes are Arrow; a number is the status of an answer without rows. */
  readonly rows: Map<string, string | Buffer | number>;
  /** What `before_sync` hears: a reason, or a status of a failure. */
  before: string | number;
  after: number;
  /** What `after_sync` told. */
  readonly told: string[];
}

export async function openFlow(bus: Bus, results: Results) {
  const stack = new AsyncDisposableStack();
  const listen = "127.0.0.1:0";
  const registry = stack.use(await startRegistry(bus, { defaultGrants: "manifest" }));
  const source: Source = { rows: new Map(), before: "", after: 200, told: [] };
  const server = stack.use(
    await startServer(({ url, body }, response) => {
      const [, door = ""] = url.split("/");
      if (door === "before") {
        const failed = typeof source.before === "number";
        return response.writeHead(failed ? Number(source.before) : 200).end(failed ? "" : source.before);
      }
      if (door === "after") {
        source.told.push(body);
        return response.writeHead(source.after).end();
      }
      const found = source.rows.get(new URL(url, "http://x").searchParams.get("begin") ?? "") ?? 204;
      if (typeof found === "number") return response.writeHead(found).end();
      const type = typeof found === "string" ? "text/csv" : "application/vnd.apache.arrow.stream";
      return response.writeHead(200, { "content-type": type }).end(found);
    }),
  );
  const builder = (await import("../../plugins-sdk/assemblyscript/build.js")) as {
    buildPlugin(folder: string): Promise<{ wasmPath: string }>;
  };
  const bundle = packed([
    { path: "plugin.json", content: await readFile(join(PANTRY, "plugin.json"), "utf8") },
    { path: "plugin.wasm", content: await readFile((await builder.buildPlugin(PANTRY)).wasmPath) },
  ]);
  await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  const instance = Instance.fromPartial({
    ...{ plugin: "plugins/pantry", config: { url: server.url }, grants: { allRequested: true } },
  });
  await registry.call(InstancesService.createInstance, { instanceId: "larder", instance });
  const over = { listen, registry: registry.address };
  const newScheduler = () => startScheduler(readConfig(schedulerSettings, {}, over), { bus, log: silentLog });
  let scheduler = await newScheduler();
  const executor = { ...over, lanes: 1, privateHosts: ["127.0.0.1"] };
  stack.use(await startExecutor(readConfig(executorSettings, {}, executor), { bus, results, log: silentLog }));
  let channel = connect(scheduler.address);
  stack.defer(async () => {
    channel[Symbol.dispose]();
    await scheduler[Symbol.asyncDispose]();
  });
  const call: <I, O>(method: Parameters<typeof ask<I, O>>[1], request: I) => Promise<O> = (method, request) =>
    ask(channel, method, request, { deadlineMs: 10_000 });
  const windows = async (id: string): Promise<Window[]> => {
    const request = { parent: `pipes/${id}`, pageSize: 1_000, pageToken: "", state: WindowState.UNSPECIFIED };
    return (await call(SchedulesService.listWindows, request).catch(() => ({ windows: [] }))).windows;
  };
  const sync = async (id: string, refetch = false, begin?: string, end?: string) => {
    const timestamp = (text: string | undefined) => text && { seconds: BigInt(Date.parse(text) / 1_000), nanos: 0 };
    const range = { begin: timestamp(begin) || undefined, end: timestamp(end) || undefined };
    return call(SchedulesService.syncPipe, { name: `pipes/${id}`, refetch, ...range });
  };
  return {
    source,
    registry,
    call,
    windows,
    sync,
    pipe: async (id: string, parameters: Partial<PipeParameters>) => {
      const [owner = "", metric = ""] = id.split(".");
      const pipe = Pipe.fromPartial({ instance: `instances/${owner}`, metric, parameters });
      await registry.call(PipesService.createPipe, { pipe });
      await until("the scheduler knows the pipe", async () => (await windows(id)).length > 0);
    },
    /** The windows once `enough` says so. */
    become: (id: string, enough: (windows: readonly Window[]) => boolean) =>
      until(`windows of ${id}`, async () => {
        const now = await windows(id);
        return enough(now) && now;
      }),
    /** Syncs and waits until no window is at work. */
    async done(id: string, refetch = false, begin?: string, end?: string) {
      await sync(id, refetch, begin, end);
      return this.become(id, (all) => all.every(({ state }) => state !== WindowState.RUNNING));
    },
    /** The public doors, for whoever asks by REST or by the command line. */
    async gateway() {
      const doors = { http: listen, grpc: listen, registry: registry.address, scheduler: scheduler.address };
      const config = readConfig(gatewaySettings, {}, doors);
      const gateway = stack.use(await startGateway(config, { bus, results, log: silentLog }));
      await until("the gateway is ready", async () => (await fetch(`http://${gateway.http}/readyz`)).ok);
      return gateway;
    },
    /** Another scheduler leads, and knows this pipe. */
    async changeLeader(id: string) {
      channel[Symbol.dispose]();
      await scheduler[Symbol.asyncDispose]();
      scheduler = await newScheduler();
      channel = connect(scheduler.address);
      await until("the new scheduler knows the pipe", async () => (await windows(id)).length > 0);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
