/** sync, hooks, SELECTs, chains, and the source asked again: on both buses, with everything real. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Job, JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { JOBS, JOBS_OPTIONS } from "../../proto/names.ts";
import { compactTime, microsOf } from "../../services/kit/time.ts";
import type { Results } from "../../services/results/results.ts";
import { type BusGround, embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { column, rowsOf } from "../harness/chunks.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { BEGIN, dayOf, openFlow } from "../harness/flowing.ts";
import { until } from "../harness/until.ts";

let server: TestClickHouse;
beforeAll(async () => {
  server = await startTestClickHouse();
});
afterAll(() => server?.[Symbol.asyncDispose]());

const { DONE, FAILED, MISSING } = WindowState;
const states = (windows: readonly Window[]) => windows.map(({ state }) => state);
const csv = (day: number, ...ids: number[]) =>
  `id,time,name\n${ids.map((id) => `${id},${dayOf(day).replace("00:00:00", "06:00:00")},n${id}\n`).join("")}`;

describe.each([
  { where: "embedded", open: embeddedGround },
  { where: "nats", open: natsGround },
])("on $where", ({ open }) => {
  let ground: BusGround;
  let results: Results;
  let flow: Awaited<ReturnType<typeof openFlow>>;
  beforeAll(async () => {
    ground = await open();
    results = await openTestResults(server);
    flow = await openFlow(ground.bus, results);
  }, 60_000);
  afterAll(async () => {
    await flow?.[Symbol.asyncDispose]();
    await results?.[Symbol.asyncDispose]();
    await ground?.[Symbol.asyncDispose]();
  });
  const runOf = (id: string, { begin }: Window) => results.getRun(`${id}/${compactTime(microsOf(begin))}`);

  test("sync writes its rows itself; before it somebody may say no, after it somebody is told", async () => {
    const { source } = flow;
    source.rows.set(dayOf(0), csv(0, 1, 2)).set(dayOf(1), csv(1, 3));
    await flow.pipe("larder.a", { begin: BEGIN, end: dayOf(2) });
    const [first, second] = await flow.done("larder.a");
    expect([first, second].map((window) => [window?.state, window?.rows])).toEqual([
      [DONE, 2n],
      [DONE, 1n],
    ]);
    expect(await column(results, "SELECT name FROM larder_a ORDER BY id")).toEqual(["n1", "n2", "n3"]);
    await until("both ends were told", () => source.told.length === 2);
    expect([...source.told].sort()).toEqual(["ok 1 ", "ok 2 "]);
    expect((await runOf("larder.a", first as Window))[0]).toMatchObject({ kind: "sync", committed: true, rows: 2 });

    source.before = "the quota is used up";
    source.rows.set(dayOf(0), csv(0, 9));
    const vetoed = await flow.done("larder.a", true, dayOf(0), dayOf(1));
    expect(vetoed[0]).toMatchObject({ state: DONE, rows: 2n, message: "before_sync said no: the quota is used up" });
    expect((await runOf("larder.a", first as Window))[0]).toMatchObject({ outcome: "cancelled", committed: false });
    expect(await column(results, "SELECT name FROM larder_a ORDER BY id")).toEqual(["n1", "n2", "n3"]);

    // What was committed stays, although the hook behind it breaks down.
    [source.before, source.after] = ["", 500];
    await flow.done("larder.a", true, dayOf(0), dayOf(1));
    const hook = `larder.a/${compactTime(microsOf(first?.begin))}/after_sync`;
    const told = await until("the hook's run", async () => {
      const runs = await results.getRun(hook).catch(() => []);
      return runs.find(({ outcome }) => outcome !== "ok");
    });
    expect(told).toMatchObject({ kind: "hook", outcome: "guest_error", message: "after_sync is broken" });
    expect(await column(results, "SELECT name FROM larder_a ORDER BY id")).toEqual(["n3", "n9"]);

    source.before = 500;
    const failed = await flow.done("larder.a", true, dayOf(1), dayOf(2));
    expect(states(failed)).toEqual([DONE, FAILED]);
    expect(failed[1]?.message).toBe("guest_error: before_sync: before_sync is broken");
    Object.assign(source, { before: "", after: 200 });
  });

  test("the source is asked again: nothing is seen of it, until what differs is repaired", async () => {
    const { source } = flow;
    source.rows.clear();
    source.rows
      .set(dayOf(0), csv(0, 1, 2))
      .set(dayOf(1), csv(1, 3, 5))
      .set(dayOf(2), csv(2, 4));
    await flow.pipe("larder.b", { begin: BEGIN, end: dayOf(3) });
    const before = await flow.done("larder.b");
    const seen = () => column(results, "SELECT name FROM larder_b ORDER BY id");
    const verify = async (repair: boolean) => {
      const asked = { name: "pipes/larder.b", begin: undefined, end: undefined, repair };
      const { dueTime, windows } = await flow.call(SchedulesService.verifyPipeSource, asked);
      expect(windows).toHaveLength(3);
      const due = microsOf(dueTime);
      const answered = ({ verification }: Window) => {
        return microsOf(verification?.dueTime) === due && verification?.verifyTime !== undefined;
      };
      return (await flow.become("larder.b", (all) => all.every(answered))).map(({ verification }) => verification);
    };
    // One row is gone and one is another; a day is the same in another order; a day is all gone.
    source.rows
      .set(dayOf(0), csv(0, 7))
      .set(dayOf(1), csv(1, 5, 3))
      .set(dayOf(2), 204);
    expect(await verify(false)).toMatchObject([
      { differs: true, sourceRows: 1n, storedRows: 2n, repaired: false, problem: "" },
      { differs: false, sourceRows: 2n, storedRows: 2n },
      { differs: true, sourceRows: 0n, storedRows: 1n, repaired: false },
    ]);
    expect(await seen()).toEqual(["n1", "n2", "n3", "n4", "n5"]);
    expect((await runOf("larder.b", before[0] as Window)).map(({ kind, committed }) => [kind, committed])).toEqual([
      ["verify", false],
      ["sync", true],
    ]);
    expect(await verify(true)).toMatchObject([{ repaired: true }, { repaired: false }, { repaired: true }]);
    expect(await seen()).toEqual(["n3", "n5", "n7"]);
    const after = await flow.windows("larder.b");
    expect(after.map(({ rows, state }) => [rows, state])).toEqual([
      [1n, DONE],
      [2n, DONE],
      [0n, DONE],
    ]);
    expect(after[1]?.fence).toBe(before[1]?.fence);
    // The source is away, or gives a part only: that is no difference.
    source.rows.set(dayOf(0), 500).set(dayOf(1), 206);
    const [away, part] = await verify(true);
    expect(away).toMatchObject({ problem: expect.stringContaining("the source says 500"), differs: false });
    expect(part).toMatchObject({ problem: expect.stringContaining("partial"), differs: false });
    expect(states(await flow.windows("larder.b"))).toEqual([DONE, DONE, DONE]);
    // Asked for when less had been fetched: what is there by now is newer than the question.
    const { begin, end, run } = after[0] as Window;
    const [beginUs, endUs, dueUs] = [microsOf(begin), microsOf(end), BigInt(Date.now()) * 1_000n];
    const old = { runId: run, beginUs, endUs, untilUs: endUs - 1n, dueUs, verify: true, repair: true };
    const owner = { kind: JobKind.FETCH, instance: "instances/larder", pipe: "pipes/larder.b" };
    const queue = await ground.bus.queue(JOBS, JOBS_OPTIONS);
    await queue.send("an-old-question", Job.encode(Job.fromPartial({ ...owner, ...old })).finish());
    await flow.become("larder.b", ([first]) => first?.verification?.problem.includes("fetched again") === true);
    expect(await seen()).toEqual(["n3", "n5", "n7"]);
  });

  test("pipes after others run when these are done, and again when they have another result", async () => {
    const { source } = flow;
    source.rows.clear();
    source.rows.set(dayOf(0), csv(0, 1, 2)).set(dayOf(1), csv(1, 3, 4, 5));
    const arrow = await fetch(server.url, {
      method: "POST",
      body: `SELECT toInt64(6) AS id, toDateTime64('2024-01-03 06:00:00', 6, 'UTC') AS time, 'n6' AS name
        SETTINGS output_format_arrow_compression_method = 'none' FORMAT ArrowStream`,
    });
    source.rows.set(dayOf(2), Buffer.from(await arrow.arrayBuffer()));
    const span = { begin: BEGIN, end: dayOf(3), chunk: "1d" };
    const day = "SELECT toStartOfDay(time) AS day, count() AS n, max(id) AS top FROM larder_c";
    await flow.pipe("larder.c", span);
    const daily = { sql: `${day} WHERE time >= {begin} AND time < {end} GROUP BY day`, reads: ["larder_c"] };
    await flow.pipe("sql.daily", { ...span, ...daily, after: ["larder.c"] });
    const total =
      "SELECT min(day) AS since, sum(n) AS n FROM sql_daily WHERE day >= {begin} AND day < {end} HAVING n > 0";
    await flow.pipe("sql.total", { ...span, chunk: "3d", sql: total, reads: ["sql_daily"], after: ["sql.daily"] });

    await flow.done("larder.c", false, dayOf(0), dayOf(2));
    await flow.become("sql.daily", (all) => states(all).filter((state) => state === DONE).length === 2);
    expect(states(await flow.windows("sql.daily"))).toEqual([DONE, DONE, MISSING]);
    expect(states(await flow.windows("sql.total"))).toEqual([MISSING]);
    await flow.done("larder.c");
    await flow.become("sql.total", (all) => states(all).every((state) => state === DONE));
    const shown = "SELECT toString(toDate(day)), n, top FROM sql_daily ORDER BY day";
    expect(await rowsOf(results, shown)).toEqual([
      ["2024-01-01", "2", "2"],
      ["2024-01-02", "3", "5"],
      ["2024-01-03", "1", "6"],
    ]);
    expect(await column(results, "SELECT n FROM sql_total")).toEqual(["6"]);

    // Fetched again with the same rows: nobody else has to. With others: who comes after has, over a change of leader.
    await flow.changeLeader("larder.c");
    const before = await flow.windows("sql.daily");
    source.rows.set(dayOf(1), csv(1, 8));
    await flow.done("larder.c", true, dayOf(0), dayOf(2));
    await until("the total is another", async () => (await column(results, "SELECT n FROM sql_total"))[0] === "4");
    const after = await flow.windows("sql.daily");
    const again = after.map(({ fence }, i) => fence !== before[i]?.fence);
    expect(again).toEqual([false, true, false]);
    expect((await rowsOf(results, shown))[1]).toEqual(["2024-01-02", "1", "8"]);
    // What its rows do not allow fails by name, and waits for something else to be made from.
    await flow.pipe("sql.bad", {
      ...span,
      ...daily,
      sql: `${daily.sql} SETTINGS max_threads = 1`,
      after: ["larder.c"],
    });
    const bad = await flow.become("sql.bad", (all) => states(all).every((state) => state === FAILED));
    expect(bad[0]?.message).toContain("denied: ");
  });
});
