/** What TypeScript needs to know of build.js. */
import type { BuildPlugin } from "../bundle/bundle.js";

export { BuildError, type Built } from "../bundle/bundle.js";

/** Snapshots Lua when it has run `src/plugin.lua` and what that requires. */
export const buildPlugin: BuildPlugin;

/** Whether a plugin folder is written in this language. */
export function detect(folder: string): boolean;

/** Something that building needs. */
export interface Check {
  readonly what: string;
  readonly ok: boolean;
  /** Its version, or what is wrong. */
  readonly found: string;
  /** The command that brings it, when it is missing. */
  readonly fix?: string;
}

export function doctor(): Promise<readonly Check[]>;
