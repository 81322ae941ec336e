/** `plugin new`: a small project in the author's language, with the interfaces that were asked for and their tests. */
import { cp, readFile, stat, writeFile } from "node:fs/promises";
import { basename, extname, join, relative, resolve } from "node:path";
import { Fault } from "../kit/fault.ts";
import { root } from "./build.ts";
import { type Invocation, Misuse } from "./command.ts";
import { joinSources } from "./plugin-source.ts";
import { readableJson } from "./readable-json.ts";
import { FORMS } from "./source-forms.ts";

const SDK = join(root, "plugins-sdk");
const NAME = /^[a-z][a-z0-9-]{0,62}$/;
/** Languages whose template is not simply `<language>/template`. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  cpp: "c/template-cpp",
  javascript: "typescript/template-javascript",
};
export const LANGUAGES = Object.keys(FORMS);
/** What a plugin can be asked to do, in the order of a file. A template is the whole of `fetch`. */
export const INTERFACES = ["fetch", "sync", "poll", "discover", "enrich", "route", "functions"] as const;
/** Sources of the others, one each; not part of a project. */
const SOURCES = "interfaces";
/** Of the manifest, but not to begin with. */
const BY_HAND: Readonly<Record<string, string>> = {
  ...{ before_sync: "services/executor/SYNC.md", after_sync: "services/executor/SYNC.md" },
  register: "plugins-sdk/README.md",
};
const DEFAULTS = { language: "typescript", name: "my-plugin", interfaces: "fetch" };

export type Ask = (question: string) => Promise<string>;

export interface Wanted {
  readonly language: string;
  readonly folder: string;
  readonly interfaces: readonly string[];
}

/** What words and flags say of a new plugin. */
export interface Said {
  readonly language: string | undefined;
  readonly name: string | undefined;
  readonly interfaces: string | undefined;
}

/** Words stand for the flags that are not there. Errors: `Misuse`. */
export function saidOf(args: readonly string[], flags: Invocation["flags"]): Said {
  const words = [...args];
  const text = (flag: unknown) => (typeof flag === "string" ? flag : undefined);
  const language = text(flags.language) ?? words.shift();
  const name = text(flags.name) ?? words.shift();
  if (words.length) throw new Misuse(`${words.join(" ")} is more than a language and a name`);
  return { language, name, interfaces: text(flags.interfaces) };
}

/** Asks for what is not said, when somebody is there to answer; an empty answer is the default. Errors: `Misuse`. */
export async function askNew({ language, name, interfaces }: Said, ask: Ask | undefined): Promise<Wanted> {
  const missing = [...(language === undefined ? ["language"] : []), ...(name === undefined ? ["name"] : [])];
  if (missing.length && !ask) {
    const example = `millrace plugin new ${language ?? "typescript"} ${name ?? "hello"} --interfaces fetch,poll`;
    const words = missing.map((one) => `--${one}`).join(" and ");
    throw new Misuse(`${words} ${missing.length > 1 ? "are" : "is"} missing, and nobody is there to ask: ${example}`);
  }
  const answer = async (question: string, fallback: string) => (await ask?.(`${question} [${fallback}]: `)) || fallback;
  return {
    language: language ?? (await answer(`language: ${LANGUAGES.join(", ")}`, DEFAULTS.language)),
    folder: name ?? (await answer("name, and its new folder", DEFAULTS.name)),
    // Who said the rest in words means the default by silence.
    interfaces: listOf(
      interfaces ??
        (missing.length
          ? await answer(`interfaces, with commas: ${INTERFACES.join(", ")}`, DEFAULTS.interfaces)
          : DEFAULTS.interfaces),
    ),
  };
}

const listOf = (text: string) => [...new Set(text.split(",").map((one) => one.trim()))].filter((one) => one !== "");

export interface Made {
  readonly folder: string;
  readonly name: string;
  readonly interfaces: readonly string[];
}

/** Errors: `invalid` with every mistake: an unknown language or interface, a bad name, a folder that exists. */
export async function newPlugin(
  language: string,
  folder: string,
  interfaces: readonly string[] = [DEFAULTS.interfaces],
): Promise<Made> {
  const name = basename(resolve(folder));
  const mistakes = [
    ...(LANGUAGES.includes(language)
      ? []
      : [{ field: "language", problem: `"${language}" has no template`, fix: `one of ${LANGUAGES.join(", ")}` }]),
    ...(NAME.test(name)
      ? []
      : [
          {
            field: "name",
            problem: `"${name}" is no name for a plugin`,
            fix: "a lower-case letter, then at most 62 lower-case letters, digits and -",
          },
        ]),
    ...((await isThere(folder))
      ? [{ field: "name", problem: `"${folder}" exists already`, fix: "name a new folder" }]
      : []),
    ...interfaceMistakes(interfaces),
  ];
  if (mistakes.length) throw Fault.invalid("plugin new", mistakes);
  const chosen = INTERFACES.filter((one) => interfaces.includes(one));
  const template = templateOf(language);
  await writeProject(language, folder, chosen);
  await writeManifest(template, folder, name, chosen);
  // An editor finds the SDK's types in this checkout, wherever the new project is.
  await edit(join(folder, "tsconfig.json"), (text) =>
    text.replace(
      '"../tsconfig.plugin.json"',
      JSON.stringify(relative(folder, join(SDK, language, "tsconfig.plugin.json"))),
    ),
  );
  return { folder: resolve(folder), name, interfaces: chosen };
}

