/** Commands about what ran, what it stored, and what waits to run. */
import { QueriesService, QueryResponse } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { LogLine, Run } from "../../proto/gen/millrace/results/v1/run.ts";
import { RunsService } from "../../proto/gen/millrace/results/v1/run_service.ts";
import { GetQueueResponse, SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { bare } from "../../proto/names.ts";
import { apiOf, named, showTime } from "./api.ts";
import { firstLine } from "./collection.ts";
import { type Command, wholeFlag } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { table } from "./terminal.ts";

const MAX_RUNS = 1_000;
const MAX_ROWS = 1_000_000;

const textOf = (value: string | boolean | undefined) => (typeof value === "string" ? value : "");
const runJson = (run: Run) => restJson("millrace.results.v1.Run", Run, run);

const runRow = (run: Run) => [
  showTime(run.startTime).replace(/\.\d+/, ""),
  bare(run.name),
  run.kind,
  run.outcome,
  run.rows,
  Math.round(run.wallMs),
  firstLine(run.message),
];
/** `http 3, emit 1`. */
const hostCalls = (run: Run) =>
  Object.entries(run.hostCalls)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ") || "none";

const runHeads = ["started", "run", "kind", "outcome", "rows", "ms", "message"];

export const runCommands: readonly Command[] = [
  {
    path: "run list",
    args: "",
    doc: "Lists the newest runs with their outcome.",
    flags: {
      target: { type: "string", doc: "only of this pipe or poller: pipes/weather.daily" },
      outcome: { type: "string", doc: "only with this outcome" },
      kind: { type: "string", doc: "only of this kind: fetch, poll, discover, enrich, register, route" },
      limit: { type: "string", doc: `at most this many (default 20, at most ${MAX_RUNS})` },
    },
    async run(invocation) {
      using api = apiOf(invocation);
      const { flags } = invocation;
      const { runs } = await api.call(RunsService.listRuns, {
        pageSize: wholeFlag(flags, "limit", [1, MAX_RUNS]) ?? 20,
        pageToken: "",
        instance: "",
        target: textOf(flags.target),
        outcome: textOf(flags.outcome),
        kind: textOf(flags.kind),
        since: undefined,
      });
      invocation.terminal.result(
        () => runs.map(runJson),
        () => table(runHeads, runs.map(runRow)),
      );
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
      invocation.terminal.result(
        () => response.attempts.map(runJson),
        () =>
          response.attempts
            .map((run) =>
              [
                table(runHeads, [runRow(run)]),
                `  ${run.pluginVersion} on ${run.executor}`,
                `  attempt ${run.attempt}, fence ${run.fence}${run.committed ? ", committed" : ""}`,
                `  CPU ${run.cpuMs.toFixed(1)} ms, memory ${(Number(run.memoryPeakBytes) / 2 ** 20).toFixed(1)} MiB, ` +
                  `${run.bytesIn} bytes in, ${run.bytesOut} out, host calls ${hostCalls(run)}` +
                  (run.gas ? `, ${run.gas} instructions` : ""),
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
        () => lines.map((line) => restJson("millrace.results.v1.LogLine", LogLine, line)),
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
        maxRows: wholeFlag(invocation.flags, "limit", [1, MAX_ROWS]) ?? 0,
      });
      const json = () => restJson("millrace.results.v1.QueryResponse", QueryResponse, response);
      invocation.terminal.result(json, () => {
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
  {
    path: "queue list",
    args: "",
    doc: "Shows how many jobs wait or run, and those that were given up.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const queue = await api.call(SchedulesService.getQueue, {});
      invocation.terminal.result(
        () => restJson("millrace.scheduler.v1.GetQueueResponse", GetQueueResponse, queue),
        () => {
          const dead = queue.dead.map((job) => [job.id, job.runId, showTime(job.deadTime), firstLine(job.reason)]);
          const given = dead.length ? table(["id", "run", "given up", "reason"], dead) : "no job was given up";
          return `${queue.depth} jobs wait or run\n${given}`;
        },
      );
    },
  },
  {
    path: "queue redrive",
    args: "<id>",
    doc: "Puts a job that was given up back into the queue. Its id is shown by: queue list.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const id = invocation.args[0] as string;
      await api.call(SchedulesService.redriveJob, { id });
      invocation.terminal.result(
        () => ({ redriven: id }),
        () => `job ${id} is queued again`,
      );
    },
  },
];
