/** `plugin pack`: the bundle that a registry takes, checked as it would, with its digest. Same input, same bytes. */
import { createHash } from "node:crypto";
import { copyFile, readdir, readFile, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { Fault } from "../kit/fault.ts";
import { BUNDLE_LIMITS } from "../registry/bundle.ts";
import { checkBundle } from "../registry/publishing.ts";
import { pluginPath } from "./build.ts";
import { building } from "./build-progress.ts";
import { type BuildOptions, buildAside } from "./build-thread.ts";
import type { Invocation } from "./command.ts";

const MIB = 2 ** 20;
const MAX_NAMED_FILES = 5;
/** What is packed of a folder beside the module. */
const PACKED = ["plugin.json", "static", "docs"];

export async function packPlugin({ args: [folder = ""], flags, terminal }: Invocation): Promise<void> {
  const built = await buildAside(folder, building(terminal));
  const bytes = await readFile(built.path);
  await checkedBundle(bytes, folder);
  const path = typeof flags.out === "string" ? flags.out : `${built.name}-${built.version}.tgz`;
  if (resolve(path) !== resolve(built.path)) await copyFile(built.path, path);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  terminal.result(
    () => ({ path, name: built.name, version: built.version, bytes: bytes.byteLength, sha256 }),
    () => `${path}: ${built.name} ${built.version}, ${bytes.byteLength} bytes\nsha256 ${sha256}`,
  );
}

/** A bundle as it is, or a folder or stock plugin, built first; checked before it travels. Errors: the registry's. */
export async function bundleOf(named: string, options: BuildOptions = {}): Promise<Buffer> {
  const path = await pluginPath(named);
  const isFolder = (await stat(path)).isDirectory();
  const bytes = await readFile(isFolder ? (await buildAside(path, options)).path : path);
  await checkedBundle(bytes, isFolder ? path : undefined);
  return bytes;
}

/** Which files make it too large, only the folder knows. */
async function checkedBundle(bytes: Uint8Array, folder: string | undefined): Promise<void> {
  try {
    await checkBundle(bytes, BUNDLE_LIMITS);
  } catch (thrown) {
    const fault = Fault.from(thrown);
    if (fault.code !== "too_large" || folder === undefined) throw fault;
    const large = (await filesOf(folder)).sort((a, b) => b.bytes - a.bytes).slice(0, MAX_NAMED_FILES);
    const named = large.map((file) => `  ${file.path}: ${(file.bytes / MIB).toFixed(1)} MiB`);
    const fix = "leave out what is large, or serve it from elsewhere; the largest files are:";
    throw new Fault("too_large", [`${fault.message}; ${fix}`, ...named].join("\n"), { cause: fault });
  }
}

async function filesOf(folder: string): Promise<{ path: string; bytes: number }[]> {
  const below = PACKED.map(async (name) => {
    const root = join(folder, name);
    const found = await stat(root).catch(() => undefined);
    if (!found) return [];
    if (!found.isDirectory()) return [root];
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  });
  const paths = (await Promise.all(below)).flat();
  return Promise.all(paths.map(async (path) => ({ path: relative(folder, path), bytes: (await stat(path)).size })));
}
