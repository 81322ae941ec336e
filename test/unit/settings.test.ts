/** deploy/settings.md is printed from what the services read. After a change of a setting: `vitest run settings -u`. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { root } from "../../services/cli/build.ts";
import { settingTables } from "../../services/cli/servers.ts";
import type { Setting } from "../../services/kit/config.ts";

/** Defaults that depend on the machine that prints them. */
const BY_MACHINE: Readonly<Record<string, string>> = { EXECUTOR_LANES: "cores less one" };

const HEAD = `# Settings

Every setting is an environment variable. A wrong one stops the start, and all that are wrong are told at once.
Secrets are never printed. \`millrace <service> --help\` prints the same from the same source.
Commands that only ask read \`MILLRACE_ADDRESS\` (gRPC address of a gateway) and \`MILLRACE_TOKEN\`; \`millrace cluster\` reads
\`NATS_SERVER_BIN\` when nats-server is not on the path. This page is checked by \`test/unit/settings.test.ts\`.
`;

const cell = (text: string) => text.replaceAll("|", "\\|");

function row({ env, doc, fallback, takes }: Setting<unknown>): string {
  const shown = Array.isArray(fallback) ? fallback.join(",") : String(fallback);
  const standard = fallback === undefined ? "required" : shown === "" ? "none" : `\`${shown}\``;
  return `| \`${env}\` | ${cell(doc)} | ${cell(takes)} | ${BY_MACHINE[env] ?? cell(standard)} |`;
}

test("every setting is in deploy/settings.md as it is in the code", async () => {
  const sections = Object.entries(settingTables).map(([name, settings]) => {
    const title = name === "dev" ? "dev\n\nAnd those of all services, but for the addresses between them." : name;
    const rows = Object.values(settings).map(row);
    return [`## ${title}`, "", "| variable | what | takes | default |", "|---|---|---|---|", ...rows].join("\n");
  });
  await expect(`${[HEAD.trimEnd(), ...sections].join("\n\n")}\n`).toMatchFileSnapshot(join(root, "deploy/settings.md"));
});
