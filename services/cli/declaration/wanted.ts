/** What the file asks for as items that can be compared and made: with what only the platform knows put in. */
import { readFile, stat } from "node:fs/promises";
import type { Instance } from "../../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../../proto/gen/millrace/registry/v1/instance_service.ts";
import type { Manifest } from "../../../proto/gen/millrace/registry/v1/manifest.ts";
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../../proto/gen/millrace/registry/v1/pipe_service.ts";
import type { PluginVersion } from "../../../proto/gen/millrace/registry/v1/plugin.ts";
import { PluginsService } from "../../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { PollersService } from "../../../proto/gen/millrace/registry/v1/poller_service.ts";
import { ResourcesService } from "../../../proto/gen/millrace/registry/v1/resource_service.ts";
import { SecretsService } from "../../../proto/gen/millrace/registry/v1/secret_service.ts";
import { bare, SQL_INSTANCE } from "../../../proto/names.ts";
import { Fault, type Mistake } from "../../kit/fault.ts";
import { collect } from "../../registry/mistakes.ts";
import { compileSchema } from "../../registry/schema.ts";
import { newestFirst, versionOf } from "../../registry/settling.ts";
import { type Api, pages } from "../api.ts";
import { buildPlugin } from "../build.ts";
import { PAGE } from "../collection.ts";
import type { Declaration, Declared, DeclaredPlugin, DeclaredSecret } from "./declared.ts";
import { instanceFacets, pipeFacets, pollerFacets, resourceFacets } from "./facets.ts";
import type { Item, Live } from "./item.ts";
import { secretFacets } from "./live.ts";

const PUBLISH_MS = 120_000;
const KEEPER = "managed_by";

export interface Wanted {
  readonly items: readonly Item[];
  /** What is there, with the facets that only a question about these items shows. */
  readonly live: readonly Live[];
  readonly mistakes: readonly Mistake[];
}

export async function wantedOf(api: Api, declaration: Declaration, live: readonly Live[]): Promise<Wanted> {
  const mistakes: Mistake[] = [];
  const there = new Map(live.map((one) => [one.name, one]));
  const plugins = new Map<string, SourcedPlugin>();
  for (const declared of declaration.plugins) {
    const plugin = await sourced(api, declared, mistakes);
    if (plugin) plugins.set(declared.name, plugin);
  }
  const secrets: Item[] = [];
  for (const declared of declaration.secrets) {
    const known = there.get(declared.name);
    const other = known && (await differs(api, declared, known));
    if (known) there.set(declared.name, { ...known, facets: { ...known.facets, value: other ? OTHER : SET } });
    secrets.push(secretItem(declared, declaration.project));
  }
  for (const [name, { published }] of plugins) {
    const known = there.get(name);
    if (known) there.set(name, { ...known, facets: { version: published ?? "" } });
  }
  const instances: Item[] = [];
  for (const declared of declaration.instances) {
    const config = await settledConfig(api, declared, plugins, mistakes);
    instances.push(instanceItem({ ...declared, message: { ...declared.message, config } }, plugins));
  }
  const items = [
    ...secrets,
    ...[...plugins.values()].map((plugin) => pluginItem(plugin, declaration.project)),
    ...instances,
    ...declaration.resources.map(
      ({ name, field, message }): Item => ({
        ...{ name, field, needs: [], facets: resourceFacets(message), fixed: [] },
        create: (to) => to.call(ResourcesService.createResource, { resource: message, resourceId: bare(name) }),
        update: (to, updateMask, etag) =>
          to.call(ResourcesService.updateResource, { resource: { ...message, etag }, updateMask: [...updateMask] }),
      }),
    ),
    ...declaration.pipes.map(pipeItem),
    ...declaration.pollers.map(
      ({ name, field, message, saysState }): Item => ({
        ...{ name, field, needs: [message.instance], facets: pollerFacets(message, saysState) },
        fixed: ["instance", "kind"],
        create: (to) => to.call(PollersService.createPoller, { poller: message, pollerId: bare(name) }),
        update: (to, updateMask, etag) =>
          to.call(PollersService.updatePoller, { poller: { ...message, etag }, updateMask: [...updateMask] }),
      }),
    ),
  ];
  return { items, live: [...there.values()], mistakes };
}

function pipeItem({ name, field, message, saysState }: Declared<Pipe>): Item {
  const { refs = {}, after = [] } = message.parameters ?? {};
  const referred = Object.values(refs).map((ref) => ref.split("/").slice(0, 2).join("/"));
  const parents = after.map((id) => (id.startsWith("pipes/") ? id : `pipes/${id}`));
  return {
    ...{ name, field, facets: pipeFacets(message, saysState), fixed: ["instance"] },
    needs: [...new Set([...(message.instance === SQL_INSTANCE ? [] : [message.instance]), ...referred, ...parents])],
    create: (api) => api.call(PipesService.createPipe, { pipe: message }),
    update: (api, updateMask, etag) =>
      api.call(PipesService.updatePipe, { pipe: { ...message, etag }, updateMask: [...updateMask] }),
  };
}

const SET = "(set)";
const OTHER = "(another value)";

/** With hosts and keeper as they are, so that only the value can differ. */
async function differs(api: Api, { name, value }: DeclaredSecret, known: Live): Promise<boolean> {
  const request = { name, value, hosts: known.facets.hosts as string[], etag: "", managedBy: known.managedBy };
  return (await api.call(SecretsService.setSecret, { ...request, validateOnly: true })).changed;
}

