/** Instances: plugins with a config. */
import { type Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import type { InstancesServer } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PluginState, type PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { bare, SQL_INSTANCE } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { changedFields, keeperMistakes, noteMistakes, tagMistakes } from "./masks.ts";
import { idOf, nameMistakes, shown } from "./names.ts";
import { pageOf } from "./paging.ts";
import { permissionMistakes } from "./permissions.ts";
import { removeInstance } from "./removal.ts";
import { parseSelector, stateWord } from "./selector.ts";
import { checkConfig, chosen, settle, settledInstance, versionOf } from "./settling.ts";
import { type Store, versionsOf } from "./store.ts";

const CHANGEABLE = ["version", "config", "grants", "state", "state_reason", "tags", "managed_by"];

const KEYS = ["name", "plugin", "state", "managed_by"];
const selectable = ({ name, plugin, state, managedBy, tags }: Instance) => ({
  tags,
  facts: { name: bare(name), plugin: bare(plugin), state: stateWord(InstanceState, state), managed_by: managedBy },
});

export function instanceMethods(store: Store, closing: AbortSignal): Methods<InstancesServer> {
  return {
    async createInstance({ instance: given, instanceId }) {
      const mistakes = nameMistakes(instanceId, "instance_id");
      if (`instances/${instanceId}` === SQL_INSTANCE) {
        const problem = `${shown(instanceId)} is the built-in connector of pipes that are a SELECT`;
        mistakes.push({ field: "instance_id", problem, fix: "choose another name" });
      }
      const plugin = given?.plugin ?? "";
      if (plugin === "")
        mistakes.push({ field: "instance.plugin", problem: "is not set", fix: "write plugins/{plugin}" });
      if (!given || mistakes.length) throw Fault.invalid("instance", mistakes);
      return await store.alone(async () => {
        const versions = await openVersions(store, plugin);
        const instance: Instance = {
          ...given,
          name: `instances/${instanceId}`,
          config: given.config ?? {},
          grants: given.grants ?? { allRequested: false, only: undefined },
          state: given.state || InstanceState.ENABLED,
          stateReason: given.state === InstanceState.PAUSED ? given.stateReason : "",
          runningVersion: "",
          etag: "",
        };
        refuse([
          ...stateMistakes(instance.state),
          ...mistakesOf(instance, chosen(instance, versions, "allow").version, versions),
        ]);
        return { instance: await store.instances.create(settledInstance(instance, versions, "allow"), store.now()) };
      });
    },

    async getInstance({ name }) {
      return { instance: await store.instances.get(name) };
    },

    async listInstances(request) {
      const picked = parseSelector(request.filter ?? "", KEYS, "filter");
      const instances = (await store.instances.list()).filter((instance) => picked(selectable(instance)));
      const { items, nextPageToken } = pageOf(instances, request);
      return { instances: items, nextPageToken };
    },

    async updateInstance({ instance: given, updateMask }) {
      if (!given) throw Fault.invalid("instance", [{ field: "instance", problem: "is not set" }]);
      const fields = changedFields(updateMask, CHANGEABLE, (path) => isSet(given, path));
      // Only who names them means them: what was read may be written back whole.
      const approved = updateMask?.some((path) => path === "grants" || path === "version") ?? false;
      const widening = approved ? "allow" : store.widening;
      return await store.alone(async () => {
        const { plugin } = await store.instances.get(given.name);
        const versions = await versionsOf(store, idOf(plugin, "plugins"));
        await store.instances.change(given.name, given.etag, store.now(), (current) => {
          if (current.state === InstanceState.DRAINING) {
            throw new Fault("precondition", `${current.name} is being deleted`);
          }
          const next = edited(current, given, fields);
          const enabling = next.state === InstanceState.ENABLED && current.state !== InstanceState.ENABLED;
          const moved = next.state === current.state ? [] : stateMistakes(next.state);
          const strictly = fields.has("config") || fields.has("version") || enabling;
          const { version } = chosen(next, versions, widening);
          refuse([...moved, ...(strictly ? mistakesOf(next, version, versions) : formMistakesOf(next))]);
          return settledInstance(next, versions, widening);
        });
        await settle(store, plugin, given.name);
        return { instance: await store.instances.get(given.name) };
      });
    },

    async deleteInstance({ name, etag, cascade }) {
      await removeInstance(store, name, { etag, cascade, signal: closing });
      return {};
    },
  };
}

/** The versions of a plugin that can get an instance. Errors: `not_found`, `precondition`. */
async function openVersions(store: Store, name: string): Promise<PluginVersion[]> {
  const plugin = await store.plugins.get(name);
  if (plugin.state === PluginState.DRAINING) throw new Fault("precondition", `${name} is being deleted`);
  if (plugin.latestVersion === "") throw new Fault("precondition", `${name} has no version that can run`);
  return await versionsOf(store, idOf(name, "plugins"));
}

function isSet(given: Instance, path: string): boolean {
  if (path === "config") return given.config !== undefined;
  if (path === "grants") return given.grants !== undefined;
  if (path === "state") return given.state !== InstanceState.UNSPECIFIED;
  if (path === "tags") return given.tags.length > 0;
  if (path === "managed_by") return given.managedBy !== "";
  return (path === "version" ? given.version : given.stateReason) !== "";
}

function edited(current: Instance, given: Instance, fields: ReadonlySet<string>): Instance {
  const next = { ...current };
  if (fields.has("version")) next.version = given.version;
  if (fields.has("tags")) next.tags = given.tags;
  if (fields.has("managed_by")) next.managedBy = given.managedBy;
  if (fields.has("config")) next.config = given.config ?? {};
  if (fields.has("grants")) next.grants = given.grants ?? { allRequested: false, only: undefined };
  // What was read may be written back: a state that only the registry sets then means "as it is".
  if (fields.has("state") && given.state !== InstanceState.UNSPECIFIED && given.state !== current.state) {
    next.state = given.state;
    next.stateReason = "";
  }
  if (fields.has("state_reason") && next.state === InstanceState.PAUSED) next.stateReason = given.stateReason;
  return next;
}

function stateMistakes(state: InstanceState): Mistake[] {
  if (state === InstanceState.ENABLED || state === InstanceState.PAUSED) return [];
  return [{ field: "state", problem: `${state} cannot be set`, fix: "ENABLED or PAUSED" }];
}

function formMistakesOf(instance: Instance): Mistake[] {
  const mistakes: Mistake[] = noteMistakes(instance.state === InstanceState.PAUSED ? instance.stateReason : "");
  mistakes.push(...tagMistakes(instance.tags), ...keeperMistakes(instance.managedBy));
  if (instance.grants?.only) mistakes.push(...permissionMistakes(instance.grants.only, "grants.only"));
  return mistakes;
}

function mistakesOf(
  instance: Instance,
  version: PluginVersion | undefined,
  versions: readonly PluginVersion[],
): Mistake[] {
  const mistakes = formMistakesOf(instance);
  if (version) return [...mistakes, ...checkConfig(version, instance.config).mistakes];
  const known = versions.map(versionOf).slice(-20).join(", ");
  return [
    ...mistakes,
    { field: "version", problem: `${shown(instance.version)} is not published`, fix: `one of ${known}` },
  ];
}

function refuse(mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid("instance", mistakes);
}
