/** Plugins: publishing, versions, removal. */
import type { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import type { PluginsServer } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Fault } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { Semaphore } from "../kit/lifecycle.ts";
import type { BundleLimits } from "./bundle.ts";
import { grantChanges, widens } from "./grants-diff.ts";
import { keeperMistakes } from "./masks.ts";
import { idOf, pluginAndVersion, versionName } from "./names.ts";
import { pageOf } from "./paging.ts";
import { checkBundle, type DefaultGrants, draft, publish, refuseOtherBytes } from "./publishing.ts";
import { quarantinesOf } from "./quarantines.ts";
import { removePlugin, removeVersion } from "./removal.ts";
import { newestFirst, versionOf } from "./settling.ts";
import { type Store, toTimestamp, versionsOf } from "./store.ts";

/** Each may take the memory of a whole unpacked bundle. */
const PARALLEL_CHECKS = 4;

export interface PublishRules {
  readonly limits: BundleLimits;
  readonly grants: DefaultGrants;
}

export function pluginMethods(store: Store, rules: PublishRules, closing: AbortSignal): Methods<PluginsServer> {
  const room = new Semaphore(PARALLEL_CHECKS);
  const unpacked = async (bundle: Uint8Array) => {
    using _ = await room.acquire();
    return await checkBundle(bundle, rules.limits);
  };
  return {
    async publishPlugin({ bundle, validateOnly, managedBy = "" }) {
      const keeper = keeperMistakes(managedBy);
      if (keeper.length) throw Fault.invalid("plugin", keeper);
      const checked = await unpacked(bundle);
      if (!validateOnly) return await publish(store, checked, rules.grants, managedBy);
      const name = versionName(checked.manifest.name, checked.manifest.version);
      const stored = await refuseOtherBytes(store, name, checked);
      const version = stored ?? { ...draft(checked), createTime: toTimestamp(store.now()) };
      return { version, created: stored === undefined, instance: "" };
    },

    async getPlugin({ name }) {
      const plugin = await store.plugins.get(name);
      return {
        plugin: { ...plugin, quarantines: await quarantinesOf(store.quarantine, store.now(), idOf(name, "plugins")) },
      };
    },

    async listPlugins(request) {
      const { items, nextPageToken } = pageOf(await store.plugins.list(), request);
      const stopped = Map.groupBy(
        await quarantinesOf(store.quarantine, store.now()),
        ({ name }) => pluginAndVersion(name).plugin,
      );
      const plugins = items.map((plugin) => ({
        ...plugin,
        quarantines: stopped.get(idOf(plugin.name, "plugins")) ?? [],
      }));
      return { plugins, nextPageToken };
    },

    async listPluginVersions({ parent, ...page }) {
      await store.plugins.get(parent);
      const versions = await versionsOf(store, idOf(parent, "plugins", "parent"));
      const order = (a: string, b: string) =>
        newestFirst(a.slice(a.lastIndexOf("/") + 1), b.slice(b.lastIndexOf("/") + 1));
      versions.sort((a, b) => newestFirst(versionOf(a), versionOf(b)));
      const { items, nextPageToken } = pageOf(versions, page, order);
      return { versions: items, nextPageToken };
    },

    async getPluginVersion({ name }) {
      return { version: await store.versions.get(name) };
    },

    async diffGrants({ name, from }) {
      const version = await store.versions.get(name);
      const { plugin } = pluginAndVersion(name);
      const older = from === "" ? await olderOf(store, plugin, version) : [await named(store, plugin, from)];
      const changes = grantChanges(older[0]?.manifest?.permissions, version.manifest?.permissions);
      return { from: older[0] ? versionOf(older[0]) : "", changes, widens: widens(changes) };
    },

    async deletePlugin({ name, etag, cascade }) {
      await removePlugin(store, name, { etag, cascade, signal: closing });
      return {};
    },

    async deletePluginVersion({ name }) {
      await removeVersion(store, name);
      return {};
    },
  };
}

const named = (store: Store, plugin: string, version: string) => store.versions.get(versionName(plugin, version));

/** The versions that come before one, the nearest first. */
async function olderOf(store: Store, plugin: string, { name }: PluginVersion): Promise<PluginVersion[]> {
  const sorted = (await versionsOf(store, plugin)).sort((a, b) => newestFirst(versionOf(a), versionOf(b)));
  return sorted.slice(sorted.findIndex((version) => version.name === name) + 1);
}
