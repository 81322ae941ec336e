/** What TypeScript needs to know of languages.js. */
import type { BuildPlugin } from "./bundle/bundle.js";

export const languages: readonly {
  readonly name: string;
  /** Whether a plugin folder is written in this language. */
  detect(folder: string): boolean;
  readonly buildPlugin: BuildPlugin;
}[];
