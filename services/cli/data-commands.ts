/** Commands about pipes, pollers, resources, runs and rows. */
import { Pipe, PipeState } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { Poller, PollerKind, PollerState } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import type { Run } from "../../proto/gen/millrace/results/v1/run.ts";
import { RunsService } from "../../proto/gen/millrace/results/v1/run_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { parseDuration } from "../kit/time.ts";
import { apiOf, enumName, named, pages, showTime, toTimestamp } from "./api.ts";
import type { Command, Flag } from "./command.ts";
import { followSync, syncPipe } from "./sync.ts";
import { table } from "./terminal.ts";

const PAGE = { pageSize: 1_000 };
const SYNC_TIMEOUT = "1h";

/** Flags that set a pipe's parameters, by field. */
const parameterFlags = {
  begin: { type: "string", doc: "first moment worth fetching, RFC 3339" },
  end: { type: "string", doc: "end of what is worth fetching, exclusive, RFC 3339" },
  chunk: { type: "string", doc: "length of one window, for example 30d" },
  schedule: { type: "string", doc: '"every 1h", "cron 15 3 * * * Europe/Berlin" or "manual"' },
  backtrack: { type: "string", doc: "how far back finished windows are fetched again, for example 2d" },
  target: { type: "string", doc: "dataset that the rows go to" },
  timeout: { type: "string", doc: "wall time of one fetch, for example 60s" },
} satisfies Record<string, Flag>;

/** Flags on the command line are texts or switches; this is a text or nothing. */
const textOf = (value: string | boolean | undefined) => (typeof value === "string" ? value : "");

const runRow = (run: Run) => [
  showTime(run.startTime).replace(/\.\d+/, ""),
  bare(run.name),
  run.kind,
  run.attempt,
  run.outcome,
  run.rows,
  Math.round(run.wallMs),
  run.message.split("\n")[0],
];
/** `http 3, emit 1`. */
const hostCalls = (run: Run) =>
  Object.entries(run.hostCalls)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ") || "none";

const runHeads = ["started", "run", "kind", "attempt", "outcome", "rows", "ms", "message"];

