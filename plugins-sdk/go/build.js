#!/usr/bin/env node
/** Builds a plugin written in Go by the machine's own `go`, the rest is every builder's. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BuildError, buildBundle, runAsProgram } from "../bundle/bundle.js";
import { fromReactor } from "./reactor.js";

export { BuildError };

const SDK = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
/** The first release with `//go:wasmexport`. */
const OLDEST = [1, 24];
const INSTALL = "install Go 1.24 or newer: https://go.dev/dl";
/** A first build compiles the standard library. */
const BUILD_TIMEOUT_MS = 600_000;
const FLAGS = ["-trimpath", "-buildmode=c-shared", "-buildvcs=false", "-ldflags=-s -w"];
/** Anything else in the folder may be embedded. */
const NOT_SOURCES = ["plugin.json", "static", "docs", "node_modules", ".git"];

/** @type {import("../bundle/bundle.js").Language} */
const go = {
  entry: "go.mod",
  sources: async (root) => [
    { base: root, files: await sourcesIn(root) },
    { base: SDK, files: await sourcesIn(SDK) },
    { base: join(SDK, "../runtimes"), files: ["runtime.js", "sections.js", "snapshot.js"] },
  ],
  toolchain: async () => `${await compilerVersion()}\n${FLAGS.join(" ")}`,
  compile,
  missingExport: (name) => `//go:wasmexport ${name}`,
};

/**
 * Builds a plugin folder into a bundle. The same sources and compiler give the same bytes.
 * @type {import("../bundle/bundle.js").BuildPlugin}
 */
export const buildPlugin = (folder, options) => buildBundle(go, folder, options);

/**
 * Whether a folder holds a plugin in Go.
 * @param {string} folder
 */
export const detect = (folder) => existsSync(join(folder, "go.mod"));

/**
 * What building needs, and the command that brings what is missing.
 * @returns {Promise<readonly import("./build.js").Check[]>}
 */
export async function doctor() {
  const what = `go ${OLDEST.join(".")} or newer`;
  try {
    return [{ what, ok: true, found: await compilerVersion() }];
  } catch (error) {
    return [{ what, ok: false, found: /** @type {Error} */ (error).message, fix: INSTALL }];
  }
}

async function compilerVersion() {
  const { stdout } = await run("go", ["env", "GOVERSION"]).catch(() => {
    throw new BuildError(`Go needs its compiler, and there is no go on the PATH; ${INSTALL}`);
  });
  const version = stdout.trim();
  const [major = 0, minor = 0] = version.replace("go", "").split(".").map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST;
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor)) {
    throw new BuildError(`${version} cannot export functions from WebAssembly; ${INSTALL}`);
  }
  return version;
}

/** @param {string} root */
async function compile(root) {
  const folder = await mkdtemp(join(tmpdir(), "millrace-go-"));
  const module = join(folder, "plugin.wasm");
  // A workspace lets the plugin import this package by its name, wherever the two are.
  const workspace = join(folder, "go.work");
  try {
    await writeFile(workspace, `go 1.24\n\nuse (\n\t${JSON.stringify(root)}\n\t${JSON.stringify(SDK)}\n)\n`);
    // Without cgo: it would only start a C compiler that nothing here needs.
    const env = { ...process.env, GOOS: "wasip1", GOARCH: "wasm", GOWORK: workspace, GOFLAGS: "", CGO_ENABLED: "0" };
    const options = { cwd: root, env, timeout: BUILD_TIMEOUT_MS, maxBuffer: 1 << 24 };
    await run("go", ["build", ...FLAGS, "-o", module, "."], options).catch((error) => {
      throw new BuildError(`${basename(root)} does not compile\n${error.stderr?.trim() || error}`);
    });
    return await fromReactor(new Uint8Array(await readFile(module)));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {string} root */
async function sourcesIn(root) {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .filter((file) => !NOT_SOURCES.includes(/** @type {string} */ (file.split("/")[0])))
    .sort();
}

await runAsProgram(import.meta.url, buildPlugin);
