/** A backfill goes oldest first, at its rate, waits for what is due now, and goes on where another left off. */
import { expect, test } from "vitest";
import {
  type BackfillPipeRequest,
  type BackfillPipeResponse,
  SchedulesService,
} from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { JOBS, JOBS_OPTIONS } from "../../proto/names.ts";
import { connect, listen } from "../../services/kit/grpc.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { DAY_MS, daysAgo, instance, openScheduling, pipe } from "../harness/scheduling.ts";
import { until } from "../harness/until.ts";

const name = "pipes/up.daily";
const none = { name, begin: undefined, end: undefined, refetch: false, windowsPerMinute: 60_000 };

test("a backfill queues the oldest first, waits for room, and goes on where it was left", async () => {
  await using ground = await embeddedGround();
  await using it = await openScheduling(ground.bus);
  await it.store.instances.create(instance("up"), it.store.now());
  const parameters = { begin: daysAgo(200), chunk: "1d", schedule: "manual" };
  await it.store.pipes.create(pipe("up.daily", parameters), it.store.now());
  await using scheduler = await it.scheduler();
  await until("the scheduler leads", () => scheduler.status().epoch !== undefined);
  using channel = connect(scheduler.address);
  const steps = async (request: Partial<BackfillPipeRequest>, enough: (step: BackfillPipeResponse) => boolean) => {
    const seen: BackfillPipeResponse[] = [];
    const leave = new AbortController();
    const answers = listen(
      channel,
      SchedulesService.backfillPipe,
      { ...none, ...request },
      {
        signal: AbortSignal.any([leave.signal, AbortSignal.timeout(20_000)]),
      },
    );
    for await (const step of answers) {
      seen.push(step);
      if (enough(step)) break;
    }
    return seen;
  };
  // Nobody takes jobs: after the first windows it waits.
  const first = await steps({}, (step) => step.waiting);
  expect(first.at(-1)).toMatchObject({ waiting: true, queued: 64n, total: 201n });
  const queue = await ground.bus.queue(JOBS, JOBS_OPTIONS);
  expect(await queue.depth()).toBe(64);
  const taken = await it.jobs((jobs) => jobs.length >= 64);
  const begins = taken.map((job) => Number(job.beginUs / 1_000n));
  expect(Math.max(...begins) - Math.min(...begins)).toBe(63 * DAY_MS);
  // The windows that were queued are running now, so another call goes on behind them.
  const rest = steps({}, (step) => step.done === step.total);
  const all = await it.jobs((jobs) => jobs.length >= 137);
  expect(all.length).toBe(137);
  expect((await rest).at(-1)).toMatchObject({ done: 201n, queued: 137n, skipped: 64n });
  const ids = [...taken, ...all].map((job) => job.runId);
  expect(new Set(ids).size).toBe(201);
});
