/** Bad bundles over gRPC: each is refused with the mistake, and nothing of it is stored. */
import { expect, test } from "vitest";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { badBundles } from "../harness/bad-bundles.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry } from "../harness/registry.ts";

test("every bad bundle is refused with its mistakes, and nothing is stored", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus);
  for (const { what, bundle, code, words } of badBundles) {
    const fault: Fault = await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }).then(
      () => expect.unreachable(what),
      (thrown) => thrown,
    );
    expect([what, fault.code]).toEqual([what, code]);
    for (const word of words) expect(`${what}: ${fault.message}`).toContain(word);
    if (code === "invalid") expect(fault.mistakes.length).toBeGreaterThan(0);
  }
  const { plugins } = await registry.call(PluginsService.listPlugins, { pageSize: 0, pageToken: "" });
  expect(plugins).toEqual([]);
});

test("a bundle over the setting is refused unread, and names that are none are invalid, not internal", async () => {
  await using ground = await embeddedGround();
  await using registry = await startRegistry(ground.bus, { bundleMaxMib: 1 });
  const bundle = Buffer.alloc((1 << 20) + 1);
  const publish = registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  await expect(publish).rejects.toMatchObject({ code: "too_large" });
  for (const name of ["", "weather", "plugins/", "plugins/a/b", `plugins/${"a".repeat(2_000)}`]) {
    await expect(registry.call(PluginsService.getPlugin, { name })).rejects.toMatchObject({ code: "invalid" });
  }
});