export const dataCommands: readonly Command[] = [
  {
    path: "pipe create",
    args: "<instance> <metric> [location]",
    doc: "Creates a pipe: an instance's fetch, bound to a table. Its id is instance.metric[.location].",
    flags: parameterFlags,
    async run(invocation) {
      using api = apiOf(invocation);
      const [instance, metric, location = ""] = invocation.args;
      const names = Object.keys(parameterFlags) as (keyof typeof parameterFlags)[];
      const parameters = Object.fromEntries(names.map((name) => [name, textOf(invocation.flags[name])]));
      const pipe = Pipe.fromPartial({
        instance: named("instances", instance),
        metric: metric ?? "",
        location,
        parameters,
      });
      const created = await api.call(PipesService.createPipe, { pipe });
      invocation.terminal.result(
        created.pipe,
        () => `${created.pipe?.name} is created; rows go to ${created.pipe?.dataset}`,
      );
    },
  },
  {
    path: "pipe list",
    args: "",
    doc: "Lists pipes with their state and schedule.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const all = await pages((pageToken) => api.call(PipesService.listPipes, { ...PAGE, pageToken }));
      const pipes = all.flatMap((page) => page.pipes);
      invocation.terminal.result(pipes, () =>
        table(
          ["pipe", "state", "schedule", "chunk", "dataset", "reason"],
          pipes.map((p) => [
            bare(p.name),
            enumName(PipeState, p.state),
            p.effective?.schedule,
            p.effective?.chunk,
            p.dataset,
            p.stateReason.split("\n")[0],
          ]),
        ),
      );
    },
  },
  {
    path: "pipe sync",
    args: "<pipe>",
    doc: "Fetches the windows of a pipe that need it, and waits with a progress bar until they are done.",
    flags: {
      begin: { type: "string", doc: "only from this moment on, RFC 3339" },
      end: { type: "string", doc: "only up to this moment, exclusive, RFC 3339" },
      refetch: { type: "boolean", doc: "also windows that are done" },
      "no-wait": { type: "boolean", doc: "queue them and return at once" },
      timeout: { type: "string", doc: `how long to wait for them (default ${SYNC_TIMEOUT})` },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { flags, terminal } = invocation;
      const name = named("pipes", invocation.args[0]);
      const timeoutMs = parseDuration(textOf(flags.timeout) || SYNC_TIMEOUT, "--timeout");
      const begin = toTimestamp(flags.begin, "--begin");
      const end = toTimestamp(flags.end, "--end");
      const queued = await syncPipe(api, { name, begin, end, refetch: flags.refetch === true });
      if (flags["no-wait"]) {
        return terminal.result(queued, () => `${queued.windows.length} windows queued, ${queued.skipped} need nothing`);
      }
      const end_ = await followSync(api, name, queued.windows, terminal, timeoutMs);
      const { done, failed, rows, elapsedMs } = end_;
      const summary = `${done} windows done, ${failed.length} failed, ${queued.skipped} needed nothing; `;
      terminal.result(
        { ...end_, skipped: queued.skipped },
        () => `${summary}${rows} rows in ${(elapsedMs / 1_000).toFixed(1)} s`,
      );
      if (failed.length) {
        const lines = failed.map((w) => `  ${showTime(w.begin)} – ${showTime(w.end)}: ${w.message}`);
        throw new Fault("internal", `${failed.length} windows of ${name} failed\n${lines.join("\n")}`);
      }
    },
  },
  {
    path: "pipe windows",
    args: "<pipe>",
    doc: "Lists the windows of a pipe from its begin to now, with their state.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = named("pipes", invocation.args[0]);
      const request = { parent, pageSize: 10_000, state: WindowState.UNSPECIFIED };
      const all = await pages((pageToken) => api.call(SchedulesService.listWindows, { ...request, pageToken }));
      const windows = all.flatMap((page) => page.windows);
      invocation.terminal.result(windows, () =>
        table(
          ["begin", "end", "state", "rows", "message"],
          windows.map((w) => [showTime(w.begin), showTime(w.end), enumName(WindowState, w.state), w.rows, w.message]),
        ),
      );
    },
  },
  {
    path: "pipe delete",
    args: "<pipe>",
    doc: "Deletes a pipe. Its rows stay.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const name = named("pipes", invocation.args[0]);
      await api.call(PipesService.deletePipe, { name, etag: "" });
      invocation.terminal.result({ deleted: name }, () => `${name} is deleted`);
    },
  },
  {
    path: "poller create",
    args: "<instance> <name>",
    doc: "Creates a poller: an instance's poll or discover with a period.",
    flags: {
      discover: { type: "boolean", doc: "call discover instead of poll" },
      schedule: { type: "string", doc: '"every 30s" or "cron …" (default: the plugin\'s)' },
      filter: { type: "string", doc: 'CEL over resource: resource.type == "endpoint"' },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { args, flags } = invocation;
      const poller = Poller.fromPartial({
        instance: named("instances", args[0]),
        kind: flags.discover ? PollerKind.DISCOVER : PollerKind.POLL,
        schedule: textOf(flags.schedule),
        filter: textOf(flags.filter),
      });
      const created = await api.call(PollersService.createPoller, { poller, pollerId: args[1] as string });
      invocation.terminal.result(created.poller, () => `${created.poller?.name} is created`);
    },
  },
  {
    path: "poller list",
    args: "",
    doc: "Lists pollers with their period.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const all = await pages((pageToken) => api.call(PollersService.listPollers, { ...PAGE, pageToken }));
      const pollers = all.flatMap((page) => page.pollers);
      invocation.terminal.result(pollers, () =>
        table(
          ["poller", "instance", "kind", "state", "schedule", "filter"],
          pollers.map((p) => [
            bare(p.name),
            bare(p.instance),
            enumName(PollerKind, p.kind),
            enumName(PollerState, p.state),
            p.schedule,
            p.filter,
          ]),
        ),
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
      invocation.terminal.result(response.runs, () => response.runs.join("\n"));
    },
  },
  {
    path: "resource list",
    args: "",
    doc: "Lists resources: what pollers poll.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const all = await pages((pageToken) => api.call(ResourcesService.listResources, { ...PAGE, pageToken }));
      const resources = all.flatMap((page) => page.resources);
      invocation.terminal.result(resources, () =>
        table(
          ["resource", "type", "id", "endpoint", "origin"],
          resources.map((r) => [bare(r.name), r.type, r.id, r.endpoint, bare(r.origin)]),
        ),
      );
    },
  },
  {
    path: "run list",
    args: "",
    doc: "Lists the newest runs with their outcome.",
    flags: {
      target: { type: "string", doc: "only of this pipe or poller: pipes/weather.daily" },
      outcome: { type: "string", doc: "only with this outcome" },
      kind: { type: "string", doc: "only of this kind: fetch, poll, discover, register, route" },
      limit: { type: "string", doc: "at most this many (default 20)" },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { flags } = invocation;
      const { runs } = await api.call(RunsService.listRuns, {
        pageSize: Number(flags.limit ?? 20),
        pageToken: "",
        instance: "",
        target: textOf(flags.target),
        outcome: textOf(flags.outcome),
        kind: textOf(flags.kind),
        since: undefined,
      });
      invocation.terminal.result(runs, () => table(runHeads, runs.map(runRow)));
    },
  },
  {
    path: "run show",
    args: "<run>",
    doc: "Shows every attempt of a run, with what it cost.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const response = await api.call(RunsService.getRun, { name: named("runs", invocation.args[0]) });
      invocation.terminal.result(response, () =>
        response.attempts
          .map((run) =>
            [
              table(runHeads, [runRow(run)]),
              `  ${run.pluginVersion} on ${run.executor}, fence ${run.fence}${run.committed ? ", committed" : ""}`,
              `  CPU ${run.cpuMs.toFixed(1)} ms, memory ${(Number(run.memoryPeakBytes) / 2 ** 20).toFixed(1)} MiB, ` +
                `${run.bytesIn} bytes in, ${run.bytesOut} out, host calls ${hostCalls(run)}`,
            ].join("\n"),
          )
          .join("\n\n"),
      );
    },
  },
  {
    path: "run logs",
    args: "<run>",
    doc: "Prints what a run logged.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const request = { name: named("runs", invocation.args[0]), pageSize: 10_000 };
      const { lines } = await api.call(RunsService.listRunLogs, request);
      invocation.terminal.result(
        lines,
        () => lines.map((l) => `${showTime(l.time)} ${l.level.padEnd(5)} ${l.message}`).join("\n") || "no lines",
      );
    },
  },
  {
    path: "query",
    args: "<sql>",
    doc: "Runs one read-only SQL statement over what plugins stored.",
    flags: { limit: { type: "string", doc: "at most this many rows (default 1,000)" } },
    async run(invocation) {
      using api = apiOf(invocation);
      const request = { sql: invocation.args[0] as string, params: {}, timeoutMs: 0 };
      const response = await api.call(QueriesService.query, {
        ...request,
        maxRows: Number(invocation.flags.limit ?? 0),
      });
      invocation.terminal.result(response, () => {
        const cell = (value: unknown) => (typeof value === "object" && value ? JSON.stringify(value) : value);
        const heads = response.columns.map((column) => column.name);
        const more = response.truncated ? "\n… more rows; ask with --limit" : "";
        return `${table(
          heads,
          response.rows.map((row) => row.map(cell)),
        )}${more}`;
      });
    },
  },
];
