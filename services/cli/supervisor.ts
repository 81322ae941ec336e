/**
 * Runs an executor in a child process, kills it when its main thread no longer answers, and starts it again when it has
 * ended by itself. It loads nothing of the executor: what may hang or grow is the child's alone.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { choice, readConfig, whole } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";
import { pause, runUntilSignal } from "../kit/lifecycle.ts";
import { type Logger, logLevels, makeLog } from "../kit/log.ts";
import { backoffMs } from "../kit/retry.ts";

const SUPERVISE = "EXECUTOR_SUPERVISE";

export const supervision = {
  supervise: choice(
    SUPERVISE,
    "on: in a child process that is killed when it hangs and started again; off: where something else does that",
    ["on", "off"],
    "on",
  ),
  silentMs: whole(
    "EXECUTOR_SILENT_MS",
    "a supervised executor whose main thread says nothing for so long is killed, in milliseconds",
    [1_000, 600_000],
    15_000,
  ),
};

/** Beats in the time after which silence ends the child, and looks of the supervisor. */
const BEATS = 5;
/** Until the child says the first word. Loading takes a second or two. */
const START_MS = 60_000;
/** A child gets its own 30 s to end in order; then it is killed. */
const STOP_MS = 35_000;
/** A child that lived so long had not died of its start. */
const STEADY_MS = 60_000;
const AGAIN = { firstDelayMs: 200, maxDelayMs: 30_000, attempts: Number.POSITIVE_INFINITY };

/** From the child, and from the supervisor to its own parent. */
export interface Word {
  readonly beat?: true;
  /** Where it serves. */
  readonly ready?: string;
  /** Of the process that runs guests. */
  readonly pid?: number;
}

/** In the child: says that the main thread is alive, until the process ends. */
export function beat(silentMs: number): void {
  if (!process.send) return;
  const say = () => process.connected && process.send?.({ beat: true } satisfies Word);
  say();
  setInterval(say, silentMs / BEATS).unref();
}

/** Runs an executor in a child until it is told to stop. False, and nothing is done, where that is switched off. */
export async function supervised(env: NodeJS.ProcessEnv): Promise<boolean> {
  const config = readConfig(supervision, env);
  if (config.supervise === "off") return false;
  const { level } = readConfig({ level: choice("MILLRACE_LOG", "", logLevels, "info") }, env);
  const log = makeLog("supervisor", level);
  const start = async (stack: AsyncDisposableStack, signal: AbortSignal) => {
    if (process.connected) process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
    const ended = keep(env, config.silentMs, log, signal);
    stack.defer(() => ended);
    await ended;
  };
  await runUntilSignal(start, STOP_MS + BEATS * 1_000);
  return true;
}

interface End {
  /** Whether it ever served. */
  readonly served: boolean;
  readonly why: string;
}

/** Errors: `unavailable` when the first child ends before it serves; it has told why. */
async function keep(env: NodeJS.ProcessEnv, silentMs: number, log: Logger, signal: AbortSignal) {
  let served = false;
  for (let failures = 0; !signal.aborted; ) {
    const startedMs = performance.now();
    const end = await runChild(env, silentMs, signal);
    if (signal.aborted) return;
    served ||= end.served;
    if (!served) throw new Fault("unavailable", `the executor did not start: ${end.why}`);
    failures = performance.now() - startedMs > STEADY_MS ? 1 : failures + 1;
    const delayMs = Math.round(backoffMs(AGAIN, failures, Math.random()));
    log.error({ why: end.why, delayMs }, "the executor is gone; starting it again");
    await pause(delayMs, signal);
  }
}

function runChild(env: NodeJS.ProcessEnv, silentMs: number, signal: AbortSignal): Promise<End> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "main.ts"), "executor"], {
    env: { ...env, [SUPERVISE]: "off" },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // Ctrl-C reaches the whole terminal; the child is told to stop by us, once.
    detached: true,
  });
  return new Promise((resolve) => {
    let served = false;
    let killed: string | undefined;
    const kill = (why: string) => {
      killed ??= why;
      child.kill("SIGKILL");
    };
    const stopWatching = watch(child, silentMs, kill);
    let late: NodeJS.Timeout | undefined;
    const stop = () => {
      child.kill("SIGTERM");
      late = setTimeout(() => kill(`did not stop within ${STOP_MS} ms`), STOP_MS);
    };
    const done = (why: string) => {
      stopWatching();
      clearTimeout(late);
      signal.removeEventListener("abort", stop);
      resolve({ served, why: killed ?? why });
    };
    child.on("message", ({ ready }: Word) => {
      if (ready === undefined) return;
      served = true;
      process.send?.({ ready, ...(child.pid && { pid: child.pid }) } satisfies Word);
    });
    child.once("error", (error) => done(`it cannot be started: ${error.message}`));
    child.once("exit", (code, by) => done(by ? `ended by ${by}` : `exit code ${code}`));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** Silence is counted in looks: while this process itself stands still, no time passes for the child. */
function watch(child: ChildProcess, silentMs: number, kill: (why: string) => void): () => void {
  let looks = 0;
  let heard = false;
  child.on("message", () => {
    looks = 0;
    heard = true;
  });
  const everyMs = silentMs / BEATS;
  const timer = setInterval(() => {
    looks += 1;
    if (heard && looks > BEATS) kill(`its main thread was silent for ${silentMs} ms`);
    if (!heard && looks * everyMs > START_MS) kill(`it said nothing within ${START_MS} ms of its start`);
  }, everyMs);
  return () => clearInterval(timer);
}
