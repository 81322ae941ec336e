/** `plugin new`: a small project in the author's language, made from the template beside that language's SDK. */
import { cp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { Fault } from "../kit/fault.ts";
import { root } from "./build.ts";
import { Misuse } from "./command.ts";

const NAME = /^[a-z][a-z0-9-]{0,62}$/;
/** Languages whose template is not simply `<language>/template`. */
const ELSEWHERE: Readonly<Record<string, string>> = { cpp: "c/template-cpp", javascript: "typescript/template" };

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

async function known(): Promise<string[]> {
  const sdk = join(root, "plugins-sdk");
  const folders = await readdir(sdk);
  const withTemplate = await Promise.all(folders.map((folder) => isThere(join(sdk, folder, "template"))));
  return [...folders.filter((_, i) => withTemplate[i]), ...Object.keys(ELSEWHERE)].sort();
}

/** Asks for what the words do not say, when somebody is there to answer. Errors: `Misuse`. */
export async function askNew(words: readonly string[], ask: Ask | undefined): Promise<[string, string]> {
  let [language, folder] = words;
  if ((language === undefined || folder === undefined) && !ask) {
    throw new Misuse(`${language === undefined ? "<language>" : "<folder>"} is missing`);
  }
  language ??= await ask?.(`language (${(await known()).join(", ")}): `);
  folder ??= await ask?.("folder, which names the plugin: ");
  return [language ?? "", folder ?? ""];
}

export type Ask = (question: string) => Promise<string>;

/** Errors: `invalid` with every mistake: an unknown language, a name that no plugin may have, a folder that exists. */
export async function newPlugin(language: string, folder: string): Promise<{ folder: string; name: string }> {
  const name = basename(resolve(folder));
  const languages = await known();
  const mistakes = [
    ...(languages.includes(language)
      ? []
      : [{ field: "language", problem: `"${language}" has no template`, fix: `one of ${languages.join(", ")}` }]),
    ...(NAME.test(name)
      ? []
      : [{ field: "folder", problem: `"${name}" is no name for a plugin`, fix: "lower-case letters, digits and -" }]),
    ...((await isThere(folder))
      ? [{ field: "folder", problem: `"${folder}" exists already`, fix: "name a new folder" }]
      : []),
  ];
  if (mistakes.length) throw Fault.invalid("plugin new", mistakes);
  await cp(join(root, "plugins-sdk", ELSEWHERE[language] ?? `${language}/template`), folder, { recursive: true });
  await edit(join(folder, "plugin.json"), (text) => text.replace(/("name":\s*)"[^"]*"/, `$1"${name}"`));
  // An editor finds the SDK's types in this checkout, wherever the new project is.
  const sdk = join(root, "plugins-sdk", language === "javascript" ? "typescript" : language);
  await edit(join(folder, "tsconfig.json"), (text) =>
    text.replace('"../tsconfig.plugin.json"', JSON.stringify(relative(folder, join(sdk, "tsconfig.plugin.json")))),
  );
  return { folder: resolve(folder), name };
}

async function edit(path: string, change: (text: string) => string): Promise<void> {
  if (await isThere(path)) await writeFile(path, change(await readFile(path, "utf8")));
}
