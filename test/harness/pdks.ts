/** Guests built with Extism's own PDKs (test/plugins/pdk-*), from the registries of their languages. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import asc from "assemblyscript/asc";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const PLUGINS = join(ROOT, "test/plugins");
/** Answers inside the module what Go's runtime asks of WASI. */
const REACTOR = pathToFileURL(join(ROOT, "plugins-sdk/go/reactor.js")).href;
/** What was built, by its sources and compiler; and cargo's own folder. */
const CACHE = join(ROOT, ".cache/pdk");
/** A first build fetches the PDK and compiles all of it. */
const BUILD_TIMEOUT_MS = 400_000;

interface Pdk {
  /** Of the compiler; throws where there is none. */
  readonly version: () => Promise<string>;
  readonly build: (folder: string) => Promise<Uint8Array>;
}

const said = async (command: string, ...args: string[]) => (await run(command, args)).stdout.trim();

const PDKS: Readonly<Record<string, Pdk>> = {
  assemblyscript: {
    version: async () => asc.version,
    async build(folder) {
      let wasm: Uint8Array | undefined;
      const stderr = asc.createMemoryStream();
      const flags = [`--baseDir=${folder}`, "--outFile=plugin.wasm", "-O2", "--use=abort=assembly/index/stop"];
      const { error } = await asc.main(["assembly/index.ts", ...flags], {
        ...{ stdout: asc.createMemoryStream(), stderr, listFiles: () => [] },
        // A package is found where this repository has it, wherever the plugin lies.
        readFile: (name, base) =>
          readFile(name.startsWith("node_modules/") ? join(ROOT, name) : join(base, name), "utf8").catch(() => null),
        writeFile: (_, contents) => {
          wasm = contents as Uint8Array;
        },
      });
      if (error || !wasm) throw new Error(`${stderr}${error?.message}`);
      return wasm;
    },
  },
  rust: {
    version: () => said("cargo", "--version"),
    async build(folder) {
      const target = join(CACHE, "cargo");
      const args = ["build", "--release", "--locked", "--target", "wasm32-unknown-unknown"];
      const env = { ...process.env, CARGO_TARGET_DIR: target };
      await run("cargo", args, { cwd: folder, env, timeout: BUILD_TIMEOUT_MS });
      return readFile(join(target, "wasm32-unknown-unknown/release/pdk_rust.wasm"));
    },
  },
  go: {
    version: () => said("go", "env", "GOVERSION"),
    async build(folder) {
      const out = join(CACHE, `go-${process.pid}.wasm`);
      const flags = ["-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-mod=readonly"];
      const env = { ...process.env, GOOS: "wasip1", GOARCH: "wasm", CGO_ENABLED: "0", GOFLAGS: "", GOWORK: "off" };
      await run("go", ["build", ...flags, "-o", out, "."], { cwd: folder, env, timeout: BUILD_TIMEOUT_MS });
      const { fromReactor } = (await import(REACTOR)) as { fromReactor(wasm: Uint8Array): Promise<Uint8Array> };
      return fromReactor(new Uint8Array(await readFile(out)));
    },
  },
};

export type BuiltPdk = { readonly wasm: Uint8Array } | { readonly missing: string };

/** Builds it, or says what this machine lacks for it. Errors: its own sources do not compile. */
export async function buildPdk(language: string): Promise<BuiltPdk> {
  const pdk = PDKS[language] as Pdk;
  const folder = join(PLUGINS, `pdk-${language}`);
  await mkdir(CACHE, { recursive: true });
  let version: string;
  try {
    version = await pdk.version();
  } catch (thrown) {
    return { missing: `no compiler: ${(thrown as Error).message.split("\n")[0]}` };
  }
  const cached = join(CACHE, `${language}-${await digestOf(folder, version)}.wasm`);
  const before = await readFile(cached).catch(() => undefined);
  if (before) return { wasm: before };
  try {
    const wasm = await pdk.build(folder);
    await writeFile(`${cached}.${process.pid}`, wasm);
    await rename(`${cached}.${process.pid}`, cached);
    return { wasm };
  } catch (thrown) {
    const { stderr = "", message } = thrown as { stderr?: string; message: string };
    const why = stderr || message;
    if (!OFFLINE.test(why)) throw new Error(`pdk-${language} does not compile\n${why}`);
    return { missing: `its PDK cannot be fetched: ${OFFLINE.exec(why)?.[0]}` };
  }
}

/** What cargo and go say where there is no registry, no network or no target. */
const OFFLINE =
  /target may not be installed|dial tcp.*|[Cc]ould not resolve host.*|failed to (?:download|get|fetch|load source).*|no such host|Forbidden|module lookup disabled|TLS handshake timeout|spurious network error.*/;

async function digestOf(folder: string, version: string): Promise<string> {
  const hash = createHash("sha256").update(version);
  const lock = await readFile(join(ROOT, "package-lock.json"));
  for (const file of (await readdir(folder, { recursive: true })).sort()) {
    hash.update(file).update(await readFile(join(folder, file)).catch(() => ""));
  }
  return hash.update(lock).digest("hex").slice(0, 16);
}
