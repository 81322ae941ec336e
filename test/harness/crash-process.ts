/**
 * A part of the platform as a process that waits at the step it is told to, so that a test can kill whatever it likes
 * just then: `node crash-process.ts <order as JSON>`, with an IPC channel.
 */
import { openBus } from "../../services/bus/open.ts";
import * as executor from "../../services/executor/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { makeLog } from "../../services/kit/log.ts";
import * as registry from "../../services/registry/main.ts";
import { openResults } from "../../services/results/results.ts";
import * as scheduler from "../../services/scheduler/main.ts";

export interface CrashOrder {
  readonly bus: { readonly natsUrl: string } | { readonly file: string };
  readonly clickHouse: { readonly url: string; readonly readerUrl: string; readonly database: string };
  readonly secretKey: string;
  /** What runs here; without a registry, `registry` is the address of another's. */
  readonly services: readonly ("registry" | "scheduler" | "executor")[];
  readonly registry?: string;
  /** Jobs that the executor takes at once. */
  readonly jobs: number;
}

/** A run of this pipe waits, once, when it reaches the step for the n-th time in one attempt. */
export interface Trap {
  readonly pipe: string;
  readonly step: string;
  readonly nth: number;
}

export type ToChild = { readonly traps: readonly Trap[] } | { readonly go: true };
export type FromChild =
  | { readonly ready: { readonly registry: string; readonly scheduler: string } }
  | { readonly reached: { readonly step: string; readonly runId: string } };

const say = (message: FromChild) => process.send?.(message);
const order = JSON.parse(process.argv[2] ?? "{}") as CrashOrder;
let traps: readonly Trap[] = [];
let counts = new Map<string, number>();
const waiting: (() => void)[] = [];
process.on("message", (message: ToChild) => {
  if ("traps" in message) {
    traps = message.traps;
    counts = new Map();
  } else for (const goOn of waiting.splice(0)) goOn();
});
// The test is gone: so are we.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));

async function onStep(step: string, runId: string, fence = 0n): Promise<void> {
  if (runId.includes("/register/")) return;
  const trap = traps.find((one) => one.step === step && runId.startsWith(`${one.pipe}/`));
  if (!trap) return;
  const attempt = `${runId}/${fence}/${step}`;
  const count = (counts.get(attempt) ?? 0) + 1;
  counts.set(attempt, count);
  if (count < trap.nth) return;
  traps = traps.filter((one) => one !== trap);
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
    say({ reached: { step, runId } });
  });
}

const { clickHouse, secretKey, services } = order;
const log = makeLog("crash", (process.env.CRASH_LOG as "warn" | undefined) ?? "error");
const listen = "127.0.0.1:0";
const bus = await openBus({ ...order.bus, name: services.join("+"), log });
let at = { registry: order.registry ?? "", scheduler: "" };
if (services.includes("registry")) {
  const config = readConfig(registry.settings, {}, { listen, secretKey, defaultGrants: "manifest" });
  at = { ...at, registry: (await registry.start(config, { bus, log })).address };
}
if (services.includes("scheduler")) {
  const config = readConfig(scheduler.settings, {}, { listen, registry: at.registry });
  at = { ...at, scheduler: (await scheduler.start(config, { bus, log, onStep })).address };
}
if (services.includes("executor")) {
  const results = await openResults({ ...clickHouse, log });
  const more = { privateHosts: ["127.0.0.1"], lanes: 1, jobs: order.jobs, secretKey };
  const config = readConfig(executor.settings, {}, { listen, registry: at.registry, ...more });
  await executor.start(config, { bus, results, log, onStep });
}
say({ ready: at });
