/**
 * Publishes the bundles of a directory as they come and change. A broken one shows as a plugin in ERROR; others load.
 */
import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import semver from "semver";
import { PluginState } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { peekManifest } from "./bundle.ts";
import { peekNames } from "./manifest.ts";
import { versionName } from "./names.ts";
import type { PublishRules } from "./plugins.ts";
import { checkBundle, listPlugin, publish } from "./publishing.ts";
import { type Store, versionsOf } from "./store.ts";

const ENDING = ".tgz";
/** News of changes may get lost, so the directory is looked at anyway. */
const RESCAN_MS = 5_000;
/** A file is read when it has looked the same for this long: a copy may still be going on. */
const SETTLE_MS = 200;
const MAX_FILES = 1_000;

/** What a file looked like when it was last read, or last seen. */
interface Look {
  readonly print: string;
  readonly sinceMs: number;
  readonly read: boolean;
}

/** Errors: `invalid` when the directory cannot be read. Resolves before the first bundle is read. */
export async function autoload(
  store: Store,
  directory: string,
  rules: PublishRules,
  log: Logger,
): Promise<AsyncDisposable> {
  try {
    await mkdir(directory, { recursive: true });
    await readdir(directory);
  } catch (thrown) {
    const problem = `${JSON.stringify(directory)} is not a directory that can be read: ${(thrown as Error).message}`;
    throw Fault.invalid("bad configuration", [
      { field: "REGISTRY_PLUGINS", problem, fix: "name a directory, or nothing" },
    ]);
  }
  const loader = new Autoloader(store, directory, rules, log);
  return background(
    (signal) => loader.run(signal),
    (fault) => log.error({ err: fault }, "watching the directory of plugins ended"),
  );
}

class Autoloader {
  readonly #store: Store;
  readonly #directory: string;
  readonly #rules: PublishRules;
  readonly #log: Logger;
  readonly #looks = new Map<string, Look>();
  /** What is wrong with each broken file, and the plugin that it is reported under. */
  readonly #broken = new Map<string, { readonly plugin: string; readonly reason: string }>();

  constructor(store: Store, directory: string, rules: PublishRules, log: Logger) {
    this.#store = store;
    this.#directory = directory;
    this.#rules = rules;
    this.#log = log;
  }

