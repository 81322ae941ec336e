/** The command line as a user runs it: a process, what it says, how it ends. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "../../services/cli/build.ts";
import { until } from "./until.ts";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started extends AsyncDisposable {
  readonly pid: number;
  /** Everything said so far, stdout and stderr as they came. */
  said(): string;
  /** Waits until it has said the words; fails at once when it ends before. */
  saying(words: string | RegExp, timeoutMs?: number): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
}

/** Starts `millrace ARGS` through its binary, on this machine's environment with `env` over it. */
export function startCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Started {
  const child = spawn(process.execPath, [join(root, "services/cli/millrace.js"), ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const heard = { stdout: "", stderr: "", all: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      heard[stream] += text;
      heard.all += text;
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (code) => resolve({ code, stdout: heard.stdout, stderr: heard.stderr }));
  });
  return {
    pid: child.pid as number,
    said: () => heard.all,
    async saying(words, timeoutMs = 60_000) {
      const says = () => (typeof words === "string" ? heard.all.includes(words) : words.test(heard.all));
      await until(
        `millrace ${args.join(" ")} says ${words}`,
        () => {
          if (says()) return true;
          if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${heard.all}`);
          return false;
        },
        timeoutMs,
      ).catch((thrown) => {
        throw new Error(`${thrown.message}; it said: ${heard.all}`);
      });
      return heard.all;
    },
    kill: (signal) => child.kill(signal),
    ended,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs a command to its end. */
export async function runCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  await using started = startCli(args, env);
  return await started.ended;
}
