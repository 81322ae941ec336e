/** A pipe that is a SELECT after another pipe: its platform is killed -9 between steps, and its rows are seen once. */
import { expect, test } from "vitest";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { SQL_INSTANCE } from "../../proto/names.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { busFolder, openCrashGround, type Part } from "../harness/crash-ground.ts";
import { kitchenBundles } from "../harness/executing.ts";
import { until } from "../harness/until.ts";

/** One for each step, and some to spare. */
const WINDOWS = 8;
const SPAN = { begin: "2024-01-01T00:00:00Z", end: "2024-01-09T00:00:00Z", chunk: "1d", attempts: 5 };
const STEPS = ["claimed", "begun", "chunk_stored", "executed", "committed", "finished"];
const SQL = "SELECT time, id, value * 2 AS value FROM src_rows WHERE time >= {begin} AND time < {end}";

test("killed between two steps, the rows of a SELECT are those of one whole attempt", async () => {
  await using stack = new AsyncDisposableStack();
  const doors: { platform?: Part } = {};
  const at = {
    registry: () => doors.platform?.address.registry ?? "",
    scheduler: () => doors.platform?.address.scheduler ?? "",
  };
  const ground = await openCrashGround({ file: await busFolder(stack) }, at, stack);
  const platform = await ground.part(["registry", "scheduler", "executor"]);
  doors.platform = platform;
  const call = async <I, O>(method: Parameters<typeof ask<I, O>>[1], request: I): Promise<O> => {
    using channel = connect(at.registry());
    return await ask(channel, method, request, { deadlineMs: 30_000 });
  };
  for (const bundle of await kitchenBundles())
    await call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  await ground.create("src", { plugin: "plugins/larder", config: { mode: "rows", rows: 10 } }, WINDOWS);
  const parameters = { ...SPAN, sql: SQL, reads: ["src_rows"], after: ["src.rows"] };
  const pipe = Pipe.fromPartial({ instance: SQL_INSTANCE, metric: "twice", parameters });
  await call(PipesService.createPipe, { pipe });
  const isAtRest = async () => {
    if ((await ground.depth()) > 0) return false;
    return (await ground.windows("sql.twice", WindowState.DONE)).length === WINDOWS;
  };
  await until("the SELECT has run", () => isAtRest().catch(() => false), 60_000);
  const expected = await ground.seen("sql.twice");
  expect(expected).toMatch(/^80 80 /);
  for (const [window, step] of STEPS.entries()) {
    const reached = platform.reach({ pipe: "sql.twice", step, nth: 1 }, 60_000);
    await until("it is queued", () => ground.refetch("sql.twice", window, 1), 30_000);
    await reached;
    expect(await ground.seen("sql.twice")).toBe(expected);
    await platform.kill9();
    expect(await ground.seen("sql.twice")).toBe(expected);
    await platform.restart();
  }
  await until("everything is at rest", () => isAtRest().catch(() => false), 120_000);
  expect(await ground.seen("sql.twice")).toBe(expected);
}, 300_000);
