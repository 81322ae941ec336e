/** A gateway, an executor and the guest `capable`, which asks the host for whatever it is told to. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import type { Bus } from "../../services/bus/ports.ts";
import type { settings as executorSettings } from "../../services/executor/main.ts";
import { settings, start } from "../../services/gateway/main.ts";
import { type Config, readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { packed } from "./bundle.ts";
import { embeddedGround } from "./bus-ground.ts";
import { type Executing, openExecuting } from "./executing.ts";
import { until } from "./until.ts";

const FOLDER = join(import.meta.dirname, "../plugins/capable");

/** What a host function answered the guest. */
export interface Asked {
  readonly ok?: Record<string, unknown>;
  readonly error?: { readonly code: string; readonly message: string; readonly retryable: boolean };
}

export interface Capable extends AsyncDisposable {
  readonly url: string;
  readonly grpc: string;
  readonly bus: Bus;
  readonly executing: Executing;
  /** Another instance; granted everything that the manifest asks, unless told otherwise. */
  instance(id: string, only?: Partial<Permissions>): Promise<void>;
  /** A function over HTTP, with the status and the answer. */
  call(fn: string, input: unknown, instance?: string): Promise<{ status: number; body: Record<string, unknown> }>;
  /** A host function, asked by the guest. */
  ask(name: string, request: unknown, more?: { instance?: string; times?: number }): Promise<Asked>;
}

export async function openCapable(
  results: Results,
  over: Partial<Config<typeof executorSettings>> = {},
): Promise<Capable> {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await embeddedGround());
  const executing = stack.use(await openExecuting(bus, results));
  const { registry } = executing;
  await registry.call(PluginsService.publishPlugin, { bundle: await bundle(), validateOnly: false }, 30_000);
  await executing.executor({ lanes: 2, ...over });
  const config = readConfig(settings, {}, { http: "127.0.0.1:0", grpc: "127.0.0.1:0", registry: registry.address });
  const gateway = stack.use(await start(config, { bus, results, log: silentLog }));
  const url = `http://${gateway.http}`;
  const call = async (fn: string, input: unknown, instance = "capable") => {
    const body = JSON.stringify(input);
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${url}/v1/instances/${instance}/functions/${fn}:call`, {
      method: "POST",
      body,
      headers,
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const known = (instance: string) =>
    until(`${instance} answers`, async () => (await call("echo", 1, instance)).status === 200);
  await known("capable");
  return {
    ...{ url, grpc: gateway.grpc, bus, executing, call },
    async instance(instanceId, only) {
      const grants = only
        ? { allRequested: false, only: Permissions.fromPartial(only) }
        : { allRequested: true, only: undefined };
      await executing.instance(instanceId, {}, { plugin: "plugins/capable", grants });
      await known(instanceId);
    },
    async ask(name, request, { instance = "capable", times = 1 } = {}) {
      const { status, body } = await call("ask", { name, request, times }, instance);
      if (status !== 200) throw new Error(JSON.stringify(body));
      return body.output as Asked;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function bundle(): Promise<Buffer> {
  const wasm = await readFile((await buildPlugin(FOLDER)).wasmPath);
  const manifest = await readFile(join(FOLDER, "plugin.json"));
  return packed([
    { path: "plugin.json", content: manifest },
    { path: "plugin.wasm", content: wasm },
  ]);
}
