/** Executors on a real bus, registry, sandbox and ClickHouse: what jobs leave behind, however they end. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, LOCK_TTL_MS, runIds } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import type { Results } from "../../services/results/results.ts";
import { type BusGround, embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { type Executing, openExecuting } from "../harness/executing.ts";
import { slowServer } from "../harness/slow-server.ts";
import { until } from "../harness/until.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Ground extends AsyncDisposable {
  readonly bus: Bus;
  readonly results: Results;
  readonly at: Executing;
}

/** What holds however many processes share the bus is shown on both. */
const BOTH = [
  ["SQLite", embeddedGround],
  ["NATS", natsGround],
] as const;

async function ground(open: () => Promise<BusGround> = embeddedGround): Promise<Ground> {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await open());
  const results = stack.use(await openTestResults(server));
  const at = stack.use(await openExecuting(bus, results));
  return { bus, results, at, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function one(results: Results, sql: string): Promise<readonly unknown[]> {
  const { rows } = await results.query({ sql, maxRows: 1, maxBytes: 1 << 20, timeoutMs: 10_000 });
  return rows[0] ?? [];
}

const doneWindow = (at: Executing, pipe: Pipe, state: WindowState = WindowState.DONE) =>
  until("the window", async () => {
    const now = await at.window(pipe);
    return now?.state === state && now;
  });
const idle = ({ at, bus }: Ground) =>
  until("an empty queue and no lock", async () => {
    const locks = await bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
    return (await at.queue.depth()) === 0 && (await locks.list("run")).length === 0;
  });

test("a window is fetched: register, rows, commit, window, history", async () => {
  await using g = await ground();
  await g.at.executor();
  const pipe = await g.at.pipe(await g.at.instance("pantry", { mode: "rows", rows: 24 }));
  const { runId } = await g.at.fetch(pipe);
  const window = await doneWindow(g.at, pipe);
  expect([window.rows, window.run, window.fetchedUntil?.seconds]).toEqual([24n, runId, window.end?.seconds]);
  const [run] = await g.at.runs(runId, (runs) => runs.length === 1);
  expect(run).toMatchObject({ outcome: "ok", committed: true, rows: 24, chunks: 1, kind: "fetch", instance: "pantry" });
  expect(run?.parts).toEqual([{ fence: run?.fence, chunks: 1 }]);
  expect(await one(g.results, "SELECT count(), sum(id) FROM pantry_rows")).toEqual(["24", "276"]);
  await idle(g);
});

test("a job that is being written down leaves its place in the lane to the next", async () => {
  await using stack = new AsyncDisposableStack();
  const { bus } = stack.use(await embeddedGround());
  const results = stack.use(await openTestResults(server));
  const gate = Promise.withResolvers<void>();
  const writing = new Set<string>();
  const slow: Results = {
    ...results,
    commit: async (run, signal) => {
      writing.add(run.runId);
      await gate.promise;
      await results.commit(run, signal);
    },
  };
  const at = stack.use(await openExecuting(bus, slow));
  await at.executor({ callsPerLane: 1 });
  const pipe = await at.pipe(await at.instance("pantry", { mode: "rows", rows: 3 }, { plugin: "plugins/larder" }));
  const first = await at.fetch(pipe);
  const [beginUs, endUs] = [first.endUs, first.endUs + (first.endUs - first.beginUs)];
  const runId = runIds.fetch("pantry.rows", "20240102T000000Z");
  await at.fetch(pipe, { runId, beginUs, endUs, untilUs: endUs });
  await until("both wait for their commits", () => writing.size === 2);
  gate.resolve();
  for (const id of [first.runId, runId]) expect((await at.runs(id, (all) => all.length === 1))[0]?.outcome).toBe("ok");
});

test("pages are chunks, fetched again they replace; undeclared fields and 200,000 emitted rows arrive", async () => {
  await using g = await ground();
  await g.at.executor();
  const plugin = "plugins/larder";
  const paged = await g.at.pipe(await g.at.instance("paged", { mode: "page", rows: 40, batches: 4 }, { plugin }));
  const { runId } = await g.at.fetch(paged);
  await doneWindow(g.at, paged);
  await idle(g);
  await g.at.fetch(paged);
  const [again, first] = await g.at.runs(runId, (runs) => runs.length === 2);
  expect([first?.chunks, first?.parts, again?.committed]).toEqual([4, [{ fence: first?.fence, chunks: 4 }], true]);
  const counted = "SELECT count(), uniqExact(id), min(name) FROM paged_rows";
  expect(await one(g.results, counted)).toEqual(["40", "40", "rød grød ☃ 𝄞 0"]);

  const extra = await g.at.pipe(await g.at.instance("extra", { mode: "undeclared", rows: 3 }, { plugin }));
  const emitted = await g.at.pipe(
    await g.at.instance("emitted", { mode: "emit", rows: 200_000, batches: 20 }, { plugin }),
  );
  await g.at.fetch(extra);
  await g.at.fetch(emitted);
  await doneWindow(g.at, extra);
  expect(await one(g.results, "SELECT count(), min(_extra.mood::String) FROM extra_rows")).toEqual(["3", "café ☃"]);
  const window = await doneWindow(g.at, emitted);
  expect(window.rows).toBe(200_000n);
  expect(await one(g.results, "SELECT count(), uniqExact(id) FROM emitted_rows")).toEqual(["200000", "200000"]);
}, 60_000);

test.each(BOTH)("on %s a fetch that failed goes on from its checkpoint, and counts each row once", async (_, open) => {
  await using g = await ground(open);
  await g.at.executor();
  const config = { mode: "emit", rows: 100, batches: 5, fail_at_batch: 3 };
  const pipe = await g.at.pipe(await g.at.instance("resumed", config, { plugin: "plugins/larder" }));
  const { runId } = await g.at.fetch(pipe);
  const window = await doneWindow(g.at, pipe);
  const [second, first] = await g.at.runs(runId, (runs) => runs.length === 2);
  expect(first).toMatchObject({ outcome: "guest_error", committed: false, rows: 60 });
  expect(second).toMatchObject({ outcome: "ok", committed: true, rows: 40 });
  expect(second?.parts).toEqual([
    { fence: first?.fence, chunks: 3 },
    { fence: second?.fence, chunks: 2 },
  ]);
  expect(window.rows).toBe(100n);
  expect(await one(g.results, "SELECT count(), uniqExact(id) FROM resumed_rows")).toEqual(["100", "100"]);
});

test("every way to end has its outcome, its window and its dead letter", async () => {
  await using g = await ground();
  await g.at.executor();
  const modes = {
    fail: "guest_error",
    fail_retryable: "guest_error",
    trap: "trap",
    hog: "out_of_memory",
    spin: "cpu_exceeded",
    bad_json: "guest_error",
    wrong_types: "guest_error",
    query: "denied",
    slow: "denied",
    empty: "no_data",
    not_modified: "not_modified",
    kv: "ok",
  };
  const grants = { allRequested: false, only: Permissions.fromPartial({ kv: true }) };
  const jobs = new Map<string, { pipe: Pipe; runId: string }>();
  for (const mode of Object.keys(modes)) {
    const config = { mode, url: "http://127.0.0.1:9/", sql: "SELECT 1" };
    const plugin = "plugins/larder";
    const instance = await g.at.instance(mode.replace("_", "-"), config, { plugin, grants });
    const pipe = await g.at.pipe(instance, 2);
    jobs.set(mode, { pipe, runId: (await g.at.fetch(pipe)).runId });
  }
  for (const [mode, outcome] of Object.entries(modes)) {
    const { pipe, runId } = jobs.get(mode) ?? { pipe: undefined as never, runId: "" };
    const good = ["ok", "no_data", "not_modified"].includes(outcome);
    const attempts = mode === "fail_retryable" ? 2 : 1;
    const runs = await g.at.runs(runId, (all) => all.length === attempts);
    expect([mode, runs[0]?.outcome, runs[0]?.committed]).toEqual([
      mode,
      outcome,
      outcome === "ok" || outcome === "no_data",
    ]);
    const window = await doneWindow(g.at, pipe, good ? WindowState.DONE : WindowState.FAILED);
    if (!good) expect(window.message).toContain(outcome);
    if (outcome === "denied") expect(runs[0]?.hostCalls.denied).toBe(1);
  }
  const failed = Object.values(modes).filter((outcome) => !["ok", "no_data", "not_modified"].includes(outcome));
  const dead = await g.at.dead((all) => all.length === failed.length);
  expect(dead.find(({ id }) => id.startsWith("fail."))?.reason).toContain("failed as asked: é☃");
  await idle(g);
}, 60_000);

test("discover tells the registry, poll stores metrics, and not too soon again", async () => {
  await using g = await ground();
  await g.at.executor();
  const instance = await g.at.instance("ovens", { mode: "rows", resources: 2 });
  const finder = await g.at.poller("find", instance, PollerKind.DISCOVER);
  await g.at.send({ kind: JobKind.DISCOVER, runId: runIds.discover("find", "1"), instance, poller: finder.name });
  const found = await until("resources", async () => {
    const page = await g.at.registry.call(ResourcesService.listResources, { pageSize: 0, pageToken: "", filter: "" });
    return page.resources.length === 2 && page.resources;
  });
  expect(found.map(({ id, type, origin, labels }) => [id, type, origin, labels.shelf])).toEqual([
    ["oven-0", "oven", instance, "0"],
    ["oven-1", "oven", instance, "1"],
  ]);

  // Half of it is the minimum interval, and must be longer than what a busy machine needs for a run.
  const poller = await g.at.poller("heat", instance, PollerKind.POLL, "every 5m");
  const resource = found[0]?.name ?? "";
  const base = { kind: JobKind.POLL, instance, poller: poller.name, resource };
  const poll = (due: string, more = {}) => g.at.send({ ...base, runId: runIds.poll("heat", "oven-0", due), ...more });
  const first = await poll("1");
  const [run] = await g.at.runs(first.runId, (runs) => runs.length === 1);
  expect(run).toMatchObject({ outcome: "ok", committed: true, rows: 3, dataset: "metrics", kind: "poll" });
  await idle(g);
  const early = await poll("2");
  expect((await g.at.runs(early.runId, (runs) => runs.length === 1))[0]?.outcome).toBe("skipped_early");
  await idle(g);
  const byHand = await poll("3", { manual: true });
  expect((await g.at.runs(byHand.runId, (runs) => runs.length === 1))[0]?.outcome).toBe("ok");
  const late = await poll("4", { expireUs: 1n });
  expect((await g.at.runs(late.runId, (runs) => runs.length === 1))[0]?.outcome).toBe("dropped_late");
  const sql = "SELECT count(), max(value), any(dimensions['unit']) FROM metrics WHERE name = 'temperature'";
  expect(await one(g.results, sql)).toEqual(["2", 21.5, "°C"]);
  await idle(g);
  expect(await g.at.queue.deadLetters(10)).toEqual([]);
});

test.each(BOTH)(
  "on %s a resource that is being polled is not polled twice at once, and a job of something unknown is given up",
  async (_, open) => {
    await using g = await ground(open);
    await using slow = await slowServer();
    await Promise.all([g.at.executor(), g.at.executor()]);
    const instance = await g.at.instance("slow", { mode: "slow", url: slow.url });
    const poller = await g.at.poller("slow", instance, PollerKind.POLL);
    const { name: resource } = await g.at.resource("one", slow.url);
    const base = { kind: JobKind.POLL, instance, poller: poller.name, resource };
    const first = await g.at.send({ ...base, runId: "slow/one/1", manual: true });
    await until("the first is waiting", () => slow.asked() === 1);
    const second = await g.at.send({ ...base, runId: "slow/one/2", manual: true });
    expect((await g.at.runs(second.runId, (runs) => runs.length === 1))[0]?.outcome).toBe("skipped_locked");
    slow.release();
    expect((await g.at.runs(first.runId, (runs) => runs.length === 1))[0]?.outcome).toBe("ok");
    await g.at.send({ kind: JobKind.FETCH, runId: "nothing.here/x", instance, pipe: "pipes/nothing.here" });
    const [dead] = await g.at.dead((all) => all.length === 1);
    expect(dead?.reason).toBe("there is no pipes/nothing.here");
  },
  60_000,
);

test.each(BOTH)(
  "on %s an executor that stops hands its job back, and another one does it",
  async (_, open) => {
    await using g = await ground(open);
    await using slow = await slowServer();
    const first = await g.at.executor({ drainMs: 200 });
    const instance = await g.at.instance("drained", { mode: "slow", url: slow.url }, { plugin: "plugins/larder" });
    const pipe = await g.at.pipe(instance);
    const { runId } = await g.at.fetch(pipe);
    await until("it is waiting", () => slow.asked() === 1);
    const startedMs = performance.now();
    await first[Symbol.asyncDispose]();
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(await (await g.bus.kv("executors", { ttlMs: 10_000 })).list("")).toEqual([]);
    slow.release();
    await g.at.executor();
    await doneWindow(g.at, pipe);
    const [second, given] = await g.at.runs(runId, (runs) => runs.length === 2);
    expect([given?.outcome, given?.executor, second?.outcome]).toEqual(["cancelled", first.id, "ok"]);
  },
  60_000,
);

test.each(BOTH)(
  "on %s an attempt that lost its lease is never seen, whatever it still writes",
  async (_, open) => {
    await using g = await ground(open);
    const gate = Promise.withResolvers<void>();
    const held = Promise.withResolvers<bigint>();
    await g.at.executor({}, async (step, _run, fence) => {
      if (step !== "executed") return;
      held.resolve(fence);
      if (fence === (await held.promise)) await gate.promise;
    });
    const instance = await g.at.instance("stale", { mode: "kv" }, { plugin: "plugins/larder" });
    const pipe = await g.at.pipe(instance);
    const { runId } = await g.at.fetch(pipe);
    const stale = await held.promise;
    // As if its lock had expired: the next one to come takes it.
    const locks = await g.bus.kv(BUCKETS.locks, { ttlMs: LOCK_TTL_MS });
    for (const { key } of await locks.list("run")) await locks.delete(key);
    await g.at.fetch(pipe);
    await until("the newer attempt", async () => (await g.at.window(pipe))?.state === WindowState.DONE);
    const shown = () => one(g.results, "SELECT min(id), max(id), count() FROM stale_rows");
    expect(await shown()).toEqual(["2", "2", "1"]);
    gate.resolve();
    await g.at.runs(runId, (runs) => runs.some((run) => run.fence === stale));
    expect((await shown()).slice(2)).toEqual(["1"]);
    expect((await shown())[0]).not.toBe("1");
    await idle(g);
    expect((await shown())[0]).not.toBe("1");
  },
  60_000,
);