function interfaceMistakes(interfaces: readonly string[]) {
  const known: readonly string[] = INTERFACES;
  const fix = `any of ${known.join(", ")}, with commas`;
  if (!interfaces.length) return [{ field: "interfaces", problem: "there is none", fix }];
  const both = "fetch and sync exclude one another: a plugin with both is asked for sync only";
  const excluded = interfaces.includes("fetch") && interfaces.includes("sync");
  const unknown = interfaces
    .filter((one) => !known.includes(one))
    .map((one) => {
      const page = BY_HAND[one];
      const problem = page ? `"${one}" has no template: it is added by hand, see ${page}` : `"${one}" is no interface`;
      return { field: "interfaces", problem, fix };
    });
  return [...unknown, ...(excluded ? [{ field: "interfaces", problem: both, fix: "choose one of them" }] : [])];
}

const templateOf = (language: string) => join(SDK, ELSEWHERE[language] ?? `${language}/template`);
const formOf = (language: string) => FORMS[language] as (typeof FORMS)[string];

/** The source of a plugin with these interfaces. The template's own is that of `fetch`. */
export async function pluginSource(language: string, chosen: readonly string[]): Promise<string> {
  const { entry, prepare = same, finish = same, ...form } = formOf(language);
  const template = templateOf(language);
  const pathOf = (one: string) => (one === "fetch" ? entry : join(SOURCES, `${one}${extname(entry)}`));
  const sources = await Promise.all(chosen.map((one) => readFile(join(template, pathOf(one)), "utf8")));
  return sources.length > 1 ? finish(joinSources(sources.map(prepare), form)) : (sources[0] as string);
}

const same = (source: string) => source;

/** The template without what is not wanted of it, and the tests of the other interfaces. */
async function writeProject(language: string, folder: string, chosen: readonly string[]): Promise<void> {
  const template = templateOf(language);
  const left = [join(template, SOURCES), ...(chosen.includes("fetch") ? [] : [join(template, "test")])];
  await cp(template, folder, { recursive: true, filter: (path) => !left.includes(path) });
  await writeFile(join(folder, formOf(language).entry), await pluginSource(language, chosen));
  for (const one of chosen.filter((other) => other !== "fetch")) {
    await cp(join(SDK, SOURCES, one, "test"), join(folder, "test"), { recursive: true });
  }
}

interface Part {
  readonly description: string;
  readonly interfaces: object;
  readonly config?: { readonly properties: object };
  readonly permissions?: { readonly http?: readonly object[] };
}

/** plugin.json asks for what the chosen interfaces need, and for nothing else. */
async function writeManifest(template: string, folder: string, name: string, chosen: readonly string[]) {
  const {
    description: _,
    interfaces: __,
    config,
    permissions: ___,
    ...head
  } = await readJson(join(template, "plugin.json"));
  const parts: Part[] = await Promise.all(
    chosen.map((one) =>
      readJson(one === "fetch" ? join(template, "plugin.json") : join(SDK, SOURCES, one, "plugin.json")),
    ),
  );
  const properties = Object.assign({}, ...parts.map((part) => part.config?.properties));
  const http = [
    ...new Set(parts.flatMap(({ permissions }) => permissions?.http ?? []).map((one) => JSON.stringify(one))),
  ];
  const manifest = {
    ...{ name, version: head.version, abi: head.abi },
    description: parts.map(({ description }) => description).join(" "),
    ...{ author: head.author, license: head.license },
    interfaces: Object.assign({}, ...parts.map((part) => part.interfaces)),
    ...(Object.keys(properties).length > 0 && { config: { ...config, properties } }),
    ...(http.length > 0 && { permissions: { http: http.map((one) => JSON.parse(one)) } }),
  };
  await writeFile(join(folder, "plugin.json"), `${readableJson(manifest)}\n`);
}

const readJson = async (path: string) => JSON.parse(await readFile(path, "utf8"));

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

async function edit(path: string, change: (text: string) => string): Promise<void> {
  if (await isThere(path)) await writeFile(path, change(await readFile(path, "utf8")));
}
