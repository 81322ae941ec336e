/** The collections of the registry: what their lists show and by which methods they are reached. */
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Plugin, PluginState } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Poller, PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { FreshnessService, type PipeFreshness } from "../../proto/gen/millrace/results/v1/freshness_service.ts";
import { bare } from "../../proto/names.ts";
import { formatDuration } from "../kit/time.ts";
import { enumName } from "./api.ts";
import { type Collection, commandsOf, DELETE_DEADLINE_MS, firstLine, PAGE } from "./collection.ts";
import type { Command } from "./command.ts";

const STATE = ["state", "state_reason"];
const cascade = (doc: string) => ({ cascade: { type: "boolean", doc } }) as const;

const MS_PER_S = 1_000;
const UNITS_S = [86_400, 3_600, 60];

/** `2h ago`, `2h ago, late: over 1h`, `never`. */
function freshText({ fetchedUntil, ageSeconds, objectiveSeconds, late }: PipeFreshness): string {
  // One unit is enough: nobody asks for the seconds of days.
  const unit = (seconds: number) => UNITS_S.find((one) => seconds >= 2 * one) ?? 1;
  const span = (seconds: number) => {
    const step = unit(seconds);
    return formatDuration(Math.floor(seconds / step) * step * MS_PER_S);
  };
  const age = fetchedUntil ? `${span(ageSeconds)} ago` : "never";
  return late ? `${age}, late: over ${span(objectiveSeconds)}` : age;
}

const plugins: Collection<Plugin> = {
  noun: "plugin",
  lists: "plugins with their newest version and state",
  type: "millrace.registry.v1.Plugin",
  codec: Plugin,
  columns: {
    version: (p) => p.latestVersion,
    state: (p) => enumName(PluginState, p.state),
    quarantined: (p) => p.quarantines.map(({ name }) => name.slice(name.lastIndexOf("/") + 1)).join(" "),
    interfaces: (p) => p.interfaces.join(" "),
    description: (p) => firstLine(p.stateReason) || p.description,
  },
  async list(api, pageToken) {
    const page = await api.call(PluginsService.listPlugins, { ...PAGE, pageToken });
    return { items: page.plugins, nextPageToken: page.nextPageToken };
  },
  deletion: {
    doc: "Removes a plugin with its versions, once running calls have drained. Stored rows stay.",
    flags: cascade("also its instances, their pipes and pollers"),
    run: (api, name, flags) =>
      api.call(PluginsService.deletePlugin, { name, cascade: flags.cascade === true, etag: "" }, DELETE_DEADLINE_MS),
  },
};

const instances: Collection<Instance> = {
  noun: "instance",
  lists: "instances: plugins with a config",
  type: "millrace.registry.v1.Instance",
  codec: Instance,
  columns: {
    plugin: (i) => bare(i.plugin),
    version: (i) => i.runningVersion,
    state: (i) => enumName(InstanceState, i.state),
    reason: (i) => firstLine(i.stateReason),
  },
  narrowed: "tags",
  async list(api, pageToken, filter) {
    const page = await api.call(InstancesService.listInstances, { ...PAGE, pageToken, filter });
    return { items: page.instances, nextPageToken: page.nextPageToken };
  },
  get: async (api, name) => (await api.call(InstancesService.getInstance, { name })).instance,
  async setPaused(api, name, paused, stateReason) {
    const state = paused ? InstanceState.PAUSED : InstanceState.ENABLED;
    const instance = Instance.fromPartial({ name, state, stateReason });
    return (await api.call(InstancesService.updateInstance, { instance, updateMask: STATE })).instance;
  },
  deletion: {
    doc: "Deletes an instance, once running calls have drained. Stored rows stay.",
    flags: cascade("also its pipes and pollers"),
    run: (api, name, flags) =>
      api.call(
        InstancesService.deleteInstance,
        { name, cascade: flags.cascade === true, etag: "" },
        DELETE_DEADLINE_MS,
      ),
  },
};

