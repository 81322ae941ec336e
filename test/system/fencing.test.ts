/** Many schedulers and executors on the same pipes: no window runs twice at once, and what is stale never shows. */
import { expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { RunRecord } from "../../services/results/results.ts";
import { type CrashGround, KINDS, openCrashGround, type Part, WINDOWS } from "../harness/crash-ground.ts";
import { startNats } from "../harness/nats.ts";
import { until } from "../harness/until.ts";

const EXECUTORS = 4;
/** A lock lives 15 s, and the queue waits 30 s for the ack of an executor that says nothing. */
const TAKEN_OVER_MS = 75_000;

interface World {
  readonly ground: CrashGround;
  readonly schedulers: readonly Part[];
  readonly executors: readonly Part[];
}

async function openWorld(stack: AsyncDisposableStack): Promise<World> {
  const nats = stack.use(await startNats());
  const doors: { registry?: Part; scheduler?: Part } = {};
  const at = {
    registry: () => doors.registry?.address.registry ?? "",
    scheduler: () => doors.scheduler?.address.scheduler ?? "",
  };
  const ground = await openCrashGround({ natsUrl: nats.url }, at, stack);
  doors.registry = await ground.part(["registry"]);
  doors.scheduler = await ground.part(["scheduler"]);
  const schedulers = [doors.scheduler, await ground.part(["scheduler"])];
  const executors: Part[] = [];
  for (let i = 0; i < EXECUTORS; i += 1) executors.push(await ground.part(["executor"]));
  await ground.furnish();
  return { ground, schedulers, executors };
}

test("two schedulers and four executors: attempts of a window follow one another; a paused executor's rows stay unseen", async () => {
  await using stack = new AsyncDisposableStack();
  const { ground, schedulers, executors } = await openWorld(stack);
  const everything = async () =>
    (await Promise.all(KINDS.map((k) => ground.windows(ground.pipe(k), WindowState.DONE)))).flat();

  // Both schedulers are asked for every window of every pipe, over and over, while the leader does the same by itself.
  await until("every window is done once", async () => (await everything()).length === KINDS.length * WINDOWS, 60_000);
  for (let round = 0; round < 3; round += 1) {
    const asked = schedulers.flatMap(({ address }) =>
      KINDS.map((kind) => ground.refetch(ground.pipe(kind), 0, WINDOWS, address.scheduler)),
    );
    await Promise.all(asked);
    await until("the queue is empty", async () => (await ground.depth()) === 0, 60_000);
  }
  await until("every window is done", async () => (await everything()).length === KINDS.length * WINDOWS, 60_000);
  const byRun = Map.groupBy(await attempts(ground), (run) => run.runId);
  expect(byRun.size).toBe(KINDS.length * WINDOWS * 2);
  expect([...byRun.values()].flatMap(overlaps)).toEqual([]);
  const all = [...byRun.values()].flat();
  expect(all.length).toBeGreaterThan(KINDS.length * WINDOWS * 4);
  expect(new Set(all.map((run) => run.executor)).size).toBe(EXECUTORS);
  for (const kind of KINDS)
    expect(await ground.seen(ground.pipe(kind))).toBe(await ground.seen(ground.pipe(kind, "calm-")));
  expect(await ground.torn()).toEqual([]);

  // Each attempt counts the runs of its instance, and its only row says which one it was.
  const steps = ["chunk_stored", "executed", "committed"];
  const pipes = steps.map((step) => `stopped-${step.replace("_", "-")}.rows`);
  const stopped = new Map<string, Part>();
  const traps = steps.map((step, i) => ({ pipe: pipes[i] as string, step, nth: 1 }));
  for (const part of executors) {
    part.set(traps, (runId) => {
      const pipe = runId.split("/")[0] as string;
      // Who takes over passes the same step.
      if (stopped.has(pipe)) return part.go();
      stopped.set(pipe, part);
      part.signal("SIGSTOP");
    });
  }
  for (const pipe of pipes) {
    const source = { plugin: "plugins/larder", config: { mode: "kv" } };
    await ground.create(pipe.split(".")[0] as string, source, 1);
  }
  const doneAnew = async () => {
    const windows = await Promise.all(pipes.map((pipe) => ground.windows(pipe, WindowState.DONE)));
    return stopped.size === steps.length && windows.flat().length === steps.length && windows.flat();
  };
  const windows = await until("others have taken the windows over", doneAnew, TAKEN_OVER_MS);
  const wokenUs = BigInt(Date.now()) * 1_000n;
  for (const part of new Set(stopped.values())) {
    part.signal("SIGCONT");
    part.go();
  }
  await until(
    "the woken work again",
    async () => {
      await ground.refetch(ground.pipe("append"), 0, WINDOWS);
      const since = (await attempts(ground)).filter((run) => run.startedUs > wokenUs && run.outcome === "ok");
      return new Set(since.map((run) => run.executor)).size === EXECUTORS;
    },
    60_000,
  );
  expect(await Promise.all(pipes.map((pipe) => ground.ids(pipe)))).toEqual(pipes.map(() => ["2"]));
  const after = (await Promise.all(pipes.map((pipe) => ground.windows(pipe)))).flat();
  expect(after.map(({ state, fence }) => ({ state, fence }))).toEqual(
    windows.map(({ fence }) => ({ state: WindowState.DONE, fence })),
  );
}, 300_000);

async function attempts({ results }: CrashGround): Promise<RunRecord[]> {
  const all: RunRecord[] = [];
  for (const kind of ["fetch", "sync"] as const) {
    for (let token: string | undefined, first = true; first || token; first = false) {
      const page = await results.listRuns({ kind }, { size: 1_000, token });
      all.push(...page.runs);
      token = page.nextToken;
    }
  }
  return all.filter((run) => run.fence > 0n);
}

/** An attempt that began before the one with the smaller fence had ended. */
function overlaps(attempts: readonly RunRecord[]): string[] {
  const sorted = attempts.toSorted((a, b) => (a.fence < b.fence ? -1 : 1));
  return sorted.flatMap((run, i) => {
    const before = sorted[i - 1];
    if (!before || before.finishedUs <= run.startedUs) return [];
    return [
      `${run.runId}: fence ${run.fence} began ${before.finishedUs - run.startedUs} µs before ${before.fence} ended`,
    ];
  });
}
