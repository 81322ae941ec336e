/** Commands about plugins and their instances. */
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Plugin, PluginState, PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { PluginsService, PublishPluginResponse } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, enumName, named, pages, showTime, untilWhen } from "./api.ts";
import { building } from "./build-progress.ts";
import { firstLine, PAGE } from "./collection.ts";
import type { Command } from "./command.ts";
import { jsonFlag } from "./json-flag.ts";
import { tagsOf } from "./pipe-edit.ts";
import { bundleOf } from "./plugin-pack.ts";
import { restJson } from "./rest-json.ts";
import { detail, table } from "./terminal.ts";

const instanceJson = (instance: Instance | undefined) =>
  instance && restJson("millrace.registry.v1.Instance", Instance, instance);

/** What a manifest says of one thing, what is empty left out; undefined when nothing is left. */
function section(what: string, value: object): string | undefined {
  const lines = detail(value, "  ");
  return lines ? `${what}:\n${lines}` : undefined;
}

export const pluginCommands: readonly Command[] = [
  {
    path: "plugin publish",
    args: "<bundle-or-folder>",
    doc: "Checks a bundle and stores it as a version; a source folder is built first.",
    flags: { check: { type: "boolean", doc: "check only, store nothing" } },
    async run(invocation) {
      const bundle = await bundleOf(invocation.args[0] as string, building(invocation.terminal));
      using api = apiOf(invocation);
      const request = { bundle, validateOnly: invocation.flags.check === true };
      const response = await api.call(PluginsService.publishPlugin, request);
      const { version, created, instance } = response;
      const verb = request.validateOnly ? "is fine" : created ? "is published" : "was there already";
      invocation.terminal.result(
        () => restJson("millrace.registry.v1.PublishPluginResponse", PublishPluginResponse, response),
        () => `${version?.name} ${verb}; instance: ${instance || "none"}`,
      );
    },
  },
  {
    path: "plugin show",
    args: "<plugin>",
    doc: "Shows a plugin with its versions, what it may be asked to do, and what it asks to reach.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const name = named("plugins", invocation.args[0]);
      const { plugin } = await api.call(PluginsService.getPlugin, { name });
      const { versions } = await api.call(PluginsService.listPluginVersions, { parent: name, ...PAGE, pageToken: "" });
      const json = () => ({
        plugin: plugin && restJson("millrace.registry.v1.Plugin", Plugin, plugin),
        versions: versions.map((v) => restJson("millrace.registry.v1.PluginVersion", PluginVersion, v)),
      });
      const instances = await pages((pageToken) => api.call(InstancesService.listInstances, { ...PAGE, pageToken }));
      const own = instances.flatMap((page) => page.instances).filter((one) => one.plugin === name);
      invocation.terminal.result(json, () => {
        const [newest] = versions;
        const written = newest && restJson("millrace.registry.v1.PluginVersion", PluginVersion, newest);
        const manifest = (written as { manifest?: Record<string, object> } | undefined)?.manifest ?? {};
        const files = [...(newest?.staticFiles ?? []), ...(newest?.docs ?? [])];
        const shown = ["interfaces", "config", "permissions", "limits"];
        return [
          `${plugin?.name} ${plugin?.latestVersion} ${plugin ? enumName(PluginState, plugin.state) : ""}`,
          plugin?.description,
          plugin?.stateReason,
          ...(plugin?.quarantines ?? []).map(
            (q) => `${q.name} is in quarantine since ${showTime(q.createTime)}, ${untilWhen(q)}: ${q.reason}`,
          ),
          newest && `module ${newest.moduleDigest} (${newest.moduleBytes} bytes), exports ${newest.exports.join(" ")}`,
          ...shown.map((what) => manifest[what] && section(what, manifest[what])),
          files.length > 0 && `files: ${files.map(({ path, bytes }) => `${path} (${bytes} bytes)`).join(", ")}`,
          "",
          table(
            ["instance", "version", "state", "reason"],
            own.map((i) => [
              bare(i.name),
              i.runningVersion,
              enumName(InstanceState, i.state),
              firstLine(i.stateReason),
            ]),
          ),
          "",
          table(
            ["version", "published", "bundle"],
            versions.map((v) => [v.manifest?.version, showTime(v.createTime), v.bundleDigest.slice(0, 12)]),
          ),
        ]
          .filter((line) => line !== undefined && line !== false)
          .join("\n");
      });
    },
  },
  {
    path: "plugin delete-version",
    args: "<plugin> <version>",
    doc: "Deletes a version that no instance runs or is pinned to. The only version goes with `plugin delete`.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const name = `${named("plugins", invocation.args[0])}/versions/${invocation.args[1]}`;
      await api.call(PluginsService.deletePluginVersion, { name });
      invocation.terminal.result(
        () => ({ name }),
        () => `${name} is deleted`,
      );
    },
  },
  {
    path: "instance create",
    args: "<plugin> <name>",
    doc: "Creates an instance of a plugin with a config and grants.",
    flags: {
      config: { type: "string", doc: "JSON object, or @file" },
      grant: { type: "string", doc: '"all" grants what the manifest asks; or a JSON object of permissions, or @file' },
      tags: { type: "string", doc: "words to select it by, with commas" },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { args, flags } = invocation;
      const only = flags.grant && flags.grant !== "all" ? await jsonFlag(flags.grant, "--grant") : undefined;
      const instance = Instance.fromPartial({
        plugin: named("plugins", args[0]),
        config: await jsonFlag(flags.config, "--config"),
        grants: { allRequested: flags.grant === "all", ...(only && { only }) },
        tags: tagsOf(flags.tags),
      });
      const created = await api.call(InstancesService.createInstance, { instance, instanceId: args[1] as string });
      invocation.terminal.result(
        () => instanceJson(created.instance),
        () => `${created.instance?.name} is created`,
      );
    },
  },
  {
    path: "instance configure",
    args: "<instance>",
    doc: "Changes the config, the grants or the tags of an instance.",
    flags: {
      config: { type: "string", doc: "JSON object, or @file; replaces the whole config" },
      grant: { type: "string", doc: '"all", "none", or a JSON object of permissions, or @file' },
      "set-tags": {
        type: "string",
        doc: 'words to select it by, with commas, in place of those that it has; "" for none',
      },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { flags } = invocation;
      const explicit = typeof flags.grant === "string" && !["all", "none"].includes(flags.grant);
      const only = explicit ? await jsonFlag(flags.grant, "--grant") : undefined;
      const updateMask = [
        ...(flags.config ? ["config"] : []),
        ...(flags.grant ? ["grants"] : []),
        ...(typeof flags["set-tags"] === "string" ? ["tags"] : []),
      ];
      if (!updateMask.length)
        throw Fault.invalid("instance configure", [{ field: "flags", problem: "nothing to change is given" }]);
      const instance = Instance.fromPartial({
        name: named("instances", invocation.args[0]),
        config: await jsonFlag(flags.config, "--config"),
        grants: { allRequested: flags.grant === "all", ...(only && { only }) },
        tags: tagsOf(flags["set-tags"]),
      });
      const response = await api.call(InstancesService.updateInstance, { instance, updateMask });
      invocation.terminal.result(
        () => instanceJson(response.instance),
        () => `${response.instance?.name} is changed`,
      );
    },
  },
];
