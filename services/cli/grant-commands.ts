/** What an upgrade would change in what a plugin may reach, in words. */
import {
  DiffGrantsResponse,
  type GrantChange,
  GrantChangeKind,
  PluginsService,
} from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, named } from "./api.ts";
import type { Command } from "./command.ts";
import { restJson } from "./rest-json.ts";

function sentence({ kind, permission, before, after }: GrantChange): string {
  switch (kind) {
    case GrantChangeKind.ADDED:
      return `+ asks for ${permission}: ${after}`;
    case GrantChangeKind.REMOVED:
      return `- no longer asks for ${permission}: ${before}`;
    case GrantChangeKind.WIDENED:
      return `> asks for more ${permission}: ${after} instead of ${before}`;
    default:
      return `< asks for less ${permission}: ${after} instead of ${before}`;
  }
}

export const grantCommands: readonly Command[] = [
  {
    path: "plugin grants",
    args: "<plugin>",
    doc: "Tells what a version asks to reach that an older one did not. Exit code 0, whether it asks for more or not.",
    flags: {
      from: { type: "string", doc: "the older version (default: the one before)" },
      to: { type: "string", doc: "the newer version (default: the newest)" },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { args, flags, terminal } = invocation;
      const name = named("plugins", args[0]);
      const { plugin } = await api.call(PluginsService.getPlugin, { name });
      const to = typeof flags.to === "string" ? flags.to : (plugin?.latestVersion ?? "");
      if (to === "") throw new Fault("precondition", `${name} has no version that can run`);
      const from = typeof flags.from === "string" ? flags.from : "";
      const diff = await api.call(PluginsService.diffGrants, { name: `${name}/versions/${to}`, from });
      const against = diff.from ? `${to} against ${diff.from}` : `${to}, the first version`;
      terminal.result(
        () => restJson("millrace.registry.v1.DiffGrantsResponse", DiffGrantsResponse, diff),
        () => [`${bare(name)} ${against}`, ...diff.changes.map(sentence), verdict(diff)].join("\n"),
      );
    },
  },
];

function verdict({ widens, changes }: DiffGrantsResponse): string {
  if (widens) return "It would reach more than before.";
  return changes.length ? "It would reach no more than before." : "It asks for the same.";
}