  async run(signal: AbortSignal): Promise<void> {
    let news = new AbortController();
    const watcher = this.#watch(() => news.abort());
    try {
      while (!signal.aborted) {
        news = new AbortController();
        const unsettled = await this.#scan().catch((thrown) => {
          this.#log.warn({ err: Fault.from(thrown) }, "the directory of plugins could not be read; trying again");
          return false;
        });
        // While a file settles, its own news must not make the wait shorter.
        if (unsettled) await pause(SETTLE_MS, signal);
        else await pause(RESCAN_MS, AbortSignal.any([signal, news.signal]));
      }
    } finally {
      watcher?.close();
    }
  }

  #watch(onNews: () => void): FSWatcher | undefined {
    const blind = (thrown: unknown) =>
      this.#log.warn({ err: Fault.from(thrown) }, `no news of files; looking every ${RESCAN_MS} ms`);
    try {
      return watch(this.#directory, onNews).on("error", blind);
    } catch (thrown) {
      blind(thrown);
      return undefined;
    }
  }

  /** Returns whether a file has yet to settle. */
  async #scan(): Promise<boolean> {
    const files = (await readdir(this.#directory)).filter((file) => file.endsWith(ENDING)).sort();
    if (files.length > MAX_FILES)
      this.#log.warn({ files: files.length }, `only the first ${MAX_FILES} bundles are loaded`);
    const here = new Set(files.slice(0, MAX_FILES));
    let unsettled = false;
    for (const file of here) unsettled = (await this.#look(file)) || unsettled;
    for (const file of [...this.#looks.keys()].filter((known) => !here.has(known))) {
      this.#looks.delete(file);
      // What was published stays; only the report of a broken file goes with the file.
      await this.#mend(file);
    }
    return unsettled;
  }

  async #look(file: string): Promise<boolean> {
    const facts = await stat(join(this.#directory, file)).catch(() => undefined);
    if (!facts?.isFile()) return false;
    const print = `${facts.ino} ${facts.size} ${facts.mtimeMs}`;
    const nowMs = Date.now();
    const last = this.#looks.get(file);
    if (last?.print !== print) {
      // What nobody has touched for a while has settled already.
      const sinceMs = nowMs - facts.mtimeMs > 10 * SETTLE_MS ? 0 : nowMs;
      this.#looks.set(file, { print, sinceMs, read: false });
    }
    const look = this.#looks.get(file) as Look;
    if (look.read) return false;
    if (nowMs - look.sinceMs < SETTLE_MS) return true;
    const done = await this.#load(file, facts.size);
    if (done) this.#looks.set(file, { ...look, read: true });
    return false;
  }

  /** Returns false when it should be tried again: the fault was not the file's. */
  async #load(file: string, bytes: number): Promise<boolean> {
    let packed: Buffer = Buffer.alloc(0);
    try {
      const limit = this.#rules.limits.packedBytes;
      if (bytes > limit) throw new Fault("too_large", `the bundle has ${bytes} bytes; at most ${limit} are taken`);
      packed = await readFile(join(this.#directory, file));
      const digest = createHash("sha256").update(packed).digest("hex");
      // Known bytes are not published again, so that an instance that was deleted stays so over restarts.
      if (!(await this.#isStored(packed, digest))) {
        const { version } = await publish(
          this.#store,
          await checkBundle(packed, this.#rules.limits),
          this.#rules.grants,
        );
        this.#log.info({ file, version: version.name }, "bundle loaded");
      }
      await this.#mend(file);
      return true;
    } catch (thrown) {
      const fault = Fault.from(thrown);
      if (fault.retryable || fault.code === "internal") {
        this.#log.warn({ file, err: fault }, "the bundle could not be loaded now; trying again");
        return false;
      }
      const manifest = await peekManifest(packed, this.#rules.limits);
      const plugin = (manifest && peekNames(manifest).plugin) || nameOfFile(file);
      this.#log.warn({ file, plugin, reason: fault.message }, "the bundle is broken");
      const before = this.#broken.get(file)?.plugin;
      this.#broken.set(file, { plugin, reason: `${file}: ${fault.message}` });
      if (before !== undefined && before !== plugin) await this.#report(before);
      await this.#report(plugin);
      return true;
    }
  }

  async #isStored(packed: Buffer, digest: string): Promise<boolean> {
    const manifest = await peekManifest(packed, this.#rules.limits);
    const { plugin, version } = manifest ? peekNames(manifest) : { plugin: "", version: "" };
    if (plugin === "" || semver.valid(version) === null) return false;
    return (await this.#store.versions.find(versionName(plugin, version)))?.bundleDigest === digest;
  }

  async #mend(file: string): Promise<void> {
    const broken = this.#broken.get(file);
    if (!broken) return;
    this.#broken.delete(file);
    await this.#report(broken.plugin);
  }

  /** Brings the state of a plugin in line with the broken files that are reported under it. */
  async #report(id: string): Promise<void> {
    const store = this.#store;
    const stateReason = [...this.#broken.values()]
      .filter(({ plugin }) => plugin === id)
      .map(({ reason }) => reason)
      .join("\n");
    const name = `plugins/${id}`;
    await store.alone(async () => {
      const stored = await store.plugins.find(name);
      if (stored?.state === PluginState.DRAINING) return;
      const error = { state: PluginState.ERROR, stateReason };
      if (stateReason !== "" && stored) {
        await store.plugins.change(name, "", store.now(), (current) => ({ ...current, ...error }));
      } else if (stateReason !== "") {
        const empty = {
          latestVersion: "",
          description: "",
          interfaces: [],
          createTime: undefined,
          updateTime: undefined,
        };
        await store.plugins.create({ name, ...empty, ...error, managedBy: "", etag: "", quarantines: [] }, store.now());
      } else if (stored?.latestVersion === "") await store.plugins.remove(name);
      else if (stored) await listPlugin(store, id, await versionsOf(store, id));
    });
  }
}

/** A name made of a file's, for a bundle that does not tell its own. */
export function nameOfFile(file: string): string {
  const words = file
    .slice(0, -ENDING.length)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return (/^[a-z]/.test(words) ? words : `plugin-${words}`).slice(0, 63).replace(/-+$/, "");
}
