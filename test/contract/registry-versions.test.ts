/** Deleting one version of a plugin, over gRPC on both buses: what is used stays, what nobody names goes. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { BLOBS } from "../../proto/names.ts";
import { bundleOf } from "../harness/bundle.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const publish = (registry: TestRegistry, version: string) => {
  const files = { "static/all.txt": "in each of them", "static/own.txt": version };
  return registry.call(PluginsService.publishPlugin, { bundle: bundleOf({ version }, files), validateOnly: false });
};
const named = (version: string) => `plugins/weather/versions/${version}`;
const remove = (registry: TestRegistry, version: string) =>
  registry.call(PluginsService.deletePluginVersion, { name: named(version) });
const pin = (registry: TestRegistry, version: string) =>
  registry.call(InstancesService.updateInstance, {
    instance: Instance.fromPartial({ name: "instances/weather", version }),
    updateMask: ["version"],
  });

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("versions on %s", (_, openGround) => {
  test("goes when no instance runs it; its own files go with it", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    const blobs = await ground.bus.blobs(BLOBS);
    for (const version of ["1.0.0", "1.1.0", "1.2.0"]) await publish(registry, version);

    // The default instance follows the newest; a pin holds one that is older.
    await expect(remove(registry, "1.2.0")).rejects.toMatchObject({
      code: "precondition",
      message: expect.stringContaining("is used by instances/weather; give them another version first"),
    });
    await pin(registry, "1.1.0");
    await expect(remove(registry, "1.1.0")).rejects.toThrow("is used by instances/weather");
    await remove(registry, "1.2.0");
    const { plugin } = await registry.call(PluginsService.getPlugin, { name: "plugins/weather" });
    expect(plugin?.latestVersion).toBe("1.1.0");
    const { instance } = await registry.call(InstancesService.getInstance, { name: "instances/weather" });
    expect(instance).toMatchObject({ version: "1.1.0", runningVersion: "1.1.0" });
    expect([await blobs.has(sha256("1.2.0")), await blobs.has(sha256("1.1.0"))]).toEqual([false, true]);
    expect(await blobs.has(sha256("in each of them"))).toBe(true);

    await expect(remove(registry, "1.2.0")).rejects.toMatchObject({ code: "not_found" });
    await expect(registry.call(PluginsService.deletePluginVersion, { name: "weather" })).rejects.toMatchObject({
      code: "invalid",
    });
    // A version that went may be published again, with other bytes, too.
    const bundle = bundleOf({ version: "1.2.0", description: "Others." });
    const again = await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
    expect(again.created).toBe(true);
  });

  test("the only version goes with its plugin, and with nothing less", async () => {
    await using ground = await openGround();
    await using registry = await startRegistry(ground.bus);
    await publish(registry, "1.0.0");
    const gone = { name: "instances/weather", etag: "", cascade: false };
    await registry.call(InstancesService.deleteInstance, gone);
    await expect(remove(registry, "1.0.0")).rejects.toMatchObject({
      code: "precondition",
      message: expect.stringContaining("is the only version of plugins/weather; delete the plugin instead"),
    });
  });
});
