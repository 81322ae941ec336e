/** Starts the registry. Reads top to bottom: settings, store, what a crash left, services, loops. */
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { QuarantinesService } from "../../proto/gen/millrace/registry/v1/quarantine_service.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { SecretsService } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import { SECRET_KEY_DOC, SECRET_KEY_ENV } from "../../proto/secrets.ts";
import type { Bus } from "../bus/ports.ts";
import { address, type Config, choice, secret, text, whole } from "../kit/config.ts";
import type { Fault } from "../kit/fault.ts";
import { serve, service } from "../kit/grpc.ts";
import { background, type Running } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { autoload } from "./autoload.ts";
import { BUNDLE_LIMITS } from "./bundle.ts";
import { catalogMethods } from "./catalog.ts";
import { instanceMethods } from "./instances.ts";
import { pipeMethods } from "./pipes.ts";
import { pluginMethods } from "./plugins.ts";
import { pollerMethods } from "./pollers.ts";
import { quarantineMethods } from "./quarantines.ts";
import { recover, resumeRemovals } from "./recovery.ts";
import { resourceMethods, sweepResources } from "./resources.ts";
import { readSecretKeys, sealAnew, secretMethods } from "./secrets.ts";
import { openStore } from "./store.ts";

export const settings = {
  listen: address("REGISTRY_LISTEN", "where to serve gRPC", "127.0.0.1:7402"),
  plugins: text("REGISTRY_PLUGINS", "directory whose *.tgz are published as they come and change", ""),
  defaultGrants: choice(
    "REGISTRY_DEFAULT_GRANTS",
    "what a plugin's default instance is allowed: nothing, or all that its manifest asks for",
    ["none", "manifest"] as const,
    "none",
  ),
  widening: choice(
    "REGISTRY_WIDENING",
    "when a newer version asks for more than the one that an instance runs with all grants: give it, or hold it back",
    ["hold", "allow"] as const,
    "hold",
  ),
  bundleMaxMib: whole("REGISTRY_BUNDLE_MAX_MIB", "largest packed bundle, in MiB", [1, 16], 16),
  secretKey: secret(SECRET_KEY_ENV, SECRET_KEY_DOC),
  sweepMs: whole(
    "REGISTRY_SWEEP_MS",
    "pause between looks for resources past their ttl, in ms",
    [100, 3_600_000],
    30_000,
  ),
};

export interface Ports {
  readonly bus: Bus;
  readonly log: Logger;
}

export async function start(config: Config<typeof settings>, { bus, log }: Ports): Promise<Running> {
  await using stack = new AsyncDisposableStack();
  const closing = new AbortController();
  const secretKeys = readSecretKeys(config.secretKey);
  const store = stack.use(await openStore(bus, config.widening));
  const limits = { ...BUNDLE_LIMITS, packedBytes: config.bundleMaxMib << 20 };
  const rules = { limits, grants: config.defaultGrants };
  const services = [
    service(PluginsService, pluginMethods(store, rules, closing.signal)),
    service(InstancesService, instanceMethods(store, closing.signal)),
    service(PipesService, pipeMethods(store)),
    service(PollersService, pollerMethods(store)),
    service(ResourcesService, resourceMethods(store)),
    service(SecretsService, secretMethods(store, secretKeys)),
    service(QuarantinesService, quarantineMethods(store.quarantine, store.now)),
    service(CatalogService, catalogMethods(store)),
  ];
  await recover(store, rules.grants, log);
  await sealAnew(store, secretKeys, log);
  const server = stack.use(await serve(config.listen, services, { log }));
  // Before the server: a deletion that waits for running work lets go at once.
  stack.defer(() => closing.abort());
  const failed = (fault: Fault) => log.error({ err: fault }, "a loop of the registry ended");
  stack.use(background((signal) => resumeRemovals(store, log, signal), failed));
  stack.use(background((signal) => sweepResources(store, config.sweepMs, log, signal), failed));
  if (config.plugins !== "") stack.use(await autoload(store, config.plugins, rules, log));
  log.info({ address: server.address }, "registry serves");
  const life = stack.move();
  return { address: server.address, [Symbol.asyncDispose]: () => life.disposeAsync() };
}
