/**
 * What does a published plugin weigh that nobody calls, and what does it cost to publish one beside 10,000? Workload:
 * plugins with modules and manifests of their own, each with its default instance, published into a real registry on
 * NATS; executors of both engines, a gateway and a scheduler mirror the catalogue. Each is a process of its own.
 * "lived": the growth of the resident memory of those that saw 9,800 come, after a full garbage collection, divided by
 * these. "anew": of a process started over 10,000, what it weighs more than one started over 200; its noise floor is
 * the difference of two that were started over 200.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { openNatsBus } from "../../services/bus/nats/bus.ts";
import { settings as executorSettings, start as startExecutor } from "../../services/executor/main.ts";
import { settings as gatewaySettings, start as startGateway } from "../../services/gateway/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { ask, connect, listen } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { packed } from "../harness/bundle.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { startNats } from "../harness/nats.ts";
import { startRegistry } from "../harness/registry.ts";
import { compileWat } from "../harness/wat.ts";
import { type Row, report } from "./report.ts";

const [given = "10000"] = process.argv.slice(2);
const WARM = 200;
const PLUGINS = Number(given);
/** Publications whose rate is told. */
const RATED = 1_000;
const AT_ONCE = 8;
const ANSWER_MS = 120_000;
/** Of a busy machine; a quiet one takes a tenth. */
const PUBLISH_ALL_MS = 900_000;
/** A process that takes less of a core than this has read what there is. */
const QUIET = 0.04;
const LOOK_MS = 500;

const ARMS = ["registry", "kernel", "sdk", "gateway", "scheduler"] as const;
type Arm = (typeof ARMS)[number];
const NAMES: Record<Arm, string> = {
  registry: "registry",
  kernel: "executor, kernel",
  sdk: "executor, sdk",
  gateway: "gateway",
  scheduler: "scheduler",
};
interface Grounds {
  readonly arm: Arm;
  readonly nats: string;
  readonly clickhouse: string;
  readonly reader: string;
  readonly registry: string;
}

async function serveArm({ arm, nats, clickhouse, reader, registry }: Grounds): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await openNatsBus({ url: nats, log: silentLog, name: arm }));
  const [listen, log] = ["127.0.0.1:0", silentLog];
  const results = async () => {
    const options = { url: clickhouse, readerUrl: reader, database: `idle_${arm}`, log };
    return stack.use(await openResults(options));
  };
  let address = "";
  if (arm === "registry") address = stack.use(await startRegistry(bus)).address;
  else if (arm === "scheduler") {
    stack.use(await startScheduler(readConfig(schedulerSettings, {}, { listen, registry }), { bus, log }));
  } else if (arm === "gateway") {
    const config = readConfig(gatewaySettings, {}, { http: listen, grpc: listen, registry, scheduler: registry });
    stack.use(await startGateway(config, { bus, results: await results(), log }));
  } else {
    const config = readConfig(executorSettings, {}, { listen, registry, lanes: 1, engine: arm });
    stack.use(await startExecutor(config, { bus, results: await results(), log }));
  }
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  process.on("message", async (asked) => {
    if (asked === "cpu") {
      const { user, system } = process.cpuUsage();
      return process.send?.((user + system) / 1_000);
    }
    for (let quiet = 0; quiet < 3; ) {
      const before = process.cpuUsage();
      await wait(LOOK_MS);
      const { user, system } = process.cpuUsage(before);
      quiet = user + system < QUIET * LOOK_MS * 1_000 ? quiet + 1 : 0;
    }
    collect();
    collect();
    process.send?.(process.memoryUsage.rss());
  });
  process.send?.(address);
  await once(process, "disconnect");
}

const answer = async <T>(child: ChildProcess) =>
  (await once(child, "message", { signal: AbortSignal.timeout(ANSWER_MS) }))[0] as T;

/** Bytes resident, once it is quiet; or milliseconds of CPU so far. */
async function tell(child: ChildProcess, what: "weight" | "cpu"): Promise<number> {
  child.send(what);
  return await answer<number>(child);
}

async function startArm(grounds: Grounds) {
  const beganMs = performance.now();
  const child = fork(import.meta.filename, [JSON.stringify(grounds)], { execPath: process.execPath });
  const address = await answer<string>(child);
  return { child, address, startMs: performance.now() - beganMs };
}

async function end(child: ChildProcess): Promise<void> {
  child.disconnect();
  await once(child, "exit");
}

/** A plugin of its own: the manifest of `kitchen` under another name, and a module with other bytes. */
function bundle(manifest: Record<string, unknown>, number: number): Buffer {
  const exports = Object.keys(manifest.interfaces as object);
  const functions = exports.map((name) => `(func (export "${name}") (result i32) (i32.const ${number}))`);
  return packed([
    { path: "plugin.json", content: JSON.stringify({ ...manifest, name: `idle-${number}` }) },
    { path: "plugin.wasm", content: Buffer.from(compileWat(`(module (memory 1) ${functions.join(" ")})`)) },
  ]);
}

