/**
 * Finds a nats-server, or gets Debian's package into `.cache/` without root; alone, it installs and prints the path.
 */
import { execFile } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { Fault } from "../kit/fault.ts";

const run = promisify(execFile);

const CACHE = join(import.meta.dirname, "../../.cache/nats-server");
const CACHED = join(CACHE, "usr/sbin/nats-server");
/** Has 2.10.27, which needs only libc 2.34; the machine's own suite may have less. */
const PREFERRED_SUITE = "trixie";
const APT_TIMEOUT_MS = 120_000;

/** The path of a nats-server: `NATS_SERVER_BIN`, then PATH, then the cache; undefined when there is none. */
export function findNatsServer(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = env.NATS_SERVER_BIN;
  if (named) {
    if (isProgram(named)) return named;
    throw new Fault("precondition", `NATS_SERVER_BIN is ${JSON.stringify(named)}, which is not a program`);
  }
  const folders = (env.PATH ?? "").split(delimiter).filter(Boolean);
  return [...folders.map((folder) => join(folder, "nats-server")), CACHED].find(isProgram);
}

/** Finds one or installs Debian's into the cache. Errors: `precondition`, saying what to run. */
export async function installNatsServer(): Promise<string> {
  const found = findNatsServer();
  if (found) return found;
  const tried: string[] = [];
  if (process.platform === "linux") {
    for (const suite of [PREFERRED_SUITE, undefined]) {
      try {
        await installFromDebian(suite);
        return CACHED;
      } catch (thrown) {
        tried.push(`${suite ?? "the machine's own suite"}: ${reasonOf(thrown)}`);
      }
    }
  }
  const because = tried.length > 0 ? `; Debian's package could not be fetched (${tried.join("; ")})` : "";
  throw new Fault("precondition", `no nats-server found${because}. ${HOW_TO_INSTALL}`);
}

export const HOW_TO_INSTALL =
  "Install one: Debian and Ubuntu `apt-get install nats-server`, macOS `brew install nats-server`, " +
  "Windows `winget install NATSAuthors.NATSServer`; or set NATS_SERVER_BIN to its path";

/**
 * `apt-get download` and `dpkg -x` need no root. A suite other than the machine's own gets its own source list and
 * state folders, on the same mirror and with the same keyring, so that nothing of the machine changes.
 */
async function installFromDebian(suite: string | undefined): Promise<void> {
  const work = join(CACHE, `work-${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, "lists/partial"), { recursive: true });
  mkdirSync(join(work, "archives/partial"), { recursive: true });
  try {
    const options: string[] = [];
    if (suite) {
      writeFileSync(join(work, "sources.list"), sourceLine(suite));
      options.push(`Dir::Etc::SourceList=${join(work, "sources.list")}`, "Dir::Etc::SourceParts=/dev/null");
      options.push(`Dir::State::Lists=${join(work, "lists")}`, `Dir::Cache=${work}`, "APT::Sandbox::User=");
      await apt(options, ["update"], work);
    }
    await apt(options, ["download", "nats-server"], work);
    const deb = readdirSync(work).find((name) => name.endsWith(".deb"));
    if (!deb) throw new Error("apt-get downloaded nothing");
    await run("dpkg", ["-x", join(work, deb), join(work, "out")], { timeout: APT_TIMEOUT_MS });
    await run(join(work, "out/usr/sbin/nats-server"), ["--version"], { timeout: APT_TIMEOUT_MS });
    mkdirSync(join(CACHE, "usr/sbin"), { recursive: true });
    renameSync(join(work, "out/usr/sbin/nats-server"), CACHED);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function apt(options: readonly string[], command: readonly string[], cwd: string) {
  const flags = options.flatMap((option) => ["-o", option]);
  return run("apt-get", ["-q", ...flags, ...command], { cwd, timeout: APT_TIMEOUT_MS });
}

/** The machine's own Debian mirror and keyring, with another suite. */
function sourceLine(suite: string): string {
  const folder = "/etc/apt/sources.list.d";
  const lists = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  for (const list of ["/etc/apt/sources.list", ...lists].filter((path) => existsSync(path))) {
    const text = readFileSync(list, "utf8").replace(/^\s*#.*$/gm, "");
    const mirror = /\bhttps?:\/\/\S+\/debian\/?(?=\s|$)/.exec(text)?.[0];
    if (!mirror) continue;
    const keyring = /signed-by[:=]\s*([^\s\]]+)/i.exec(text)?.[1];
    return `deb ${keyring ? `[signed-by=${keyring}] ` : ""}${mirror} ${suite} main\n`;
  }
  throw new Error("no Debian mirror in /etc/apt");
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function reasonOf(thrown: unknown): string {
  const error = thrown as Error & { stderr?: string };
  return (error.stderr || error.message).trim().split("\n").at(-1) ?? "no reason given";
}

if (import.meta.main) {
  try {
    process.stdout.write(`${await installNatsServer()}\n`);
  } catch (thrown) {
    process.stderr.write(`${Fault.from(thrown).message}\n`);
    process.exitCode = 1;
  }
}
