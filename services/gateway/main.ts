/** Starts the gateway. Reads top to bottom: settings, ports, service. */

import { type CatalogChange, catalogChange, type Entity } from "../../proto/catalog.ts";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { BLOBS, BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import type { Bus } from "../bus/ports.ts";
import { address, type Config, list, secret, text, whole } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";
import { connect, listen } from "../kit/grpc.ts";
import type { Logger } from "../kit/log.ts";
import { mirror } from "../kit/mirror.ts";
import type { Results } from "../results/records.ts";
import { loadApi } from "./api.ts";
import { requireToken, gate as tokenGate } from "./auth.ts";
import { local, remote, route } from "./back-ends.ts";
import { contextsService } from "./contexts-service.ts";
import { followExecutors } from "./executors.ts";
import { openFreshness } from "./freshness-service.ts";
import { executorServices } from "./functions-service.ts";
import { openHttp } from "./http.ts";
import { gatewayMetrics } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import { landingPage, readPages } from "./pages.ts";
import { pluginRoutes } from "./plugin-routes.ts";
import { servePublicGrpc } from "./public-grpc.ts";
import { readiness } from "./readiness.ts";
import { recordingService } from "./recordings-service.ts";
import { resultServices } from "./results-service.ts";
import { blobCache } from "./static-files.ts";
import { sweeping } from "./sweep.ts";

export const settings = {
  http: address("GATEWAY_HTTP", "host:port to serve HTTP on; port 0 picks a free one", "127.0.0.1:7400"),
  grpc: address("GATEWAY_GRPC", "host:port to serve the public gRPC API on", "127.0.0.1:7401"),
  registry: text("REGISTRY_ADDRESS", "host:port of the registry", "127.0.0.1:7402"),
  scheduler: text("SCHEDULER_ADDRESS", "host:port of the scheduler, or of several, with commas", "127.0.0.1:7403"),
  token: secret("MILLRACE_TOKEN", "bearer token for API and plugin routes; required when others can reach the gateway"),
  hosts: list("GATEWAY_HOSTS", "names by which the gateway may be called, beside those of loopback"),
  maxInFlight: whole("GATEWAY_MAX_IN_FLIGHT", "HTTP requests answered at once; more are refused", [1, 100_000], 2_000),
  drainMs: whole("GATEWAY_DRAIN_MS", "milliseconds that running requests get to finish on close", [0, 600_000], 10_000),
};

export interface Ports {
  readonly bus: Bus;
  readonly results: Results;
  readonly log: Logger;
}

export interface Gateway extends AsyncDisposable {
  /** `host:port` of each door, with its real port. */
  readonly http: string;
  readonly grpc: string;
}

const API_VERSION = "0.1.0";

/**
 * Errors: `precondition` when others can reach a door and there is no token; `unavailable` when a port is taken. A
 * back end that is away is no error: readiness says so, and its calls are answered `unavailable` until it comes.
 */
export async function start(config: Config<typeof settings>, { bus, results, log }: Ports): Promise<Gateway> {
  requireToken(config.token, { GATEWAY_HTTP: config.http, GATEWAY_GRPC: config.grpc });
  await using stack = new AsyncDisposableStack();
  const api = loadApi();
  const gate = tokenGate(config.token);
  const registry = stack.use(connect(config.registry));
  const scheduler = stack.use(connect(config.scheduler));
  const catalog = stack.use(
    mirror<Entity>(
      "catalogue",
      (signal) => changes(listen(registry, CatalogService.watchCatalog, {}, { signal })),
      log,
    ),
  );
  const executors = stack.use(followExecutors(bus, log));
  const dataPorts = {
    ...{ results, catalog, registry },
    locks: () => bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS }),
    windows: () => bus.kv(BUCKETS.windows),
  };
  stack.use(sweeping(results, log));
  const freshness = openFreshness({ results, catalog });
  const backEnd = route(
    new Map([
      ["millrace.registry.v1", remote(registry)],
      ["millrace.scheduler.v1", remote(scheduler)],
      ["millrace.results.v1", local([...resultServices(dataPorts), freshness.service, recordingService(bus)])],
      [
        "millrace.executor.v1",
        local([...executorServices({ catalog, executors, events: bus.events }), contextsService({ bus, catalog })]),
      ],
    ]),
  );
  const readBlob = blobCache(async (digest) => (await bus.blobs(BLOBS)).get(digest));
  const metrics = gatewayMetrics();
  let draining = false;
  const look = () => readiness({ registry, scheduler, bus, results, catalog, executors }, draining);
  const http = stack.use(
    await openHttp({
      listen: config.http,
      hosts: config.hosts,
      maxInFlight: config.maxInFlight,
      drainMs: config.drainMs,
      api,
      openApi: JSON.stringify(openApi(api, API_VERSION, gate.closed)),
      backEnd,
      gate,
      plugins: pluginRoutes({ catalog, executors, gate, readBlob, log }),
      metrics,
      metricsText: async () => metrics.text(executors.state()) + (await freshness.text()),
      readiness: look,
      pages: await readPages(),
      landing: (mayList) => landingPage(catalog, mayList),
      log,
    }),
  );
  const grpc = stack.use(
    await servePublicGrpc({
      listen: config.grpc,
      api,
      backEnd,
      gate,
      readiness: look,
      partOf: new Map([
        ["millrace.registry.v1", "registry"],
        ["millrace.scheduler.v1", "scheduler"],
        ["millrace.results.v1", "clickhouse"],
        ["millrace.executor.v1", "executors"],
      ]),
      log,
      drainMs: config.drainMs,
    }).catch((thrown) => {
      const fault = Fault.from(thrown);
      throw new Fault(fault.code, `GATEWAY_GRPC: ${fault.message}`, { cause: fault });
    }),
  );
  log.info({ http: http.address, grpc: grpc.address }, "gateway serves");
  const life = stack.move();
  return {
    http: http.address,
    grpc: grpc.address,
    async [Symbol.asyncDispose]() {
      // First say so, so that a load balancer sends no more; then finish; then close, newest first.
      draining = true;
      await http.drain();
      await life.disposeAsync();
    },
  };
}

async function* changes(responses: AsyncIterable<Parameters<typeof catalogChange>[0]>): AsyncGenerator<CatalogChange> {
  for await (const response of responses) {
    const change = catalogChange(response);
    if (change) yield change;
  }
}
