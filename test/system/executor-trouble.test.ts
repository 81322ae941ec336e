/** Jobs that are not to be run any more, and a store that goes away in the middle. */
import { expect, test } from "vitest";
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { compactTime, parseTime, timestampOf } from "../../services/kit/time.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { BEGIN, END, openExecuting } from "../harness/executing.ts";
import { until } from "../harness/until.ts";

const plugin = "plugins/larder";

test("what is paused, too late or queued anew since is not run, and its window says so", async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  await at.executor();
  const pipe = await at.pipe(await at.instance("calm", { mode: "rows", rows: 5 }, { plugin }));
  const ended = async (over: object, attempts: number) => {
    const { runId } = await at.fetch(pipe, over);
    const runs = await at.runs(runId, (all) => all.length >= attempts && all[0]?.outcome !== undefined);
    await until("nothing queued", async () => (await at.queue.depth()) === 0);
    return runs;
  };
  const [late] = await ended({ expireUs: 1n }, 1);
  expect([late?.outcome, (await at.window(pipe))?.state]).toEqual(["dropped_late", WindowState.MISSING]);

  const windows = await ground.bus.kv(BUCKETS.windows);
  const [beginUs, endUs] = [parseTime(BEGIN, "begin"), parseTime(END, "end")];
  const stored = Window.fromPartial({
    ...{ begin: timestampOf(beginUs), end: timestampOf(endUs), state: WindowState.RUNNING },
    dueTime: timestampOf(2_000_000n),
  });
  const key = `${encodeKeyPart("calm.rows")}.${compactTime(beginUs)}`;
  await windows.put(key, Window.encode(stored).finish());
  const superseded = await ended({ dueUs: 1_000_000n }, 2);
  expect(superseded.map((run) => run.outcome)).toEqual(["dropped_late", "dropped_late"]);
  expect((await at.window(pipe))?.state).toBe(WindowState.RUNNING);
  const done = await ended({ dueUs: 2_000_000n }, 3);
  expect(done[0]?.outcome).toBe("ok");
  await until("done", async () => (await at.window(pipe))?.state === WindowState.DONE);

  const instance = Instance.fromPartial({ name: pipe.instance, state: InstanceState.PAUSED });
  await at.registry.call(InstancesService.updateInstance, { instance, updateMask: ["state"] });
  await until("the executor hears of it", async () => {
    await at.fetch(pipe);
    await until("nothing queued", async () => (await at.queue.depth()) === 0);
    return (await at.window(pipe))?.state === WindowState.STALE;
  });
  expect((await at.window(pipe))?.message).toContain("instances/calm is not enabled");
}, 60_000);

test("ClickHouse is killed in the middle of a fetch and comes back: every row is there once", async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  let outage: Promise<void> | undefined;
  await at.executor({}, (step) => {
    if (step === "chunk_stored") outage ??= server.kill9().then(() => server.restart());
  });
  const config = { mode: "emit", rows: 20_000, batches: 10 };
  const pipe = await at.pipe(await at.instance("outage", config, { plugin }));
  await at.fetch(pipe);
  const window = await until(
    "done",
    async () => {
      const now = await at.window(pipe);
      return now?.state === WindowState.DONE && now;
    },
    60_000,
  );
  await outage;
  expect(window.rows).toBe(20_000n);
  const sql = "SELECT count(), uniqExact(id) FROM outage_rows";
  const { rows } = await results.query({ sql, maxRows: 1, maxBytes: 1_000, timeoutMs: 10_000 });
  expect(rows).toEqual([["20000", "20000"]]);
}, 90_000);

test("a register that is asked again answers again", async () => {
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  await at.executor();
  const pipe = await at.pipe(await at.instance("ready", { mode: "rows" }));
  const job = { kind: JobKind.REGISTER, instance: pipe.instance, pipe: pipe.name };
  const again = await at.send({ ...job, runId: "ready.rows/register/again" });
  const [run] = await at.runs(again.runId, (runs) => runs.length === 1);
  expect([run?.outcome, run?.kind, run?.dataset]).toEqual(["ok", "register", ""]);
  const { pipe: now } = await at.registry.call(PipesService.getPipe, { name: pipe.name });
  expect([now?.state, now?.registered?.index]).toEqual([PipeState.ENABLED, ["time", "id"]]);
}, 60_000);
