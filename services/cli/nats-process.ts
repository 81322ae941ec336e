/** A nats-server of our own: a child process with JetStream on loopback, its store in a folder. */
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { Fault } from "../kit/fault.ts";
import { pause, within } from "../kit/lifecycle.ts";
import { installNatsServer } from "./nats-server.ts";

export interface NatsProcessOptions {
  readonly folder: string;
  /** 0 or absent: a free one. */
  readonly port?: number;
  /** Further flags of the server, such as `--user`. */
  readonly args?: readonly string[];
}

export interface NatsProcess extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends it as a crash would; the store stays. Resolves once it is gone. */
  kill9(): Promise<void>;
}

const READY_MS = 30_000;
const STOP_MS = 10_000;
const LOOK_MS = 10;
/** How much of its last words is kept for an error. */
const LAST_WORDS_CHARS = 4_000;

/** Errors: `precondition` when there is no program and none can be installed; `unavailable` with its last words. */
export async function startNatsServer({
  folder,
  port: wanted = 0,
  args = [],
}: NatsProcessOptions): Promise<NatsProcess> {
  const program = await installNatsServer();
  const port = wanted || (await freePort());
  const flags = ["-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", folder, ...args];
  // Detached from the terminal's Ctrl-C: it stops last, when what uses it has stopped.
  const child = spawn(program, flags, { stdio: ["ignore", "ignore", "pipe"], detached: true });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said = `${said}${chunk}`.slice(-LAST_WORDS_CHARS);
  });
  let running = true;
  const gone = new Promise<void>((resolve) => {
    const ended = () => {
      running = false;
      resolve();
    };
    child.once("exit", ended).once("error", ended);
  });
  const stop = async (signal: NodeJS.Signals) => {
    if (running) child.kill(signal);
    await gone;
  };
  const ready = async () => {
    while (!(said.includes("Server is ready") && (await answers(port)))) {
      if (!running) throw new Fault("unavailable", `nats-server ended while it started: ${said}`);
      await pause(LOOK_MS);
    }
  };
  await within(READY_MS, "the start of nats-server", ready()).catch(async (thrown) => {
    await stop("SIGKILL");
    throw thrown;
  });
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    pid: child.pid as number,
    kill9: () => stop("SIGKILL"),
    async [Symbol.asyncDispose]() {
      await within(STOP_MS, "the stop of nats-server", stop("SIGTERM")).catch(() => stop("SIGKILL"));
    },
  };
}

/** Asks the system; `wanted` when it is free, else any. Whoever comes first may still take it before it is used. */
export function freePort(wanted = 0): Promise<number> {
  const attempt = (port: number) =>
    new Promise<number>((resolve, reject) => {
      const probe = createServer().once("error", reject);
      probe.listen(port, "127.0.0.1", () => {
        const { port: bound } = probe.address() as { port: number };
        probe.close(() => resolve(bound));
      });
    });
  return attempt(wanted).catch(() => attempt(0));
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
