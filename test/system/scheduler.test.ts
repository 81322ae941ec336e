/** Schedulers on real buses and a real registry: each job once, hand-over, restart, backpressure, requests. */
import { describe, expect, test } from "vitest";
import type { Entity } from "../../proto/catalog.ts";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Job, JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import {
  type ListWindowsRequest,
  SchedulesService,
  type SyncPipeRequest,
} from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, JOBS, JOBS_OPTIONS, LEADER_TTL_MS } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import { microsOf, timestampOf } from "../../services/kit/time.ts";
import { messageId } from "../../services/scheduler/jobs.ts";
import { type LeaseKv, lead } from "../../services/scheduler/leadership.ts";
import type { RunningScheduler } from "../../services/scheduler/main.ts";
import { usOfMs } from "../../services/scheduler/moments.ts";
import { Term } from "../../services/scheduler/term.ts";
import { WindowStore } from "../../services/scheduler/window-store.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import {
  DAY_MS,
  daysAgo,
  duplicates,
  furnish,
  instance,
  openScheduling,
  pipe,
  poller,
  resource,
} from "../harness/scheduling.ts";
import { until } from "../harness/until.ts";

const synced: Omit<SyncPipeRequest, "name"> = { begin: undefined, end: undefined, refetch: false };

async function asked<T>(scheduler: RunningScheduler, work: (channel: ReturnType<typeof connect>) => Promise<T>) {
  using channel = connect(scheduler.address);
  return await work(channel);
}
const sync = (scheduler: RunningScheduler, request: Partial<SyncPipeRequest> & { name: string }) =>
  asked(scheduler, (channel) =>
    ask(channel, SchedulesService.syncPipe, { ...synced, ...request }, { deadlineMs: 10_000 }),
  );
const listed = (scheduler: RunningScheduler, request: Partial<ListWindowsRequest> & { parent: string }) =>
  asked(scheduler, (channel) => {
    const all = { pageSize: 0, pageToken: "", state: WindowState.UNSPECIFIED, ...request };
    return ask(channel, SchedulesService.listWindows, all, { deadlineMs: 5_000 });
  });