async function compare(): Promise<void> {
  await using nats = await startNats();
  await using clickhouse = await startTestClickHouse();
  const grounds = { nats: nats.url, clickhouse: clickhouse.url, reader: clickhouse.readerUrl, registry: "" };
  const registry = await startArm({ ...grounds, arm: "registry" });
  const arm = (name: Arm) => startArm({ ...grounds, registry: registry.address, arm: name });
  using channel = connect(registry.address);
  const file = await readFile(join(import.meta.dirname, "../plugins/kitchen/plugin.json"), "utf8");
  const { functions: _, config: __, ...manifest } = JSON.parse(file);
  let published = 0;
  const publishUpTo = async (most: number, untilMs: number) => {
    const one = async () => {
      while (published < most) {
        published += 1;
        const request = { bundle: bundle(manifest, published), validateOnly: false };
        await ask(channel, PluginsService.publishPlugin, request, { deadlineMs: untilMs - performance.now() });
      }
    };
    const [from, beganMs, cpuMs] = [published, performance.now(), await tell(registry.child, "cpu")];
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    const done = published - from;
    const rate = done / ((performance.now() - beganMs) / 1_000);
    return { rate, cpuMs: ((await tell(registry.child, "cpu")) - cpuMs) / done };
  };
  /** How long the whole catalogue takes to reach one who asks for it, in milliseconds. */
  const catalogueMs = async () => {
    const [beganMs, ended] = [performance.now(), new AbortController()];
    const options = { signal: AbortSignal.any([ended.signal, AbortSignal.timeout(ANSWER_MS)]) };
    let versions = 0;
    for await (const { change } of listen(channel, CatalogService.watchCatalog, {}, options)) {
      if (change?.$case === "version") versions += 1;
      if (change?.$case === "synced") break;
    }
    ended.abort();
    if (versions !== published) throw new Error(`${versions} versions of ${published} reached a reader`);
    return performance.now() - beganMs;
  };

  const untilMs = performance.now() + PUBLISH_ALL_MS;
  await publishUpTo(WARM, untilMs);
  const lived: Record<string, ChildProcess> = { registry: registry.child };
  const young: Record<string, number> = {};
  const floor: Record<string, number> = {};
  for (const name of ARMS) {
    const first = await arm(name);
    young[name] = await tell(first.child, "weight");
    if (name === "registry") await end(first.child);
    else lived[name] = first.child;
    const second = await arm(name);
    floor[name] = Math.abs((await tell(second.child, "weight")) - young[name]);
    await end(second.child);
  }
  const before: Record<string, number> = {};
  for (const name of ARMS) before[name] = await tell(lived[name] as ChildProcess, "weight");
  const early = await publishUpTo(WARM + RATED, untilMs);
  await publishUpTo(PLUGINS - RATED, untilMs);
  const late = await publishUpTo(PLUGINS, untilMs);
  const rows: Row[] = [
    { name: `publications, of ${WARM} to ${WARM + RATED}`, unit: "/s", value: early.rate },
    { name: `publications, of ${PLUGINS - RATED} to ${PLUGINS}`, unit: "/s", value: late.rate },
    { name: `registry's CPU for one, of ${WARM} to ${WARM + RATED}`, unit: "ms", value: early.cpuMs },
    { name: `registry's CPU for one, of ${PLUGINS - RATED} to ${PLUGINS}`, unit: "ms", value: late.cpuMs },
    { name: "the whole catalogue to one reader", unit: "ms", value: await catalogueMs() },
  ];
  const kb = (bytes: number) => bytes / 1_000 / (PLUGINS - WARM);
  const row = (name: string, bytes: number, noise: number) =>
    rows.push({ name, unit: "KB each", value: kb(bytes), aa: Math.abs(noise / bytes) });
  for (const name of ARMS) {
    const grown = (await tell(lived[name] as ChildProcess, "weight")) - (before[name] as number);
    const { child, startMs } = await arm(name);
    const anew = (await tell(child, "weight")) - (young[name] as number);
    await end(child);
    row(`${NAMES[name]}: lived`, grown, floor[name] as number);
    row(`${NAMES[name]}: started anew`, anew, floor[name] as number);
    rows.push({ name: `${NAMES[name]}: process start over ${PLUGINS}`, unit: "ms", value: startMs });
  }
  for (const child of Object.values(lived)) await end(child);
  report({ question: "What does a published plugin weigh that nobody calls?", rows });
}

await (given.startsWith("{") ? serveArm(JSON.parse(given) as Grounds) : compare());
