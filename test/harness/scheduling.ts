/** A real bus with a real registry in front, for tests of schedulers. */
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { Poller, PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { JOBS, JOBS_OPTIONS } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import { formatTime } from "../../services/kit/time.ts";
import { settings as registrySettings, start as startRegistry } from "../../services/registry/main.ts";
import { openStore, type Store } from "../../services/registry/store.ts";
import { type RunningScheduler, settings, start } from "../../services/scheduler/main.ts";

export interface Scheduling extends AsyncDisposable {
  /**
   * The registry's own store. Entities are written through it and not through the API, so that a test of schedules
   * needs no module to publish; what the scheduler sees comes from the real catalogue stream.
   */
  readonly store: Store;
  readonly registry: string;
  /** On its own bus connection when one is given. */
  scheduler(bus?: Bus): Promise<RunningScheduler>;
  /** Pulls and acks what is queued until `enough` says so or 10 s have passed. */
  jobs(enough: (jobs: readonly Job[]) => boolean): Promise<Job[]>;
}

export async function openScheduling(bus: Bus): Promise<Scheduling> {
  const stack = new AsyncDisposableStack();
  const listen = "127.0.0.1:0";
  const registry = stack.use(
    await startRegistry(readConfig(registrySettings, {}, { listen }), { bus, log: silentLog }),
  );
  const queue = await bus.queue(JOBS, JOBS_OPTIONS);
  return {
    store: await openStore(bus),
    registry: registry.address,
    scheduler: (own = bus) =>
      start(readConfig(settings, {}, { listen, registry: registry.address }), { bus: own, log: silentLog }),
    async jobs(enough) {
      const jobs: Job[] = [];
      const endMs = performance.now() + 10_000;
      while (!enough(jobs) && performance.now() < endMs) {
        for (const message of await queue.pull(256, 100)) {
          jobs.push(Job.decode(message.body));
          await message.ack();
        }
      }
      return jobs;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export const instance = (id: string, over: Partial<Instance> = {}) =>
  Instance.fromPartial({ name: `instances/${id}`, plugin: "plugins/p", state: InstanceState.ENABLED, ...over });

/** `parameters` are the effective ones. */
export const pipe = (id: string, parameters: Partial<Pipe["effective"]>, over: Partial<Pipe> = {}) =>
  Pipe.fromPartial({
    name: `pipes/${id}`,
    instance: `instances/${id.split(".")[0]}`,
    state: PipeState.ENABLED,
    effective: parameters ?? {},
    ...over,
  });

export const poller = (id: string, of: string, over: Partial<Poller> = {}) =>
  Poller.fromPartial({
    name: `pollers/${id}`,
    instance: `instances/${of}`,
    kind: PollerKind.POLL,
    state: PollerState.ENABLED,
    schedule: "every 1m",
    ...over,
  });

export const resource = (id: string, over: Partial<Resource> = {}) =>
  Resource.fromPartial({ name: `resources/${id}`, id, type: "url", ...over });

export const DAY_MS = 86_400_000;
/** Midnight UTC so many days ago, as a pipe's begin. */
export const daysAgo = (days: number) => formatTime(BigInt(Math.floor(Date.now() / DAY_MS - days) * DAY_MS) * 1_000n);

/** Run ids that come more than once. */
export function duplicates(jobs: readonly Job[]): string[] {
  const ids = jobs.map((job) => job.runId);
  return ids.filter((id, at) => ids.indexOf(id) !== at);
}

/** A pipe of `days` windows, a discover, and `hosts` resources that are polled every 2 s. */
export async function furnish({ store }: Scheduling, days: number, hosts: number) {
  await store.instances.create(instance("up"), store.now());
  await store.pipes.create(pipe("up.daily", { schedule: "every 1h", begin: daysAgo(days), chunk: "1d" }), store.now());
  await store.pollers.create(poller("find", "up", { kind: PollerKind.DISCOVER, schedule: "every 1h" }), store.now());
  await store.pollers.create(poller("up", "up", { schedule: "every 2s" }), store.now());
  for (let n = 0; n < hosts; n += 1)
    await store.resources.create(resource(`h${n}`, { origin: "instances/up" }), store.now());
}
