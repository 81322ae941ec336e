/** A platform on one bus whose source counts instead of telling time: entries by their number, and the plugin for them. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { SchedulesService, type SyncPipeRequest } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { settings as executorSettings, start as startExecutor } from "../../services/executor/main.ts";
import { settings as gatewaySettings, start as startGateway } from "../../services/gateway/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { startServer } from "./http-guest.ts";
import { startRegistry } from "./registry.ts";
import { until } from "./until.ts";

const LEDGER = join(import.meta.dirname, "../plugins/ledger");

/** As a test expects them: `0-100 DONE 7`. */
export const shown = (windows: readonly Window[]) =>
  windows.map(({ beginInt, endInt, state, rows }) => {
    const name = Object.entries(WindowState).find(([, value]) => value === state)?.[0];
    return `${beginInt}-${endInt} ${name} ${rows}`;
  });

function askedOf(url: string) {
  const { searchParams } = new URL(url, "http://ledger");
  const number = (name: string) => BigInt(searchParams.get(name) ?? "");
  return { from: number("from"), to: number("to") };
}

/** What the API of a ledger answers: the entries of a range, and the number behind the last of all. */
export function ledgerPage(entries: readonly bigint[], url: string): string {
  const { from, to } = askedOf(url);
  const inside = entries.filter((id) => id >= from && id < to);
  const last = entries.toSorted((a, b) => (a < b ? -1 : 1)).at(-1) ?? from - 1n;
  return JSON.stringify({
    entries: inside.map((id) => ({ id: String(id), value: `v${id}` })),
    next: String(last + 1n),
  });
}

export async function openLedger(bus: Bus, results: Results) {
  const stack = new AsyncDisposableStack();
  const listen = "127.0.0.1:0";
  const registry = stack.use(await startRegistry(bus, { defaultGrants: "manifest" }));
  /** What the source holds; a test changes it as it goes. */
  const entries: bigint[] = [];
  const asked: string[] = [];
  const server = stack.use(
    await startServer(({ url }, response) => {
      const { from, to } = askedOf(url);
      asked.push(`${from}-${to}`);
      response.writeHead(200, { "content-type": "application/json" }).end(ledgerPage(entries, url));
    }),
  );
  const { buildPlugin } = await import("../../plugins-sdk/typescript/build.js");
  const bundle = await readFile((await buildPlugin(LEDGER)).path);
  await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  const over = { listen, registry: registry.address };
  const scheduler = stack.use(await startScheduler(readConfig(schedulerSettings, {}, over), { bus, log: silentLog }));
  const executing = { ...over, lanes: 1, privateHosts: ["127.0.0.1"] };
  stack.use(await startExecutor(readConfig(executorSettings, {}, executing), { bus, results, log: silentLog }));
  const doors = { http: listen, grpc: listen, registry: registry.address, scheduler: scheduler.address };
  const gateway = stack.use(
    await startGateway(readConfig(gatewaySettings, {}, doors), { bus, results, log: silentLog }),
  );
  await until("the gateway is ready", async () => (await fetch(`http://${gateway.http}/readyz`)).ok);
  const channel = stack.use(connect(scheduler.address));
  const windows = async (id: string): Promise<Window[]> => {
    const request = { parent: `pipes/${id}`, pageSize: 1_000, pageToken: "", state: WindowState.UNSPECIFIED };
    return (await ask(channel, SchedulesService.listWindows, request, { deadlineMs: 10_000 })).windows;
  };
  return {
    ...{ entries, asked, registry, gateway, windows },
    async instance(name: string, config: object = {}): Promise<void> {
      const grants = { allRequested: true };
      const instance = Instance.fromPartial({
        plugin: "plugins/ledger",
        config: { url: server.url, ...config },
        grants,
      });
      await registry.call(InstancesService.createInstance, { instanceId: name, instance });
    },
    async pipe(id: string, parameters: Partial<PipeParameters> = {}): Promise<void> {
      const [owner = "", metric = ""] = id.split(".");
      const pipe = Pipe.fromPartial({ instance: `instances/${owner}`, metric, parameters });
      await registry.call(PipesService.createPipe, { pipe });
      await until("the scheduler knows the pipe", () => windows(id).catch(() => undefined));
    },
    sync: (id: string, over: Partial<SyncPipeRequest> = {}) => {
      const request = { name: `pipes/${id}`, begin: undefined, end: undefined, refetch: false, ...over };
      return ask(channel, SchedulesService.syncPipe, request, { deadlineMs: 10_000 });
    },
    /** Once the windows stand so, and none is at work. */
    become: (id: string, expected: readonly string[]) =>
      until(`windows of ${id} are ${expected.join(", ")}`, async () => {
        const now = shown(await windows(id));
        if (now.join() === expected.join()) return now;
        throw new Error(now.join(", "));
      }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
