/** What TypeScript needs to know of build.js. */
import type { BuildPlugin } from "../bundle/bundle.js";

export { BuildError, type Built } from "../bundle/bundle.js";

/** Bundles `src/plugin.ts` (or `.js`) with what it imports, and snapshots the engine that has run its top level. */
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
