/**
 * How long from `millrace dev` to the first answer of a plugin, and what does it weigh when idle? Workload: the demo's
 * stores as a first start leaves them; the process is started anew, and /plugins/board/api/summary asked until it
 * answers. Resident memory is read ten seconds later, with the demo's pollers at work every five seconds.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startCli } from "../harness/cli.ts";
import { until } from "../harness/until.ts";
import { report } from "./report.ts";

const SETTLE_MS = 10_000;
const RUNS = 2;
const KIB_PER_MIB = 1_024;

const folder = await mkdtemp(join(tmpdir(), "millrace-bench-"));
const env = { MILLRACE_FOLDER: folder, GATEWAY_HTTP: "127.0.0.1:0", GATEWAY_GRPC: "127.0.0.1:0" };

async function firstStart(): Promise<void> {
  await using dev = startCli(["dev", "--demo"], env);
  await dev.saying("Ctrl-C stops it", 180_000);
  dev.kill("SIGINT");
  await dev.ended;
}

async function residentMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / KIB_PER_MIB;
}

/** The embedded ClickHouse is the only child. */
function childOf(pid: number): number {
  return Number(
    execFileSync("pgrep", ["-P", String(pid)], { encoding: "utf8" })
      .trim()
      .split("\n")[0],
  );
}

async function start() {
  const beganMs = performance.now();
  await using dev = startCli(["dev"], env);
  const said = await dev.saying(/HTTP {2}http:\/\/\S+/, 60_000);
  const url = `http://${/HTTP {2}http:\/\/(\S+)/.exec(said)?.[1]}/plugins/board/api/summary`;
  await until("the plugin answers", async () => (await fetch(url).catch(() => undefined))?.ok, 60_000);
  const answerMs = performance.now() - beganMs;
  await pause(SETTLE_MS);
  const figures = [answerMs, await residentMib(dev.pid), await residentMib(childOf(dev.pid))] as const;
  dev.kill("SIGINT");
  await dev.ended;
  return figures;
}

await firstStart();
const runs: (readonly [number, number, number])[] = [];
for (let run = 0; run < RUNS; run += 1) runs.push(await start());
const names = [
  ["process start to first plugin answer", "ms"],
  ["resident, idle: all services", "MiB"],
  ["resident, idle: embedded ClickHouse", "MiB"],
] as const;
const rows = names.map(([name, unit], i) => {
  const [a = 0, b = 0] = runs.map((figures) => figures[i] as number);
  return { name, unit, value: (a + b) / RUNS, aa: (Math.abs(a - b) * RUNS) / (a + b) };
});
report({ question: "How long to the first answer of a plugin, and how heavy is an idle platform?", rows });
await rm(folder, { recursive: true, force: true });
