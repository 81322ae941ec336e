/** What pipes and pollers have beside list, show, pause, resume and delete. */
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Poller, PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { SchedulesService, SyncPipeResponse } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { parseDuration } from "../kit/time.ts";
import { apiOf, enumName, named, pages, rangeOf, showStretch } from "./api.ts";
import { type Command, Misuse } from "./command.ts";
import { parameterFlags, parametersOf } from "./parameter-flags.ts";
import { tagsOf } from "./pipe-edit.ts";
import { restJson } from "./rest-json.ts";
import { followOn, syncPipe } from "./sync.ts";
import { table } from "./terminal.ts";

const SYNC_TIMEOUT = "1h";
/** Failed windows told one by one. */
const MAX_SHOWN = 10;

const windowJson = (window: Window) => restJson("millrace.scheduler.v1.Window", Window, window);

/** Flags on the command line are texts or switches; this is a text or nothing. */
const textOf = (value: string | boolean | undefined) => (typeof value === "string" ? value : "");

/** What the source said when it was last asked again; "" when it agreed, or never was. */
function verdictOf({ verification }: Window): string {
  if (!verification?.verifyTime) return "";
  const { problem, differs, repaired } = verification;
  if (problem) return `the source could not be compared: ${problem}`;
  if (!differs) return "";
  return repaired ? "differed from the source, and was replaced" : "differs from the source";
}

export const dataCommands: readonly Command[] = [
  {
    path: "pipe create",
    args: "<instance> <metric> [location]",
    doc: "Creates a pipe: an instance's fetch, bound to a table. Its id is instance.metric[.location].",
    flags: {
      ...parameterFlags,
      tags: { type: "string", doc: "words to select it by, with commas" },
      paused: { type: "string", doc: "create it paused: why" },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const [instance, metric, location = ""] = invocation.args;
      const { tags, paused } = invocation.flags;
      const pipe = Pipe.fromPartial({
        instance: named("instances", instance),
        metric: metric ?? "",
        location,
        parameters: parametersOf(invocation.flags),
        tags: tagsOf(tags),
        ...(typeof paused === "string" && { state: PipeState.PAUSED, stateReason: paused }),
      });
      const created = await api.call(PipesService.createPipe, { pipe });
      invocation.terminal.result(
        () => created.pipe && restJson("millrace.registry.v1.Pipe", Pipe, created.pipe),
        () => `${created.pipe?.name} is created; rows go to ${created.pipe?.dataset}`,
      );
    },
  },
  {
    path: "pipe sync",
    args: "<pipe>",
    doc: "Fetches the windows of a pipe that need it, and waits with a progress bar until they are done.",
    flags: {
      begin: { type: "string", doc: "only from here on: RFC 3339, or an integer" },
      end: { type: "string", doc: "only up to here, exclusive: RFC 3339, or an integer" },
      refetch: { type: "boolean", doc: "also windows that are done" },
      "no-wait": { type: "boolean", doc: "queue them and return at once" },
      timeout: { type: "string", doc: `how long to wait for them (default ${SYNC_TIMEOUT})` },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { flags, terminal } = invocation;
      const name = named("pipes", invocation.args[0]);
      const timeoutMs = parseDuration(textOf(flags.timeout) || SYNC_TIMEOUT, "--timeout");
      const request = { name, ...rangeOf(flags), refetch: flags.refetch === true };
      const queued = await syncPipe(api, request);
      if (flags["no-wait"]) {
        return terminal.result(
          () => restJson("millrace.scheduler.v1.SyncPipeResponse", SyncPipeResponse, queued),
          () => `${queued.windows.length} windows queued, ${queued.skipped} need nothing`,
        );
      }
      const { done, failed, rows, elapsedMs } = await followOn(api, request, queued, terminal, timeoutMs);
      const counts = `${done} windows done, ${failed.length} failed, ${queued.skipped} needed nothing`;
      terminal.result(
        () => ({ done, failed: failed.map(windowJson), skipped: queued.skipped, rows, elapsed_ms: elapsedMs }),
        () => `${counts}; ${rows} rows in ${(elapsedMs / 1_000).toFixed(1)} s`,
      );
      if (!failed.length) return;
      const lines = failed.slice(0, MAX_SHOWN).map((w) => `  ${showStretch(w).join(" – ")}: ${w.message}`);
      if (failed.length > MAX_SHOWN) lines.push(`  … and ${failed.length - MAX_SHOWN} more`);
      const look = `look with: pipe windows ${bare(name)}; a sync tries them again`;
      terminal.fail(`${failed.length} windows of ${name} failed; ${look}\n${lines.join("\n")}`);
    },
  },
  {
    path: "pipe windows",
    args: "<pipe>",
    doc: "Lists the windows of a pipe from its begin to now, or as far as its source goes, with their state.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = named("pipes", invocation.args[0]);
      const request = { parent, pageSize: 10_000, state: WindowState.UNSPECIFIED };
      const all = await pages((pageToken) => api.call(SchedulesService.listWindows, { ...request, pageToken }));
      const windows = all.flatMap((page) => page.windows);
      invocation.terminal.result(
        () => windows.map(windowJson),
        () =>
          table(
            ["begin", "end", "state", "rows", "message"],
            windows.map((w) => [
              ...[...showStretch(w), enumName(WindowState, w.state), w.rows],
              w.message || verdictOf(w),
            ]),
          ),
      );
    },
  },
  {
    path: "poller create",
    args: "<instance> <name>",
    doc: "Creates a poller: an instance's poll, discover or enrich with a period.",
    flags: {
      discover: { type: "boolean", doc: "call discover instead of poll" },
      enrich: { type: "boolean", doc: "call enrich instead of poll" },
      schedule: { type: "string", doc: '"every 30s" or "cron …" (default: the plugin\'s)' },
      filter: { type: "string", doc: 'CEL over resource: resource.type == "endpoint"' },
      tags: { type: "string", doc: "words to select it by, with commas" },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { args, flags } = invocation;
      if (flags.discover && flags.enrich) throw new Misuse("--discover and --enrich: a poller calls one of them");
      const kind = flags.discover ? PollerKind.DISCOVER : flags.enrich ? PollerKind.ENRICH : PollerKind.POLL;
      const poller = Poller.fromPartial({
        instance: named("instances", args[0]),
        kind,
        schedule: textOf(flags.schedule),
        filter: textOf(flags.filter),
        tags: tagsOf(flags.tags),
      });
      const created = await api.call(PollersService.createPoller, { poller, pollerId: args[1] as string });
      invocation.terminal.result(
        () => created.poller && restJson("millrace.registry.v1.Poller", Poller, created.poller),
        () => `${created.poller?.name} is created`,
      );
    },
  },
  {
    path: "poller run",
    args: "<poller>",
    doc: "Queues one run of a poller now, for every resource that it picks.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const response = await api.call(SchedulesService.runPoller, { name: named("pollers", invocation.args[0]) });
      invocation.terminal.result(
        () => response.runs,
        () => response.runs.join("\n"),
      );
    },
  },
];
