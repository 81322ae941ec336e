/** Taking things away: nobody starts anything new, what runs gets time to finish, then the entries go. */
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { PluginState, type PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { bare, quarantineKey } from "../../proto/names.ts";
import { decodeKeyPart, encodeKeyPart } from "../bus/keys.ts";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { idOf, pluginAndVersion } from "./names.ts";
import { link } from "./pipe-facts.ts";
import { entryOf } from "./publishing.ts";
import { instancesOf, settle, settleReferrers, versionOf } from "./settling.ts";
import { type Store, stale, versionsOf } from "./store.ts";

/** For the news to reach those who start runs, before the first look at what runs. */
const NEWS_MS = 200;
const LOOK_MS = 200;
/** What still runs then has lost its instance: its results are refused by whoever looks for it. */
const DRAIN_MS = 30_000;
/** More names would not help. */
const MAX_NAMED = 20;

interface Removal {
  readonly etag: string;
  readonly cascade: boolean;
  /** Aborts when the registry closes; the rest is done at the next start. */
  readonly signal: AbortSignal;
  readonly drainMs?: number;
}

/** Errors: `not_found`; `precondition` naming its users unless `cascade`; `conflict` for a stale etag. */
export async function removeInstance(store: Store, name: string, removal: Removal): Promise<void> {
  await store.alone(async () => {
    const instance = await store.instances.get(name);
    if (removal.etag !== "" && removal.etag !== instance.etag) throw stale(name, removal.etag, instance.etag);
    const { pipes, pollers } = await usersOf(store, name);
    if (!removal.cascade) refuseWhileUsed(name, [...pipes, ...pollers]);
    await markInstance(store, name, removal.etag);
  });
  await finishInstance(store, name, removal);
}

/** The second half: also what a restart goes on with. */
export async function finishInstance(
  store: Store,
  name: string,
  { signal, drainMs = DRAIN_MS }: Removal,
): Promise<void> {
  const before = await usersOf(store, name);
  const owners = [bare(name), ...[...before.pipes, ...before.pollers].map((user) => bare(user.name))];
  await drained(store, owners, drainMs, signal);
  await store.alone(async () => {
    const { pipes, pollers, resources } = await usersOf(store, name);
    for (const { name: pipe } of pipes) await store.pipes.remove(pipe);
    for (const { name: poller } of pollers) await store.pollers.remove(poller);
    for (const { name: resource } of resources) await store.resources.remove(resource);
    await store.instances.remove(name);
    await settleReferrers(
      store,
      pipes.map((pipe) => pipe.name),
    );
  });
}

/** Errors: `not_found`; `precondition` naming its instances unless `cascade`; `conflict` for a stale etag. */
export async function removePlugin(store: Store, name: string, removal: Removal): Promise<void> {
  await store.alone(async () => {
    const plugin = await store.plugins.get(name);
    if (removal.etag !== "" && removal.etag !== plugin.etag) throw stale(name, removal.etag, plugin.etag);
    const instances = await instancesOf(store, name);
    if (!removal.cascade)
      refuseWhileUsed(
        name,
        instances.map((instance) => ({ name: instance })),
      );
    await store.plugins.change(name, removal.etag, store.now(), (current) => ({
      ...current,
      state: PluginState.DRAINING,
      stateReason: "being deleted",
    }));
    for (const instance of instances) await markInstance(store, instance, "");
  });
  await finishPlugin(store, name, removal);
}

export async function finishPlugin(store: Store, name: string, removal: Removal): Promise<void> {
  const instances = await instancesOf(store, name);
  await Promise.all(instances.map((instance) => finishInstance(store, instance, removal)));
  await store.alone(async () => {
    const versions = await versionsOf(store, idOf(name, "plugins"));
    await dropEntries(store, versions);
    await store.plugins.remove(name);
    await dropBlobs(store, versions);
  });
}

/**
 * Errors: `not_found`; `precondition` naming the instances that run the version or are pinned to it, and for the only
 * version.
 */
export async function removeVersion(store: Store, name: string): Promise<void> {
  await store.alone(async () => {
    const version = await store.versions.get(name);
    const { plugin } = pluginAndVersion(name);
    const { state } = await store.plugins.get(`plugins/${plugin}`);
    if (state === PluginState.DRAINING) throw new Fault("precondition", `plugins/${plugin} is being deleted`);
    const id = versionOf(version);
    const instances = await Promise.all(
      (await instancesOf(store, `plugins/${plugin}`)).map((one) => store.instances.get(one)),
    );
    const users = instances.filter((one) => one.runningVersion === id || one.version === id);
    if (users.length) throw inUse(name, users, "give them another version first");
    const left = (await versionsOf(store, plugin)).filter((one) => one.name !== name);
    if (!left.length) {
      throw new Fault("precondition", `${name} is the only version of plugins/${plugin}; delete the plugin instead`);
    }
    await dropEntries(store, [version]);
    // An error stands: of the bundle that was refused last.
    const { state: _, stateReason: __, ...facts } = entryOf(left);
    await store.plugins.change(`plugins/${plugin}`, "", store.now(), (current) => ({ ...current, ...facts }));
    // Reasons may name the newest version.
    await settle(store, `plugins/${plugin}`, undefined, left);
    await dropBlobs(store, [version]);
  });
}

async function dropEntries(store: Store, versions: readonly PluginVersion[]): Promise<void> {
  for (const { name } of versions) {
    await store.versions.remove(name);
    await store.quarantine.delete(quarantineKey(name, encodeKeyPart));
  }
}

/** Equal files of different plugins are one blob, so only what nobody names any more goes. */
async function dropBlobs(store: Store, versions: readonly PluginVersion[]): Promise<void> {
  const kept = new Set((await store.versions.list()).flatMap(digestsOf));
  for (const digest of new Set(versions.flatMap(digestsOf))) if (!kept.has(digest)) await store.blobs.delete(digest);
}

const digestsOf = (version: PluginVersion) => [
  version.moduleDigest,
  ...[...version.staticFiles, ...version.docs].map(({ digest }) => digest),
];

async function usersOf(store: Store, instance: string) {
  const [pipes, pollers, resources] = await Promise.all([
    store.pipesBy.look(),
    store.pollers.list(),
    store.resources.list(),
  ]);
  return {
    pipes: pipes.having(link.ownedBy(instance)).map((name) => ({ name })),
    pollers: pollers.filter((poller) => poller.instance === instance),
    /** They come and go with the discovery that found them. */
    resources: resources.filter((resource) => resource.origin === instance),
  };
}

function refuseWhileUsed(name: string, users: readonly { readonly name: string }[]): void {
  if (users.length) throw inUse(name, users, "delete them first, or use cascade");
}

function inUse(name: string, users: readonly { readonly name: string }[], fix: string): Fault {
  const more = users.length > MAX_NAMED ? ` and ${users.length - MAX_NAMED} more` : "";
  const named = users.slice(0, MAX_NAMED).map((user) => user.name);
  return new Fault("precondition", `${name} is used by ${named.join(", ")}${more}; ${fix}`);
}

async function markInstance(store: Store, name: string, etag: string): Promise<void> {
  await store.instances.change(name, etag, store.now(), (current) => ({
    ...current,
    state: InstanceState.DRAINING,
    stateReason: "being deleted",
  }));
}

/** Resolves when no run of these owners holds its lock, or after `drainMs`. Errors: `unavailable` when closing. */
async function drained(store: Store, owners: readonly string[], drainMs: number, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + drainMs;
  await pause(NEWS_MS, signal);
  for (;;) {
    const held = (await store.locks.list("run")).map((entry) => runOf(entry.key));
    if (!held.some((run) => owners.some((owner) => run === owner || run.startsWith(`${owner}/`)))) return;
    if (performance.now() > deadlineMs) return;
    if (!(await pause(LOOK_MS, signal)))
      throw new Fault("unavailable", "the registry is closing; deletion goes on later");
  }
}

/** The run id in the key of its lock. */
function runOf(key: string): string {
  const parts = key.split(".").slice(1);
  try {
    return parts.map(decodeKeyPart).join("/");
  } catch {
    return parts.join("/");
  }
}
