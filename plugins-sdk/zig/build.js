#!/usr/bin/env node
/** Builds a plugin written in Zig: compiles `src/plugin.zig`, the rest is every builder's. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BuildError, buildBundle, CACHE, listed, runAsProgram } from "../bundle/bundle.js";
import { withRoom } from "../runtimes/sections.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const ENTRY = "src/plugin.zig";
/** Names a compiler; else the one on the PATH, else the one that the fix below brings. */
const VARIABLE = "MILLRACE_ZIG";
/** Zig's standard library changes with every release: this is the one that the SDK was tried with. */
const RELEASE = "0.17";
const INSTALL = `python3 -m pip install --target .cache/zig "ziglang==${RELEASE}.*"`;
const FOUND_BY_FIX = join(CACHE, "zig/ziglang/zig");
const BUILD_TIMEOUT_MS = 300_000;
const FLAGS = [
  "build-exe",
  "-target",
  "wasm32-freestanding",
  "-fno-entry",
  "-rdynamic",
  "-O",
  "ReleaseSmall",
  "-fstrip",
];

/** A sixty-fourth of what Zig gives: each call gets memory of its own, and it must be made empty. */
const STACK = ["--stack", "262144"];
/** What small calls allocate, in pages of 64 KiB. */
const ROOM_PAGES = 2;

/** @type {import("../bundle/bundle.js").Language} */
const zig = {
  entry: ENTRY,
  sources: async (root) => [
    { base: root, files: await listed(root, ["src"]) },
    { base: SDK, files: ["build.js", ...(await listed(SDK, ["src"]))] },
    { base: join(SDK, "../runtimes"), files: ["sections.js"] },
  ],
  toolchain: async () => `${(await compiler()).version}\n${[...FLAGS, ...STACK].join(" ")}`,
  compile,
  missingExport: (name) => `millrace.exports(.{ .${name.includes(":") ? `@"${name}"` : name} = … });`,
};

/**
 * Builds a plugin folder into a bundle. The same sources and compiler give the same bytes.
 * @type {import("../bundle/bundle.js").BuildPlugin}
 */
export const buildPlugin = (folder, options) => buildBundle(zig, folder, options);

/**
 * Whether a folder holds a plugin in Zig.
 * @param {string} folder
 */
export const detect = (folder) => existsSync(join(folder, ENTRY));

/**
 * What building needs, and the command that brings what is missing.
 * @returns {Promise<readonly import("./build.js").Check[]>}
 */
export async function doctor() {
  const what = `zig ${RELEASE}`;
  try {
    return [{ what, ok: true, found: `zig ${(await compiler()).version}` }];
  } catch (error) {
    return [{ what, ok: false, found: /** @type {Error} */ (error).message, fix: INSTALL }];
  }
}

async function compiler() {
  const named = process.env[VARIABLE];
  const others = [];
  for (const program of named ? [named] : ["zig", FOUND_BY_FIX]) {
    const version = await run(program, ["version"]).then(
      ({ stdout }) => stdout.trim(),
      () => undefined,
    );
    if (version?.startsWith(`${RELEASE}.`)) return { program, version };
    if (version) others.push(`${program} is ${version}`);
  }
  const said = others.join(", ") || `${named ?? "it"} does not start`;
  throw new BuildError(`Zig needs its compiler, release ${RELEASE}; ${said}; run: ${INSTALL}`);
}

/** @param {string} root */
async function compile(root) {
  const { program } = await compiler();
  const folder = await mkdtemp(join(tmpdir(), "millrace-zig-"));
  const module = join(folder, "plugin.wasm");
  const cache = join(CACHE, "zig/build");
  try {
    await mkdir(cache, { recursive: true });
    const modules = ["--dep", "millrace", `-Mroot=${ENTRY}`, `-Mmillrace=${join(SDK, "src/millrace.zig")}`];
    const caches = ["--cache-dir", cache, "--global-cache-dir", cache];
    const options = { cwd: root, timeout: BUILD_TIMEOUT_MS, maxBuffer: 1 << 24 };
    const flags = [...FLAGS, ...STACK, ...caches, ...modules, `-femit-bin=${module}`];
    await run(program, flags, options).catch((error) => {
      throw new BuildError(`${basename(root)} does not compile\n${error.stderr?.trim() || error}`);
    });
    return withRoom(new Uint8Array(await readFile(module)), ROOM_PAGES);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runAsProgram(import.meta.url, buildPlugin);
