/**
 * What does a published plugin weigh that nobody calls? Workload: 1,000 plugins with modules and manifests of their own,
 * each with its default instance, published into a real registry on NATS; an executor of each engine mirrors the
 * catalogue. Registry and executors are processes of their own; the growth of their resident memory over the last
 * 800 is divided by these, the figure "collected" after a full garbage collection.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { openNatsBus } from "../../services/bus/nats/bus.ts";
import { settings as executorSettings, start as startExecutor } from "../../services/executor/main.ts";
import type { EngineName } from "../../services/executor/sandbox.ts";
import { readConfig } from "../../services/kit/config.ts";
import { ask, connect, listen } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { packed } from "../harness/bundle.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { startNats } from "../harness/nats.ts";
import { startRegistry } from "../harness/registry.ts";
import { compileWat } from "../harness/wat.ts";
import { type Row, report } from "./report.ts";

const WARM = 200;
/** A registry publishes one at a time and looks at all instances for each: 10,000 take longer than a bench may. */
const PLUGINS = 1_000;
const AT_ONCE = 8;
const START_MS = 60_000;

type Arm = "registry" | EngineName;
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
  if (arm === "registry") process.send?.(stack.use(await startRegistry(bus)).address);
  else {
    const options = { url: clickhouse, readerUrl: reader, database: `idle_${arm}`, log: silentLog };
    const results = stack.use(await openResults(options));
    const config = readConfig(executorSettings, {}, { listen: "127.0.0.1:0", registry, lanes: 1, engine: arm });
    stack.use(await startExecutor(config, { bus, results, log: silentLog }));
    process.send?.("");
  }
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  process.on("message", () => {
    const asItIs = process.memoryUsage.rss();
    collect();
    collect();
    process.send?.({ asItIs, collected: process.memoryUsage.rss() });
  });
  await once(process, "disconnect");
}

interface Weight {
  readonly asItIs: number;
  readonly collected: number;
}

async function weigh(child: ChildProcess): Promise<Weight> {
  child.send("weigh");
  return (await once(child, "message", { signal: AbortSignal.timeout(START_MS) }))[0] as Weight;
}

async function startArm(grounds: Grounds): Promise<{ readonly child: ChildProcess; readonly address: string }> {
  const child = fork(import.meta.filename, [JSON.stringify(grounds)], { execPath: process.execPath });
  const [address] = await once(child, "message", { signal: AbortSignal.timeout(START_MS) });
  return { child, address: address as string };
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
  const engines = { ...grounds, registry: registry.address };
  const arms = {
    registry: registry.child,
    kernel: (await startArm({ ...engines, arm: "kernel" })).child,
    sdk: (await startArm({ ...engines, arm: "sdk" })).child,
  };
  const channel = connect(registry.address);
  const {
    functions: _,
    config: __,
    ...manifest
  } = JSON.parse(await readFile(join(import.meta.dirname, "../plugins/kitchen/plugin.json"), "utf8"));
  let published = 0;
  const publish = async (most: number) => {
    for (published += 1; published <= most; published += 1) {
      const request = { bundle: bundle(manifest, published), validateOnly: false };
      await ask(channel, PluginsService.publishPlugin, request, { deadlineMs: 60_000 });
    }
    published -= 1;
  };
  /** Executors follow the same stream: what has reached us has been sent to them. */
  const seen = async (most: number) => {
    const versions = new Set<string>();
    const ended = new AbortController();
    for await (const { change } of listen(channel, CatalogService.watchCatalog, {}, { signal: ended.signal })) {
      if (change?.$case === "version") versions.add(change.value.name);
      if (versions.size >= most) break;
    }
    ended.abort();
  };
  const all = async (most: number) => {
    await Promise.all(Array.from({ length: AT_ONCE }, () => publish(most)));
    await seen(most);
    const weights = {} as Record<Arm, Weight>;
    for (const arm of ["registry", "kernel", "sdk"] as const) weights[arm] = await weigh(arms[arm]);
    return weights;
  };
  const before = await all(WARM);
  const after = await all(PLUGINS);
  const rows: Row[] = [];
  const kb = (bytes: number) => bytes / 1_000 / (PLUGINS - WARM);
  for (const arm of ["registry", "kernel", "sdk"] as const) {
    const name = arm === "registry" ? "registry" : `executor, ${arm}`;
    rows.push({ name: `${name}: resident`, unit: "KB each", value: kb(after[arm].asItIs - before[arm].asItIs) });
    const collected = kb(after[arm].collected - before[arm].collected);
    rows.push({ name: `${name}: resident, collected`, unit: "KB each", value: collected });
  }
  channel.close();
  for (const child of Object.values(arms)) child.disconnect();
  await Promise.all(Object.values(arms).map((child) => once(child, "exit")));
  report({ question: "What does a published plugin weigh that nobody calls?", rows });
}

const [grounds] = process.argv.slice(2);
await (grounds ? serveArm(JSON.parse(grounds) as Grounds) : compare());
