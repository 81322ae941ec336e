/** The timetable on a fake clock: what a catalogue makes due, and when. */
import { expect, test } from "vitest";
import type { Entity } from "../../proto/catalog.ts";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { Timetable } from "../../services/scheduler/timetable.ts";
import { seeded } from "../harness/random.ts";
import { instance, pipe, poller, resource } from "../harness/scheduling.ts";

const ALL = 1e9;
const T0 = Date.parse("2026-01-01T00:00:00Z");
const stamp = (ms: number) => ({ seconds: BigInt(Math.floor(ms / 1_000)), nanos: (ms % 1_000) * 1_000_000 });
const old = { createTime: stamp(T0 - 86_400_000) };
const fresh = { createTime: stamp(T0), updateTime: stamp(T0) };

/** A catalogue in memory, and the timetable that follows it. */
function world(...entities: Entity[]) {
  const catalog = new Map(entities.map((entity) => [entity.value.name, entity]));
  const problems: [string, Fault][] = [];
  const clock = { nowMs: T0 };
  const timetable = new Timetable(catalog, (owner, fault) => problems.push([owner, fault]));
  timetable.catchUp(T0, ALL);
  return {
    timetable,
    problems,
    put(entity: Entity) {
      catalog.set(entity.value.name, entity);
      timetable.change(entity.value.name, clock.nowMs);
      timetable.catchUp(clock.nowMs, ALL);
    },
    remove(name: string) {
      catalog.delete(name);
      timetable.change(name, clock.nowMs);
      timetable.catchUp(clock.nowMs, ALL);
    },
    /** Everything that comes due while the clock moves on, as [key, ms since T0]. */
    run(ms: number) {
      const moments: [string, number][] = [];
      for (const endMs = clock.nowMs + ms; clock.nowMs < endMs; clock.nowMs += 100) {
        for (const due of timetable.heap.take(clock.nowMs, 1e6)) moments.push([due.entry.key, due.dueMs - T0]);
      }
      return moments;
    },
  };
}
const i = (over = {}): Entity => ({ $case: "instance", value: instance("up", over) });
const p = (over = {}): Entity => ({ $case: "poller", value: poller("up", "up", { ...old, ...over }) });
const r = (id: string, over = {}): Entity => ({
  $case: "resource",
  value: resource(id, { origin: "instances/up", ...old, ...over }),
});
const w = (schedule: string, over = {}): Entity => ({
  $case: "pipe",
  value: pipe("up.daily", { schedule, begin: "2025-01-01T00:00:00Z" }, { ...old, ...over }),
});

test("1,000 polled resources are spread over the period, period after period alike", () => {
  const it = world(i(), p(), ...Array.from({ length: 1_000 }, (_, n) => r(`host-${n}`)));
  // The look back of a new leader takes 20 s at once; after it all is by phase.
  it.run(60_000);
  const [first, second] = [it.run(60_000), it.run(60_000)];
  expect(first.length).toBe(1_000);
  expect(second.map(([key, at]) => [key, at - 60_000])).toEqual(first);
  const buckets = new Array<number>(20).fill(0);
  for (const [, at] of first) buckets[Math.floor((at % 60_000) / 3_000)]! += 1;
  // 50 expected in each of 20; four standard deviations are 28.
  expect(Math.max(...buckets)).toBeLessThan(78);
  expect(Math.min(...buckets)).toBeGreaterThan(22);
});

test("what is new runs soon: a discover at once, polls within 5 s, then by phase", () => {
  const it = world(i());
  it.put({
    $case: "poller",
    value: poller("find", "up", { ...fresh, kind: PollerKind.DISCOVER, schedule: "every 5m" }),
  });
  it.put(p(fresh));
  for (let n = 0; n < 200; n += 1) it.put(r(`host-${n}`, fresh));
  expect(it.run(1_000)).toContainEqual(["pollers/find", 0]);
  it.run(4_000);
  expect(it.timetable.heap.size).toBe(201);
  const again = it.run(120_000);
  const gaps = again.filter(([key]) => key.endsWith("/host-7")).map(([, at]) => at);
  expect(gaps.length).toBeGreaterThanOrEqual(1);
  expect(gaps[0]).toBeGreaterThan(30_000);
  expect(gaps[0]).toBeLessThanOrEqual(95_000);
});

