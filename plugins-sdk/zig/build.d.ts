/** What TypeScript needs to know of build.js. */
import type { BuildPlugin } from "../bundle/bundle.js";

export { BuildError } from "../bundle/bundle.js";
export const buildPlugin: BuildPlugin;

/** Something that building needs. */
export interface Check {
  readonly what: string;
  readonly ok: boolean;
  /** Its version, or what is wrong. */
  readonly found: string;
  /** The command that brings it, when it is missing. */
  readonly fix?: string;
}

/** Whether a folder holds a plugin in this language. */
export function detect(folder: string): boolean;
export function doctor(): Promise<readonly Check[]>;
