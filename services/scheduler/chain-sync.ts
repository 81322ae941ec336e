/** Queues the windows of a pipe that comes after others: what they are made from is read, and kept with the claim. */
import { find } from "../../proto/catalog.ts";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { type Axis, beginOf, endOf } from "../kit/time.ts";
import { type OwnWindow, type Parent, type ParentWindow, planChain, whyItWaits } from "./chain.ts";
import { usOfMs } from "./moments.ts";
import { gridOfPipe, type PipeGrid } from "./standing.ts";
import type { WindowIndex } from "./window-index.ts";
import { lostBefore, type Synced, type SyncPorts, type SyncRequest, sendWindow } from "./window-sending.ts";
import { fetchedUntilOf, type StoredWindow, toKnown } from "./window-store.ts";
import { gridLength, later } from "./windows.ts";

/** Every look reads all windows of the pipe and of those before it. */
const MAX_WINDOWS = 100_000;
/** Claims and sends in flight. */
const BATCH = 64;

/** Errors: as `syncPipe`; `precondition` also when a pipe before it is not there. */
export async function syncChain(ports: SyncPorts, request: SyncRequest): Promise<Synced> {
  const { pipe, dueUs, range, refetch, refetchBeforeUs, retryFailed = true } = request;
  const grid = gridOfPipe(pipe);
  const [depth, stored, ...parents] = await Promise.all([
    ports.queue.depth(),
    ports.windows.list(bare(pipe.name)),
    ...(pipe.effective?.after ?? []).map((id) => readParent(ports, pipe, id)),
  ]);
  for (const parent of parents) refuseOtherAxis(grid.axis, parent, pipe);
  const nowUs = grid.axis === "time" ? dueUs : reachOf(grid.beginUs, parents);
  const length = gridLength(grid, nowUs);
  if (length > MAX_WINDOWS) {
    const advice = "choose a longer chunk or a later begin";
    throw new Fault("precondition", `${pipe.name} has ${length} windows, more than ${MAX_WINDOWS}: ${advice}`);
  }
  const plan = planChain({
    ...{ ...grid, nowUs, parents, range, refetch, refetchBeforeUs, retryFailed },
    own: new Map(stored.map((one) => [beginOf(one.window), ownOf(one)])),
    lostBeforeUs: lostBefore(usOfMs(ports.nowMs()), depth),
  });
  const byBegin = new Map(stored.map((one) => [beginOf(one.window), one]));
  const chosen = plan.queue.slice(0, request.limit);
  const queued: Window[] = [];
  for (let at = 0; at < chosen.length; at += BATCH) {
    request.signal?.throwIfAborted();
    const results = await Promise.allSettled(
      chosen
        .slice(at, at + BATCH)
        .map((planned) => sendWindow(ports, request, planned, byBegin.get(planned.beginUs), planned.inputs)),
    );
    for (const result of results) if (result.status === "fulfilled" && result.value) queued.push(result.value);
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw Fault.from(failed.reason);
  }
  const skipped = plan.skipped + chosen.length - queued.length;
  return { queued, skipped, nextUs: plan.queue[chosen.length]?.beginUs };
}

type ReadParent = Parent & PipeGrid & { readonly windows: ReadonlyMap<bigint, ParentWindow> };

/** The registry refuses it, but a plugin's new version may have brought another column. */
function refuseOtherAxis(axis: Axis, parent: Parent & Pick<PipeGrid, "axis">, child: Pipe): void {
  if ((axis === "time") === (parent.axis === "time")) return;
  const why = `pipes/${parent.id} goes by ${parent.axis}, and the pipe by ${axis}`;
  throw new Fault("precondition", `${child.name} cannot come after it: ${why}`);
}

/** Integers have no now: what exists is what came before. */
const reachOf = (beginUs: bigint, parents: readonly ReadParent[]) =>
  parents
    .flatMap(({ windows }) => [...windows.values()])
    .reduce((reach, { fetchedUntilUs }) => later(reach, fetchedUntilUs), beginUs);

/** Of windows of a pipe that comes after others, by begin: why each cannot run, of those that cannot. */
export async function whyTheyWait(
  { catalog, windows }: Pick<SyncPorts, "catalog" | "windows">,
  pipe: Pipe,
  begins: readonly bigint[],
  clockUs: bigint,
): Promise<ReadonlyMap<bigint, string>> {
  const { axis, endUs, chunkUs, beginUs } = gridOfPipe(pipe);
  const found = (pipe.effective?.after ?? []).map(async (id) => {
    const before = find(catalog, "pipe", `pipes/${id}`);
    if (!before) return undefined;
    const grid = gridOfPipe(before);
    const index = await windows.index(id);
    return {
      id,
      ...grid,
      windows: { get: (atUs: bigint) => standingIn(index, atUs, grid.chunkUs) },
      head: index.head(grid),
    };
  });
  const parents = (await Promise.all(found)).filter((parent) => parent !== undefined);
  const nowUs = axis === "time" ? clockUs : parents.reduce((reach, { head }) => later(reach, head.reachUs), beginUs);
  const input = { parents, nowUs, axis, endUs, chunkUs };
  return new Map(
    begins.flatMap((at) => {
      const why = whyItWaits(input, at);
      return why === undefined ? [] : [[at, why] as const];
    }),
  );
}

const WHY_NOT: Readonly<Record<number, string>> = {
  [WindowState.RUNNING]: "it is at work",
  [WindowState.FAILED]: "it has failed",
  [WindowState.STALE]: "it is to be fetched again",
};

/** What is done to its end is known by number only; its result nobody asks for here. */
function standingIn(index: WindowIndex, atUs: bigint, chunkUs: bigint): ParentWindow | undefined {
  const live = index.live.get(atUs)?.window;
  if (live) return { ...parentOf(live), why: WHY_NOT[live.state] };
  const endUs = atUs + chunkUs;
  return index.has(atUs) ? { endUs, done: true, fetchedUntilUs: endUs, result: "" } : undefined;
}

async function readParent({ catalog, windows }: SyncPorts, child: Pipe, id: string): Promise<ReadParent> {
  const pipe = find(catalog, "pipe", `pipes/${id}`);
  if (!pipe) throw new Fault("precondition", `${child.name} comes after pipes/${id}, which is not there`);
  const stored = await windows.list(id);
  const byBegin = new Map(stored.map(({ window }) => [beginOf(window), parentOf(window)]));
  return { id, ...gridOfPipe(pipe), windows: byBegin };
}

/** Fetched before anybody came after it: then each attempt counts as another result. */
function parentOf(window: Window): ParentWindow {
  const { state, result, fence } = window;
  return {
    endUs: endOf(window),
    done: state === WindowState.DONE,
    fetchedUntilUs: fetchedUntilOf(window),
    result: result || `fence ${fence}`,
  };
}

function ownOf(stored: StoredWindow): OwnWindow {
  const { endUs, standing, fetchedUntilUs, updatedUs } = toKnown(stored);
  return { endUs, standing, fetchedUntilUs, updatedUs, inputs: stored.window.inputs };
}
