/**
 * The door to the plugin builders in plugins-sdk, which are plain JavaScript that authors may also run by themselves.
 */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Fault } from "../kit/fault.ts";

/** Root of the checkout. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

const SHELF = join(root, "plugins-sdk/stock");

/**
 * Where a plugin is that was named by its path, or by its name on the stock shelf when there is no such path.
 * Errors: `invalid`.
 */
export async function pluginPath(named: string): Promise<string> {
  if (existsSync(named)) return named;
  const stock = (await readdir(SHELF)).filter((name) => existsSync(join(SHELF, name, "plugin.json")));
  if (stock.includes(named)) return join(SHELF, named);
  const fix = `name a plugin's folder, a bundle (.tgz), a module (.wasm), or one of the shelf: ${stock.join(", ")}`;
  throw Fault.invalid("plugin", [{ field: "path", problem: `there is nothing at "${named}"`, fix }]);
}

export interface Built {
  readonly name: string;
  readonly version: string;
  /** The packed bundle. */
  readonly path: string;
  /** The compiled module alone. */
  readonly wasmPath: string;
  /** Size of the bundle. */
  readonly bytes: number;
  readonly ms: number;
  /** Whether an earlier build of the same sources was used. */
  readonly cached: boolean;
}

/** Something that a language needs on this machine. */
export interface Check {
  readonly what: string;
  readonly ok: boolean;
  readonly found: string;
  /** The command that gets it, when it is missing. */
  readonly fix?: string;
}

export interface Language {
  readonly name: string;
  detect(folder: string): boolean;
  buildPlugin(folder: string, options?: { readonly outDir?: string }): Promise<Built>;
  doctor(): Promise<readonly Check[]>;
}

export async function knownLanguages(): Promise<readonly Language[]> {
  const table = pathToFileURL(join(root, "plugins-sdk/languages.js")).href;
  return ((await import(table)) as { languages: readonly Language[] }).languages;
}

/** What each language that plugins are built from needs, found or not. */
export async function languageChecks(): Promise<Check[]> {
  const all = await Promise.all(
    (await knownLanguages()).map(async ({ name, doctor }) => ({ name, checks: await doctor() })),
  );
  return all.flatMap(({ name, checks }) =>
    checks.map((check) => ({ ...check, what: `${name} plugins: ${check.what}` })),
  );
}

/** Builds a plugin's folder into a bundle. Errors: `invalid` with the compiler's words, file and line included. */
export async function buildPlugin(folder: string, options: { readonly outDir?: string } = {}): Promise<Built> {
  if (!existsSync(join(folder, "plugin.json"))) {
    const fix = "name the folder that plugin.json is in";
    throw Fault.invalid("plugin build", [{ field: "folder", problem: `"${folder}" has no plugin.json`, fix }]);
  }
  const languages = await knownLanguages();
  const language = languages.find(({ detect }) => detect(resolve(folder)));
  if (!language) {
    const problem = `"${folder}" holds no source in a language that is known`;
    const fix = `begin from a template: plugins-sdk/{${languages.map(({ name }) => name).join(",")}}`;
    throw Fault.invalid("plugin build", [{ field: "folder", problem, fix }]);
  }
  try {
    return await language.buildPlugin(resolve(folder), options);
  } catch (thrown) {
    throw new Fault("invalid", `${folder} does not build:\n${Fault.from(thrown).message}`, { cause: thrown });
  }
}
