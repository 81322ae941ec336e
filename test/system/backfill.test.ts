/** A backfill is kept: it goes oldest first, at its rate, behind what is due now, whichever scheduler leads. */
import { expect, test } from "vitest";
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { BackfillsService } from "../../proto/gen/millrace/scheduler/v1/backfill_service.ts";
import { type BackfillPipeResponse, SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, JOBS, JOBS_OPTIONS } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { ask, connect, listen } from "../../services/kit/grpc.ts";
import type { RunningScheduler } from "../../services/scheduler/main.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { DAY_MS, daysAgo, instance, openScheduling, pipe } from "../harness/scheduling.ts";
import { until } from "../harness/until.ts";

const parent = "pipes/up.daily";
const grounds = [
  { where: "embedded", open: embeddedGround },
  { where: "nats", open: natsGround },
] as const;

async function begin(bus: Bus, days: number) {
  const it = await openScheduling(bus);
  await it.store.instances.create(instance("up"), it.store.now());
  const parameters = { begin: daysAgo(days), chunk: "1d", schedule: "manual" };
  await it.store.pipes.create(pipe("up.daily", parameters), it.store.now());
  return it;
}

function calls(scheduler: RunningScheduler) {
  const channel = connect(scheduler.address);
  const deadline = { deadlineMs: 10_000 };
  const show = async (name: string) => {
    const { backfill } = await ask(channel, BackfillsService.getBackfill, { name }, deadline);
    return backfill ?? Backfill.fromPartial({});
  };
  return {
    show,
    create: async (over: Partial<Backfill> = {}) => {
      const backfill = Backfill.fromPartial({ windowsPerMinute: 60_000, ...over });
      const made = await ask(channel, BackfillsService.createBackfill, { parent, backfill }, deadline);
      return made.backfill?.name ?? "";
    },
    become: (name: string, enough: (backfill: Backfill) => boolean) =>
      until(`${name} to come so far`, async () => {
        const backfill = await show(name);
        return enough(backfill) && backfill;
      }),
    pause: (name: string) => ask(channel, BackfillsService.pauseBackfill, { name, note: "holidays" }, deadline),
    resume: (name: string) => ask(channel, BackfillsService.resumeBackfill, { name }, deadline),
    cancel: (name: string) => ask(channel, BackfillsService.cancelBackfill, { name }, deadline),
    list: () =>
      ask(channel, BackfillsService.listBackfills, { parent: "pipes/-", pageSize: 0, pageToken: "" }, deadline),
    stream: () =>
      listen(
        channel,
        SchedulesService.backfillPipe,
        { name: parent, begin: undefined, end: undefined, refetch: false, windowsPerMinute: 60_000 },
        { signal: AbortSignal.timeout(10_000) },
      ),
    [Symbol.dispose]: () => channel[Symbol.dispose](),
  };
}

const leading = (scheduler: RunningScheduler) =>
  until("the scheduler leads and knows the pipe", async () => {
    return (await knows(scheduler)) && scheduler.status().epoch !== undefined;
  });

async function knows(scheduler: RunningScheduler): Promise<boolean> {
  using channel = connect(scheduler.address);
  const request = { parent, pageSize: 1, pageToken: "", state: WindowState.UNSPECIFIED };
  const listed = await ask(channel, SchedulesService.listWindows, request, { deadlineMs: 5_000 }).catch(() => false);
  return listed !== false;
}

/** As an executor leaves a window, with three rows. */
async function finishWindows(bus: Bus): Promise<void> {
  const windows = await bus.kv(BUCKETS.windows);
  for (const { key, value, revision } of await windows.list("")) {
    const window = Window.decode(value);
    const fetched = { state: WindowState.DONE, rows: 3n, fetchedUntil: window.end, updateTime: nowTime() };
    if (window.state === WindowState.RUNNING) {
      await windows.update(key, Window.encode({ ...window, ...fetched }).finish(), revision);
    }
  }
}
const nowTime = () => ({ seconds: BigInt(Math.floor(Date.now() / 1_000)), nanos: (Date.now() % 1_000) * 1_000_000 });

