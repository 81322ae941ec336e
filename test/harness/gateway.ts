/** A gateway before a real registry, scheduler and bus; small executors that answer with a function; how to ask it. */
import {
  type ExecutorsServer,
  ExecutorsService,
  type Failure,
  type Invoke,
  type ServeRequest,
  type ServeResponse,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { BUCKETS, EXECUTOR_TTL_MS } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { type Gateway, settings, start } from "../../services/gateway/main.ts";
import { type Config, readConfig } from "../../services/kit/config.ts";
import { type Methods, serve, service } from "../../services/kit/grpc.ts";
import type { Running } from "../../services/kit/lifecycle.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { bundleOf, moduleOf } from "./bundle.ts";
import { embeddedGround } from "./bus-ground.ts";
import { startRegistry } from "./registry.ts";
import { until } from "./until.ts";

export interface World extends AsyncDisposable {
  readonly url: string;
  readonly gateway: Gateway;
  readonly bus: Bus;
  /** Address of the registry. */
  readonly registry: string;
  publish(bundle: Buffer): Promise<void>;
}

/** Everything behind the gateway, and one gateway. */
export async function startWorld(results: Results, over: Partial<Config<typeof settings>> = {}): Promise<World> {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await embeddedGround());
  const registry = stack.use(await startRegistry(bus));
  const behind = { listen: "127.0.0.1:0", registry: registry.address };
  const scheduler = stack.use(await startScheduler(readConfig(schedulerSettings, {}, behind), { bus, log: silentLog }));
  const config = readConfig(
    settings,
    {},
    {
      ...{ http: "127.0.0.1:0", grpc: "127.0.0.1:0", registry: registry.address, scheduler: scheduler.address },
      ...over,
    },
  );
  const gateway = stack.use(await start(config, { bus, results, log: silentLog }));
  const url = `http://${gateway.http}`;
  await until("the gateway knows the catalogue", async () => (await fetch(`${url}/readyz`)).ok);
  return {
    url,
    gateway,
    bus,
    registry: registry.address,
    async publish(bundle) {
      const request = { bundle, validateOnly: false };
      const { instance } = await registry.call(PluginsService.publishPlugin, request);
      const id = instance.replace(/^instances\//, "");
      // 503 says that its page is known to this gateway but cannot be served; 404 that it is not known yet.
      await until(`the gateway knows ${id}`, async () => {
        const answer = await fetch(`${url}/plugins/${id}`, { redirect: "manual" });
        await answer.arrayBuffer();
        return answer.status === 308;
      });
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export type Answer = { readonly output: unknown } | { readonly failure: Partial<Failure> };
export type Guest = (
  invoke: Invoke & { readonly json: Record<string, unknown> },
  cancelled: AbortSignal,
) => Promise<Answer>;

/** A real gRPC server that speaks executor.v1 and answers with a function instead of a guest. */
export async function startExecutor(bus: Bus, id: string, guest: Guest, capacity = 4): Promise<Running> {
  const methods: Methods<ExecutorsServer> = {
    async *serve(requests, { signal }) {
      const out = new TransformStream<ServeResponse, ServeResponse>();
      const writer = out.writable.getWriter();
      const write = (response: ServeResponse) => writer.write(response).catch(() => {});
      const calls = new Map<bigint, AbortController>();
      const read = async () => {
        for await (const { callId, kind } of requests as AsyncIterable<ServeRequest>) {
          if (kind?.$case === "cancel") calls.get(callId)?.abort();
          if (kind?.$case !== "invoke") continue;
          const cancel = new AbortController();
          calls.set(callId, cancel);
          const json = JSON.parse(Buffer.from(kind.value.input).toString("utf8")) as Record<string, unknown>;
          void guest({ ...kind.value, json }, cancel.signal).then((answer) => {
            const failed = { code: "internal", message: "", outcome: "", runId: "", guestCode: "" };
            return write({
              callId,
              kind:
                "failure" in answer
                  ? { $case: "failure", value: { ...failed, ...answer.failure } }
                  : { $case: "result", value: { output: Buffer.from(JSON.stringify(answer.output)), runId: "web/1" } },
            });
          });
        }
      };
      read().catch(() => {});
      signal.addEventListener("abort", () => void writer.abort().catch(() => {}), { once: true });
      yield { callId: 0n, kind: { $case: "hello", value: { executor: id, capacity } } };
      yield* out.readable;
    },
  };
  const server = await serve("127.0.0.1:0", [service(ExecutorsService, methods)], { log: silentLog, drainMs: 50 });
  const kv = await bus.kv(BUCKETS.executors, { ttlMs: EXECUTOR_TTL_MS });
  await kv.put(id, Buffer.from(JSON.stringify({ address: server.address })));
  return server;
}

export const connected = (url: string, count: number) =>
  until(`${count} executors are connected`, async () =>
    (await (await fetch(`${url}/metrics`)).text()).includes(`\nmillrace_executors ${count}\n`),
  );

export const ROUTES = [
  { method: "GET", path: "/api/{name}", auth: "public", timeout: "2s" },
  { method: "POST", path: "/api/{name}", auth: "public", timeout: "2s", max_body_bytes: 1_000 },
  { method: "GET", path: "/secret", timeout: "2s" },
];
export const INDEX = "<!doctype html><title>web</title>";
const FILES = { "static/index.html": INDEX, "static/a/é b.txt": "0123456789", "static/app.js": "export {}" };
export const web = (routes: readonly object[] = ROUTES) =>
  bundleOf({ name: "web", interfaces: { route: { routes } } }, { "plugin.wasm": moduleOf("route"), ...FILES });

export const json = async (response: Response) => ({
  status: response.status,
  body: JSON.parse(await response.text()),
});
export const post = (url: string, body: string | Uint8Array, type = "application/json") =>
  fetch(url, { method: "POST", body, headers: { "content-type": type } });
