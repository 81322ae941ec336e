/** What TypeScript needs to know of build.js. */
import type { BuildPlugin } from "../bundle/bundle.js";

export { BuildError, type Built } from "../bundle/bundle.js";

/** Compiles `assembly/index.ts`. */
export const buildPlugin: BuildPlugin;

/** Whether a plugin folder is written in this language. */
export function detect(folder: string): boolean;
