/** ClickHouse embedded: the real HTTP server in a child process on loopback, watched and restarted. */
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { backoffMs, forEver } from "../kit/retry.ts";
import { READER_USER, writeServerConfig } from "./server-config.ts";

/** Opening a large folder after a crash takes seconds; ClickHouse that is not up by then is broken. */
const READY_MS = 60_000;
const PING_MS = 2_000;
/** The end is SIGTERM, which ends the process at once: what was acknowledged is in the files. After this, SIGKILL. */
const STOP_MS = 3_000;
/** Ran this long: the next death starts with the shortest delay again. */
const HEALTHY_MS = 60_000;
/** How much of the child's last words is kept for an error. */
const LAST_WORDS_BYTES = 4_096;

const SERVE =
  "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM system.numbers " +
  "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null";

export interface ServerOptions {
  /** Holds data and configuration; one process at a time. */
  readonly folder: string;
  /** 0: a free one. */
  readonly port: number;
  readonly memoryMib: number;
  readonly log: Logger;
}

export interface ClickHouseServer extends AsyncDisposable {
  readonly url: string;
  /** The same server as a user that can only read. */
  readonly readerUrl: string;
  /** Of the process that serves now; changes with a restart. */
  readonly pid: number;
}

/** Errors: `precondition` naming a port that is taken or a folder that another process holds; `unavailable`. */
export async function startClickHouse(options: ServerOptions): Promise<ClickHouseServer> {
  const { memoryMib, log } = options;
  const folder = resolve(options.folder);
  const port = await claimPort(options.port);
  const url = `http://127.0.0.1:${port}`;
  const paths = await writeServerConfig(folder, memoryMib);
  const stopping = new AbortController();

  const launch = () =>
    spawnServer(["--path", paths.data, "--config-file", paths.config, "--http_port", String(port)], folder);
  let running = launch();
  await ready(running, url, folder, stopping.signal).catch((thrown) => {
    running.child.kill("SIGKILL");
    throw thrown;
  });

  const supervise = async () => {
    for (let deaths = 1; ; deaths += 1) {
      const startedMs = performance.now();
      await running.ended;
      if (stopping.signal.aborted) return;
      if (performance.now() - startedMs > HEALTHY_MS) deaths = 1;
      const delayMs = backoffMs(forEver, deaths, Math.random());
      log.warn({ folder, port, delayMs, lastWords: running.lastWords() }, "ClickHouse died; restarting");
      if (!(await pause(delayMs, stopping.signal))) return;
      running = launch();
      await ready(running, url, folder, stopping.signal).then(
        () => log.info({ port, pid: running.child.pid }, "ClickHouse is back"),
        (thrown) => {
          running.child.kill("SIGKILL");
          if (!stopping.signal.aborted) log.error({ problem: Fault.from(thrown).message }, "ClickHouse does not start");
        },
      );
    }
  };
  const supervised = supervise();

  return {
    url,
    readerUrl: `http://${READER_USER}@127.0.0.1:${port}`,
    get pid() {
      return running.child.pid ?? 0;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      const killer = setTimeout(() => running.child.kill("SIGKILL"), STOP_MS);
      running.child.kill("SIGTERM");
      await running.ended;
      clearTimeout(killer);
      await supervised;
    },
  };
}

interface RunningServer {
  readonly child: ChildProcess;
  readonly ended: Promise<void>;
  readonly lastWords: () => string;
}

function spawnServer(args: readonly string[], cwd: string): RunningServer {
  const script = fileURLToPath(new URL("./server-child.ts", import.meta.url));
  const fixed = ["--listen_host", "127.0.0.1", "--query", SERVE];
  const flags = ["--no-warnings", "--experimental-ffi"];
  // stdin is never written: the child reads its end as the death of this process.
  const child = spawn(process.execPath, [...flags, script, libraryPath(), ...args, ...fixed], {
    cwd,
    stdio: ["pipe", "ignore", "pipe"],
    // Out of the terminal's process group: Ctrl-C must not end the store before those who still write to it.
    detached: true,
    env: { PATH: process.env.PATH, HOME: cwd, TZ: "UTC" },
  });
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-LAST_WORDS_BYTES);
  });
  child.stdin?.on("error", () => undefined);
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", (error) => {
      words += error.message;
      resolve();
    });
  });
  return { child, ended, lastWords: () => words.trim() };
}

/** The shared library that npm's `chdb` brings for this platform. */
function libraryPath(): string {
  const fromChdb = createRequire(createRequire(import.meta.url).resolve("chdb"));
  const libc = process.platform === "linux" ? "-gnu" : "";
  const name = `@chdb/lib-${process.platform}-${process.arch}${libc}`;
  try {
    return join(fromChdb.resolve(`${name}/package.json`), "..", "libchdb.so");
  } catch (thrown) {
    throw new Fault("precondition", `no embedded ClickHouse for this machine: npm package ${name} is not installed`, {
      cause: thrown,
    });
  }
}

async function ready(server: RunningServer, url: string, folder: string, signal: AbortSignal): Promise<void> {
  let ended = false;
  void server.ended.then(() => {
    ended = true;
  });
  const deadline = performance.now() + READY_MS;
  while (performance.now() < deadline && !signal.aborted) {
    if (ended) throw startFault(server.lastWords(), folder);
    const answer = await fetch(`${url}/ping`, { signal: AbortSignal.timeout(PING_MS) }).catch(() => undefined);
    if (answer?.ok) return;
    await pause(25, signal);
  }
  throw new Fault("unavailable", `ClickHouse in ${folder} did not answer within ${READY_MS} ms`);
}

function startFault(lastWords: string, folder: string): Fault {
  if (/Cannot lock file/.test(lastWords)) {
    return new Fault("precondition", `folder ${folder} is locked: another ClickHouse process is using it`);
  }
  return new Fault("unavailable", `ClickHouse in ${folder} ended at once: ${lastWords || "no message"}`);
}

/** A port that can be listened on now. */
function claimPort(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code === "EADDRINUSE" ? "is already taken" : `cannot be used (${cause.code})`;
      reject(new Fault("precondition", `port ${wanted} for ClickHouse ${why}; choose another or 0`, { cause }));
    });
    probe.listen({ port: wanted, host: "127.0.0.1" }, () => {
      const address = probe.address();
      const port = typeof address === "object" && address ? address.port : wanted;
      probe.close(() => resolve(port));
    });
  });
}