test("an enrichment is due for each resource that its own filter picks, by its own period, beside the polls", () => {
  const enrich = { every: "10s", filter: 'resource.type == "switch"' };
  const manifest = { interfaces: { poll: { every: "5s" }, enrich } };
  const version = PluginVersion.fromPartial({ name: "plugins/p/versions/1", manifest });
  const both = [PollerKind.POLL, PollerKind.ENRICH].map((kind): Entity => {
    const value = poller(`p${kind}`, "up", { ...old, kind, schedule: "" });
    return { $case: "poller", value };
  });
  const it = world({ $case: "version", value: version }, i({ runningVersion: "1" }), ...both);
  it.put(r("plain"));
  it.put(r("switch", { type: "switch" }));
  it.run(30_000);
  const count = (key: string) => it.run(20_000).filter(([due]) => due === key).length;
  expect(count(`pollers/p${PollerKind.ENRICH}/resources/switch`)).toBe(2);
  expect(count(`pollers/p${PollerKind.ENRICH}/resources/plain`)).toBe(0);
  expect(count(`pollers/p${PollerKind.POLL}/resources/plain`)).toBe(4);
  expect(it.timetable.heap.size).toBe(3);
});

test("a pipe catches up with its newest moment; pollers only look back for as long as a takeover takes", () => {
  const it = world(i(), w("every 1d"), p({ schedule: "every 1d" }), r("host"));
  const moments = it.run(1_000);
  expect(moments.length).toBe(1);
  expect(moments[0]?.[0]).toBe("pipes/up.daily");
  expect(moments[0]?.[1]).toBeLessThanOrEqual(0);
});

test("a pipe that waits for register is asked for at once and every minute, until it stands", () => {
  const it = world(i(), w("every 1h", { state: PipeState.PENDING, updateTime: stamp(T0), etag: "1" }));
  const asked = it.run(200_000);
  expect(asked[0]).toEqual(["pipes/up.daily/register", 0]);
  expect(asked.length).toBeGreaterThanOrEqual(3);
  it.put(w("every 1h", fresh));
  expect(it.run(1_000).map(([key]) => key)).toEqual(["pipes/up.daily"]);
  expect(it.timetable.heap.size).toBe(1);
});

test.each<[string, Entity]>([
  ["a paused instance", i({ state: InstanceState.PAUSED })],
  ["an instance in error", i({ state: InstanceState.ERROR })],
  ["an instance that is being deleted", i({ state: InstanceState.DRAINING })],
])("%s schedules nothing, and all of it again when enabled", (_, resting) => {
  const it = world(i(), w("every 10s"), p({ schedule: "every 10s" }), r("host"));
  expect(it.timetable.heap.size).toBe(2);
  it.put(resting);
  expect(it.timetable.heap.size).toBe(0);
  expect(it.run(30_000)).toEqual([]);
  it.put(i());
  expect(it.run(10_000).length).toBeGreaterThanOrEqual(2);
});

test.each<[string, Entity]>([
  ["a paused pipe", w("every 10s", { state: PipeState.PAUSED })],
  ["a pipe in error", w("every 10s", { state: PipeState.ERROR })],
  ["a manual pipe", w("manual")],
])("%s is never due", (_, resting) => {
  const it = world(i(), w("every 10s"));
  it.put(resting);
  expect(it.timetable.heap.size).toBe(0);
});

