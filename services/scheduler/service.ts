/** The scheduler over gRPC: checks what was asked, and queues or tells. */
import { type EntityKind, type EntityOf, find } from "../../proto/catalog.ts";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import type { SchedulesServer, SyncPipeRequest } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { parseSchedule } from "../kit/schedule.ts";
import { formatTime, microsOf, timestampOf } from "../kit/time.ts";
import { backfill } from "./backfill.ts";
import { messageId, pollerJob } from "./jobs.ts";
import { timestampMistake, usOfMs } from "./moments.ts";
import { type SyncPorts, syncPipe } from "./pipe-sync.ts";
import { preview } from "./schedule.ts";
import { type Catalog, gridOfPipe, picked, planOfPoller, whyPipeRests, whyPollerRests } from "./standing.ts";
import { pageWindows } from "./window-pages.ts";

const DEFAULT_PAGE = 1_000;
const MAX_PAGE = 10_000;
const DEFAULT_PREVIEW = 5;
const MAX_PREVIEW = 100;
const MAX_DEAD_SHOWN = 100;
/** Sends in flight of one manual run. */
const BATCH = 256;
/** Windows a minute. */
const DEFAULT_BACKFILL_RATE = 60;
const MAX_BACKFILL_RATE = 60_000;
const CATALOG_RETRY_MS = 500;

export interface SchedulesPorts extends SyncPorts {
  readonly catalog: Catalog & { readonly synced: boolean };
}

export function scheduleMethods(ports: SchedulesPorts): Methods<SchedulesServer> {
  const { catalog, windows, queue, nowMs } = ports;
  const byHand = () => ({ dueUs: usOfMs(nowMs()), epoch: 0n, manual: true });

  return {
    async syncPipe(request, { signal }) {
      checkInput("sync", [...nameMistakes("pipe", "name", request.name), ...rangeMistakes(request)]);
      const pipe = lookUp(catalog, "pipe", request.name);
      const why = whyPipeRests(catalog, pipe);
      if (why) throw new Fault("precondition", why);
      const asked = byHand();
      const beginUs = request.begin ? microsOf(request.begin) : gridOfPipe(pipe).beginUs;
      const endUs = request.end ? microsOf(request.end) : asked.dueUs;
      const range = request.begin || request.end ? { beginUs, endUs } : undefined;
      const { refetch } = request;
      const { queued, skipped } = await syncPipe(ports, { ...asked, pipe, refetch, range, signal });
      return { windows: [...queued], skipped };
    },

    async *backfillPipe(request, { signal }) {
      const { windowsPerMinute: rate } = request;
      const fix = `1 to ${MAX_BACKFILL_RATE}; 0 means ${DEFAULT_BACKFILL_RATE}`;
      checkInput("backfill", [
        ...nameMistakes("pipe", "name", request.name),
        ...rangeMistakes(request),
        ...(rate < 0 || rate > MAX_BACKFILL_RATE
          ? [{ field: "windows_per_minute", problem: `${rate} is out of range`, fix }]
          : []),
      ]);
      const pipe = lookUp(catalog, "pipe", request.name);
      const why = whyPipeRests(catalog, pipe);
      if (why) throw new Fault("precondition", why);
      const steps = backfill(ports, {
        ...{ pipe, signal, refetch: request.refetch, windowsPerMinute: rate || DEFAULT_BACKFILL_RATE },
        beginUs: request.begin && microsOf(request.begin),
        endUs: request.end && microsOf(request.end),
      });
      for await (const { done, total, queued, skipped, waiting } of steps) {
        const counts = { done: BigInt(done), total: BigInt(total), queued: BigInt(queued), skipped: BigInt(skipped) };
        yield { ...counts, waiting };
      }
    },

    async runPoller({ name }, { signal }) {
      checkInput("run", nameMistakes("poller", "name", name));
      const poller = lookUp(catalog, "poller", name);
      const why = whyPollerRests(catalog, poller);
      if (why) throw new Fault("precondition", why);
      const discover = poller.kind === PollerKind.DISCOVER;
      const resources = discover ? [""] : picked(catalog, planOfPoller(catalog, poller)).map((r) => r.name);
      if (resources.length === 0) {
        const advice = "check its filter, or whether its resources were discovered yet";
        throw new Fault("precondition", `${name} picks no resource: ${advice}`);
      }
      const asked = byHand();
      const runs: string[] = [];
      for (let at = 0; at < resources.length; at += BATCH) {
        signal.throwIfAborted();
        const jobs = resources.slice(at, at + BATCH).map((resource) => pollerJob(poller, resource, asked, 0));
        await allOf(jobs.map((job) => queue.send(messageId(job), Job.encode(job).finish())));
        for (const { runId } of jobs) runs.push(runId);
      }
      return { runs };
    },

    async listWindows({ parent, pageSize, pageToken, state }) {
      const badToken = pageToken !== "" && !/^-?\d{1,18}$/.test(pageToken);
      const known = Object.values(WindowState).some((value) => value === state && value !== WindowState.UNRECOGNIZED);
      checkInput("list", [
        ...nameMistakes("pipe", "parent", parent),
        ...(pageSize < 0 ? [{ field: "page_size", problem: `${pageSize} is below 0`, fix: `0 to ${MAX_PAGE}` }] : []),
        ...(badToken
          ? [{ field: "page_token", problem: `${JSON.stringify(pageToken)} is no page token`, fix: "leave it empty" }]
          : []),
        ...(known ? [] : [{ field: "state", problem: `${state} is not a state of windows` }]),
      ]);
      const pipe = lookUp(catalog, "pipe", parent);
      const stored = await windows.list(bare(parent));
      const page = pageWindows({
        grid: pipe.effective?.begin ? gridOfPipe(pipe) : undefined,
        nowUs: usOfMs(nowMs()),
        stored: stored.map(({ window }) => window),
        state,
        fromUs: pageToken === "" ? undefined : BigInt(pageToken),
        pageSize: Math.min(pageSize || DEFAULT_PAGE, MAX_PAGE),
      });
      return { windows: [...page.windows], nextPageToken: page.nextUs?.toString() ?? "" };
    },

    async previewSchedule({ schedule, key, count }) {
      const out = count < 0 || count > MAX_PREVIEW;
      checkInput("preview", [
        ...(out ? [{ field: "count", problem: `${count} is out of range`, fix: `0 to ${MAX_PREVIEW}` }] : []),
        ...mistakesOf(() => parseSchedule(schedule, "schedule")),
      ]);
      const times = preview(parseSchedule(schedule, "schedule"), key, nowMs(), count || DEFAULT_PREVIEW);
      return { times: times.map((ms) => timestampOf(usOfMs(ms))) };
    },

    async getQueue() {
      const [depth, dead] = await Promise.all([queue.depth(), queue.deadLetters(MAX_DEAD_SHOWN)]);
      return {
        depth: BigInt(depth),
        dead: dead.map(({ id, body, reason, deadMs }) => ({
          id,
          reason,
          runId: runIdOf(id, body),
          deadTime: timestampOf(usOfMs(deadMs)),
        })),
      };
    },

    async redriveJob({ id }) {
      if (id === "") checkInput("redrive", [{ field: "id", problem: "is empty", fix: "an id that GetQueue showed" }]);
      await queue.redrive(id);
      return {};
    },
  };
}

