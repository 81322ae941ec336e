/** Executor, scheduler, NATS and ClickHouse are killed -9 between any two steps of a job: the rows that are seen hold. */
import { expect, test } from "vitest";
import { KINDS, openCrashGround, type Part } from "../harness/crash-ground.ts";
import {
  executorCells,
  fewCells,
  isAtRest,
  killThrough,
  schedulerCells,
  tableOf,
  times,
} from "../harness/crash-matrix.ts";
import { startNats } from "../harness/nats.ts";
import { until } from "../harness/until.ts";

const CELLS = [
  ...times(2, executorCells("executor")),
  ...executorCells("nats"),
  ...fewCells("clickhouse"),
  ...fewCells("scheduler"),
  ...schedulerCells("scheduler"),
];

test("on NATS, killed between any two steps, every row is seen once and no window in halves", async () => {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const doors: { registry?: Part; scheduler?: Part } = {};
  const at = {
    registry: () => doors.registry?.address.registry ?? "",
    scheduler: () => doors.scheduler?.address.scheduler ?? "",
  };
  const ground = await openCrashGround({ natsUrl: nats.url }, at, stack);
  doors.registry = await ground.part(["registry"]);
  doors.scheduler = await ground.part(["scheduler"]);
  const standby = await ground.part(["scheduler"]);
  const executors = [await ground.part(["executor"]), await ground.part(["executor"])];
  await ground.furnish();
  await until("every window is done once", () => isAtRest(ground), 240_000);
  const expected = await Promise.all(KINDS.map((kind) => ground.seen(ground.pipe(kind, "calm-"))));

  const counts = await killThrough(ground, {
    cells: CELLS,
    parts: [
      ...executors.map((part) => ({ part, is: "executor" as const, at: ["executor"] as const })),
      { part: doors.scheduler, is: "scheduler", at: ["scheduler"] },
    ],
    others: { nats, clickhouse: ground.clickhouse, scheduler: standby },
  });
  process.stdout.write(tableOf("nats", counts));
  expect(await Promise.all(KINDS.map((kind) => ground.seen(ground.pipe(kind))))).toEqual(expected);
  expect([...counts.values()].reduce((a, b) => a + b, 0)).toBe(CELLS.length);
}, 1_800_000);
