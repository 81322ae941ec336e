/** What a start finishes: everything that a crash may have left between two writes. */
import { type Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PluginState, type PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { pluginAndVersion } from "./names.ts";
import { link } from "./pipe-facts.ts";
import { complete, type DefaultGrants, entryOf, listPlugin } from "./publishing.ts";
import { targetsOf } from "./references.ts";
import { finishInstance, finishPlugin } from "./removal.ts";
import { latest, running, settle, settledInstance, settledPipe } from "./settling.ts";
import type { Packed, Store } from "./store.ts";

/**
 * Finishes publications and brings what depends on them up to date. One plugin's trouble does not stop the others.
 * All is read once and compared in memory, unpacked one plugin at a time: asking the bus for each would take minutes
 * where there are thousands. What differs is then read again and written.
 */
export async function recover(store: Store, grants: DefaultGrants, log: Logger): Promise<void> {
  const plugins = new Map((await store.plugins.list()).map((plugin) => [plugin.name, plugin]));
  const versions = Map.groupBy(await store.versions.packed(), ({ name }) => pluginAndVersion(name).plugin);
  const instances = Map.groupBy(await store.instances.list(), ({ plugin }) => plugin);
  const [pipes, pipesBy] = [new Map<string, Packed<Pipe>>(), await store.pipesBy.look()];
  for (const pipe of await store.pipes.packed()) pipes.set(pipe.name, pipe);
  const pipesOf = ({ name }: Instance) =>
    pipesBy.having(link.ownedBy(name)).flatMap((pipe) => pipes.get(pipe)?.open() ?? []);
  for (const [id, packed] of versions) {
    const plugin = plugins.get(`plugins/${id}`);
    if (plugin?.state === PluginState.DRAINING) continue;
    try {
      const own = packed.map((version) => version.open());
      // The plugin's entry is written last: with it, there has been a default instance.
      if (!plugin?.latestVersion) await complete(store, latest(own) as PluginVersion, grants);
      else {
        if (!store.plugins.same(plugin, { ...plugin, ...entryOf(own) })) await listPlugin(store, id, own);
        const settled = (instances.get(plugin.name) ?? []).every((instance) => {
          const version = running(instance, own);
          return (
            store.instances.same(instance, settledInstance(instance, own, store.widening)) &&
            pipesOf(instance).every(
              (pipe) => targetsOf(pipe).length === 0 && store.pipes.same(pipe, settledPipe(pipe, instance, version)),
            )
          );
        });
        if (!settled) await settle(store, plugin.name, undefined, own);
      }
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
