/** What the platform has, read through its API, and how each of it is removed. */
import type { Instance } from "../../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../../proto/gen/millrace/registry/v1/instance_service.ts";
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../../proto/gen/millrace/registry/v1/pipe_service.ts";
import type { Plugin } from "../../../proto/gen/millrace/registry/v1/plugin.ts";
import { PluginsService } from "../../../proto/gen/millrace/registry/v1/plugin_service.ts";
import type { Poller } from "../../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../../proto/gen/millrace/registry/v1/poller_service.ts";
import type { Resource } from "../../../proto/gen/millrace/registry/v1/resource.ts";
import { ResourcesService } from "../../../proto/gen/millrace/registry/v1/resource_service.ts";
import type { Secret } from "../../../proto/gen/millrace/registry/v1/secret.ts";
import { SecretsService } from "../../../proto/gen/millrace/registry/v1/secret_service.ts";
import { MaintenanceService } from "../../../proto/gen/millrace/results/v1/maintenance_service.ts";
import { Fault } from "../../kit/fault.ts";
import { type Api, pages } from "../api.ts";
import { DELETE_DEADLINE_MS, PAGE } from "../collection.ts";
import { instanceFacets, pipeFacets, pollerFacets, resourceFacets } from "./facets.ts";
import type { Facets, Live } from "./item.ts";

/** Dropping a table. */
const DROP_MS = 600_000;

export async function readLive(api: Api): Promise<Live[]> {
  const page = async <T>(next: (token: string) => Promise<{ readonly items: readonly T[]; nextPageToken: string }>) =>
    (await pages(next)).flatMap(({ items }) => items);
  const [secrets, plugins, instances, resources, pipes, pollers] = await Promise.all([
    page(async (pageToken) => {
      const { secrets: items, nextPageToken } = await api.call(SecretsService.listSecrets, { ...PAGE, pageToken });
      return { items, nextPageToken };
    }),
    page(async (pageToken) => {
      const { plugins: items, nextPageToken } = await api.call(PluginsService.listPlugins, { ...PAGE, pageToken });
      return { items, nextPageToken };
    }),
    page(async (pageToken) => {
      const { instances: items, nextPageToken } = await api.call(InstancesService.listInstances, {
        ...PAGE,
        pageToken,
      });
      return { items, nextPageToken };
    }),
    page(async (pageToken) => {
      const { resources: items, nextPageToken } = await api.call(ResourcesService.listResources, {
        ...PAGE,
        pageToken,
        filter: "",
      });
      return { items, nextPageToken };
    }),
    page(async (pageToken) => {
      const { pipes: items, nextPageToken } = await api.call(PipesService.listPipes, { ...PAGE, pageToken });
      return { items, nextPageToken };
    }),
    page(async (pageToken) => {
      const { pollers: items, nextPageToken } = await api.call(PollersService.listPollers, { ...PAGE, pageToken });
      return { items, nextPageToken };
    }),
  ]);
  return [
    ...secrets.map(liveSecret),
    ...plugins.map(livePlugin),
    ...instances.map(liveInstance),
    ...resources.map(liveResource),
    ...pipes.map(livePipe),
    ...pollers.map(livePoller),
  ];
}

const core = ({ name, etag, managedBy }: Pick<Live, "name" | "etag" | "managedBy">) => ({ name, etag, managedBy });

/** Undefined when it is not there. */
async function orGone<T>(work: Promise<T>): Promise<T | undefined> {
  return await work.catch((thrown) => {
    if (Fault.from(thrown).code === "not_found") return undefined;
    throw thrown;
  });
}

function liveInstance(instance: Instance): Live {
  const { name } = instance;
  return {
    ...core(instance),
    facets: instanceFacets(instance, true),
    remove: (api, { etag }) =>
      api.call(InstancesService.deleteInstance, { name, etag, cascade: false }, DELETE_DEADLINE_MS),
    async again(api) {
      const found = await orGone(api.call(InstancesService.getInstance, { name }));
      return found?.instance && liveInstance(found.instance);
    },
  };
}

function livePipe(pipe: Pipe): Live {
  const { name } = pipe;
  return {
    ...core(pipe),
    facets: pipeFacets(pipe, true),
    remove: async (api, { etag, data }) => {
      if (!data) return api.call(PipesService.deletePipe, { name, etag });
      return api.call(MaintenanceService.dropPipe, { name }, DROP_MS);
    },
    async again(api) {
      const found = await orGone(api.call(PipesService.getPipe, { name }));
      return found?.pipe && livePipe(found.pipe);
    },
  };
}

function livePoller(poller: Poller): Live {
  const { name } = poller;
  return {
    ...core(poller),
    facets: pollerFacets(poller, true),
    remove: (api, { etag }) => api.call(PollersService.deletePoller, { name, etag }),
    async again(api) {
      const found = await orGone(api.call(PollersService.getPoller, { name }));
      return found?.poller && livePoller(found.poller);
    },
  };
}

function liveResource(resource: Resource): Live {
  const { name } = resource;
  return {
    ...core(resource),
    // What a discovery found is the discovery's.
    managedBy: resource.origin || resource.managedBy,
    facets: resourceFacets(resource),
    remove: (api, { etag }) => api.call(ResourcesService.deleteResource, { name, etag }),
    async again(api) {
      const found = await orGone(api.call(ResourcesService.getResource, { name }));
      return found?.resource && liveResource(found.resource);
    },
  };
}

/** Whether its value differs is asked for by itself: values go in and never come out. */
function liveSecret(secret: Secret): Live {
  const { name, hosts, managedBy } = secret;
  return {
    ...core(secret),
    facets: secretFacets(hosts, managedBy),
    remove: (api, { etag }) => api.call(SecretsService.deleteSecret, { name, etag }),
    async again(api) {
      const all = await pages((pageToken) => api.call(SecretsService.listSecrets, { ...PAGE, pageToken }));
      const found = all.flatMap((page) => page.secrets).find((one) => one.name === name);
      return found && liveSecret(found);
    },
  };
}

function livePlugin(plugin: Plugin): Live {
  const { name } = plugin;
  return {
    ...core(plugin),
    facets: {},
    remove: (api, { etag }) =>
      api.call(PluginsService.deletePlugin, { name, etag, cascade: false }, DELETE_DEADLINE_MS),
    async again(api) {
      const found = await orGone(api.call(PluginsService.getPlugin, { name }));
      return found?.plugin && livePlugin(found.plugin);
    },
  };
}

export const secretFacets = (hosts: readonly string[], managedBy: string): Facets => ({
  hosts: [...hosts],
  managed_by: managedBy,
});
