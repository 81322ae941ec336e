/** What follows from a change: the version an instance runs, whether its config fits, what holds for its pipes. */
import { createHash } from "node:crypto";
import semver from "semver";
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { type Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { GrantChangeKind } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { SQL_INSTANCE } from "../../proto/names.ts";
import type { Mistake } from "../kit/fault.ts";
import { isSelect } from "./chains.ts";
import { grantChanges, type Widening, widens } from "./grants-diff.ts";
import { gridMistakes, regridded } from "./grid.ts";
import { idOf } from "./names.ts";
import { datasetMistakes, datasetOf, filled, fitMistakes, merge, NONE } from "./parameters.ts";
import { link } from "./pipe-facts.ts";
import { NOTHING_REFERRED, type Referred, referredBy, targetsOf } from "./references.ts";
import { type Checked, compileSchema, type Json } from "./schema.ts";
import { partitionMistakes, recut } from "./storage.ts";
import { type Store, versionsOf } from "./store.ts";

const PARALLEL_WRITES = 32;
/** Permissions named in a reason; `plugin grants` lists all. */
const MAX_LISTED = 5;

/** `plugins/a/versions/1.0.0` → `1.0.0`. */
export const versionOf = ({ name }: PluginVersion) => name.slice(name.lastIndexOf("/") + 1);

/** Newest first; pre-releases after all releases, so that nobody who follows the newest gets one by surprise. */
export function newestFirst(a: string, b: string): number {
  const early = Number(semver.prerelease(a) !== null) - Number(semver.prerelease(b) !== null);
  return early || semver.rcompare(a, b) || (a < b ? 1 : -1);
}

export function latest(versions: readonly PluginVersion[]): PluginVersion | undefined {
  return [...versions].sort((a, b) => newestFirst(versionOf(a), versionOf(b)))[0];
}

/** The version that a settled instance runs. */
export function running(instance: Instance, versions: readonly PluginVersion[]): PluginVersion | undefined {
  return versions.find((version) => versionOf(version) === instance.runningVersion);
}

interface Choice {
  readonly version: PluginVersion | undefined;
  /** Why it is not the newest; "" when it is, or when it is pinned. */
  readonly held: string;
}

/** The version that an instance is to run: its pin, else the newest that it may get. */
export function chosen(instance: Instance, versions: readonly PluginVersion[], widening: Widening): Choice {
  if (instance.version !== "") {
    return { version: versions.find((version) => versionOf(version) === instance.version), held: "" };
  }
  const newest = latest(versions);
  const now = running(instance, versions);
  if (widening === "allow" || !instance.grants?.allRequested || !now || !newest) return { version: newest, held: "" };
  const asked = (version: PluginVersion) => grantChanges(now.manifest?.permissions, version.manifest?.permissions);
  if (!widens(asked(newest))) return { version: newest, held: "" };
  const order = (a: PluginVersion, b: PluginVersion) => newestFirst(versionOf(a), versionOf(b));
  const newer = [...versions].sort(order).filter((version) => order(version, now) <= 0);
  const version = newer.find((candidate) => !widens(asked(candidate))) ?? now;
  const more = asked(newest).flatMap(({ permission, after, kind }) =>
    kind === GrantChangeKind.ADDED || kind === GrantChangeKind.WIDENED ? [`${permission} ${after}`] : [],
  );
  const listed = more.slice(0, MAX_LISTED).join("; ") + (more.length > MAX_LISTED ? "; …" : "");
  const fix = "set its grants or its version to let it";
  return { version, held: `stays on ${versionOf(version)}: ${versionOf(newest)} asks for more (${listed}); ${fix}` };
}

/** The config with defaults, and every mistake in it. */
export function checkConfig(version: PluginVersion, config: Json | undefined): Checked {
  return compileSchema(version.manifest?.config, "config schema")(config ?? {}, "config");
}

export const asReason = (mistakes: readonly Mistake[]): string =>
  mistakes.map(({ field, problem, fix }) => `${field}: ${problem}${fix ? `; ${fix}` : ""}`).join("\n");

/** An instance under the versions that exist now. One that is paused stays so; enabling it checks it again. */
export function settledInstance(instance: Instance, versions: readonly PluginVersion[], widening: Widening): Instance {
  if (instance.state === InstanceState.DRAINING) return instance;
  const paused = instance.state === InstanceState.PAUSED;
  const { version, held } = chosen(instance, versions, widening);
  const inError = (stateReason: string, runningVersion: string): Instance =>
    paused ? { ...instance, runningVersion } : { ...instance, runningVersion, state: InstanceState.ERROR, stateReason };
  if (!version) {
    const missing = instance.version ? `version ${instance.version} is not published` : "no version is published";
    return inError(missing, "");
  }
  const { value, mistakes } = checkConfig(version, instance.config);
  const runningVersion = versionOf(version);
  if (mistakes.length) return inError(asReason(mistakes), runningVersion);
  const state = paused ? {} : { state: InstanceState.ENABLED, stateReason: held };
  return { ...instance, config: value, runningVersion, ...state };
}

/** A pipe under its instance's version and config. `register` is asked again when any of its inputs changed. */
export function settledPipe(
  pipe: Pipe,
  instance: Instance,
  version: PluginVersion | undefined,
  { layer, broken }: Referred = NOTHING_REFERRED,
): Pipe {
  const { fetch, sync, register } = version?.manifest?.interfaces ?? {};
  const effective = filled(pipe.parameters, layer, pipe.registered, sync, fetch);
  const dataset = effective.target || datasetOf(idOf(pipe.name, "pipes"));
  const next: Pipe = { ...pipe, effective: { ...effective, refs: {}, target: dataset }, dataset };
  if (pipe.state === PipeState.PAUSED) return next;
  const failed = (stateReason: string) => ({ ...next, state: PipeState.ERROR, stateReason });
  if (!fetch && !sync && !isSelect(pipe)) {
    return failed(`version ${instance.runningVersion || "(none)"} of ${instance.plugin} has no fetch and no sync`);
  }
  if (broken.length) return failed(broken.join("\n"));
  if (register && pipe.registeredFor !== fingerprint(pipe, instance, layer)) {
    return { ...next, state: PipeState.PENDING, stateReason: "waits for register" };
  }
  const mistakes = [...fitMistakes(effective, "effective"), ...datasetMistakes(dataset, "effective.target")];
  if (mistakes.length) return failed(asReason(mistakes));
  // What `register` said stands, a failure included, until its inputs change.
  if (register && pipe.state === PipeState.ERROR) return next;
  return { ...next, state: PipeState.ENABLED, stateReason: "" };
}

/** Names the inputs of `register`; `layer` is what the pipe's references are worth. */
export function fingerprint(
  { parameters }: Pipe,
  { runningVersion, config }: Instance,
  layer: Referred["layer"],
): string {
  const referred = layer ? [layer] : [];
  const inputs = JSON.stringify([runningVersion, config ?? {}, merge(parameters), ...referred]);
  return createHash("sha256").update(inputs).digest("hex").slice(0, 32);
}

const BUILT_IN = Instance.fromPartial({
  ...{ name: SQL_INSTANCE, plugin: "plugins/sql", state: InstanceState.ENABLED, runningVersion: "built-in" },
});

/** What a pipe depends on. Errors: `not_found`. */
export async function groundOf(store: Store, pipe: Pipe) {
  if (isSelect(pipe)) return { instance: BUILT_IN, version: undefined };
  const instance = await store.instances.get(pipe.instance);
  const versions = await versionsOf(store, idOf(instance.plugin, "plugins"));
  return { instance, version: running(instance, versions) };
}

/** What the references of a pipe are worth now. */
export async function referredIn(store: Store, pipe: Pipe): Promise<Referred> {
  const targets = targetsOf(pipe);
  if (targets.length === 0) return NOTHING_REFERRED;
  const found = await Promise.all(targets.map(async (name) => [name, await store.pipes.find(name)] as const));
  const byName = new Map(found);
  return referredBy(pipe, NONE, (name) => byName.get(name));
}

/** A stored pipe as others make it now. What its references give must fit what it has fetched, or it stops. */
async function resettled(store: Store, pipe: Pipe, instance: Instance, version: PluginVersion | undefined) {
  const next = settledPipe(pipe, instance, version, await referredIn(store, pipe));
  if (Object.keys(pipe.parameters?.refs ?? {}).length === 0) return next;
  const [moved, cut] = [regridded(pipe, next), recut(pipe, next)];
  const windows = moved || cut ? await store.windowsOf(idOf(pipe.name, "pipes")) : [];
  const mistakes = [...(moved ? gridMistakes(next, windows) : []), ...(cut ? partitionMistakes(pipe, windows) : [])];
  if (mistakes.length === 0) return next;
  const stateReason = `what it takes from other pipes does not fit\n${asReason(mistakes)}`;
  return pipe.state === PipeState.PAUSED ? pipe : { ...pipe, state: PipeState.ERROR, stateReason };
}

/** Pipes that take parameters from these take them anew, and so on: there are no circles. */
export async function settleReferrers(store: Store, changed: Iterable<string>): Promise<void> {
  for (let names = new Set(changed); names.size > 0; ) {
    const pipes = await store.pipesBy.look();
    const referrers = new Set([...names].flatMap((name) => pipes.having(link.takingFrom(name))));
    names = new Set();
    for (const name of referrers) {
      let before: string | undefined;
      const pipe = await store.pipes.change(name, "", store.now(), async (current) => {
        before = current.etag;
        const { instance, version } = await groundOf(store, current);
        return await resettled(store, current, instance, version);
      });
      if (pipe.etag !== before) names.add(name);
    }
  }
}

/** Names of the instances of a plugin. */
export async function instancesOf(store: Store, plugin: string): Promise<readonly string[]> {
  return (await store.instancesBy.look()).having(plugin);
}

/** Settles the instances of a plugin (or one of them) and all their pipes. Safe to repeat; writes only what differs. */
export async function settle(
  store: Store,
  plugin: string,
  only?: string,
  /** Those of the plugin, if they are at hand. */
  known?: readonly PluginVersion[],
): Promise<void> {
  const versions = known ?? (await versionsOf(store, idOf(plugin, "plugins", "plugin")));
  for (const name of await instancesOf(store, plugin)) {
    if (only && name !== only) continue;
    const now = store.now();
    const instance = await store.instances.change(name, "", now, (current) =>
      settledInstance(current, versions, store.widening),
    );
    const version = running(instance, versions);
    const own = (await store.pipesBy.look()).having(link.ownedBy(name));
    for (let i = 0; i < own.length; i += PARALLEL_WRITES) {
      const settled = own.slice(i, i + PARALLEL_WRITES).map((pipe) => {
        return store.pipes.change(pipe, "", now, (current) => resettled(store, current, instance, version));
      });
      await Promise.all(settled);
    }
    await settleReferrers(store, own);
  }
}
