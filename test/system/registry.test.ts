/** The registry's directory of plugins, and a registry that is cut off in the middle of its work. */
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PluginState } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { BUCKETS, LOCK_TTL_MS } from "../../proto/names.ts";
import type { Bus, Kv } from "../../services/bus/ports.ts";
import { Fault } from "../../services/kit/fault.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";
import { until } from "../harness/until.ts";

const all = { pageSize: 0, pageToken: "" };
const pluginsOf = async (registry: TestRegistry) => (await registry.call(PluginsService.listPlugins, all)).plugins;
const states = async (registry: TestRegistry) =>
  Object.fromEntries((await pluginsOf(registry)).map((plugin) => [plugin.name, plugin]));

async function folder() {
  const path = await mkdtemp(join(tmpdir(), "millrace-plugins-"));
  return {
    path,
    put: (file: string, bytes: Uint8Array) => writeFile(join(path, file), bytes),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

test("bundles of a directory are loaded; a broken one shows with its reason until its file is mended", async () => {
  await using ground = await embeddedGround();
  await using plugins = await folder();
  await plugins.put("good.tgz", bundleOf());
  await plugins.put("Torn Off.tgz", bundleOf({ name: "torn" }).subarray(0, 100));
  await plugins.put("bad.tgz", bundleOf({ name: "named", version: "one" }));
  await plugins.put("notes.txt", Buffer.from("not a bundle"));
  await using registry = await startRegistry(ground.bus, { plugins: plugins.path });
  const seen = await until("all are told of", async () => {
    const found = await states(registry);
    return Object.keys(found).length === 3 && found;
  });
  expect(seen["plugins/weather"]).toMatchObject({ state: PluginState.ACTIVE, latestVersion: "1.0.0" });
  expect(seen["plugins/torn-off"]).toMatchObject({ state: PluginState.ERROR, latestVersion: "" });
  expect(seen["plugins/torn-off"]?.stateReason).toContain("Torn Off.tgz");
  expect(seen["plugins/named"]?.stateReason).toContain("semantic version");

  await plugins.put("Torn Off.tgz", bundleOf({ name: "torn" }));
  await until("mended", async () => {
    const found = await states(registry);
    return found["plugins/torn"]?.state === PluginState.ACTIVE && !found["plugins/torn-off"];
  });
  // A version that exists with other bytes is the file's mistake; what ran before still runs.
  await plugins.put("good.tgz", bundleOf({}, { "plugin.wasm": moduleOf("fetch", "route", "more") }));
  const changed = await until("refused", async () => {
    const weather = (await states(registry))["plugins/weather"];
    return weather?.state === PluginState.ERROR && weather;
  });
  expect(changed.stateReason).toContain("exists with other bytes");
  expect(changed.latestVersion).toBe("1.0.0");
  await plugins.put("good.tgz", bundleOf({ version: "1.1.0" }));
  await until("newer", async () => {
    const weather = (await states(registry))["plugins/weather"];
    return weather?.state === PluginState.ACTIVE && weather.latestVersion === "1.1.0";
  });
  // Gone files take their errors with them, not their plugins.
  await rename(join(plugins.path, "bad.tgz"), join(plugins.path, "bad.off"));
  await rename(join(plugins.path, "good.tgz"), join(plugins.path, "good.off"));
  await until("error gone", async () => !(await states(registry))["plugins/named"]);
  expect((await states(registry))["plugins/weather"]).toMatchObject({ state: PluginState.ACTIVE });
});

test("a default instance that was deleted stays deleted over a restart", async () => {
  await using ground = await embeddedGround();
  await using plugins = await folder();
  await plugins.put("weather.tgz", bundleOf());
  const over = { plugins: plugins.path };
  {
    await using registry = await startRegistry(ground.bus, over);
    await until("loaded", async () => (await pluginsOf(registry)).length === 1);
    await registry.call(InstancesService.deleteInstance, { name: "instances/weather", etag: "", cascade: false });
  }
  await plugins.put("other.tgz", bundleOf({ name: "other" }));
  await using registry = await startRegistry(ground.bus, over);
  // Files are read in order, so weather.tgz is read when `z` is there.
  await plugins.put("z.tgz", bundleOf({ name: "z" }));
  await until("all read", async () => (await pluginsOf(registry)).length === 3);
  const { instances } = await registry.call(InstancesService.listInstances, all);
  expect(instances.map((i) => i.name)).toEqual(["instances/other", "instances/z"]);
});

test("the directory must be one", async () => {
  await using ground = await embeddedGround();
  await using plugins = await folder();
  await plugins.put("file", Buffer.from("x"));
  const start = startRegistry(ground.bus, { plugins: join(plugins.path, "file") });
  await expect(start).rejects.toMatchObject({ code: "invalid", mistakes: [{ field: "REGISTRY_PLUGINS" }] });
});

/** The same bus, whose kv writes fail from the `left`-th on: what a crash between two writes leaves. */
function cutOff(bus: Bus, left: number): Bus {
  const write = async <T>(work: () => Promise<T>) => {
    left -= 1;
    if (left < 0) throw new Fault("precondition", "cut off");
    return await work();
  };
  const cut = (kv: Kv): Kv => ({
    get: (key) => kv.get(key),
    revision: () => kv.revision(),
    list: (prefix) => kv.list(prefix),
    watch: (prefix, signal) => kv.watch(prefix, signal),
    put: (...given) => write(() => kv.put(...given)),
    create: (...given) => write(() => kv.create(...given)),
    update: (...given) => write(() => kv.update(...given)),
    delete: (...given) => write(() => kv.delete(...given)),
  });
  return {
    blobs: (name) => bus.blobs(name),
    queue: (name, options) => bus.queue(name, options),
    events: bus.events,
    ping: () => bus.ping(),
    kv: async (bucket, options) => cut(await bus.kv(bucket, options)),
    [Symbol.asyncDispose]: async () => {},
  };
}

test.each([0, 1, 2])(
  "publishing cut off after %i writes is finished by the next start, or never happened",
  async (writes) => {
    await using ground = await embeddedGround();
    const bundle = bundleOf();
    {
      await using registry = await startRegistry(cutOff(ground.bus, writes));
      const publish = registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
      await expect(publish).rejects.toThrow("cut off");
    }
    await using registry = await startRegistry(ground.bus);
    const { instances } = await registry.call(InstancesService.listInstances, all);
    const found = (await pluginsOf(registry)).map((plugin) => plugin.latestVersion);
    expect([found, instances.length]).toEqual(writes === 0 ? [[], 0] : [["1.0.0"], 1]);
    const again = await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
    expect(again).toMatchObject({ created: writes === 0, instance: "instances/weather" });
  },
);

test("a deletion that a stop interrupts is finished by the next start", async () => {
  await using ground = await embeddedGround();
  const locks = await ground.bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
  {
    await using registry = await startRegistry(ground.bus);
    await registry.call(PluginsService.publishPlugin, { bundle: bundleOf(), validateOnly: false });
    await locks.create("run.weather=2F01J0", new Uint8Array([1]));
    const deletion = registry.call(PluginsService.deletePlugin, { name: "plugins/weather", etag: "", cascade: true });
    const cut = expect(deletion).rejects.toMatchObject({ code: "unavailable" });
    await until("draining", async () => {
      const { instance } = await registry.call(InstancesService.getInstance, { name: "instances/weather" });
      return instance?.state === InstanceState.DRAINING;
    });
    const closed = registry[Symbol.asyncDispose]();
    await cut;
    await closed;
  }
  await locks.delete("run.weather=2F01J0");
  await using registry = await startRegistry(ground.bus);
  await until("gone", async () => (await pluginsOf(registry)).length === 0);
  expect((await registry.call(InstancesService.listInstances, all)).instances).toEqual([]);
});
