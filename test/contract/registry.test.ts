/** The registry over gRPC on both buses: publishing, instances, the catalogue, restarts and races. */
import { describe, expect, test } from "vitest";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";
import { until } from "../harness/until.ts";

const CONFIG = {
  type: "object",
  properties: { city: { type: "string", default: "Lima" }, days: { type: "integer", minimum: 1, default: 7 } },
  additionalProperties: false,
};
const publish = (registry: TestRegistry, bundle: Buffer, validateOnly = false) =>
  registry.call(PluginsService.publishPlugin, { bundle, validateOnly });
const getInstance = async (registry: TestRegistry, name: string) =>
  (await registry.call(InstancesService.getInstance, { name })).instance;

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("the registry on %s", (_, openGround) => {
  test("publishes a bundle once, with its default instance, and all of it survives a restart", async () => {
    await using ground = await openGround();
    const bundle = bundleOf({ config: CONFIG }, { "static/index.html": "<p>hi</p>", "docs/readme.md": "# hi" });
    let stored: unknown;
    {
      await using registry = await startRegistry(ground.bus);
      const dry = await publish(registry, bundle, true);
      expect(dry).toMatchObject({ created: true, instance: "" });
      await expect(registry.call(PluginsService.getPlugin, { name: "plugins/weather" })).rejects.toMatchObject({
        code: "not_found",
      });
      const first = await publish(registry, bundle);
      expect(first).toMatchObject({ created: true, instance: "instances/weather" });
      expect(first.version).toMatchObject({
        name: "plugins/weather/versions/1.0.0",
        exports: ["fetch", "route"],
        staticFiles: [{ path: "index.html", contentType: "text/html; charset=utf-8", bytes: 9n }],
        docs: [{ path: "readme.md" }],
      });
      const again = await publish(registry, bundle);
      expect(again).toMatchObject({ created: false, instance: "instances/weather" });
      expect(again.version).toEqual(first.version);
      expect(await getInstance(registry, "instances/weather")).toMatchObject({
        state: InstanceState.ENABLED,
        config: { city: "Lima", days: 7 },
        grants: { allRequested: false },
        runningVersion: "1.0.0",
      });
      stored = await getInstance(registry, "instances/weather");
    }
    const bus = await ground.restart();
    await using registry = await startRegistry(bus);
    expect(await getInstance(registry, "instances/weather")).toEqual(stored);
    expect(await registry.call(PluginsService.listPlugins, { pageSize: 0, pageToken: "" })).toMatchObject({
      plugins: [{ name: "plugins/weather", latestVersion: "1.0.0", interfaces: ["fetch", "route"] }],
    });
  });

  test("a version never changes; a newer one moves those who follow, and stops those whose config no longer fits", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, bundleOf({ config: CONFIG }));
    const other = bundleOf({ config: CONFIG }, { "plugin.wasm": moduleOf("fetch", "route", "more") });
    await expect(publish(registry, other)).rejects.toMatchObject({ code: "exists" });
    const wants = { type: "object", properties: { key: { type: "string" } }, required: ["key"] };
    await publish(registry, bundleOf({ version: "1.1.0", config: wants }));
    const broken = await getInstance(registry, "instances/weather");
    expect(broken).toMatchObject({ state: InstanceState.ERROR, runningVersion: "1.1.0" });
    expect(broken?.stateReason).toContain("config.key: is not set");
    const fixed = { ...broken!, config: { key: "k" } };
    const { instance } = await registry.call(InstancesService.updateInstance, {
      instance: fixed,
      updateMask: ["config"],
    });
    expect(instance).toMatchObject({ state: InstanceState.ENABLED, stateReason: "" });
    await publish(registry, bundleOf({ version: "2.0.0-beta.1", config: wants }));
    expect(await getInstance(registry, "instances/weather")).toMatchObject({ runningVersion: "1.1.0" });
    const versions = await registry.call(PluginsService.listPluginVersions, {
      parent: "plugins/weather",
      pageSize: 2,
      pageToken: "",
    });
    expect(versions.versions.map((v) => v.name.split("/").at(-1))).toEqual(["1.1.0", "1.0.0"]);
    const rest = { parent: "plugins/weather", pageSize: 2, pageToken: versions.nextPageToken };
    expect((await registry.call(PluginsService.listPluginVersions, rest)).versions).toHaveLength(1);
  });

  test("the catalogue sends what exists, then synced, then every change", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, bundleOf());
    const ending = new AbortController();
    const { changes, ended } = registry.watch(ending.signal);
    await until("synced", () => changes.some((c) => c.type === "synced"));
    const before = changes.map((c) => (c.type === "synced" ? "synced" : c.key));
    expect(before).toEqual(["plugins/weather", "plugins/weather/versions/1.0.0", "instances/weather", "synced"]);
    await registry.call(InstancesService.deleteInstance, { name: "instances/weather", etag: "", cascade: false });
    await until("removed", () => changes.some((c) => c.type === "delete" && c.key === "instances/weather"));
    const draining = changes.find(
      (c) => c.type === "put" && c.value.$case === "instance" && c.value.value.state === InstanceState.DRAINING,
    );
    expect(draining).toBeDefined();
    ending.abort();
    await ended;
  });

  test("of two updates with one etag, one wins and the other is told", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, bundleOf({ config: CONFIG }));
    const read = await getInstance(registry, "instances/weather");
    const update = (days: number) =>
      registry.call(InstancesService.updateInstance, {
        instance: { ...read!, config: { days } },
        updateMask: ["config"],
      });
    const ends = await Promise.allSettled([update(1), update(2)]);
    expect(ends.map((end) => end.status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(ends.find((end) => end.status === "rejected")?.reason).toMatchObject({ code: "conflict" });
  });
});

test("a catalogue stream outlives a restart of NATS", async () => {
  await using ground = await natsGround();
  await using registry = await startRegistry(ground.bus);
  await publish(registry, bundleOf());
  const ending = new AbortController();
  const { changes, ended } = registry.watch(ending.signal);
  await until("synced", () => changes.some((c) => c.type === "synced"));
  await ground.restart();
  const bundle = bundleOf({ version: "1.1.0" });
  await until("published", async () => (await publish(registry, bundle)).version);
  await until("told", () => changes.some((c) => c.type === "put" && c.key === "plugins/weather/versions/1.1.0"));
  ending.abort();
  await ended;
});

test("a catalogue stream whose bus is closed ends as unavailable", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus);
  const { changes, ended } = registry.watch(new AbortController().signal);
  const cut = expect(ended).rejects.toMatchObject({ code: "unavailable" });
  await until("synced", () => changes.some((c) => c.type === "synced"));
  await ground.restart();
  await cut;
});
