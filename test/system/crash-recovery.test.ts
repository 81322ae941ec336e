/** A backfill killed near its end goes on where it was; a minute without ClickHouse loses nothing and fills no memory. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { busFolder, openCrashGround, type Part } from "../harness/crash-ground.ts";
import { until } from "../harness/until.ts";

const KIB_PER_MIB = 1_024;
const AWAY_MS = 60_000;
/** Of the one process with all services; 60 MiB of what its guests make are held, and 312 MB are made. */
const MAX_RESIDENT_MIB = 480;

async function openGround(stack: AsyncDisposableStack) {
  const doors: { platform?: Part } = {};
  const at = {
    registry: () => doors.platform?.address.registry ?? "",
    scheduler: () => doors.platform?.address.scheduler ?? "",
  };
  const ground = await openCrashGround({ file: await busFolder(stack) }, at, stack);
  const platform = await ground.part(["registry", "scheduler", "executor"], 16);
  doors.platform = platform;
  await ground.publish();
  const done = async (pipe: string) => (await ground.windows(pipe, WindowState.DONE)).length;
  return { ground, platform, done };
}

test("killed at nine tenths of a checkpointed window, the next attempt fetches at most two chunks again", async () => {
  await using stack = new AsyncDisposableStack();
  const { ground, platform, done } = await openGround(stack);
  const chunks = 20;
  // It ends with the 19th chunk stored and 18 of them checkpointed.
  const reached = platform.reach({ pipe: "long.rows", step: "chunk_stored", nth: 19 }, 60_000);
  const config = { mode: "emit", rows: 4_000, batches: chunks };
  await ground.create("long", { plugin: "plugins/larder", config }, 1);
  const runId = await reached;
  await platform.kill9();
  await platform.restart();
  await until("the window is done", async () => (await done("long.rows")) === 1, 60_000);
  const committed = (await ground.results.getRun(runId)).find((run) => run.committed);
  expect(committed?.parts.map((part) => part.chunks)).toEqual([18, 2]);
  const fetchedTwice = 19 + (committed?.chunks ?? 0) - chunks;
  expect(fetchedTwice).toBeLessThanOrEqual(2);
  expect((await ground.ids("long.rows")).length).toBe(4_000);
}, 120_000);

test("ClickHouse is away for a minute: nothing is lost, guests wait, memory stays bounded", async () => {
  await using stack = new AsyncDisposableStack();
  const { ground, platform, done } = await openGround(stack);
  const [windows, rows] = [6, 400_000];
  const reached = platform.reach({ pipe: "flood.rows", step: "chunk_stored", nth: 1 }, 60_000);
  const source = { plugin: "plugins/larder", config: { mode: "emit", rows, batches: 1 } };
  await ground.create("flood", source, windows, { timeout: "180s" });
  await reached;
  await ground.clickhouse.kill9();
  const backMs = performance.now() + AWAY_MS;
  platform.go();
  await until("a minute has passed", () => performance.now() > backMs, AWAY_MS + 10_000);
  expect(await done("flood.rows")).toBe(0);
  await ground.clickhouse.restart();
  await until("every window is done", async () => (await done("flood.rows")) === windows, 120_000);
  const { rows: seen } = await ground.results.query({
    ...{ sql: "SELECT count(), uniqExact(time, id) FROM flood_rows", maxRows: 1, maxBytes: 1_000, timeoutMs: 30_000 },
  });
  expect(seen).toEqual([[String(windows * rows), String(windows * rows)]]);
  // Nobody had to try again: waiting for the store is no failure.
  const { runs } = await ground.results.listRuns({ kind: "fetch" }, { size: 100 });
  expect(runs.map((run) => run.outcome)).toEqual(Array.from({ length: windows }, () => "ok"));
  const status = await readFile(`/proc/${platform.pid}/status`, "utf8");
  const peakMib = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / KIB_PER_MIB;
  process.stdout.write(`a minute without ClickHouse: ${Math.round(peakMib)} MiB resident at most\n`);
  expect(peakMib).toBeLessThan(MAX_RESIDENT_MIB);
}, 300_000);
