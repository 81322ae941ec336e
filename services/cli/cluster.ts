/** A cluster on one machine: NATS, ClickHouse and every service as processes of their own, on free ports. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { SECRET_KEY_ENV } from "../../proto/secrets.ts";
import { Fault } from "../kit/fault.ts";
import { within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { startClickHouse } from "../results/results.ts";
import { root } from "./build.ts";
import { freePort, startNatsServer } from "./nats-process.ts";
import { secretKeyOf } from "./secret-key.ts";
import type { Word } from "./supervisor.ts";

export interface ClusterOptions {
  readonly folder: string;
  readonly log: Logger;
  readonly env: NodeJS.ProcessEnv;
  readonly onStep?: (step: string) => void;
  readonly gateways?: number;
  readonly schedulers?: number;
  readonly executors?: number;
}

/** One process of the cluster. */
export interface Member {
  readonly name: string;
  /** Of the process that does the work: an executor's changes when its supervisor starts another. */
  readonly pid: number;
  /** Where it serves. */
  readonly address: string;
  /** Resolves when the process is gone. */
  kill9(): Promise<void>;
}

export interface Cluster extends AsyncDisposable {
  readonly gateways: readonly { readonly http: string; readonly grpc: string }[];
  readonly members: readonly Member[];
  readonly natsUrl: string;
  readonly clickhouseUrl: string;
}

const READY_MS = 60_000;
const STOP_MS = 20_000;
const CLICKHOUSE_MIB = 2_048;
/** A cluster runs untrusted work next to its stores; the demo's guests need this machine's loopback. */
const PRIVATE_HOSTS = "127.0.0.1,::1,localhost";
/** The doors of the first gateway stay where the documentation says, when they are free. */
const FIRST_DOORS = [7400, 7401] as const;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, log, env, onStep = () => {} } = options;
  await using stack = new AsyncDisposableStack();
  onStep("nats-server …");
  const nats = stack.use(await startNatsServer({ folder: join(folder, "nats") }));
  onStep("ClickHouse …");
  const ch = stack.use(
    await startClickHouse({ folder: join(folder, "clickhouse"), port: 0, memoryMib: CLICKHOUSE_MIB, log }),
  );
  const members: Member[] = [];
  const secrets = { [SECRET_KEY_ENV]: await secretKeyOf(folder, env) };
  const stores = { NATS_URL: nats.url, CLICKHOUSE_URL: ch.url, CLICKHOUSE_READER_URL: ch.readerUrl };
  const run = async (name: string, command: string, settings: Record<string, string>) => {
    onStep(`${name} …`);
    const member = await startMember(name, command, { ...env, ...stores, ...secrets, ...settings });
    stack.defer(() => member.stop());
    members.push(member);
    return member.address;
  };
  const registry = await run("registry", "registry", {
    REGISTRY_LISTEN: "127.0.0.1:0",
    REGISTRY_DEFAULT_GRANTS: "manifest",
  });
  const schedulers: string[] = [];
  for (let i = 1; i <= (options.schedulers ?? 2); i += 1) {
    const listen = { SCHEDULER_LISTEN: "127.0.0.1:0", REGISTRY_ADDRESS: registry };
    schedulers.push(await run(`scheduler ${i}`, "scheduler", listen));
  }
  for (let i = 1; i <= (options.executors ?? 3); i += 1) {
    const settings = { EXECUTOR_LISTEN: "127.0.0.1:0", EXECUTOR_ID: `executor-${i}`, REGISTRY_ADDRESS: registry };
    await run(`executor ${i}`, "executor", { ...settings, EXECUTOR_PRIVATE_HOSTS: PRIVATE_HOSTS });
  }
  const gateways: { http: string; grpc: string }[] = [];
  for (let i = 1; i <= (options.gateways ?? 2); i += 1) {
    const [http, grpc] = await Promise.all(FIRST_DOORS.map((door) => freePort(i === 1 ? door : 0)));
    const doors = { GATEWAY_HTTP: `127.0.0.1:${http}`, GATEWAY_GRPC: `127.0.0.1:${grpc}` };
    const back = { REGISTRY_ADDRESS: registry, SCHEDULER_ADDRESS: schedulers.join(",") };
    await run(`gateway ${i}`, "gateway", { ...doors, ...back });
    gateways.push({ http: doors.GATEWAY_HTTP, grpc: doors.GATEWAY_GRPC });
  }
  const life = stack.move();
  return {
    gateways,
    members,
    natsUrl: nats.url,
    clickhouseUrl: ch.url,
    [Symbol.asyncDispose]: () => life.disposeAsync(),
  };
}

async function startMember(name: string, command: string, env: NodeJS.ProcessEnv) {
  const child = spawn(process.execPath, [join(root, "services/cli/main.ts"), command], {
    env: { MILLRACE_LOG: "warn", ...env },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    // Ctrl-C reaches the whole terminal; the members stop when we say so, in order.
    detached: true,
  });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let pid = child.pid as number;
  child.on("message", (word: Word) => {
    pid = word.pid ?? pid;
  });
  const address = await within(READY_MS, `the start of ${name}`, ready(child, name, gone)).catch(async (thrown) => {
    await end(child, gone, "SIGKILL");
    throw thrown;
  });
  return {
    name,
    get pid() {
      return pid;
    },
    address,
    async kill9() {
      await end(child, gone, "SIGKILL");
      if (pid !== child.pid) process.kill(pid, "SIGKILL");
    },
    stop: async () => {
      await within(STOP_MS, `the stop of ${name}`, end(child, gone, "SIGTERM")).catch(() =>
        end(child, gone, "SIGKILL"),
      );
    },
  };
}

function ready(child: ChildProcess, name: string, gone: Promise<void>): Promise<string> {
  return new Promise((resolve, reject) => {
    child.on("message", ({ ready }: Word) => ready !== undefined && resolve(ready));
    child.once("error", reject);
    void gone.then(() =>
      reject(new Fault("unavailable", `${name} ended while it started, exit code ${child.exitCode}`)),
    );
  });
}

async function end(child: ChildProcess, gone: Promise<void>, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  await gone;
}
