/** Commands that every collection of the API has: list, show, pause, resume, delete. One table entry makes them all. */
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { type Api, apiOf, named, pages } from "./api.ts";
import { type Command, type Flag, type Invocation, tagsFlag } from "./command.ts";
import { type Codec, restJson } from "./rest-json.ts";
import { detail, table } from "./terminal.ts";

export const PAGE = { pageSize: 1_000 };
const NARROWING = {
  tags: tagsFlag,
  filter: { type: "string", doc: "only those for which this CEL holds, such as 'resource.site == \"north\"'" },
} as const;
/** A deletion waits until running work has drained. */
export const DELETE_DEADLINE_MS = 120_000;

/** One collection, by the methods it has. */
export interface Collection<T extends { readonly name: string }> {
  /** Singular: the first word of its commands. */
  readonly noun: string;
  /** What the singular is in a sentence: "pipes with their state and schedule". */
  readonly lists: string;
  /** Full name of the message, for `--json`. */
  readonly type: string;
  readonly codec: Codec<T>;
  readonly columns: Readonly<Record<string, (item: T) => unknown>>;
  /** By what its list is narrowed: tags, or a condition in CEL. */
  readonly narrowed?: "tags" | "filter";
  list(
    api: Api,
    pageToken: string,
    filter: string,
  ): Promise<{ readonly items: readonly T[]; readonly nextPageToken: string }>;
  /** What is known of each beside itself, by name: cells of the list, lines of `show`. What is away is left out. */
  beside?(api: Api, names: readonly string[]): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>>;
  /** Heads of the cells that `beside` gives. */
  readonly besideHeads?: readonly string[];
  get?(api: Api, name: string): Promise<T | undefined>;
  /** Sets ENABLED or PAUSED; the note says why. */
  setPaused?(api: Api, name: string, paused: boolean, note: string): Promise<T | undefined>;
  readonly deletion?: {
    readonly doc: string;
    /** Flags beside the name; given to `run` by theirs. */
    readonly flags?: Readonly<Record<string, Flag>>;
    run(api: Api, name: string, flags: Invocation["flags"]): Promise<unknown>;
  };
}

const textOf = (flag: string | boolean | undefined) => (typeof flag === "string" ? flag : "");

/** The first line of a reason; the rest is for `show`. */
export const firstLine = (text: string) => text.split("\n")[0] ?? "";

export function commandsOf<T extends { readonly name: string }>(collection: Collection<T>): Command[] {
  const { noun, lists, type, codec, columns, get, setPaused, deletion } = collection;
  const args = `<${noun}>`;
  const json = (item: T) => restJson(type, codec, item);
  const nameOf = ({ args: [raw] }: Invocation) => named(`${noun}s`, raw);
  const found = (item: T | undefined, name: string): T => {
    if (!item) throw new Fault("internal", `the answer holds no ${name}`);
    return item;
  };

  /** A list is worth showing without it. */
  const lookBeside = async (api: Api, items: readonly T[]) => {
    const names = items.map(({ name }) => name);
    const found = names.length ? await collection.beside?.(api, names).catch(() => undefined) : undefined;
    return found ?? new Map<string, Readonly<Record<string, string>>>();
  };

  const commands: Command[] = [
    {
      path: `${noun} list`,
      args: "",
      doc: `Lists ${lists}.`,
      flags: collection.narrowed ? { [collection.narrowed]: NARROWING[collection.narrowed] } : {},
      async run(invocation) {
        using api = apiOf(invocation);
        const all = await pages((pageToken) =>
          collection.list(api, pageToken, textOf(invocation.flags[collection.narrowed ?? ""])),
        );
        const items = all.flatMap((page) => page.items);
        const heads = collection.besideHeads ?? [];
        const beside = invocation.terminal.json ? undefined : await lookBeside(api, items);
        const cells = (item: T) => heads.map((head) => beside?.get(item.name)?.[head] ?? "");
        invocation.terminal.result(
          () => items.map(json),
          () =>
            table(
              [noun, ...Object.keys(columns), ...heads],
              items.map((item) => [
                bare(item.name),
                ...Object.values(columns).map((column) => column(item)),
                ...cells(item),
              ]),
            ),
        );
      },
    },
  ];
  if (get) {
    commands.push({
      path: `${noun} show`,
      args,
      doc: `Shows everything about one ${noun}.`,
      flags: {},
      async run(invocation) {
        using api = apiOf(invocation);
        const name = nameOf(invocation);
        const item = found(await get(api, name), name);
        const beside = invocation.terminal.json ? undefined : (await lookBeside(api, [item])).get(item.name);
        invocation.terminal.result(
          () => json(item),
          () => detail({ ...(json(item) as object), ...beside }),
        );
      },
    });
  }
  const stateCommand = (verb: string, paused: boolean, doc: string, flags: Command["flags"]): Command => ({
    path: `${noun} ${verb}`,
    args,
    doc,
    flags,
    async run(invocation) {
      using api = apiOf(invocation);
      const name = nameOf(invocation);
      const note = typeof invocation.flags.note === "string" ? invocation.flags.note : "";
      const item = found(await setPaused?.(api, name, paused, note), name);
      invocation.terminal.result(
        () => json(item),
        () => `${name} is ${paused ? "paused" : "resumed"}`,
      );
    },
  });
  if (setPaused) {
    const note = { type: "string", doc: "why, for whoever finds it paused" } as const;
    commands.push(stateCommand("pause", true, `Stops what the ${noun} does until it is resumed.`, { note }));
    commands.push(stateCommand("resume", false, `Lets a paused ${noun} go on, and one in error try again.`, {}));
  }
  if (deletion) {
    commands.push({
      path: `${noun} delete`,
      args,
      doc: deletion.doc,
      flags: deletion.flags ?? {},
      async run(invocation) {
        using api = apiOf(invocation);
        const name = nameOf(invocation);
        await deletion.run(api, name, invocation.flags);
        invocation.terminal.result(
          () => ({ deleted: name }),
          () => `${name} is deleted`,
        );
      },
    });
  }
  return commands;
}