const leading = (scheduler: RunningScheduler) =>
  until("the scheduler leads", () => scheduler.status().epoch !== undefined && scheduler.status().entries > 0);

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("on the %s bus", (_, open) => {
  test("two schedulers send each job once; what is not over is fetched up to its due moment", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    await furnish(it, 40, 20);
    await using a = await it.scheduler();
    await using b = await it.scheduler();
    const polls = (jobs: readonly Job[]) => jobs.filter((job) => job.kind === JobKind.POLL);
    const jobs = await it.jobs((seen) => polls(seen).length >= 60);
    const fetches = jobs.filter((job) => job.kind === JobKind.FETCH);
    expect(duplicates(jobs)).toEqual([]);
    expect(fetches.length).toBe(41);
    expect(jobs.filter((job) => job.kind === JobKind.DISCOVER).length).toBe(1);
    expect([a, b].filter((s) => s.status().epoch !== undefined).length).toBe(1);
    const epoch = a.status().epoch ?? b.status().epoch;
    for (const job of jobs) expect(job).toMatchObject({ epoch, manual: false, instance: "instances/up" });
    const last = fetches.toSorted((x, y) => Number(x.beginUs - y.beginUs)).at(-1) as Job;
    expect(last.untilUs).toBe(last.dueUs);
    expect(last.endUs - last.beginUs).toBe(usOfMs(DAY_MS));
    const poll = polls(jobs)[0] as Job;
    expect(poll.expireUs - poll.dueUs).toBe(4_000_000n);
    expect(poll.runId).toMatch(/^up\/h\d+\/\d{8}T\d{6}(_\d+)?Z$/);
  });

  test("a leader that stops gives way at once, and the next one goes on in phase without a repeat", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    await furnish(it, 2, 10);
    const first = await it.scheduler();
    await leading(first);
    const before = await it.jobs((jobs) => jobs.length >= 40);
    await using second = await it.scheduler();
    const stoppedMs = performance.now();
    await first[Symbol.asyncDispose]();
    await leading(second);
    expect(performance.now() - stoppedMs).toBeLessThan(LEADER_TTL_MS);
    const after = await it.jobs((jobs) => jobs.length >= 40);
    const all = [...before, ...after];
    expect(duplicates(all)).toEqual([]);
    expect(second.status().epoch).toBeGreaterThan(before[0]?.epoch ?? 0n);
    // By phase: each resource is due every 2 s and nowhere between, whoever leads. Its first poll is the exception.
    for (let n = 0; n < 10; n += 1) {
      const dues = all.filter((job) => job.resource === `resources/h${n}`).map((job) => job.dueUs);
      expect(new Set(dues.slice(1).map((due) => due % 2_000_000n)).size).toBe(1);
    }
  });

  test("a lease that lapses is taken over soon, and its old holder knows before", async () => {
    await using ground = await open();
    const kv = await ground.bus.kv("leaders", { ttlMs: 1_000 });
    // The first holder is cut off right after it won: its renewals get no answer, its clock goes on.
    const cutOff: LeaseKv = {
      create: (key, value) => kv.create(key, value),
      update: () => new Promise(() => {}),
      delete: () => new Promise(() => {}),
    };
    const timing = { ttlMs: 1_000, nowMs: () => performance.now() };
    await using first = lead(cutOff, "first", timing, silentLog);
    const epoch = await until("the first leads", () => first.epoch);
    const wonMs = performance.now();
    await using second = lead(kv, "second", timing, silentLog);
    await until("the second leads", () => {
      const both = first.epoch !== undefined && second.epoch !== undefined;
      expect(both).toBe(false);
      return second.epoch !== undefined;
    });
    // The ttl of 1 s, a look every 0.2 s, and NATS drops what expired up to a second late.
    expect(performance.now() - wonMs).toBeLessThan(2_500);
    expect(second.epoch).toBeGreaterThan(epoch);
    expect(first.epoch).toBeUndefined();
  });

  test("a claim without a job, as a crash leaves it, is sent by the next leader", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    await it.store.instances.create(instance("up"), it.store.now());
    await it.store.pipes.create(
      pipe("up.daily", { schedule: "manual", begin: daysAgo(3), chunk: "1d" }),
      it.store.now(),
    );
    const windows = new WindowStore(await ground.bus.kv(BUCKETS.windows));
    const nowUs = usOfMs(Date.now());
    const beginUs = usOfMs(Date.parse(daysAgo(3)));
    const planned = { beginUs, endUs: beginUs + usOfMs(DAY_MS), untilUs: 0n };
    await windows.claim("up.daily", "time", planned, undefined, { run: "up.daily/x", dueUs: nowUs, nowUs });
    await using _s = await it.scheduler();
    const [job] = await it.jobs((jobs) => jobs.length > 0);
    expect(job).toMatchObject({ kind: JobKind.FETCH, beginUs, untilUs: beginUs + usOfMs(DAY_MS), dueUs: nowUs });
  });

  test("a full queue holds due work back and loses nothing", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    await furnish(it, 30, 0);
    await using scheduler = await it.scheduler();
    await leading(scheduler);
    await it.jobs((jobs) => jobs.length >= 32);
    // A term of its own, on a queue that has room for 5.
    const kv = await ground.bus.kv("windows-small");
    const queue = await ground.bus.queue("small", { ...JOBS_OPTIONS, maxMessages: 5 });
    const counts = { sent: 0, repeated: 0, missed: 0, heldBack: 0 };
    const windows = new WindowStore(kv);
    const catalog = new Map([
      ["instances/up", { $case: "instance", value: await it.store.instances.get("instances/up") } as const],
      ["pipes/up.daily", { $case: "pipe", value: await it.store.pipes.get("pipes/up.daily") } as const],
    ]);
    const ports = { catalog, windows, queue, log: silentLog, nowMs: () => Date.now(), holds: () => true, counts };
    await using term = new Term(1n, ports);
    const seen: Job[] = [];
    await until("the queue is full and says so", async () => {
      await term.tick();
      return counts.heldBack > 0;
    });
    expect(await queue.depth()).toBe(5);
    await until("what could not be sent is as it was", async () => (await windows.list("up.daily")).length === 5);
    await until("all 31 windows came through", async () => {
      await term.tick();
      for (const message of await queue.pull(5, 10)) {
        seen.push(Job.decode(message.body));
        await message.ack();
      }
      return seen.length >= 31;
    });
    expect(duplicates(seen)).toEqual([]);
    const standing = await windows.list("up.daily");
    expect(standing.length).toBe(31);
    expect(standing.every(({ window }) => window.state === WindowState.RUNNING)).toBe(true);
  });

  test("very many pipes that are due at once are queued without waiting for the next tick", async () => {
    await using ground = await open();
    const pipes = Array.from({ length: 200 }, (_, i) =>
      pipe(`up.m${i}`, { schedule: "every 1h", begin: daysAgo(1), end: daysAgo(0), chunk: "1d" }),
    );
    const catalog = new Map<string, Entity>([
      ["instances/up", { $case: "instance", value: instance("up") }],
      ...pipes.map((value) => [value.name, { $case: "pipe", value }] as const),
    ]);
    const queue = await ground.bus.queue(JOBS, JOBS_OPTIONS);
    const windows = new WindowStore(await ground.bus.kv(BUCKETS.windows));
    const counts = { sent: 0, repeated: 0, missed: 0, heldBack: 0 };
    const ports = { catalog, windows, queue, log: silentLog, nowMs: () => Date.now(), holds: () => true, counts };
    await using term = new Term(1n, ports);
    await term.tick();
    await until("all of them are queued", () => counts.sent === pipes.length);
    expect(await queue.depth()).toBe(pipes.length);
  });

  test("what rests is not scheduled; a pipe that waits for register is asked for by a job", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    const { store } = it;
    await furnish(it, 5, 3);
    await store.instances.change("instances/up", "", store.now(), (i) => ({ ...i, state: InstanceState.PAUSED }));
    await store.instances.create(instance("other"), store.now());
    const waiting = pipe("other.new", { schedule: "every 1h", begin: daysAgo(2) }, { state: PipeState.PENDING });
    await store.pipes.create(waiting, store.now());
    await using scheduler = await it.scheduler();
    await leading(scheduler);
    const [register, ...others] = await it.jobs((jobs) => jobs.length > 0);
    expect(others).toEqual([]);
    expect(register).toMatchObject({ kind: JobKind.REGISTER, pipe: "pipes/other.new", instance: "instances/other" });
    expect(register?.runId).toMatch(/^other\.new\/register\/\d+$/);
    await store.instances.change("instances/up", "", store.now(), (i) => ({ ...i, state: InstanceState.ENABLED }));
    const jobs = await it.jobs((seen) => seen.filter((job) => job.kind === JobKind.POLL).length >= 3);
    expect(jobs.filter((job) => job.kind === JobKind.FETCH).length).toBe(6);
  });

  test("manual requests: syncs by range, refetch, windows in pages, poller runs, and every refusal", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    const { store } = it;
    await store.instances.create(instance("up"), store.now());
    const parameters = { schedule: "manual", begin: daysAgo(9), end: daysAgo(-1), chunk: "1d" };
    await store.pipes.create(pipe("up.daily", parameters), store.now());
    await store.pipes.create(pipe("up.endless", { ...parameters, begin: "" }), store.now());
    await store.pipes.create(pipe("up.fine", { ...parameters, begin: "2000-01-01", chunk: "1m" }), store.now());
    await store.pipes.create(pipe("up.paused", parameters, { state: PipeState.PAUSED }), store.now());
    await store.pipes.create(pipe("up.pending", parameters, { state: PipeState.PENDING }), store.now());
    await store.pollers.create(poller("up", "up", { schedule: "every 1h" }), store.now());
    await store.pollers.create(poller("off", "up", { state: PollerState.PAUSED }), store.now());
    await store.pollers.create(poller("none", "up", { filter: 'resource.type == "none"' }), store.now());
    await store.pollers.create(poller("find", "up", { kind: PollerKind.DISCOVER, schedule: "every 1h" }), store.now());
    await using scheduler = await it.scheduler();
    await leading(scheduler);
    await it.jobs((jobs) => jobs.some((job) => job.kind === JobKind.DISCOVER));
    const beginUs = usOfMs(Date.parse(daysAgo(9)));
    const day = (n: number) => timestampOf(beginUs + BigInt(n) * usOfMs(DAY_MS));

    const name = "pipes/up.daily";
    const some = await sync(scheduler, { name, begin: day(2), end: timestampOf(microsOf(day(4)) + 1n) });
    expect(some.windows.map((w) => microsOf(w.begin))).toEqual([2, 3, 4].map((n) => microsOf(day(n))));
    const rest = await sync(scheduler, { name });
    expect([rest.windows.length, rest.skipped]).toEqual([7, 3]);
    const jobs = await it.jobs((seen) => seen.length >= 10);
    expect(jobs.every((job) => job.manual && job.epoch === 0n && job.kind === JobKind.FETCH)).toBe(true);

    // As an executor would end them: all done but one.
    const kv = await ground.bus.kv(BUCKETS.windows);
    const failed = microsOf(day(5));
    for (const { key, value } of await kv.list(encodeKeyPart("up.daily"))) {
      const window = Window.decode(value);
      const state = microsOf(window.begin) === failed ? WindowState.FAILED : WindowState.DONE;
      await kv.put(key, Window.encode({ ...window, state, fetchedUntil: day(30) }).finish());
    }
    const page = await listed(scheduler, { parent: name, pageSize: 4 });
    expect([page.windows.length, page.nextPageToken === ""]).toEqual([4, false]);
    const onlyFailed = await listed(scheduler, { parent: name, state: WindowState.FAILED });
    expect(onlyFailed.windows.map((w) => microsOf(w.begin))).toEqual([failed]);
    expect((await sync(scheduler, { name })).windows.map((w) => microsOf(w.begin))).toEqual([failed]);
    const again = await sync(scheduler, { name, begin: day(0), end: day(2), refetch: true });
    expect(again.windows.length).toBe(2);

    await store.resources.create(resource("h1", { origin: "instances/up" }), store.now());
    const ran = await until("the resource is known", () =>
      asked(scheduler, (c) => ask(c, SchedulesService.runPoller, { name: "pollers/up" }, { deadlineMs: 5_000 })),
    );
    expect(ran.runs.length).toBe(1);
    expect(ran.runs[0]).toMatch(/^up\/h1\/\d{8}T/);

    const fails = async (work: Promise<unknown>) => {
      const fault = await work.then(
        () => undefined,
        (thrown) => thrown,
      );
      return [fault?.code, ...(fault?.mistakes ?? []).map((m: { field: string }) => m.field)];
    };
    const run = (poller: string) =>
      asked(scheduler, (c) => ask(c, SchedulesService.runPoller, { name: poller }, { deadlineMs: 5_000 }));
    expect(await fails(sync(scheduler, { name: "pipes/absent" }))).toEqual(["not_found"]);
    expect(await fails(sync(scheduler, { name: "daily", begin: day(3), end: day(3) }))).toEqual([
      "invalid",
      "name",
      "end",
    ]);
    const odd = { seconds: 10n ** 15n, nanos: 0 };
    expect(await fails(sync(scheduler, { name, begin: odd, end: odd }))).toEqual(["invalid", "begin", "end"]);
    for (const id of ["endless", "fine", "paused", "pending"])
      expect(await fails(sync(scheduler, { name: `pipes/up.${id}` }))).toEqual(["precondition"]);
    expect(await fails(run("pollers/absent"))).toEqual(["not_found"]);
    expect(await fails(run("pollers/off"))).toEqual(["precondition"]);
    expect(await fails(run("pollers/none"))).toEqual(["precondition"]);
    expect(await fails(run("resources/h1"))).toEqual(["invalid", "name"]);
    expect(await fails(listed(scheduler, { parent: "pipes/absent" }))).toEqual(["not_found"]);
    expect(
      await fails(listed(scheduler, { parent: "x", pageSize: -1, pageToken: "?", state: 77 as WindowState })),
    ).toEqual(["invalid", "parent", "page_size", "page_token", "state"]);
    await store.instances.change("instances/up", "", store.now(), (i) => ({ ...i, state: InstanceState.PAUSED }));
    await until("the pause is known", async () => (await fails(sync(scheduler, { name })))[0] === "precondition");
  });

  test("windows that wait for windows of another pipe say for which, and why", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    await it.store.instances.create(instance("up"), it.store.now());
    const chunk = { begin: daysAgo(4), chunk: "1d" };
    await it.store.pipes.create(pipe("up.hourly", { ...chunk, retention: "2d" }), it.store.now());
    await it.store.pipes.create(
      pipe("up.daily", { ...chunk, schedule: "every 1h", after: ["up.hourly"] }),
      it.store.now(),
    );
    await using scheduler = await it.scheduler();
    await leading(scheduler);
    const { windows } = await listed(scheduler, { parent: "pipes/up.daily" });
    const [never, , , soon] = windows.map(({ message }) => message);
    expect(never).toMatch(
      /^waits for up\.hourly\/\d{8}T000000Z: it is older than its pipe keeps rows, and never comes/,
    );
    expect(soon).toMatch(/^waits for up\.hourly\/\d{8}T000000Z: it was not fetched/);
    const before = await listed(scheduler, { parent: "pipes/up.hourly" });
    expect(before.windows.every(({ message }) => message === "")).toBe(true);
  });

  test("the queue is shown with what was given up, and a job can be put back", async () => {
    await using ground = await open();
    await using it = await openScheduling(ground.bus);
    await using scheduler = await it.scheduler();
    const queue = await ground.bus.queue(JOBS, JOBS_OPTIONS);
    const job = Job.fromPartial({ runId: "up.daily/x", dueUs: usOfMs(Date.now()) });
    await queue.send(messageId(job), Job.encode(job).finish());
    const [message] = await queue.pull(1, 5_000);
    await message?.deadLetter("worn out");
    const call = <I, O>(method: Parameters<typeof ask<I, O>>[1], request: I) =>
      asked(scheduler, (channel) => ask(channel, method, request, { deadlineMs: 5_000 }));
    const shown = await until("the dead job shows", async () => {
      const answer = await call(SchedulesService.getQueue, {});
      return answer.dead.length === 1 && answer;
    });
    expect(shown).toMatchObject({ depth: 0n, dead: [{ runId: "up.daily/x", reason: "worn out", id: messageId(job) }] });
    await call(SchedulesService.redriveJob, { id: messageId(job) });
    expect((await queue.pull(1, 5_000))[0]?.id).toBe(messageId(job));
    await expect(call(SchedulesService.redriveJob, { id: "absent" })).rejects.toMatchObject({ code: "not_found" });
    await expect(call(SchedulesService.redriveJob, { id: "" })).rejects.toMatchObject({ code: "invalid" });

    const preview = (schedule: string, count: number) =>
      call(SchedulesService.previewSchedule, { schedule, key: "pollers/up", count });
    expect((await preview("every 30s", 0)).times.length).toBe(5);
    expect((await preview("manual", 3)).times).toEqual([]);
    const wrong = await preview("every so often", 101).catch((thrown) => thrown);
    expect(wrong).toMatchObject({ code: "invalid", mistakes: [{ field: "count" }, { field: "schedule" }] });
  });
});
