/** A private nats-server with JetStream: free port, temporary store, gone at the end of the scope. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installNatsServer } from "../../services/cli/nats-server.ts";
import { until } from "./until.ts";

export interface NatsServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Ends the server as a crash would; the store stays. Resolves once it is gone. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and store; kills it first when it still runs. */
  restart(): Promise<void>;
}

/** `args` are further flags of the server, such as `--user`. */
export async function startNats(args: readonly string[] = []): Promise<NatsServer> {
  const program = await installNatsServer();
  const folder = await mkdtemp(join(tmpdir(), "millrace-nats-"));
  const port = await freePort();
  let child: ChildProcess | undefined;
  let said = "";

  const start = async () => {
    const flags = ["-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", folder, ...args];
    const started = spawn(program, flags, { stdio: ["ignore", "ignore", "pipe"] });
    child = started;
    started.stderr.on("data", (chunk) => {
      said = `${said}${chunk}`.slice(-4_000);
    });
    await until("nats-server is ready", async () => {
      if (started.exitCode !== null) throw new Error(`nats-server ended with ${started.exitCode}: ${said}`);
      return said.includes("Server is ready") && (await answers(port));
    });
  };
  const kill9 = async () => {
    const dying = child;
    child = undefined;
    said = "";
    if (!dying || dying.exitCode !== null || dying.signalCode !== null) return;
    const gone = new Promise((resolve) => dying.once("exit", resolve));
    dying.kill("SIGKILL");
    await gone;
  };

  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    kill9,
    async restart() {
      await kill9();
      await start();
    },
    async [Symbol.asyncDispose]() {
      await kill9();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
