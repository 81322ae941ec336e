/** What two versions ask, compared; and instances that are kept from a version that asks for more. */
import { describe, expect, test } from "vitest";
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { GrantChangeKind, PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { grantChanges, widens } from "../../services/registry/grants-diff.ts";
import { permissionMistakes } from "../../services/registry/permissions.ts";
import { bundleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";

type Asked = Parameters<typeof Permissions.fromPartial>[0];
const WORDS = { 1: "added", 2: "removed", 3: "widened", 4: "narrowed" } as Readonly<Record<number, string>>;
const told = (before: Asked, after: Asked) =>
  grantChanges(Permissions.fromPartial(before), Permissions.fromPartial(after)).map(
    ({ kind, permission }) => `${WORDS[kind]} ${permission}`,
  );
const http = (url: string, ...methods: string[]) => ({ http: [{ url, methods }] });

describe("changes of permissions", () => {
  const table: [what: string, before: Asked, after: Asked, changes: string[]][] = [
    ["nothing", {}, {}, []],
    ["the same in another order", { query: ["a", "b"] }, { query: ["b", "a"] }, []],
    ["kv", {}, { kv: true }, ["added kv"]],
    ["no kv", { kv: true }, {}, ["removed kv"]],
    ["one more table", { query: ["a"] }, { query: ["a", "b"] }, ["added query"]],
    ["a wider path", http("https://a.org/v1/x"), http("https://a.org/v1/*"), ["widened http"]],
    ["a narrower path", http("https://a.org/*"), http("https://a.org/v1/*"), ["narrowed http"]],
    ["all subdomains", http("https://a.x.org/*"), http("https://*.x.org/*"), ["widened http"]],
    ["not the domain itself", http("https://x.org/*"), http("https://*.x.org/*"), ["added http", "removed http"]],
    ["a look-alike", http("https://*.x.org/*"), http("https://badx.org/*"), ["added http", "removed http"]],
    ["any host", http("https://x.org/*"), http("https://*/*"), ["widened http"]],
    ["any port", http("https://x.org/*"), http("https://x.org:*/*"), ["widened http"]],
    ["the scheme's own port", http("https://x.org/*"), http("https://x.org:443/*"), []],
    ["another scheme", http("https://x.org/*"), http("http://x.org/*"), ["added http", "removed http"]],
    ["more methods", http("https://x.org/*"), http("https://x.org/*", "GET", "HEAD", "POST"), ["widened http"]],
    ["only GET", http("https://x.org/*"), http("https://x.org/*", "GET"), ["narrowed http"]],
    ["other methods", http("https://x.org/*", "GET"), http("https://x.org/*", "PUT"), ["added http", "removed http"]],
    ["reading a secret", { secrets: ["k"] }, { secrets: ["k!"] }, ["widened secrets"]],
    ["no longer reading it", { secrets: ["k!"] }, { secrets: ["k"] }, ["narrowed secrets"]],
    ["any secret that is named", { secrets: ["k"] }, { secrets: ["*"] }, ["widened secrets"]],
    ["not reading it", { secrets: ["k!"] }, { secrets: ["*"] }, ["added secrets", "removed secrets"]],
    ["any function", { call: ["a/b"] }, { call: ["a/*"] }, ["widened call"]],
    ["any port of a socket", { sockets: ["tcp://h:1"] }, { sockets: ["tcp://h:*"] }, ["widened sockets"]],
    [
      "a range",
      { sockets: ["tcp://10.0.0.1:1"] },
      { sockets: ["tcp://10.0.0.0/8:1"] },
      ["added sockets", "removed sockets"],
    ],
    ["all below", { publish: ["a.b"] }, { publish: ["a.*"] }, ["widened publish"]],
  ];
  test.each(table)("%s", (_, before, after, changes) => {
    expect(told(before, after)).toEqual(changes);
    const given = grantChanges(Permissions.fromPartial(before), Permissions.fromPartial(after));
    expect(widens(given)).toBe(changes.some((change) => /added|widened/.test(change)));
  });

  test("secrets are asked for by name", () => {
    const asked = Permissions.fromPartial({ secrets: ["a-key", "b!", "B", "a b", "!", "c!!", ""] });
    expect(permissionMistakes(asked, "permissions").map(({ field }) => field)).toEqual(
      [2, 3, 4, 5, 6].map((i) => `permissions.secrets[${i}]`),
    );
  });
});

const MINE = { http: [{ url: "https://a.org/*", methods: ["GET"] }] };
const MORE = { ...MINE, kv: true };
const publish = (registry: TestRegistry, version: string, permissions: object) =>
  registry.call(PluginsService.publishPlugin, { bundle: bundleOf({ version, permissions }), validateOnly: false });
const instance = async (registry: TestRegistry, name = "instances/weather") =>
  (await registry.call(InstancesService.getInstance, { name })).instance as Instance;
const update = (registry: TestRegistry, given: Partial<Instance>, updateMask: string[] | undefined) =>
  registry.call(InstancesService.updateInstance, {
    instance: Instance.fromPartial({ name: "instances/weather", ...given }),
    updateMask,
  });

describe("a version that asks for more", () => {
  test("is held back from instances with all grants until grants or version are set; others follow", async () => {
    await using ground = await embeddedGround();
    await using registry = await startRegistry(ground.bus, { defaultGrants: "manifest" });
    await publish(registry, "1.0.0", MINE);
    const narrow = Instance.fromPartial({ plugin: "plugins/weather", grants: { only: MINE } });
    await registry.call(InstancesService.createInstance, { instanceId: "narrow", instance: narrow });
    await publish(registry, "1.0.1", MINE);
    expect(await instance(registry)).toMatchObject({ runningVersion: "1.0.1", stateReason: "" });
    await publish(registry, "1.1.0", MORE);
    const held = await instance(registry);
    expect(held).toMatchObject({ runningVersion: "1.0.1", state: InstanceState.ENABLED });
    expect(held.stateReason).toBe(
      "stays on 1.0.1: 1.1.0 asks for more (kv own keys); set its grants or its version to let it",
    );
    expect(await instance(registry, "instances/narrow")).toMatchObject({ runningVersion: "1.1.0", stateReason: "" });
    // A newer one that asks for no more than what runs is taken, even past the one that is held.
    await publish(registry, "1.0.2", MINE);
    expect(await instance(registry)).toMatchObject({ runningVersion: "1.0.2" });
    // What was read may be written back, or paused and enabled: that is no consent.
    await update(registry, await instance(registry), undefined);
    await update(registry, { state: InstanceState.PAUSED }, ["state"]);
    await update(registry, { state: InstanceState.ENABLED }, ["state"]);
    expect(await instance(registry)).toMatchObject({ runningVersion: "1.0.2" });
    await update(registry, { grants: { allRequested: true, only: undefined } }, ["grants"]);
    expect(await instance(registry)).toMatchObject({ runningVersion: "1.1.0", stateReason: "" });
    await publish(registry, "1.2.0", MORE);
    expect(await instance(registry)).toMatchObject({ runningVersion: "1.2.0", stateReason: "" });
  });

  test("is given at once where the operator lets it; and the difference can be asked for", async () => {
    await using ground = await embeddedGround();
    await using registry = await startRegistry(ground.bus, { defaultGrants: "manifest", widening: "allow" });
    await publish(registry, "1.0.0", MINE);
    await publish(registry, "1.1.0", MORE);
    expect(await instance(registry)).toMatchObject({ runningVersion: "1.1.0", stateReason: "" });
    const name = "plugins/weather/versions/1.1.0";
    const diff = await registry.call(PluginsService.diffGrants, { name, from: "" });
    expect(diff).toEqual({
      from: "1.0.0",
      widens: true,
      changes: [{ kind: GrantChangeKind.ADDED, permission: "kv", before: "", after: "own keys" }],
    });
    const back = await registry.call(PluginsService.diffGrants, { name: name.replace("1.1", "1.0"), from: "1.1.0" });
    expect(back).toMatchObject({ widens: false, changes: [{ kind: GrantChangeKind.REMOVED }] });
    const first = await registry.call(PluginsService.diffGrants, { name: name.replace("1.1", "1.0"), from: "" });
    expect(first).toMatchObject({
      from: "",
      widens: true,
      changes: [{ kind: GrantChangeKind.ADDED, permission: "http" }],
    });
    await expect(registry.call(PluginsService.diffGrants, { name, from: "9.9.9" })).rejects.toMatchObject({
      code: "not_found",
    });
  });
});