/** Errors: `unavailable` before the first complete copy of the catalogue, `not_found`. */
function lookUp<K extends EntityKind>(catalog: SchedulesPorts["catalog"], kind: K, name: string): EntityOf<K> {
  const entity = find(catalog, kind, name);
  if (entity) return entity;
  if (catalog.synced) throw new Fault("not_found", `there is no ${name}`);
  const message = "the scheduler has no copy of the catalogue yet: is the registry up?";
  throw new Fault("unavailable", message, { retryAfterMs: CATALOG_RETRY_MS });
}

function nameMistakes(kind: "pipe" | "poller", field: string, name: string): Mistake[] {
  if (name.startsWith(`${kind}s/`) && name.length > kind.length + 2) return [];
  return [{ field, problem: `${JSON.stringify(name)} is not the name of a ${kind}`, fix: `write ${kind}s/{${kind}}` }];
}

function rangeMistakes({ begin, end }: Pick<SyncPipeRequest, "begin" | "end">): Mistake[] {
  const wrong = [begin && timestampMistake(begin, "begin"), end && timestampMistake(end, "end")].filter((m) => !!m);
  if (wrong.length > 0 || !begin || !end || microsOf(begin) < microsOf(end)) return wrong;
  const [from, to] = [begin, end].map((time) => formatTime(microsOf(time)));
  const fix = "end is exclusive: at least a microsecond later";
  return [{ field: "end", problem: `${to} is not after begin, ${from}`, fix }];
}

function mistakesOf(work: () => unknown): readonly Mistake[] {
  try {
    work();
    return [];
  } catch (thrown) {
    return Fault.from(thrown).mistakes;
  }
}

function checkInput(what: string, mistakes: readonly Mistake[]): void {
  if (mistakes.length > 0) throw Fault.invalid(what, mistakes);
}

/** Waits for all, so that nothing is still being sent when the first failure is reported. */
async function allOf(work: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw Fault.from(failed.reason);
}

/** A body that is no job (a newer or broken sender) still shows under its id. */
function runIdOf(id: string, body: Uint8Array): string {
  try {
    return Job.decode(body).runId;
  } catch {
    return id.slice(0, id.lastIndexOf("@"));
  }
}