function secretItem({ name, field, value, hosts }: DeclaredSecret, managedBy: string): Item {
  const set = (api: Api, etag: string) =>
    api.call(SecretsService.setSecret, { name, value, hosts: [...hosts], etag, managedBy });
  return {
    ...{ name, field, needs: [], facets: { ...secretFacets(hosts, managedBy), value: SET }, fixed: [] },
    create: (api) => set(api, ""),
    update: (api, _, etag) => set(api, etag),
  };
}

/** A plugin whose bundle is at hand, or whose version is published. */
interface SourcedPlugin {
  readonly declared: DeclaredPlugin;
  readonly bundle: Buffer | undefined;
  readonly version: string;
  readonly manifest: Manifest | undefined;
  /** The version, if these very bytes are published. */
  readonly published: string | undefined;
}

/** Builds folders, and has the registry check what would be published. */
async function sourced(api: Api, declared: DeclaredPlugin, mistakes: Mistake[]): Promise<SourcedPlugin | undefined> {
  const { name, field, path, digest = "" } = declared;
  const wrong = (problem: string, fix?: string) => {
    mistakes.push({ field, problem, ...(fix && { fix }) });
    return undefined;
  };
  if (path === undefined) {
    const found = (await versionsOf(api, name)).find((one) => one.bundleDigest === digest);
    if (!found) return wrong(`no version of ${name} has the digest ${digest}`, "publish it first, or name its path");
    const known = versionOf(found);
    return { declared, bundle: undefined, version: known, manifest: found.manifest, published: known };
  }
  try {
    const bundle = await readFile((await stat(path)).isDirectory() ? (await buildPlugin(path)).path : path);
    const request = { bundle, validateOnly: true };
    const { version: checked, created } = await api.call(PluginsService.publishPlugin, request, PUBLISH_MS);
    const manifest = checked?.manifest;
    if (!checked || manifest?.name !== bare(name)) {
      return wrong(`the bundle is of plugin ${manifest?.name}`, `write it under ${manifest?.name}`);
    }
    const known = versionOf(checked);
    return { declared, bundle, version: known, manifest, published: created ? undefined : known };
  } catch (thrown) {
    const fault = Fault.from(thrown);
    if (fault.code !== "invalid" && fault.code !== "exists" && fault.code !== "too_large") throw fault;
    return wrong(fault.message);
  }
}

function pluginItem({ declared, bundle, version }: SourcedPlugin, managedBy: string): Item {
  const publish = async (api: Api) => {
    if (bundle) await api.call(PluginsService.publishPlugin, { bundle, validateOnly: false, managedBy }, PUBLISH_MS);
  };
  const { name, field } = declared;
  return { ...{ name, field, needs: [], facets: { version }, fixed: [] }, create: publish, update: publish };
}

async function versionsOf(api: Api, parent: string): Promise<PluginVersion[]> {
  const all = pages((pageToken) => api.call(PluginsService.listPluginVersions, { parent, ...PAGE, pageToken }));
  const found = await all.catch((thrown) => {
    if (Fault.from(thrown).code === "not_found") return [];
    throw thrown;
  });
  return found.flatMap(({ versions }) => versions);
}

/** The config with the defaults of the version that would run, as the platform will keep it. */
async function settledConfig(
  api: Api,
  { field, message }: Declared<Instance>,
  plugins: ReadonlyMap<string, SourcedPlugin>,
  mistakes: Mistake[],
): Promise<Instance["config"]> {
  const own = plugins.get(message.plugin);
  const manifests = new Map((await versionsOf(api, message.plugin)).map((one) => [versionOf(one), one.manifest]));
  if (own) manifests.set(own.version, own.manifest);
  const running = message.version || [...manifests.keys()].sort(newestFirst)[0];
  const manifest = running === undefined ? undefined : manifests.get(running);
  const config = { ...message.config };
  if (message.version && !manifests.has(message.version) && manifests.size) {
    const problem = `${message.version} of ${message.plugin} is not published`;
    mistakes.push({ field: `${field}.version`, problem, fix: `one of ${[...manifests.keys()].join(", ")}` });
  }
  if (!manifest) return config;
  const check = collect(mistakes, () => compileSchema(manifest.config, `${message.plugin}'s config schema`));
  const checked = check?.(config, `${field}.config`);
  mistakes.push(...(checked?.mistakes ?? []));
  return checked?.value ?? config;
}

function instanceItem(
  { name, field, message, saysState }: Declared<Instance>,
  plugins: ReadonlyMap<string, SourcedPlugin>,
): Item {
  const update: Item["update"] = (api, updateMask, etag) =>
    api.call(InstancesService.updateInstance, { instance: { ...message, etag }, updateMask: [...updateMask] });
  const facets = instanceFacets(message, saysState);
  return {
    ...{ name, field, needs: [message.plugin], facets, fixed: ["plugin"], update },
    async create(api) {
      try {
        return await api.call(InstancesService.createInstance, { instance: message, instanceId: bare(name) });
      } catch (thrown) {
        if (Fault.from(thrown).code !== "exists" || !plugins.get(message.plugin)?.bundle) throw thrown;
        // The publication of its plugin a moment ago has made it, for this project.
        const { instance } = await api.call(InstancesService.getInstance, { name });
        if (!instance || instance.managedBy !== facets[KEEPER] || instance.plugin !== message.plugin) throw thrown;
        return await update(
          api,
          Object.keys(facets).filter((facet) => facet !== "plugin"),
          instance.etag,
        );
      }
    },
  };
}
