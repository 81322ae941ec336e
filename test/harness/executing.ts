/** Executors with a real registry and results over one bus, and jobs as a scheduler would send them. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type Instance,
  Instance as InstanceMessage,
  InstanceState,
} from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Poller, type PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { Job, JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import type { Window } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, bare, JOBS, JOBS_OPTIONS, runIds } from "../../proto/names.ts";
import { newSecretKey } from "../../proto/secrets.ts";
import type { Bus, DeadLetter, Queue } from "../../services/bus/ports.ts";
import { type Executor, type ExecutorPorts, settings, start } from "../../services/executor/main.ts";
import { readWindow } from "../../services/executor/windows.ts";
import { type Config, readConfig } from "../../services/kit/config.ts";
import { type Logger, silentLog } from "../../services/kit/log.ts";
import { compactTime, parseTime } from "../../services/kit/time.ts";
import type { Results, RunRecord } from "../../services/results/results.ts";
import { packed } from "./bundle.ts";
import { startRegistry, type TestRegistry } from "./registry.ts";
import { until } from "./until.ts";

const ROOT = join(import.meta.dirname, "../..");
export const BEGIN = "2024-01-01T00:00:00Z";
export const END = "2024-01-02T00:00:00Z";

/** Of registry and executors alike. */
const SECRET_KEY = newSecretKey();

type KitchenConfig = Readonly<Record<string, string | number>>;

export interface Executing extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly queue: Queue;
  executor(over?: Partial<Config<typeof settings>>, onStep?: ExecutorPorts["onStep"]): Promise<Executor>;
  instance(id: string, config: KitchenConfig, more?: Partial<Instance>): Promise<string>;
  /** A pipe that is ready to be fetched. */
  pipe(instance: string, attempts?: number): Promise<Pipe>;
  poller(id: string, instance: string, kind: PollerKind, schedule?: string): Promise<Poller>;
  resource(id: string, endpoint: string): Promise<Resource>;
  send(job: Partial<Job>): Promise<Job>;
  fetch(pipe: Pipe, over?: Partial<Job>): Promise<Job>;
  window(pipe: Pipe): Promise<Window | undefined>;
  /** Attempts of a run, newest first, once `enough` says so. */
  runs(runId: string, enough: (runs: readonly RunRecord[]) => boolean): Promise<readonly RunRecord[]>;
  dead(enough: (dead: readonly DeadLetter[]) => boolean): Promise<readonly DeadLetter[]>;
}

/** `kitchen` has an index and `register`; `larder` is its module without both: every row stays; `scales` is metered. */
export async function openExecuting(bus: Bus, results: Results, log: Logger = silentLog): Promise<Executing> {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry(bus, { defaultGrants: "manifest", secretKey: SECRET_KEY }));
  for (const bundle of await kitchenBundles()) {
    await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  }
  const queue = await bus.queue(JOBS, JOBS_OPTIONS);
  const windows = await bus.kv(BUCKETS.windows);
  const send = async (given: Partial<Job>) => {
    const dueUs = BigInt(Date.now()) * 1_000n;
    const job = Job.fromPartial({ dueUs, ...given });
    await queue.send(`${job.runId}@${compactTime(job.dueUs)}`, Job.encode(job).finish());
    return job;
  };
  const [beginUs, endUs] = [parseTime(BEGIN, "begin"), parseTime(END, "end")];
  return {
    registry,
    queue,
    send,
    async executor(over = {}, onStep) {
      const defaults = { listen: "127.0.0.1:0", registry: registry.address, lanes: 1, privateHosts: ["127.0.0.1"] };
      const config = readConfig(settings, {}, { ...defaults, secretKey: SECRET_KEY, ...over });
      return stack.use(await start(config, { bus, results, log, ...(onStep && { onStep }) }));
    },
    async instance(instanceId, config, more = {}) {
      const plugin = more.plugin ?? "plugins/kitchen";
      const instance = InstanceMessage.fromPartial({ config, grants: { allRequested: true }, ...more, plugin });
      const made = await registry.call(InstancesService.createInstance, { instanceId, instance });
      if (made.instance?.state !== InstanceState.ENABLED) throw new Error(made.instance?.stateReason);
      return made.instance.name;
    },
    async pipe(instance, attempts = 0) {
      const pipe = Pipe.fromPartial({ instance, metric: "rows", parameters: { attempts } });
      const made = (await registry.call(PipesService.createPipe, { pipe })).pipe as Pipe;
      if (made.state === PipeState.PENDING) {
        const runId = runIds.register(bare(made.name), made.etag.replace(/[^\w-]/g, ""));
        await send({ kind: JobKind.REGISTER, runId, instance, pipe: made.name });
      }
      return until(`${made.name} is enabled`, async () => {
        const { pipe: now } = await registry.call(PipesService.getPipe, { name: made.name });
        if (now?.state === PipeState.ERROR) throw new Error(now.stateReason);
        return now?.state === PipeState.ENABLED && now;
      });
    },
    async poller(pollerId, instance, kind, schedule = "") {
      const poller = Poller.fromPartial({ instance, kind, schedule });
      return (await registry.call(PollersService.createPoller, { pollerId, poller })).poller as Poller;
    },
    async resource(resourceId, endpoint) {
      const resource = Resource.fromPartial({ id: resourceId, type: "oven", endpoint });
      return (await registry.call(ResourcesService.createResource, { resourceId, resource })).resource as Resource;
    },
    fetch: (pipe, over = {}) =>
      send({
        kind: JobKind.FETCH,
        runId: runIds.fetch(bare(pipe.name), compactTime(beginUs)),
        ...{ instance: pipe.instance, pipe: pipe.name, beginUs, endUs, untilUs: endUs },
        ...over,
      }),
    window: (pipe) => readWindow(windows, { pipe: bare(pipe.name), beginUs, endUs }),
    runs: (runId, enough) =>
      until(`runs of ${runId}`, async () => {
        const runs = await results.getRun(runId);
        return enough(runs) && runs;
      }),
    dead: (enough) =>
      until("dead letters", async () => {
        const dead = await queue.deadLetters(100);
        return enough(dead) && dead;
      }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The bundles of `kitchen`, `larder`, `scales`, `relay` (without columns) and `cellar` (`sync`, hooks), compiled now. */
export async function kitchenBundles(): Promise<Buffer[]> {
  const builder = pathToFileURL(join(ROOT, "plugins-sdk/assemblyscript/build.js")).href;
  const { buildPlugin } = (await import(builder)) as { buildPlugin(folder: string): Promise<{ wasmPath: string }> };
  const folder = join(ROOT, "test/plugins/kitchen");
  const wasm = await readFile((await buildPlugin(folder)).wasmPath);
  const manifest = JSON.parse(await readFile(join(folder, "plugin.json"), "utf8"));
  const { index: _, ...fetch } = manifest.interfaces.fetch;
  const { register: __, ...interfaces } = manifest.interfaces;
  const larder = { ...manifest, name: "larder", interfaces: { ...interfaces, fetch } };
  const scales = { ...larder, name: "scales", metered: true };
  const { columns: ___, ...bare } = fetch;
  const relay = { ...manifest, name: "relay", interfaces: { fetch: bare } };
  const { schedule: ____, backtrack: _____, ...sync } = fetch;
  const cellar = { ...manifest, name: "cellar", interfaces: { sync, before_sync: {}, after_sync: {} } };
  return [manifest, larder, scales, relay, cellar].map((one) =>
    packed([
      { path: "plugin.json", content: JSON.stringify(one) },
      { path: "plugin.wasm", content: wasm },
    ]),
  );
}
