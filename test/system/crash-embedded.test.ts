/** The one process of a laptop, and ClickHouse, are killed -9 between any two steps of a job: the rows seen hold. */
import { expect, test } from "vitest";
import { busFolder, KINDS, openCrashGround, type Part } from "../harness/crash-ground.ts";
import { executorCells, fewCells, isAtRest, killThrough, schedulerCells, tableOf } from "../harness/crash-matrix.ts";
import { until } from "../harness/until.ts";

const CELLS = [...executorCells("platform"), ...schedulerCells("platform"), ...fewCells("clickhouse")];

test("embedded, killed between any two steps, every row is seen once and no window in halves", async () => {
  await using stack = new AsyncDisposableStack();
  const doors: { platform?: Part } = {};
  const at = {
    registry: () => doors.platform?.address.registry ?? "",
    scheduler: () => doors.platform?.address.scheduler ?? "",
  };
  const ground = await openCrashGround({ file: await busFolder(stack) }, at, stack);
  const platform = await ground.part(["registry", "scheduler", "executor"]);
  doors.platform = platform;
  await ground.furnish();
  await until("every window is done once", () => isAtRest(ground), 240_000);
  const expected = await Promise.all(KINDS.map((kind) => ground.seen(ground.pipe(kind, "calm-"))));

  const counts = await killThrough(ground, {
    cells: CELLS,
    parts: [{ part: platform, is: "platform", at: ["executor", "scheduler"] }],
    others: { clickhouse: ground.clickhouse },
  });
  process.stdout.write(tableOf("embedded", counts));
  expect(await Promise.all(KINDS.map((kind) => ground.seen(ground.pipe(kind))))).toEqual(expected);
  expect([...counts.values()].reduce((a, b) => a + b, 0)).toBe(CELLS.length);
}, 1_800_000);
