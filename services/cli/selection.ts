/** Commands for one pipe, poller or instance made commands for many: named, or picked by tags; with one summary. */
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { type Api, apiOf, named, pages } from "./api.ts";
import { PAGE } from "./collection.ts";
import { type Command, type Invocation, Misuse, tagsFlag, wholeFlag } from "./command.ts";
import { type Terminal, table } from "./terminal.ts";

const PARALLEL = 4;
const MAX_PARALLEL = 32;
/** They write to stdout by themselves, as it comes: one after the other, and nothing in between. */
const STREAMING = ["pipe data"];

type Listing = (api: Api, filter: string) => Promise<readonly { readonly name: string }[]>;

const listings: Readonly<Record<string, Listing>> = {
  pipe: async (api, filter) =>
    (await pages((pageToken) => api.call(PipesService.listPipes, { ...PAGE, pageToken, filter }))).flatMap(
      (page) => page.pipes,
    ),
  poller: async (api, filter) =>
    (await pages((pageToken) => api.call(PollersService.listPollers, { ...PAGE, pageToken, filter }))).flatMap(
      (page) => page.pollers,
    ),
  instance: async (api, filter) =>
    (await pages((pageToken) => api.call(InstancesService.listInstances, { ...PAGE, pageToken, filter }))).flatMap(
      (page) => page.instances,
    ),
};

/** Those that take one thing of a collection that can be picked from take many; the others are as they were. */
export const selecting = (commands: readonly Command[]): readonly Command[] => commands.map(selectable);

function selectable(command: Command): Command {
  const [first = "", ...rest] = command.args.split(" ").filter(Boolean);
  const noun = /^<(pipe|poller|instance)>$/.exec(first)?.[1] ?? "";
  const listing = listings[noun];
  const about = command.path.split(" ")[0] ?? "";
  if (!listing || (about !== noun && about !== "rejects")) return command;
  const deletes = command.path.endsWith(" delete");
  const flags: Command["flags"] = {
    ...command.flags,
    tags: tagsFlag,
    ...(!command.flags.all && { all: { type: "boolean", doc: `every ${noun}` } }),
    ...(!STREAMING.includes(command.path) && {
      parallel: { type: "string", doc: `how many at once (default ${PARALLEL}, at most ${MAX_PARALLEL})` },
    }),
    ...(deletes && { yes: { type: "boolean", doc: "really, when they are picked by tags" } }),
  };
  const args = rest.length ? [`[${noun}]`, ...rest].join(" ") : `[${noun}…]`;
  return {
    ...command,
    args,
    flags,
    async run(invocation) {
      const { args: given, flags: said } = invocation;
      const every = said.all === true && !command.flags.all;
      const filter = typeof said.tags === "string" ? said.tags : every ? "" : undefined;
      if (filter === undefined) {
        const missing = [first, ...rest][given.length];
        if (given.length <= rest.length && !missing?.startsWith("[")) {
          const fix = `: name a ${noun}, or pick with --tags${command.flags.all ? "" : " or --all"}`;
          throw new Misuse(`${missing} is missing${missing === first ? fix : ""}`);
        }
        if (rest.length || given.length === 1) return await command.run(invocation);
        return await runAll(
          command,
          invocation,
          noun,
          given.map((name) => [name]),
        );
      }
      if (given.length > rest.length) throw new Misuse(`both "${given[0]}" and a selection: give one of them`);
      if (given.length < rest.filter((word) => word.startsWith("<")).length) {
        throw new Misuse(`${rest[given.length]} is missing`);
      }
      using api = apiOf(invocation);
      const found = (await listing(api, filter)).map(({ name }) => bare(name));
      if (deletes && said.yes !== true) {
        throw new Fault("precondition", `this deletes ${found.length}: ${found.join(", ")}; say --yes`);
      }
      // The words after the name are for all of them: `{pipe}` in these is each one's dataset-like name.
      const words = (id: string) => given.map((word) => word.replaceAll(`{${noun}}`, id.replace(/[.-]/g, "_")));
      return await runAll(
        command,
        invocation,
        noun,
        found.map((id) => [id, ...words(id)]),
      );
    },
  };
}

interface Ended {
  readonly name: string;
  readonly ok: boolean;
  readonly json: unknown;
  readonly text: string;
}

async function runAll(
  command: Command,
  invocation: Invocation,
  noun: string,
  calls: readonly (readonly string[])[],
): Promise<void> {
  const { terminal, flags } = invocation;
  const streaming = STREAMING.includes(command.path);
  if (streaming && calls.length > 1 && flags.format && flags.format !== "ndjson") {
    throw new Misuse(`${flags.format} of several ${noun}s would be several files in one: use ndjson`);
  }
  const parallel = streaming ? 1 : (wholeFlag(flags, "parallel", [1, MAX_PARALLEL]) ?? PARALLEL);
  const ended: Ended[] = [];
  const waiting = [...calls.entries()];
  using bar = terminal.bar(`${noun}s`, calls.length);
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [at, args] = next;
      ended[at] = await runOne(command, { ...invocation, args }, named(`${noun}s`, args[0]));
      bar.update(calls.length - waiting.length, args[0]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, calls.length) }, lane));
  const failed = ended.filter(({ ok }) => !ok);
  if (!streaming) {
    terminal.result(
      () => ended.map(({ name, ok, json, text }) => (ok ? { name, ok, result: json } : { name, ok, error: text })),
      () => summary(noun, ended),
    );
  }
  const listed = streaming ? failed.map(({ name, text }) => `\n${bare(name)}: ${text}`).join("") : "";
  if (failed.length) terminal.fail(`${failed.length} of ${ended.length} ${noun}s failed${listed}`);
}

/** One line each in a table, or all that each of them said below its name. */
function summary(noun: string, ended: readonly Ended[]): string {
  if (!ended.some(({ ok, text }) => ok && text.includes("\n"))) {
    const rows = ended.map(({ name, ok, text }) => [bare(name), ok ? "ok" : "failed", text]);
    return table([noun, "outcome", "said"], rows);
  }
  return ended.map(({ name, ok, text }) => `== ${bare(name)}${ok ? "" : " failed"}\n${text}`).join("\n\n");
}

/** Never throws: what one says is kept until all are done. */
async function runOne(command: Command, invocation: Invocation, name: string): Promise<Ended> {
  let json: unknown;
  const said: string[] = [];
  let failed = false;
  const kept: Terminal = {
    json: invocation.terminal.json,
    result(value, plain) {
      json = value();
      said.push(plain());
    },
    fail(text) {
      failed = true;
      said.push(text);
    },
    get failed() {
      return failed;
    },
    note() {},
    bar: () => ({ update() {}, [Symbol.dispose]() {} }),
  };
  try {
    await command.run({ ...invocation, terminal: kept });
  } catch (thrown) {
    if (thrown instanceof Misuse) throw thrown;
    const fault = Fault.from(thrown);
    return { name, ok: false, json: undefined, text: `${fault.code}: ${fault.message}` };
  }
  return { name, ok: !failed, json, text: said.join("\n") };
}
