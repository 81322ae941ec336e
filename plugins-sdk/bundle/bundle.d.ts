/** What TypeScript needs to know of every builder. */

export interface Built {
  readonly name: string;
  readonly version: string;
  /** The bundle, `<name>-<version>.tgz`. */
  readonly path: string;
  /** The compiled module alone, for tests. */
  readonly wasmPath: string;
  /** Size of the bundle. */
  readonly bytes: number;
  readonly ms: number;
  /** Whether an earlier build of the same sources was used. */
  readonly cached: boolean;
}

/** What the author has to fix: the message names files and lines. */
export class BuildError extends Error {}

/**
 * Compiles the plugin and packs `plugin.json`, `plugin.wasm`, `static/**` and `docs/**`. The same sources give the same
 * bytes; built once, a second call takes milliseconds. Default `outDir`: `.cache/plugins` of the repository.
 */
export type BuildPlugin = (folder: string, options?: { readonly outDir?: string }) => Promise<Built>;
