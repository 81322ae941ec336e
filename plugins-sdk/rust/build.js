#!/usr/bin/env node
/** Builds a plugin written in Rust by the machine's own `cargo`, the rest is every builder's. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BuildError, buildBundle, CACHE, runAsProgram } from "../bundle/bundle.js";
import { withRoom } from "../runtimes/sections.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const TARGET = "wasm32-unknown-unknown";
/** Editions and `unsafe` attributes as this crate uses them. */
const OLDEST_MINOR = 88;
const INSTALL = "install Rust 1.88 or newer: https://rustup.rs";
const ADD_TARGET = `rustup target add ${TARGET}`;
const BUILD_TIMEOUT_MS = 600_000;
const PROFILE = {
  CARGO_PROFILE_RELEASE_PANIC: "abort",
  CARGO_PROFILE_RELEASE_STRIP: "true",
  CARGO_PROFILE_RELEASE_LTO: "true",
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "1",
};
/** A quarter of what linkers give: each call gets memory of its own, and it must be made empty. */
const LINK = `target.${TARGET}.rustflags=["-Clink-arg=-zstack-size=262144"]`;
/** What small calls allocate, in pages of 64 KiB. */
const ROOM_PAGES = 2;
/** Anything else in the folder may be compiled in. */
const NOT_SOURCES = ["plugin.json", "static", "docs", "target", "node_modules", ".git"];

/** @type {import("../bundle/bundle.js").Language} */
const rust = {
  entry: "Cargo.toml",
  sources: async (root) => [
    { base: root, files: await sourcesIn(root, [...NOT_SOURCES, "Cargo.lock"]) },
    { base: SDK, files: await sourcesIn(SDK, [...NOT_SOURCES, "Cargo.lock", "template", "example", "README.md"]) },
    { base: join(SDK, "../runtimes"), files: ["sections.js"] },
  ],
  toolchain: async () => `${await compilerVersion()}\n${JSON.stringify(PROFILE)}\n${LINK}`,
  compile,
  missingExport: (name) => (name.includes(":") ? `export!("${name}": …);` : `export!(${name}: …);`),
};

/**
 * Builds a plugin folder into a bundle. The same sources and compiler give the same bytes.
 * @type {import("../bundle/bundle.js").BuildPlugin}
 */
export const buildPlugin = (folder, options) => buildBundle(rust, folder, options);

/**
 * Whether a folder holds a plugin in Rust.
 * @param {string} folder
 */
export const detect = (folder) => existsSync(join(folder, "Cargo.toml"));

/**
 * What building needs, and the command that brings what is missing.
 * @returns {Promise<readonly import("./build.js").Check[]>}
 */
export async function doctor() {
  const what = `cargo, and its target ${TARGET}`;
  try {
    return [{ what, ok: true, found: await compilerVersion() }];
  } catch (error) {
    const found = /** @type {Error} */ (error).message;
    return [{ what, ok: false, found, fix: found.includes(ADD_TARGET) ? ADD_TARGET : INSTALL }];
  }
}

async function compilerVersion() {
  const ask = async (/** @type {string[]} */ ...flags) => (await run("rustc", flags)).stdout.trim();
  const version = await ask("--version").catch(() => {
    throw new BuildError(`Rust needs its compiler, and there is no rustc on the PATH; ${INSTALL}`);
  });
  const minor = Number(/^rustc 1\.(\d+)/.exec(version)?.[1] ?? 0);
  if (minor < OLDEST_MINOR) throw new BuildError(`${version} is too old; ${INSTALL}`);
  const libraries = await ask("--print", "target-libdir", "--target", TARGET);
  if (!existsSync(libraries)) throw new BuildError(`${version} has no ${TARGET}; run: ${ADD_TARGET}`);
  return version;
}

/** @param {string} root */
async function compile(root) {
  // One folder for each plugin: crates of the same name would overwrite each other.
  const target = join(CACHE, "rust", createHash("sha256").update(root).digest("hex").slice(0, 16));
  const env = { ...process.env, ...PROFILE, CARGO_TARGET_DIR: target, CARGO_TERM_COLOR: "never" };
  const options = { cwd: root, env, timeout: BUILD_TIMEOUT_MS, maxBuffer: 1 << 26 };
  // `millrace = "0.1"` means this folder, wherever the plugin is.
  const patch = `patch.crates-io.millrace.path=${JSON.stringify(SDK)}`;
  const flags = ["build", "--release", "--lib", "--quiet", "--target", TARGET, "--config", patch, "--config", LINK];
  await run("cargo", flags, options).catch((error) => {
    throw new BuildError(`${basename(root)} does not compile\n${error.stderr?.trim() || error}`);
  });
  const built = join(target, TARGET, "release");
  const modules = (await readdir(built)).filter((name) => name.endsWith(".wasm"));
  const [module] = modules;
  if (!module || modules.length > 1) {
    const fix = 'Cargo.toml needs [lib] with crate-type = ["cdylib"]';
    throw new BuildError(`${basename(root)}: cargo made ${modules.join(", ") || "no module"}; ${fix}`);
  }
  return withRoom(new Uint8Array(await readFile(join(built, module))), ROOM_PAGES);
}

/** @param {string} root @param {readonly string[]} others */
async function sourcesIn(root, others) {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .filter((file) => !others.includes(/** @type {string} */ (file.split("/")[0])))
    .sort();
}

await runAsProgram(import.meta.url, buildPlugin);