test("resources come and go with the filter; a refresh of one changes nothing", () => {
  const it = world(i(), p({ filter: 'resource.labels.tier == "core"', schedule: "every 10s" }));
  it.put(r("a", { labels: { tier: "core" } }));
  it.put(r("b", { labels: { tier: "edge" } }));
  expect([...it.timetable.heap.keys()]).toEqual(["pollers/up/resources/a"]);
  const before = it.timetable.heap.nextMs;
  it.put(r("a", { labels: { tier: "core" }, updateTime: stamp(T0 + 5_000), etag: "9" }));
  expect(it.timetable.heap.nextMs).toBe(before);
  it.put(r("b", { labels: { tier: "core" } }));
  it.put(r("a", { labels: { tier: "edge" } }));
  expect([...it.timetable.heap.keys()]).toEqual(["pollers/up/resources/b"]);
  it.put(p({ filter: "true", schedule: "every 10s" }));
  expect(it.timetable.heap.size).toBe(2);
  it.remove("resources/b");
  expect([...it.timetable.heap.keys()]).toEqual(["pollers/up/resources/a"]);
  it.put(p({ filter: "true", state: PollerState.PAUSED }));
  expect(it.timetable.heap.size).toBe(0);
  it.put(p({ filter: "true" }));
  it.remove("pollers/up");
  expect(it.timetable.heap.size).toBe(0);
});

test("what a poller does not say, the manifest of the running version says, even when it comes later", () => {
  const it = world(i({ runningVersion: "1.0.0" }), p({ schedule: "" }), r("a"), r("b", { origin: "", type: "dns" }));
  expect(it.timetable.heap.size).toBe(1);
  const manifest = { interfaces: { poll: { every: "5s", timeout: "", filter: 'resource.type == "dns"' } } };
  const value = PluginVersion.fromPartial({ name: "plugins/p/versions/1.0.0", manifest });
  it.put({ $case: "version", value });
  expect([...it.timetable.heap.keys()]).toEqual(["pollers/up/resources/b"]);
  it.run(20_000);
  expect(it.run(20_000).length).toBe(4);
});

test("settings that do not parse are reported, and the others go on", () => {
  const it = world(i(), w("every now and then"), p({ schedule: "every 10s", filter: "resource.type ==" }), r("a"));
  it.put({ $case: "poller", value: poller("good", "up", { ...old, schedule: "every 10s" }) });
  expect([...it.timetable.heap.keys()]).toEqual(["pollers/good/resources/a"]);
  expect(it.problems.map(([owner, fault]) => [owner, fault.code])).toEqual([
    ["pipes/up.daily", "invalid"],
    ["pollers/up", "invalid"],
  ]);
});

test("changes between the slices of a long look are not lost, whatever their order", () => {
  const random = seeded(3);
  for (let round = 0; round < 200; round += 1) {
    const catalog = new Map<string, Entity>([["instances/up", i()]]);
    const put = (entity: Entity) => catalog.set(entity.value.name, entity);
    put(p({ filter: 'resource.type == "url"' }));
    for (let n = 0; n < 20; n += 1) put(r(`h${n}`));
    const timetable = new Timetable(catalog, () => {});
    for (let step = 0; step < 60; step += 1) {
      timetable.catchUp(T0, Math.floor(random() * 6));
      const id = `h${Math.floor(random() * 25)}`;
      const dice = random();
      if (dice < 0.3) catalog.delete(`resources/${id}`);
      else put(r(id, { type: dice < 0.7 ? "url" : "dns" }));
      timetable.change(`resources/${id}`, T0);
      if (random() < 0.2) {
        put(p({ filter: `resource.type == "${random() < 0.5 ? "url" : "dns"}"`, schedule: "every 30s" }));
        timetable.change("pollers/up", T0);
      }
      if (random() < 0.05) timetable.change(undefined, T0);
    }
    timetable.catchUp(T0, ALL);
    const anew = new Timetable(catalog, () => {});
    anew.catchUp(T0, ALL);
    const entries = (t: Timetable) => [...t.heap.keys()].sort().map((key) => t.heap.get(key)?.identity);
    expect([...timetable.heap.keys()].sort()).toEqual([...anew.heap.keys()].sort());
    expect(entries(timetable)).toEqual(entries(anew));
  }
});