test.each(grounds)(
  "oldest first, behind what waits, over a change of leader: $where",
  { timeout: 60_000 },
  async ({ open }) => {
    await using ground = await open();
    await using it = await begin(ground.bus, 200);
    const first = await it.scheduler();
    await leading(first);
    await using second = await it.scheduler();
    await until("the other one knows the pipe", () => knows(second));
    const queue = await ground.bus.queue(JOBS, JOBS_OPTIONS);
    // Asked of one that stands by: the one that leads does it.
    using two = calls(second);
    const name = await two.create();
    // Nobody takes jobs: after the first windows it waits.
    expect(await two.become(name, ({ waiting }) => waiting)).toMatchObject({ queued: 64n, lookedAt: 64n, total: 201n });
    expect(await queue.depth()).toBe(64);
    expect(second.status().epoch).toBeUndefined();
    await first[Symbol.asyncDispose]();
    const jobs = await it.jobs((taken) => taken.length >= 201);
    expect(new Set(jobs.map((job) => job.runId)).size).toBe(201);
    const begins = jobs.slice(0, 64).map((job) => Number(job.beginUs / 1_000n));
    expect(Math.max(...begins) - Math.min(...begins)).toBe(63 * DAY_MS);
    await two.become(name, ({ message }) => message === "201 windows are at work");
    await finishWindows(ground.bus);
    const over = await two.become(name, ({ state }) => state === BackfillState.DONE);
    expect(over).toMatchObject({ queued: 201n, done: 201n, failed: 0n, rows: 603n, waiting: false, message: "" });
  },
);

test("paused, resumed, cancelled; one of a pipe at a time; refetched once each; given up in time", async () => {
  await using ground = await embeddedGround();
  await using it = await begin(ground.bus, 9);
  await using scheduler = await it.scheduler();
  await leading(scheduler);
  using backfills = calls(scheduler);
  const slow = await backfills.create({ windowsPerMinute: 1 });
  await expect(backfills.create()).rejects.toMatchObject({ code: "exists" });
  await backfills.become(slow, ({ queued }) => queued === 1n);
  await backfills.pause(slow);
  expect(await backfills.show(slow)).toMatchObject({ state: BackfillState.PAUSED, message: "holidays", queued: 1n });
  await backfills.resume(slow);
  expect(await backfills.show(slow)).toMatchObject({ state: BackfillState.RUNNING, message: "" });
  await backfills.cancel(slow);
  await expect(backfills.resume(slow)).rejects.toMatchObject({ code: "precondition" });

  // Followed as a stream: it ends by itself.
  const steps: BackfillPipeResponse[] = [];
  for await (const step of backfills.stream()) {
    steps.push(step);
    await finishWindows(ground.bus);
  }
  expect(steps.at(-1)).toMatchObject({ done: 10n, total: 10n, queued: 9n, skipped: 1n });
  await it.jobs((jobs) => jobs.length >= 10);
  const again = await backfills.create({ refetch: true, windowsPerMinute: 300 });
  await until("every window is done again", async () => {
    await finishWindows(ground.bus);
    return (await backfills.show(again)).state === BackfillState.DONE;
  });
  expect(await backfills.show(again)).toMatchObject({ queued: 10n, done: 10n });
  const jobs = await it.jobs((taken) => taken.length >= 10);
  expect(new Set(jobs.map((job) => job.runId)).size).toBe(10);

  const expireTime = { seconds: BigInt(Math.floor(Date.now() / 1_000) + 2), nanos: 0 };
  const late = await backfills.create({ refetch: true, windowsPerMinute: 1, expireTime });
  const { message } = await backfills.become(late, ({ state }) => state === BackfillState.FAILED);
  expect(message).toContain("not over by");
  expect((await backfills.list()).backfills.map((one) => one.name)).toEqual([late, again, steps[0]?.backfill, slow]);
  await expect(backfills.create({ windowsPerMinute: -1, expireTime })).rejects.toMatchObject({
    code: "invalid",
    mistakes: [{ field: "expire_time" }, { field: "windows_per_minute" }],
  });
});
