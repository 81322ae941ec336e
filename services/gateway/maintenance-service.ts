/** Maintenance over gRPC: work on the stored rows of pipes, window by window, under the locks that executors take. */
import { all, type Entity, find } from "../../proto/catalog.ts";
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { type Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { type MaintenanceServer, MaintenanceService } from "../../proto/gen/millrace/results/v1/maintenance_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare, runIds } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { ask, type Channel, type Service, service } from "../kit/grpc.ts";
import {
  type Axis,
  axisAmong,
  beginOf,
  compactPosition,
  microsOf,
  parseDuration,
  parsePosition,
  type Stretch,
  stretchOf,
} from "../kit/time.ts";
import type { Results, RunRecord } from "../results/records.ts";
import { selectionOf } from "./export.ts";
import { forgetWindow, listWindows, markStale, type PipeWindow, type Span } from "./pipe-windows.ts";
import { nameIn } from "./resource-names.ts";
import { withRunLock } from "./run-lock.ts";

export interface MaintenancePorts {
  readonly results: Results;
  readonly catalog: { get(key: string): Entity | undefined; values(): Iterable<Entity> };
  readonly registry: Channel;
  readonly locks: () => Promise<Kv>;
  readonly windows: () => Promise<Kv>;
}

/** Windows whose rows are summed in one go. */
const VERIFIED_AT_ONCE = 500;
const REGISTRY_MS = 10_000;

/** Which windows are meant, on the axis of their pipe. Errors: `invalid` for one of the other kind. */
function spanOf({ name, effective }: Pipe, asked: Stretch): Span {
  const axis = axisAmong(effective?.columns ?? [], effective?.datetime ?? "");
  const { begin, end, beginInt, endInt } = asked;
  if (axis === "time" ? beginInt || endInt : begin || end) {
    const field = axis === "time" ? "begin_int" : "begin";
    const fix =
      axis === "time" ? "write begin and end as 2012-01-31T00:00:00Z" : 'write begin_int and end_int as "100"';
    throw Fault.invalid("range", [{ field, problem: `the axis of ${name} is ${axis}`, fix }]);
  }
  if (axis === "time") return { beginUs: begin && microsOf(begin), endUs: end && microsOf(end) };
  const read = (raw: string | undefined, field: string) => (raw ? parsePosition(axis, raw, field) : undefined);
  return { beginUs: read(beginInt, "begin_int"), endUs: read(endInt, "end_int") };
}

export function maintenanceService(ports: MaintenancePorts): Service {
  const { results, catalog, registry } = ports;
  const pipeOf = (name: string): { readonly pipe: Pipe; readonly id: string; readonly dataset: string } => {
    const id = nameIn("pipes", "name", name);
    const pipe = find(catalog, "pipe", name);
    if (!pipe) throw new Fault("not_found", `there is no ${name}`);
    return { pipe, id, dataset: bare(pipe.dataset) };
  };

  return service<MaintenanceServer>(MaintenanceService, {
    async *verifyPipe(request, { signal }) {
      const { id, dataset, pipe } = pipeOf(request.name);
      const windows = await ports.windows();
      const fetched = (await listWindows(windows, id, spanOf(pipe, request))).filter(
        ({ window }) => (window.fetchedUntil || window.fetchedUntilInt) && !mayBeOver(window, pipe.effective),
      );
      const target = pipe.name;
      const commits = new Map((await results.committedRuns({ dataset, target })).map((run) => [run.runId, run]));
      for (let at = 0; at < fetched.length; at += VERIFIED_AT_ONCE) {
        signal.throwIfAborted();
        const some = fetched.slice(at, at + VERIFIED_AT_ONCE);
        const runs = some.flatMap(({ window }) => commits.get(window.run) ?? []);
        const sums = runs.length ? await results.sumRuns(dataset, runs) : new Map();
        for (const [i, one] of some.entries()) {
          const { window } = one;
          const { counted = 0, checksum = "", outside = 0 } = sums.get(window.run) ?? {};
          const problem = problemOf(one, counted);
          const marked = request.repair && problem !== "" && (await markStale(windows, one, problem));
          yield {
            ...{ begin: window.begin, end: window.end, beginInt: window.beginInt, endInt: window.endInt },
            ...{ expected: window.rows, counted: BigInt(counted), checksum },
            ...{ outside: BigInt(outside), problem, marked },
            ...{ done: BigInt(at + i + 1), total: BigInt(fetched.length) },
          };
        }
      }
    },

    async *clearPipe(request, { signal }) {
      const { id, dataset, pipe } = pipeOf(request.name);
      const [windows, locks, span] = [await ports.windows(), await ports.locks(), spanOf(pipe, request)];
      const runs = await results.committedRuns({ dataset, target: pipe.name, ...span });
      const emptied = new Map(runs.map((run) => [run.runId, run]));
      const spans = new Map<string, Stretch>();
      for (const { runId, beginUs = 0n, endUs = 0n, integers } of runs) {
        spans.set(runId, stretchOf(integers ? "int64" : "time", beginUs, endUs));
      }
      for (const { window } of await listWindows(windows, id, span)) {
        spans.set(runIds.fetch(id, compactPosition(kindOf(window), beginOf(window))), window);
      }
      let done = 0n;
      for (const [runId, stretch] of spans) {
        signal.throwIfAborted();
        const run = emptied.get(runId);
        await withRunLock(locks, runId, async (fence) => {
          if (run) await results.commit(emptyCommit(run, fence));
          await forgetWindow(windows, id, { axis: kindOf(stretch), beginUs: beginOf(stretch) }, fence);
        });
        done += 1n;
        const { begin, end, beginInt = "", endInt = "" } = stretch;
        yield { begin, end, beginInt, endInt, rows: BigInt(run?.rows ?? 0), done, total: BigInt(spans.size) };
      }
    },

    async dropPipe({ name }) {
      const { id, dataset, pipe } = pipeOf(name);
      const sharers = [...all(catalog, "pipe")].filter(
        (other) => other.dataset === pipe.dataset && other.name !== name,
      );
      if (sharers.length) {
        const names = sharers.map((other) => other.name).join(", ");
        throw new Fault("precondition", `${names} write to dataset ${dataset}, too: clear ${name}, then delete it`);
      }
      const followers = [...all(catalog, "pipe")].filter(({ effective }) => effective?.after.includes(id));
      if (followers.length) {
        const names = followers.map((other) => other.name).join(", ");
        throw new Fault("precondition", `${names} come after ${name}: take it out of their \`after\` first`);
      }
      const referrers = [...all(catalog, "pipe")].filter(({ parameters }) =>
        Object.values(parameters?.refs ?? {}).some((ref) => ref === name || ref.startsWith(`${name}/`)),
      );
      if (referrers.length) {
        const names = referrers.map((other) => other.name).join(", ");
        throw new Fault("precondition", `${names} take parameters from ${name}: change their refs first`);
      }
      const [windows, locks] = [await ports.windows(), await ports.locks()];
      const stored = await listWindows(windows, id, {});
      for (const { window } of stored.filter((one) => one.window.state === WindowState.RUNNING)) {
        if (!(await locks.get(`run.${encodeKeyPart(window.run)}`))) continue;
        throw new Fault("precondition", `run ${window.run} is at work; pause ${name} and wait for it`);
      }
      const paused = { ...pipe, state: PipeState.PAUSED, stateReason: "being dropped", etag: "" };
      const change = { pipe: paused, updateMask: ["state", "state_reason"] };
      await ask(registry, PipesService.updatePipe, change, { deadlineMs: REGISTRY_MS });
      for (const { key } of stored) await windows.delete(key);
      const rows = await results.dropDataset(dataset);
      await ask(registry, PipesService.deletePipe, { name, etag: "" }, { deadlineMs: REGISTRY_MS });
      return { rows: BigInt(rows) };
    },

    async countDuplicates({ name }) {
      const { stored, counted, seen, equal } = await results.countDuplicates(pipeOf(name).dataset);
      return { stored: BigInt(stored), counted: BigInt(counted), seen: BigInt(seen), equal: BigInt(equal) };
    },

    async copyPipe(request) {
      const { id, dataset, pipe } = pipeOf(request.name);
      const target = nameIn("datasets", "target", request.target);
      const owner = [...all(catalog, "pipe")].find((other) => bare(other.dataset) === target);
      if (owner) {
        const mistake = { field: "target", problem: `is the dataset of ${owner.name}`, fix: "choose another" };
        throw Fault.invalid("copy", [mistake]);
      }
      const runId = `copy/${target}/${id}`;
      const rows = await withRunLock(await ports.locks(), runId, (fence) => {
        const run = { ...copyRun(pipe, runId, fence), dataset: target };
        return results.copyRows({ dataset, target, ...selectionOf(request), run });
      });
      return { rows: BigInt(rows), run: `runs/${runId}` };
    },
  });
}

function problemOf({ window }: PipeWindow, counted: number): string {
  if (window.state === WindowState.FAILED) return `its last fetch failed: ${window.message}`;
  if (window.state === WindowState.STALE) return window.message || "is stale";
  if (window.state !== WindowState.DONE || BigInt(counted) === window.rows) return "";
  return `${counted} rows count, its run reported ${window.rows}`;
}

/** How the integers of an axis are written is the same whether their column is signed. */
const kindOf = ({ beginInt }: Stretch): Axis => (beginInt ? "int64" : "time");

const nowUs = () => BigInt(Date.now()) * 1_000n;

/** Whether retention or ttl may have taken rows of a window: then there is nothing to compare. */
function mayBeOver({ begin, updateTime }: Window, parameters: PipeParameters | undefined): boolean {
  const agoUs = (time: Timestamp | undefined) => nowUs() - microsOf(time);
  const over = (limit: string | undefined, ageUs: bigint) =>
    limit ? ageUs >= BigInt(parseDuration(limit, "limit")) * 1_000n : false;
  return over(parameters?.retention, agoUs(begin)) || over(parameters?.ttl, agoUs(updateTime));
}

function emptyCommit(run: RunRecord, fence: bigint): RunRecord {
  const at = nowUs();
  const none = { parts: [], chunks: 0, rows: 0, bytesIn: 0, bytesOut: 0, hostCalls: {}, cpuMs: 0, wallMs: 0, gas: 0 };
  const times = { dueUs: at, startedUs: at, finishedUs: at };
  const told = { outcome: "no_data" as const, message: "cleared by hand", executor: "gateway" };
  return { ...run, ...none, ...times, ...told, fence, memoryPeakBytes: 0 };
}

function copyRun(pipe: Pipe, runId: string, fence: bigint): RunRecord {
  const at = nowUs();
  return {
    ...{ dataset: "", runId, fence, attempt: 1, kind: "sync", plugin: "", version: "", digest: "" },
    ...{ instance: bare(pipe.instance), target: pipe.name, resource: "", beginUs: undefined, endUs: undefined },
    ...{ dueUs: at, startedUs: at, finishedUs: at, outcome: "ok", committed: true, parts: [], chunks: 0, rows: 0 },
    ...{ bytesIn: 0, bytesOut: 0, hostCalls: {}, cpuMs: 0, wallMs: 0, memoryPeakBytes: 0, gas: 0 },
    ...{ message: `copy of ${pipe.dataset}`, executor: "gateway" },
  };
}
