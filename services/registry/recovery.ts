/** What a start finishes: everything that a crash may have left between two writes. */
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { PluginState, type PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { pluginAndVersion } from "./names.ts";
import { complete, type DefaultGrants, listPlugin } from "./publishing.ts";
import { finishInstance, finishPlugin } from "./removal.ts";
import { latest, settle } from "./settling.ts";
import type { Store } from "./store.ts";

/** Finishes publications and brings what depends on them up to date. One plugin's trouble does not stop the others. */
export async function recover(store: Store, grants: DefaultGrants, log: Logger): Promise<void> {
  const plugins = new Map((await store.plugins.list()).map((plugin) => [plugin.name, plugin]));
  const versions = Map.groupBy(await store.versions.list(), ({ name }) => pluginAndVersion(name).plugin);
  for (const [id, own] of versions) {
    const plugin = plugins.get(`plugins/${id}`);
    if (plugin?.state === PluginState.DRAINING) continue;
    try {
      // The plugin's entry is written last: with it, there has been a default instance.
      if (plugin?.latestVersion) {
        await listPlugin(store, id);
        await settle(store, plugin.name);
      } else await complete(store, latest(own) as PluginVersion, grants);
    } catch (thrown) {
      log.error({ err: Fault.from(thrown), plugin: id }, "this plugin could not be brought up to date");
    }
  }
  // Errors of files last as long as the files: whoever watches them reports them anew.
  for (const { name, state, latestVersion } of plugins.values()) {
    const id = name.slice("plugins/".length);
    if (state === PluginState.ERROR && latestVersion === "" && !versions.has(id)) await store.plugins.remove(name);
  }
}

/** Goes on with what was being deleted. */
export async function resumeRemovals(store: Store, log: Logger, signal: AbortSignal): Promise<void> {
  const removal = { etag: "", cascade: true, signal };
  const finish = (what: string, work: Promise<void>) =>
    work.catch((thrown) => {
      if (!signal.aborted)
        log.error({ err: Fault.from(thrown) }, `${what}: deletion failed; the next start tries again`);
    });
  const plugins = (await store.plugins.list()).filter(({ state }) => state === PluginState.DRAINING);
  const instances = (await store.instances.list()).filter(({ state }) => state === InstanceState.DRAINING);
  await Promise.all(instances.map(({ name }) => finish(name, finishInstance(store, name, removal))));
  await Promise.all(plugins.map(({ name }) => finish(name, finishPlugin(store, name, removal))));
}
