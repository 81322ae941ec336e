/** A source is asked again at a rate: a backfill that verifies, kept over a change of leader, each window asked once. */
import { expect, test } from "vitest";
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { BackfillsService } from "../../proto/gen/millrace/scheduler/v1/backfill_service.ts";
import type { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { Verification, Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, bare } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { compactTime, timestampOf } from "../../services/kit/time.ts";
import type { RunningScheduler } from "../../services/scheduler/main.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { DAY_MS, daysAgo, instance, openScheduling, pipe } from "../harness/scheduling.ts";
import { until } from "../harness/until.ts";

const PIPE = "up.daily";
const DAYS = 9;
/** Four at a time, a second apart. */
const RATE = 240;
const MICROS_PER_SECOND = 1_000_000;

/** Windows as executors leave them: all but the last one, which has failed. */
async function storeWindows(bus: Bus, beginMs: number): Promise<void> {
  const windows = await bus.kv(BUCKETS.windows);
  for (let day = 0; day < DAYS; day += 1) {
    const [beginUs, endUs] = [day, day + 1].map((n) => BigInt(beginMs + n * DAY_MS) * 1_000n) as [bigint, bigint];
    const [begin, end] = [timestampOf(beginUs), timestampOf(endUs)];
    const state = day === DAYS - 1 ? WindowState.FAILED : WindowState.DONE;
    const window = Window.fromPartial({ begin, end, state, fetchedUntil: end, updateTime: end, rows: 3n });
    await windows.create(`${encodeKeyPart(PIPE)}.${compactTime(beginUs)}`, Window.encode(window).finish());
  }
}

/** As executors answer: the first of the windows differs, the second was replaced, the third could not be asked. */
async function answer(bus: Bus): Promise<void> {
  const windows = await bus.kv(BUCKETS.windows);
  const entries = (await windows.list("")).map((entry) => ({ ...entry, window: Window.decode(entry.value) }));
  const asked = entries.filter(({ window }) => window.verification && !window.verification.verifyTime);
  const says = [{ differs: true }, { differs: true, repaired: true }, { problem: "the source is down" }];
  for (const [i, { key, window, revision }] of asked.entries()) {
    const verifyTime = timestampOf(BigInt(Date.now()) * 1_000n);
    const { dueTime } = window.verification ?? {};
    const verification = Verification.fromPartial({ ...(dueTime && { dueTime }), verifyTime, ...says[i] });
    await windows.update(key, Window.encode({ ...window, verification }).finish(), revision);
  }
}

const leading = (scheduler: RunningScheduler) =>
  until("the scheduler leads", () => scheduler.status().epoch !== undefined);

test.each([
  { where: "embedded", open: embeddedGround },
  { where: "nats", open: natsGround },
])("each window once, at the rate, over a change of leader: $where", { timeout: 60_000 }, async ({ open }) => {
  await using ground = await open();
  await using it = await openScheduling(ground.bus);
  await it.store.instances.create(instance("up"), it.store.now());
  const begin = daysAgo(DAYS);
  await it.store.pipes.create(pipe(PIPE, { begin, chunk: "1d", schedule: "manual" }), it.store.now());
  await storeWindows(ground.bus, Date.parse(begin));
  const first = await it.scheduler();
  await leading(first);
  await using second = await it.scheduler();
  using channel = connect(second.address);
  const parent = `pipes/${PIPE}`;
  const create = async (over: Partial<Backfill>) => {
    const backfill = Backfill.fromPartial({ verify: true, windowsPerMinute: RATE, ...over });
    return ask(channel, BackfillsService.createBackfill, { parent, backfill }, { deadlineMs: 10_000 });
  };
  const created = await until("the pipe is known", () => create({}).catch(() => undefined));
  const name = created.backfill?.name ?? "";
  const become = (enough: (backfill: Backfill) => boolean) =>
    until(`${bare(name)} to come so far`, async () => {
      const { backfill } = await ask(channel, BackfillsService.getBackfill, { name }, { deadlineMs: 10_000 });
      return backfill && enough(backfill) && backfill;
    });
  await become(({ queued }) => queued > 0n);
  await first[Symbol.asyncDispose]();
  const jobs: Job[] = [];
  const takeSome = async () => jobs.push(...(await it.jobs((taken) => taken.length > 0))) >= DAYS - 1;
  await until("every window that is done was asked for", takeSome, 40_000);
  expect(new Set(jobs.map(({ runId }) => runId)).size).toBe(DAYS - 1);
  expect(jobs.map(({ verify, repair }) => [verify, repair])).toEqual(jobs.map(() => [true, false]));
  const moments = [...new Set(jobs.map(({ dueUs }) => Number(dueUs)))].sort((a, b) => a - b);
  for (const [i, moment] of moments.entries()) {
    expect(jobs.filter(({ dueUs }) => Number(dueUs) === moment).length).toBeLessThanOrEqual(RATE / 60);
    if (i === 0) continue;
    expect(moment - (moments[i - 1] as number)).toBeGreaterThanOrEqual(MICROS_PER_SECOND * 0.99);
  }
  const waits = await become(({ message }) => message.endsWith("wait for their answer"));
  expect(waits).toMatchObject({
    state: BackfillState.RUNNING,
    queued: 8n,
    answered: 0n,
    message: "8 windows wait for their answer",
  });
  await answer(ground.bus);
  const over = await become(({ state }) => state === BackfillState.DONE);
  expect(over).toMatchObject({ answered: 8n, differing: 1n, repaired: 1n, problems: 1n, done: 8n, failed: 1n });

  await expect(create({ refetch: true })).rejects.toMatchObject({ code: "invalid", mistakes: [{ field: "refetch" }] });
  const alone = create({ verify: false, repair: true });
  await expect(alone).rejects.toMatchObject({ code: "invalid", mistakes: [{ field: "repair" }] });
});