const pipes: Collection<Pipe> = {
  noun: "pipe",
  lists: "pipes with their state and schedule",
  type: "millrace.registry.v1.Pipe",
  codec: Pipe,
  columns: {
    state: (p) => enumName(PipeState, p.state),
    schedule: (p) => p.effective?.schedule,
    chunk: (p) => p.effective?.chunk,
    dataset: (p) => p.dataset,
    tags: (p) => p.tags.join(" "),
    reason: (p) => firstLine(p.stateReason),
  },
  narrowed: "tags",
  async list(api, pageToken, filter) {
    const page = await api.call(PipesService.listPipes, { ...PAGE, pageToken, filter });
    return { items: page.pipes, nextPageToken: page.nextPageToken };
  },
  besideHeads: ["fresh"],
  async beside(api, names) {
    const ask = (pipes: readonly string[]) =>
      api.call(FreshnessService.listFreshness, { ...PAGE, pageToken: "", late: false, pipes: [...pipes] });
    const parts = Array.from({ length: Math.ceil(names.length / PAGE.pageSize) }, (_, i) =>
      names.slice(i * PAGE.pageSize, (i + 1) * PAGE.pageSize),
    );
    const all = (await Promise.all(parts.map(ask))).flatMap((page) => page.pipes);
    return new Map(all.map((pipe) => [pipe.name, { fresh: freshText(pipe) }]));
  },
  get: async (api, name) => (await api.call(PipesService.getPipe, { name })).pipe,
  async setPaused(api, name, paused, stateReason) {
    const pipe = Pipe.fromPartial({ name, state: paused ? PipeState.PAUSED : PipeState.ENABLED, stateReason });
    return (await api.call(PipesService.updatePipe, { pipe, updateMask: STATE })).pipe;
  },
  deletion: {
    doc: "Deletes a pipe. Its rows stay.",
    run: (api, name) => api.call(PipesService.deletePipe, { name, etag: "" }),
  },
};

const pollers: Collection<Poller> = {
  noun: "poller",
  lists: "pollers with their period",
  type: "millrace.registry.v1.Poller",
  codec: Poller,
  columns: {
    instance: (p) => bare(p.instance),
    kind: (p) => enumName(PollerKind, p.kind),
    state: (p) => enumName(PollerState, p.state),
    schedule: (p) => p.schedule,
    filter: (p) => p.filter,
  },
  narrowed: "tags",
  async list(api, pageToken, filter) {
    const page = await api.call(PollersService.listPollers, { ...PAGE, pageToken, filter });
    return { items: page.pollers, nextPageToken: page.nextPageToken };
  },
  get: async (api, name) => (await api.call(PollersService.getPoller, { name })).poller,
  async setPaused(api, name, paused, stateReason) {
    const poller = Poller.fromPartial({ name, state: paused ? PollerState.PAUSED : PollerState.ENABLED, stateReason });
    return (await api.call(PollersService.updatePoller, { poller, updateMask: STATE })).poller;
  },
  deletion: {
    doc: "Deletes a poller. What it stored stays.",
    run: (api, name) => api.call(PollersService.deletePoller, { name, etag: "" }),
  },
};

const resources: Collection<Resource> = {
  noun: "resource",
  lists: "resources: what pollers poll",
  type: "millrace.registry.v1.Resource",
  codec: Resource,
  columns: {
    type: (r) => r.type,
    id: (r) => r.id,
    endpoint: (r) => r.endpoint,
    site: (r) => r.site,
    origin: (r) => bare(r.origin),
  },
  narrowed: "filter",
  async list(api, pageToken, filter) {
    const page = await api.call(ResourcesService.listResources, { ...PAGE, pageToken, filter });
    return { items: page.resources, nextPageToken: page.nextPageToken };
  },
  get: async (api, name) => (await api.call(ResourcesService.getResource, { name })).resource,
  deletion: {
    doc: "Deletes a resource. One that was discovered comes back when it is found again.",
    run: (api, name) => api.call(ResourcesService.deleteResource, { name, etag: "" }),
  },
};

export const collectionCommands: readonly Command[] = [
  ...commandsOf(plugins),
  ...commandsOf(instances),
  ...commandsOf(pipes),
  ...commandsOf(pollers),
  ...commandsOf(resources),
];
