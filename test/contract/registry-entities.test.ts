/** Pipes, pollers, resources and what keeps them consistent, over gRPC on both buses. */
import { describe, expect, test } from "vitest";
import {
  type Instance,
  Instance as InstanceMessage,
  InstanceState,
} from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { type Pipe, Pipe as PipeMessage, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Poller, PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { bundleOf } from "../harness/bundle.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";
import { until } from "../harness/until.ts";

const CONFIG = { type: "object", properties: { city: { type: "string" } }, additionalProperties: false };
const FETCH = { columns: { time: "timestamp", city: "string" }, datetime: "time", index: ["time"], chunk: "30d" };
const publish = (registry: TestRegistry, more: Record<string, unknown>) =>
  registry.call(PluginsService.publishPlugin, { bundle: bundleOf({ config: CONFIG, ...more }), validateOnly: false });
const pipeOf = (more: Partial<Pipe> = {}) =>
  PipeMessage.fromPartial({ instance: "instances/weather", metric: "daily", ...(more as object) });
const createPipe = async (registry: TestRegistry, more: Partial<Pipe> = {}) =>
  (await registry.call(PipesService.createPipe, { pipe: pipeOf(more) })).pipe as Pipe;
const getPipe = async (registry: TestRegistry, name: string) =>
  (await registry.call(PipesService.getPipe, { name })).pipe as Pipe;
const updateInstance = (registry: TestRegistry, name: string, more: Partial<Instance>, updateMask?: string[]) =>
  registry.call(InstancesService.updateInstance, {
    instance: InstanceMessage.fromPartial({ name, ...(more as object) }),
    updateMask,
  });
const parameters = (more: Partial<PipeParameters>) => PipeParameters.fromPartial(more);
/** Removes at most wait for the news to spread; a test has no executors. */
const SLOW_MS = 15_000;

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("entities of the registry on %s", (_, openGround) => {
  test("a pipe takes its defaults from the manifest, its name from its keys, and gives its dataset a name", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, { interfaces: { fetch: FETCH } });
    const pipe = await createPipe(registry, { location: "new-york", parameters: parameters({ chunk: "7d" }) });
    expect(pipe).toMatchObject({
      name: "pipes/weather.daily.new-york",
      dataset: "weather_daily_new_york",
      state: PipeState.ENABLED,
      effective: { chunk: "7d", schedule: "manual", datetime: "time", attempts: 3, target: "weather_daily_new_york" },
    });
    await expect(createPipe(registry, { location: "new-york" })).rejects.toMatchObject({ code: "exists" });
    await expect(createPipe(registry, { instance: "instances/other" })).rejects.toMatchObject({ code: "not_found" });
    const bad = parameters({ chunk: "1s", begin: "2020-01-01", end: "2019-01-01", index: ["tim"], schedule: "hourly" });
    const fault = await createPipe(registry, { metric: "Bad", parameters: bad }).catch((thrown) => thrown);
    expect(fault.mistakes.map((m: { field: string }) => m.field)).toEqual([
      "metric",
      "parameters.schedule",
      "parameters.chunk",
    ]);
    const unfit = parameters({ begin: "2020-01-01", end: "2019-01-01", index: ["tim"] });
    const second = await createPipe(registry, { metric: "b", parameters: unfit }).catch((thrown) => thrown);
    expect(second.mistakes.map((m: { field: string }) => m.field)).toEqual(["parameters.index[0]", "parameters.end"]);
  });

  test("two pipes share a dataset only within one plugin and with the same columns", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, { interfaces: { fetch: FETCH } });
    await publish(registry, { name: "other", interfaces: { fetch: FETCH } });
    const target = parameters({ target: "shared" });
    await createPipe(registry, { parameters: target });
    await createPipe(registry, { metric: "hourly", parameters: target });
    const wider = parameters({ target: "shared", columns: [{ name: "time", type: "timestamp" }] });
    await expect(createPipe(registry, { metric: "c", parameters: wider })).rejects.toThrow("differ");
    await expect(createPipe(registry, { instance: "instances/other", parameters: target })).rejects.toThrow(
      "plugins/weather feeds",
    );
  });

  test("register: pending, answered, failed, and asked again when an input changes", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    const interfaces = { fetch: { chunk: "30d" }, register: {} };
    await publish(registry, { interfaces });
    const pipe = await createPipe(registry);
    expect(pipe.state).toBe(PipeState.PENDING);
    const register = (etag: string, defaults: Partial<PipeParameters>, failure = "") =>
      registry.call(PipesService.registerPipe, { name: pipe.name, defaults: parameters(defaults), failure, etag });
    const columns = [{ name: "time", type: "timestamp" }];
    const { pipe: enabled } = await register(pipe.etag, { columns, datetime: "time" });
    expect(enabled).toMatchObject({ state: PipeState.ENABLED, effective: { columns, datetime: "time", chunk: "30d" } });
    await expect(register(pipe.etag, {})).rejects.toMatchObject({ code: "conflict" });

    await updateInstance(registry, "instances/weather", { config: { city: "Lima" } });
    expect(await getPipe(registry, pipe.name)).toMatchObject({ state: PipeState.PENDING });
    await expect(register("", { columns, datetime: "city" })).rejects.toMatchObject({ code: "invalid" });
    expect(await getPipe(registry, pipe.name)).toMatchObject({ state: PipeState.ERROR });
    expect((await getPipe(registry, pipe.name)).stateReason).toContain("parameters.datetime");

    await publish(registry, { interfaces, version: "1.1.0" });
    expect(await getPipe(registry, pipe.name)).toMatchObject({ state: PipeState.PENDING });
    const failed = await register("", {}, "no such city");
    expect(failed.pipe).toMatchObject({ state: PipeState.ERROR, stateReason: "register failed: no such city" });
    const again = await registry.call(PipesService.updatePipe, {
      pipe: pipeOf({ name: pipe.name, parameters: parameters({ chunk: "1d" }) }),
      updateMask: ["parameters.chunk"],
    });
    expect(again.pipe).toMatchObject({ state: PipeState.PENDING, parameters: { chunk: "1d" } });
    const paused = await registry.call(PipesService.updatePipe, {
      pipe: pipeOf({ name: pipe.name, state: PipeState.PAUSED, stateReason: "holiday" }),
      updateMask: ["state", "stateReason"],
    });
    expect(paused.pipe).toMatchObject({ state: PipeState.PAUSED, stateReason: "holiday" });
    expect((await register("", { columns })).pipe).toMatchObject({ state: PipeState.PAUSED, registered: { columns } });
  });

  test("an update names what it changes; what cannot be changed is refused with a hint", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, { interfaces: { fetch: FETCH } });
    const fault = await updateInstance(registry, "instances/weather", {}, ["confg", "name"]).catch((thrown) => thrown);
    expect(fault.mistakes).toHaveLength(2);
    expect(fault.mistakes[0].problem).toContain('did you mean "config"?');
    const bad = await updateInstance(registry, "instances/weather", { config: { city: 1, x: 2 } }).catch(
      (thrown) => thrown,
    );
    expect(bad.mistakes.map((m: { field: string }) => m.field).sort()).toEqual(["config.city", "config.x"]);
    await expect(updateInstance(registry, "instances/weather", { version: "9.9.9" })).rejects.toThrow("not published");
    const note = { state: InstanceState.PAUSED, stateReason: "repair" };
    const { instance } = await updateInstance(registry, "instances/weather", note);
    expect(instance).toMatchObject(note);
    const { instance: on } = await updateInstance(registry, "instances/weather", { state: InstanceState.ENABLED });
    expect(on).toMatchObject({ state: InstanceState.ENABLED, stateReason: "" });
    await expect(updateInstance(registry, "instances/none", note)).rejects.toMatchObject({ code: "not_found" });
  });

  test("pollers are checked: kind, schedule, filter, and that the plugin can do it", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, { interfaces: { poll: { every: "30s" } } });
    const create = (more: Partial<Poller>) =>
      registry.call(PollersService.createPoller, {
        poller: Poller.fromPartial({ instance: "instances/weather", kind: PollerKind.POLL, ...more }),
        pollerId: "p",
      });
    await expect(create({ kind: PollerKind.DISCOVER })).rejects.toMatchObject({ code: "precondition" });
    await expect(create({ kind: PollerKind.ENRICH })).rejects.toMatchObject({
      code: "precondition",
      message: expect.stringContaining("has no enrich"),
    });
    const fault = await create({ kind: 0, schedule: "manual", timeout: "1h", filter: "resource.type = 1" }).catch(
      (t) => t,
    );
    expect(fault.mistakes.map((m: { field: string }) => m.field)).toEqual(["kind", "schedule", "timeout", "filter"]);
    const { poller } = await create({ schedule: "every 30s", filter: 'resource.labels["a"] == "b"' });
    expect(poller).toMatchObject({ name: "pollers/p", state: 1 });
    const changed = await registry.call(PollersService.updatePoller, {
      poller: Poller.fromPartial({ name: "pollers/p", timeout: "5s" }),
      updateMask: undefined,
    });
    expect(changed.poller).toMatchObject({ timeout: "5s", schedule: "every 30s" });
  });

  test("discovered resources come, change and go with what is found; the ttl forgets the rest", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus, { sweepMs: 200 });
    await publish(registry, { interfaces: { discover: {} } });
    const found = (ids: readonly string[], ttl = "") =>
      ids.map((id) => Resource.fromPartial({ id, type: "http", endpoint: `https://${id}/`, ttl }));
    const replace = (resources: Resource[], complete = true) =>
      registry.call(ResourcesService.replaceResources, { origin: "instances/weather", resources, complete });
    const list = async () =>
      (await registry.call(ResourcesService.listResources, { pageSize: 0, pageToken: "", filter: "" })).resources.map(
        (r) => r.id,
      );
    expect(await replace(found(["a", "b", "c", "d", "e", "f"]))).toEqual({ created: 6, updated: 0, removed: 0 });
    await expect(replace(found(["a"]))).rejects.toMatchObject({ code: "precondition" });
    expect(await list()).toHaveLength(6);
    const some = async (filter: string) =>
      (await registry.call(ResourcesService.listResources, { pageSize: 2, pageToken: "", filter })).resources;
    const picked = await some('resource.id in ["b", "e", "f", "x"] && resource.origin == "instances/weather"');
    expect(picked.map(({ id }) => id)).toEqual(["b", "e"]);
    await expect(some("resource.colour == 1")).rejects.toMatchObject({
      code: "invalid",
      mistakes: [{ field: "filter" }],
    });
    expect(await replace(found(["a", "b", "c", "d"]))).toEqual({ created: 0, updated: 0, removed: 2 });
    expect(await replace(found(["a"], "1s"), false)).toEqual({ created: 0, updated: 1, removed: 0 });
    await until("a is forgotten", async () => !(await list()).includes("a"));
    const own = await registry.call(ResourcesService.listResources, { pageSize: 1, pageToken: "", filter: "" });
    const theirs = { resource: { ...own.resources[0]!, type: "x" }, updateMask: [] };
    await expect(registry.call(ResourcesService.updateResource, theirs)).rejects.toMatchObject({
      code: "precondition",
    });
    await expect(replace(found(["a"], "soon"))).rejects.toMatchObject({ code: "invalid" });
  });

  test("what is used is not deleted, unless all of it is; running work gets time to finish", {
    timeout: 60_000,
  }, async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, { interfaces: { fetch: FETCH, discover: {} } });
    const pipe = await createPipe(registry);
    await registry.call(ResourcesService.replaceResources, {
      origin: "instances/weather",
      resources: [Resource.fromPartial({ id: "a", type: "x" })],
      complete: true,
    });
    const name = "instances/weather";
    const gone = { name, etag: "", cascade: false };
    await expect(registry.call(InstancesService.deleteInstance, gone)).rejects.toThrow(pipe.name);
    const plugin = { name: "plugins/weather", etag: "", cascade: false };
    await expect(registry.call(PluginsService.deletePlugin, plugin)).rejects.toThrow(name);
    await expect(registry.call(InstancesService.deleteInstance, { ...gone, etag: "999" })).rejects.toMatchObject({
      code: "conflict",
    });

    const lock = await holdLock(ground.bus, "run.weather=2Edaily=2F20120101T000000Z");
    const deletion = registry.call(PluginsService.deletePlugin, { ...plugin, cascade: true }, SLOW_MS);
    const draining = async () => (await registry.call(InstancesService.getInstance, { name })).instance?.state;
    await until("draining", async () => (await draining()) === InstanceState.DRAINING);
    await expect(createPipe(registry, { metric: "late" })).rejects.toMatchObject({ code: "precondition" });
    await expect(publish(registry, { version: "2.0.0" })).rejects.toMatchObject({ code: "precondition" });
    expect(await draining()).toBe(InstanceState.DRAINING);
    await lock.release();
    await deletion;
    await expect(getPipe(registry, pipe.name)).rejects.toMatchObject({ code: "not_found" });
    const rest = await registry.call(ResourcesService.listResources, { pageSize: 0, pageToken: "", filter: "" });
    expect(rest.resources).toEqual([]);
    await expect(registry.call(PluginsService.getPlugin, { name: "plugins/weather" })).rejects.toMatchObject({
      code: "not_found",
    });
    expect(await publish(registry, { interfaces: { fetch: FETCH } })).toMatchObject({ created: true, instance: name });
  });
});

async function holdLock(bus: Bus, key: string) {
  const locks = await bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
  await locks.create(key, new Uint8Array([1]));
  return { release: () => locks.delete(key) };
}
