/** What TypeScript needs to know of languages.js. */
import type { BuildPlugin } from "./bundle/bundle.js";

export const languages: readonly {
  readonly name: string;
  /** Whether a plugin folder is written in this language. */
  detect(folder: string): boolean;
  readonly buildPlugin: BuildPlugin;
  /** What the language needs on this machine, found or not; nothing when npm brings it all. */
  doctor(): Promise<readonly Check[]>;
}[];

export interface Check {
  readonly what: string;
  readonly ok: boolean;
  readonly found: string;
  /** The command that gets it, when it is missing. */
  readonly fix?: string;
}
