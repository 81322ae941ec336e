/** Commands that an author works with. What they run is loaded only when they do: a sandbox, compilers. */

import { createInterface } from "node:readline/promises";
import { building } from "./build-progress.ts";
import { buildAside } from "./build-thread.ts";
import { type Command, Misuse } from "./command.ts";
import { askNew, INTERFACES, LANGUAGES, newPlugin, saidOf } from "./new-plugin.ts";

const PLUGIN = "<folder-bundle-or-wasm>";

/** What a run of a plugin on this machine is told. */
const runFlags = {
  config: { type: "string", doc: "the instance's config: a JSON object, or @file" },
  grant: { type: "string", doc: "what the operator would allow: a JSON object of permissions, or @file" },
  grants: { type: "string", doc: '"manifest" (the default) allows what the manifest asks for, "none" nothing' },
  secrets: { type: "string", doc: '@file with {"name": {"value": "…", "hosts": ["api.example.org"]}}' },
} as const;

async function askOnTerminal(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(question)).trim();
  } finally {
    lines.close();
  }
}

export const authorCommands: readonly Command[] = [
  {
    path: "plugin new",
    args: "[language] [name]",
    doc: "Makes a small plugin to begin from, with a test for each interface. On a terminal it asks what is not said.",
    flags: {
      language: { type: "string", doc: LANGUAGES.join(", ") },
      name: { type: "string", doc: "the folder to make, which names the plugin" },
      interfaces: { type: "string", doc: `any of ${INTERFACES.join(",")} (default: fetch)` },
    },
    async run({ args, flags, terminal }) {
      const watched = process.stdin.isTTY && !terminal.json;
      const { language, folder, interfaces } = await askNew(saidOf(args, flags), watched ? askOnTerminal : undefined);
      const made = await newPlugin(language, folder, interfaces);
      terminal.result(
        () => made,
        () => `${made.folder} is made; next: plugin test ${folder}, plugin dev ${folder}, plugin publish ${folder}`,
      );
    },
  },
  {
    path: "plugin build",
    args: "<folder>",
    doc: "Builds a plugin's folder into a bundle, in whatever language it is written.",
    flags: {},
    async run({ args, terminal }) {
      const built = await buildAside(args[0] as string, building(terminal));
      const how = built.cached ? "built before" : `built in ${built.ms.toFixed(0)} ms`;
      terminal.result(
        () => built,
        () => `${built.path}: ${built.bytes} bytes, ${how}`,
      );
    },
  },
  {
    path: "plugin call",
    args: `${PLUGIN} <export>`,
    doc: "Runs one export here, in the real sandbox, without a platform. HTTP is real, within the grants.",
    flags: {
      input: { type: "string", doc: "fields of the input over the defaults: a JSON object, or @file" },
      ...runFlags,
      once: { type: "boolean", doc: "do not follow `next`: one call, one page" },
      profile: { type: "boolean", doc: "also print CPU, wall time, memory, host calls and bytes" },
      record: { type: "string", doc: "file to write what the guest was told to, for `run replay`" },
    },
    run: async (invocation) => (await import("./plugin-call.ts")).callExport(invocation),
  },
  {
    path: "plugin test",
    args: "<folder>",
    doc: "Plays the test cases in a plugin's folder: `test/*.json`, or folders. Exit 1 when one differs.",
    flags: {
      case: { type: "string", doc: "only this case" },
      update: { type: "boolean", doc: "take what came as what is expected" },
      record: { type: "string", doc: "name of a case to make (or make anew) from a live run" },
      export: { type: "string", doc: "with --record: the export to call" },
      input: { type: "string", doc: "with --record: fields of the input: a JSON object, or @file" },
      ...runFlags,
    },
    run: async (invocation) => (await import("./plugin-test.ts")).testPlugin(invocation),
  },
  {
    path: "plugin verify",
    args: "[folder-bundle-or-wasm]",
    doc: "Judges a plugin by the conformance kit, with a score and reasons. Exit 1 below 100.",
    flags: {
      all: { type: "boolean", doc: "every language's template and example, and each plugin of ours, in a table" },
      language: { type: "string", doc: "with --all: only these, with commas" },
      calls: { type: "string", doc: "calls over which memory must stay flat (default 10,000)" },
    },
    async run(invocation) {
      const { args, flags } = invocation;
      if ((flags.all === true) === (args[0] !== undefined)) throw new Misuse("name a plugin, or --all");
      if (flags.all) await (await import("./verify-table.ts")).verifyAll(invocation);
      else await (await import("./plugin-verify.ts")).verifyPlugin(invocation);
    },
  },
  {
    path: "plugin pack",
    args: "<folder>",
    doc: "Writes the bundle that a registry takes, checked, with its sha256. The same input gives the same bytes.",
    flags: { out: { type: "string", short: "o", doc: "the file to write (default: NAME-VERSION.tgz)" } },
    run: async (invocation) => (await import("./plugin-pack.ts")).packPlugin(invocation),
  },
  {
    path: "plugin dev",
    args: "<folder>",
    doc: "Puts each change of a folder into a running `millrace dev`. Builds, runs, shows logs and results.",
    flags: { config: { type: "string", doc: "the instance's config: a JSON object, or @file" } },
    run: async (invocation) => (await import("./plugin-dev.ts")).developPlugin(invocation),
  },
];
