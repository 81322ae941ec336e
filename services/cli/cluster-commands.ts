/** Commands around a whole installation: a cluster on this machine, and what a machine lacks. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { connect as dial } from "node:net";
import { Fault } from "../kit/fault.ts";
import { runUntilSignal } from "../kit/lifecycle.ts";
import { makeLog } from "../kit/log.ts";
import { languageChecks } from "./build.ts";
import type { Command } from "./command.ts";
import { findNatsServer } from "./nats-server.ts";
import { table, tellStop } from "./terminal.ts";

const NEEDED_NODE_MAJOR = 26;
const DIAL_TIMEOUT_MS = 1_000;

interface Finding {
  readonly what: string;
  readonly ok: boolean;
  readonly found: string;
  /** What to do when it is not ok. */
  readonly fix: string;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial({ host: "127.0.0.1", port, timeout: DIAL_TIMEOUT_MS });
    const done = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.on("connect", () => done(true));
    socket.on("error", () => done(false));
    socket.on("timeout", () => done(false));
  });
}

function library(): string | undefined {
  const packages = { x64: "@chdb/lib-linux-x64-gnu", arm64: "@chdb/lib-linux-arm64-gnu" };
  const name = process.platform === "linux" ? packages[process.arch as keyof typeof packages] : undefined;
  try {
    return name && createRequire(import.meta.url).resolve(`${name}/libchdb.so`);
  } catch {
    return undefined;
  }
}

/** `/readyz` in words: `ok`, or the parts that are not. */
function readyText(status: number, body: string): string {
  try {
    const { parts } = JSON.parse(body) as { parts: Record<string, { state: string }> };
    const bad = Object.entries(parts).filter(([, part]) => part.state !== "ok");
    return bad.length ? bad.map(([name, part]) => `${name}: ${part.state}`).join(", ") : "ok, all its parts too";
  } catch {
    return `${status}, which is no answer of a gateway`;
  }
}

async function diagnose(http: string, env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const chdb = library();
  const nats = findNatsServer(env);
  const ready = await fetch(`http://${http}/readyz`, { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) }).catch(
    () => undefined,
  );
  const state = ready ? readyText(ready.status, await ready.text()) : "";
  const busy = !ready && (await listens(Number(http.split(":").at(-1))));
  return [
    {
      what: "Node",
      ok: Number(process.versions.node.split(".")[0]) >= NEEDED_NODE_MAJOR,
      found: process.versions.node,
      fix: "npm ci brings the right one; start millrace through npm scripts or its binary",
    },
    {
      what: "embedded ClickHouse",
      ok: chdb !== undefined && existsSync(chdb),
      found: chdb ? "libchdb is installed" : `no build for ${process.platform} ${process.arch}`,
      fix: "npm ci without --omit=optional; elsewhere set CLICKHOUSE_URL to a ClickHouse of your own",
    },
    {
      what: "nats-server (cluster only)",
      ok: nats !== undefined,
      found: nats ?? "not found",
      fix: "npm run cluster installs one on Debian; else: apt-get install nats-server, or brew install nats-server",
    },
    {
      what: `platform at ${http}`,
      ok: ready?.ok ?? false,
      found: ready ? state : busy ? "something else listens there" : "nothing listens there",
      fix: busy ? "stop it, or set GATEWAY_HTTP to another port" : "start it: npm start",
    },
  ];
}

export const clusterCommands: readonly Command[] = [
  {
    path: "cluster",
    args: "",
    doc: "Runs a cluster on this machine, with the demo. NATS, ClickHouse, 2 gateways, 2 schedulers, 3 executors.",
    flags: {
      folder: { type: "string", doc: "folder of its stores (default .millrace/cluster)" },
      "no-demo": { type: "boolean", doc: "only the processes" },
    },
    run: ({ flags, terminal, env }) =>
      runUntilSignal(async (stack, signal) => {
        tellStop(terminal, stack, signal);
        const { startCluster } = await import("./cluster.ts");
        const { runDemo } = await import("./demo.ts");
        const folder = String(flags.folder ?? ".millrace/cluster");
        await mkdir(folder, { recursive: true });
        const log = makeLog("cluster", "warn");
        const cluster = stack.use(await startCluster({ folder, log, env, onStep: (step) => terminal.note(step) }));
        const [first, second] = cluster.gateways;
        terminal.note(`  HTTP  http://${first?.http}  and  http://${second?.http}`);
        terminal.note(`  gRPC  ${first?.grpc}  and  ${second?.grpc}`);
        if (!first) throw new Fault("internal", "no gateway started");
        if (!flags["no-demo"]) await runDemo({ platform: first, terminal, env, stack, signal });
        if (!signal.aborted) terminal.note("Ctrl-C stops all of it; the data stay.");
      }),
  },
  {
    path: "doctor",
    args: "",
    doc: "Says what this machine lacks and how to get it, and how the platform is. Exit 1 when something is missing.",
    flags: {},
    async run({ terminal, env }) {
      const platform = await diagnose(env.GATEWAY_HTTP ?? "127.0.0.1:7400", env);
      const languages = (await languageChecks()).map((check) => ({ ...check, fix: check.fix ?? "" }));
      const findings: Finding[] = [...platform, ...languages];
      terminal.result(
        () => findings,
        () =>
          table(
            ["", "what", "found", "what to do"],
            findings.map((f) => [f.ok ? "ok" : "!!", f.what, f.found, f.ok ? "" : f.fix]),
          ),
      );
      const missing = platform.slice(0, 2).filter((finding) => !finding.ok);
      if (missing.length) terminal.fail(`missing: ${missing.map((f) => f.what).join(", ")}`);
    },
  },
];
