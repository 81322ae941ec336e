/** What the registry knows by heart: never behind the bus, whoever wrote, and what a change and a start cost. */
import { describe, expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import type { Bus, Kv } from "../../services/bus/ports.ts";
import { openDirectory } from "../../services/registry/directory.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { startRegistry, type TestRegistry } from "../harness/registry.ts";

const FETCH = { columns: { time: "timestamp" }, datetime: "time", chunk: "1d", begin: "2020-01-01T00:00:00Z" };
const bytes = (text: string) => new TextEncoder().encode(text);
/** Values are their own links: "a b" can be looked up by a and by b. */
const open = (kv: Kv) =>
  openDirectory(
    kv,
    (key) => key,
    (value) => ({ links: new TextDecoder().decode(value).split(" ") }),
  );

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("a directory, %s", (_, openGround) => {
  test("shows what was stored before the look, also when another wrote it", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("facts");
    await kv.put("gone", bytes("even"));
    await kv.delete("gone");
    using directory = open(kv);
    expect([...(await directory.look()).names()]).toEqual([]);
    const stored = new Map<string, string>();
    for (let n = 0; n < 200; n += 1) {
      const key = `k${n % 17}`;
      const value = `${n % 2 ? "odd" : "even"} third${n % 3}`;
      if (n % 5 === 4) {
        await kv.delete(key);
        stored.delete(key);
      } else {
        await kv.put(key, bytes(value));
        stored.set(key, value);
      }
      const look = await directory.look();
      for (const link of ["odd", "even", "third0", "third1", "third2", "none"]) {
        const having = [...stored].filter(([, text]) => text.split(" ").includes(link)).map(([name]) => name);
        expect(look.having(link)).toEqual(having.sort());
      }
      expect(look.get(key)?.links.join(" ")).toBe(stored.get(key));
    }
  });

  test("goes on after a restart of the bus", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("facts");
    await kv.put("a", bytes("x"));
    using directory = open(kv);
    expect((await directory.look()).having("x")).toEqual(["a"]);
    const bus = await ground.restart();
    const again = await bus.kv("facts");
    await again.put("b", bytes("x"));
    using anew = bus === ground.bus ? directory : open(again);
    expect((await anew.look()).having("x")).toEqual(["a", "b"]);
  });
});

test("a watch that breaks is begun anew, and one that brings nothing is an error, not an answer", async () => {
  await using ground = await embeddedGround();
  const kv = await ground.bus.kv("facts");
  await kv.put("a", bytes("x"));
  let watches = 0;
  const breaking: Kv = Object.assign(Object.create(kv), {
    async *watch(prefix: string, signal: AbortSignal) {
      watches += 1;
      for await (const change of kv.watch(prefix, signal)) {
        yield change;
        if (watches === 1 && change.type === "synced") return;
      }
    },
    revision: () => kv.revision(),
  });
  using directory = open(breaking);
  expect((await directory.look()).having("x")).toEqual(["a"]);
  await kv.put("b", bytes("x"));
  expect((await directory.look()).having("x")).toEqual(["a", "b"]);
  expect(watches).toBe(2);
  directory[Symbol.dispose]();
  await kv.put("c", bytes("x"));
  await expect(directory.look()).rejects.toMatchObject({ code: "unavailable" });
});

const publish = (registry: TestRegistry, name: string) =>
  registry.call(PluginsService.publishPlugin, {
    bundle: bundleOf({ name, interfaces: { fetch: FETCH } }, { "plugin.wasm": moduleOf("fetch") }),
    validateOnly: false,
  });
const create = (registry: TestRegistry, instance: string, pipe: Parameters<typeof Pipe.fromPartial>[0]) =>
  registry.call(PipesService.createPipe, {
    pipe: Pipe.fromPartial({ instance: `instances/${instance}`, ...(pipe as object) }),
  });

test("of two registries each sees at once what the other wrote", async () => {
  await using ground = await embeddedGround();
  await using one = await startRegistry(ground.bus);
  await using two = await startRegistry(ground.bus);
  await publish(one, "a");
  // The name is taken: no default instance of another plugin gets it, and pipes find theirs.
  await create(two, "a", { metric: "first" });
  const refs = { refs: { schedule: "pipes/a.first/parameters/schedule" } };
  await create(one, "a", { metric: "second", parameters: refs });
  await create(two, "a", { metric: "third", parameters: { after: ["a.second"] } });
  const remove = (registry: TestRegistry, name: string) =>
    registry.call(PipesService.deletePipe, { name: `pipes/${name}`, etag: "" });
  await expect(remove(two, "a.first")).rejects.toThrow("pipes/a.second take parameters from pipes/a.first");
  await expect(remove(one, "a.second")).rejects.toThrow("pipes/a.third come after pipes/a.second");
  await remove(one, "a.third");
  await remove(two, "a.second");
  await remove(one, "a.first");
});

/** The same bus, with what was asked of its kv. */
function counted(bus: Bus) {
  const asked: string[] = [];
  const count = (bucket: string, kv: Kv): Kv =>
    new Proxy(kv, {
      get: (target, name: keyof Kv) => {
        const method = target[name]?.bind(target) as ((...given: unknown[]) => unknown) | undefined;
        // A promise would ask for `then`.
        if (!method) return undefined;
        return (...given: unknown[]) => {
          const all = name === "list" && ["", "p", "v"].includes(given[0] as string);
          asked.push(`${bucket} ${name}${all ? " all" : ""}`);
          return method(...given);
        };
      },
    });
  const counting: Bus = Object.assign(Object.create(bus), {
    events: bus.events,
    kv: async (name: string, options?: Parameters<Bus["kv"]>[1]) => count(name, await bus.kv(name, options)),
  });
  const during = async (work: () => Promise<unknown>) => {
    asked.length = 0;
    await work();
    return [...asked].sort();
  };
  return { counting, during };
}

test("a publication, a change of a pipe and a start ask the bus no more where there is more", async () => {
  await using ground = await embeddedGround();
  const { counting, during } = counted(ground.bus);
  const costs = async (registry: TestRegistry, name: string) => ({
    publish: await during(() => publish(registry, name)),
    again: await during(() => publish(registry, name)),
    pipe: await during(() => create(registry, name, { metric: "m" })),
    change: await during(() =>
      registry.call(PipesService.updatePipe, {
        pipe: Pipe.fromPartial({ name: `pipes/${name}.m`, parameters: { schedule: "every 2h" } }),
        updateMask: ["parameters.schedule"],
      }),
    ),
  });
  let few: Awaited<ReturnType<typeof costs>>;
  {
    await using registry = await startRegistry(counting);
    await publish(registry, "first");
    few = await costs(registry, "second");
  }
  for (const calls of Object.values(few)) expect(calls.filter((call) => call.endsWith("all"))).toEqual([]);
  const startFew = await during(async () => (await startRegistry(counting))[Symbol.asyncDispose]());
  await using registry = await startRegistry(counting);
  for (let n = 0; n < 20; n += 1) {
    await publish(registry, `more-${n}`);
    await create(registry, `more-${n}`, { metric: "m" });
  }
  expect(await costs(registry, "last")).toEqual(few);
  const startMany = await during(async () => (await startRegistry(counting))[Symbol.asyncDispose]());
  expect(startMany).toEqual(startFew);
});
