/** The scheduler over gRPC: checks what was asked, and queues or tells. */
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import type { SchedulesServer } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { pause } from "../kit/lifecycle.ts";
import { parseSchedule } from "../kit/schedule.ts";
import { beginOf, isInteger, microsOf, timestampOf } from "../kit/time.ts";
import type { BackfillPorts } from "./backfill.ts";
import { createBackfill } from "./backfill-service.ts";
import { isOver } from "./backfill-store.ts";
import { whyTheyWait } from "./chain-sync.ts";
import { axisOfPipe, messageId, pollerJob } from "./jobs.ts";
import { lookUp } from "./lookup.ts";
import { readSpan, spanMistakes, usOfMs } from "./moments.ts";
import { syncPipe } from "./pipe-sync.ts";
import { preview } from "./schedule.ts";
import { gridOfPipe, picked, planOfPoller, whyPipeRests, whyPollerRests } from "./standing.ts";
import { askSource } from "./verify.ts";
import { pageWindows } from "./window-pages.ts";
import { existsUntil } from "./windows.ts";

/** Neither done nor at work. */
const RESTING: readonly WindowState[] = [WindowState.MISSING, WindowState.STALE, WindowState.FAILED];
const DEFAULT_PAGE = 1_000;
const MAX_PAGE = 10_000;
const DEFAULT_PREVIEW = 5;
const MAX_PREVIEW = 100;
const MAX_DEAD_SHOWN = 100;
/** Sends in flight of one manual run. */
const BATCH = 256;
/** How often a backfill that is followed is looked at. */
const FOLLOW_MS = 200;

export function scheduleMethods(ports: BackfillPorts): Methods<SchedulesServer> {
  const { catalog, windows, queue, nowMs } = ports;
  const byHand = () => ({ dueUs: usOfMs(nowMs()), epoch: 0n, manual: true });

  return {
    async syncPipe(request, { signal }) {
      checkInput("sync", [...nameMistakes("pipe", "name", request.name), ...spanMistakes(request)]);
      const pipe = lookUp(catalog, "pipe", request.name);
      const span = readSpan("sync", axisOfPipe(pipe), request);
      const why = whyPipeRests(catalog, pipe);
      if (why) throw new Fault("precondition", why);
      const asked = byHand();
      const { axis, beginUs: firstUs } = gridOfPipe(pipe);
      const { beginUs = firstUs, endUs = axis === "time" ? asked.dueUs : undefined } = span;
      const whole = span.beginUs === undefined && span.endUs === undefined;
      const { refetch, since } = request;
      const wanted = { refetch, range: whole ? undefined : { beginUs, endUs }, sinceUs: since && microsOf(since) };
      const { queued, skipped } = await syncPipe(ports, { ...asked, pipe, ...wanted, signal });
      return { windows: [...queued], skipped, dueTime: timestampOf(asked.dueUs) };
    },

    async *backfillPipe(request, { signal }) {
      checkInput("backfill", nameMistakes("pipe", "name", request.name));
      const { name: parent, begin, end, beginInt, endInt, refetch, windowsPerMinute } = request;
      const bounds = { ...(begin && { begin }), ...(end && { end }), beginInt: beginInt ?? "", endInt: endInt ?? "" };
      const wanted = Backfill.fromPartial({ refetch, windowsPerMinute, ...bounds });
      const { name } = await createBackfill(ports, parent, wanted);
      for (let told = ""; ; ) {
        const backfill = await ports.backfills.get(name);
        const { lookedAt: done, total, queued, waiting, message } = backfill;
        const news = JSON.stringify([done, queued, waiting, backfill.state].map(String));
        if (news !== told) yield { done, total, queued, skipped: done - queued, waiting, backfill: name };
        told = news;
        if (backfill.state === BackfillState.FAILED) throw new Fault("precondition", `${name} failed: ${message}`);
        if (isOver(backfill) || !(await pause(FOLLOW_MS, signal))) return;
      }
    },

    async verifyPipeSource(request, { signal }) {
      checkInput("verify", [...nameMistakes("pipe", "name", request.name), ...spanMistakes(request)]);
      const pipe = lookUp(catalog, "pipe", request.name);
      const span = readSpan("verify", axisOfPipe(pipe), request);
      const why = whyPipeRests(catalog, pipe);
      if (why) throw new Fault("precondition", why);
      const { repair } = request;
      const asked = byHand();
      const { queued, skipped } = await askSource(ports, { ...asked, ...span, pipe, repair, signal });
      return { dueTime: timestampOf(asked.dueUs), windows: [...queued], skipped };
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
      const badToken = pageToken !== "" && !isInteger(pageToken);
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
      const index = await windows.index(bare(parent));
      const fromUs = pageToken === "" ? undefined : BigInt(pageToken);
      const grid = pipe.effective?.begin ? gridOfPipe(pipe) : undefined;
      const axis = axisOfPipe(pipe);
      const head = grid && axis !== "time" ? index.head(grid) : undefined;
      // What comes after others is opened by them, and not by its own rows.
      const opened = pipe.effective?.after.length ? head && { ...head, openUs: head.reachUs - 1n } : head;
      const existUs = grid ? existsUntil(grid, usOfMs(nowMs()), opened) : 0n;
      const page = pageWindows({
        ...{ grid, nowUs: existUs, stored: index.from(fromUs), state, fromUs },
        pageSize: Math.min(pageSize || DEFAULT_PAGE, MAX_PAGE),
      });
      const shown = await windows.show(bare(parent), axis, page.windows, grid?.chunkUs ?? 0n);
      const waiting = shown.filter(({ state: is, message }) => message === "" && RESTING.includes(is)).map(beginOf);
      const why = pipe.effective?.after.length
        ? await whyTheyWait(ports, pipe, waiting, usOfMs(nowMs()))
        : new Map<bigint, string>();
      const told = shown.map((window) => ({ ...window, message: window.message || (why.get(beginOf(window)) ?? "") }));
      return { windows: told, nextPageToken: page.nextUs?.toString() ?? "" };
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

function nameMistakes(kind: "pipe" | "poller", field: string, name: string): Mistake[] {
  if (name.startsWith(`${kind}s/`) && name.length > kind.length + 2) return [];
  return [{ field, problem: `${JSON.stringify(name)} is not the name of a ${kind}`, fix: `write ${kind}s/{${kind}}` }];
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
