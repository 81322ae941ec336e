/** Runs and Queries over gRPC, on the results library: translates, delegates, returns. No rule lives here. */
import { find } from "../../proto/catalog.ts";
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { type QueriesServer, QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import type { LogLine, Run } from "../../proto/gen/millrace/results/v1/run.ts";
import { type RunsServer, RunsService } from "../../proto/gen/millrace/results/v1/run_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import { type Methods, type Service, service } from "../kit/grpc.ts";
import { microsOf, stretchOf, timestampOf } from "../kit/time.ts";
import {
  type LogLine as LogRecord,
  OUTCOMES,
  type Results,
  RUN_KINDS,
  type RunFilter,
  type RunRecord,
} from "../results/records.ts";
import { exportQuery, exportRows, selectionOf } from "./export.ts";
import { type MaintenancePorts, maintenanceService } from "./maintenance-service.ts";
import { rejectsService } from "./rejects-service.ts";
import { nameIn } from "./resource-names.ts";

const RUNS_PAGE = { fallback: 100, max: 1_000 };
const LOGS_PAGE = { fallback: 1_000, max: 10_000 };
const LOGS_AT_ONCE = 1_000;
const ROWS_PAGE = { fallback: 1_000, max: 10_000 };
const QUERY_ROWS = { fallback: 1_000, max: 100_000 };
const QUERY_MS = { fallback: 10_000, max: 60_000 };
/** A response must fit into one gRPC message. */
const QUERY_BYTES = 16 << 20;
const MAX_SQL_BYTES = 256 << 10;

export const resultServices = (ports: MaintenancePorts): readonly Service[] => [
  service(RunsService, runMethods(ports.results)),
  service(
    QueriesService,
    queryMethods(ports.results, (pipe) => find(ports.catalog, "pipe", pipe)?.dataset),
  ),
  rejectsService(ports),
  maintenanceService(ports),
];

function runMethods(results: Results): Methods<RunsServer> {
  return {
    async listRuns({ pageSize, pageToken, ...wanted }) {
      const page = { size: clamp(pageSize, RUNS_PAGE), ...(pageToken && { token: pageToken }) };
      const { runs, nextToken } = await results.listRuns(filterOf(wanted), page);
      return { runs: runs.map(toRun), nextPageToken: nextToken ?? "" };
    },
    async getRun({ name }) {
      const attempts = (await results.getRun(nameIn("runs", "name", name))).map(toRun);
      return { run: attempts[0], attempts };
    },
    async listRunLogs({ name, pageSize }) {
      const run = nameIn("runs", "name", name);
      const wanted = clamp(pageSize, LOGS_PAGE);
      const lines: LogLine[] = [];
      for (let token: string | undefined; lines.length < wanted; ) {
        const size = Math.min(LOGS_AT_ONCE, wanted - lines.length);
        const page = await results.runLogs(run, { size, ...(token !== undefined && { token }) });
        lines.push(...page.lines.map(toLine));
        token = page.nextToken;
        if (token === undefined) break;
      }
      return { lines };
    },
  };
}

function queryMethods(results: Results, datasetOf: (pipe: string) => string | undefined): Methods<QueriesServer> {
  const named = (name: string): string => {
    if (!name.startsWith("pipes/")) return nameIn("datasets", "name", name);
    const dataset = datasetOf(name);
    if (dataset === undefined) throw new Fault("not_found", `there is no ${name}`);
    return bare(dataset);
  };
  return {
    async *exportRows(request, { signal }) {
      yield* exportRows(results, named(request.name), request, signal);
    },
    async *exportQuery(request, { signal }) {
      checkSql(request.sql, []);
      yield* exportQuery(results, request, signal);
    },
    async query({ sql, params, maxRows, timeoutMs }, { signal, remainingMs }) {
      const mistakes: Mistake[] = [];
      within("maxRows", maxRows, QUERY_ROWS.max, mistakes);
      within("timeoutMs", timeoutMs, QUERY_MS.max, mistakes);
      checkSql(sql, mistakes);
      const result = await results.query({
        sql,
        params,
        maxRows: maxRows || QUERY_ROWS.fallback,
        maxBytes: QUERY_BYTES,
        timeoutMs: Math.max(1, Math.min(timeoutMs || QUERY_MS.fallback, remainingMs())),
        signal,
      });
      const { columns, rows, truncated, elapsedMs, rowsRead } = result;
      return {
        columns: [...columns],
        rows: rows.map((row) => [...row]),
        truncated,
        elapsedMs,
        rowsRead: BigInt(rowsRead),
      };
    },
    async readRows({ name, pageSize, pageToken, select, where, orderBy, ...range }) {
      const { rows, nextCursor } = await results.readRows({
        dataset: named(name),
        ...{ select, where, orderBy },
        ...selectionOf(range),
        limit: clamp(pageSize, ROWS_PAGE),
        ...(pageToken && { cursor: pageToken }),
      });
      return { rows: rows.map((row) => ({ ...row })), nextPageToken: nextCursor ?? "" };
    },
    async listDatasets() {
      const datasets = await results.listDatasets();
      return {
        datasets: datasets.map(({ dataset, columns, storedRows, storedBytes }) => ({
          name: `datasets/${dataset}`,
          columns: Object.entries(columns).map(([column, type]) => ({ name: column, type })),
          rows: BigInt(storedRows),
          bytes: BigInt(storedBytes),
        })),
      };
    },
  };
}

/** Errors: `invalid` with these mistakes and those of the statement. */
function checkSql(sql: string, others: readonly Mistake[]): void {
  const mistakes = [...others];
  const bytes = Buffer.byteLength(sql);
  if (sql.trim() === "") mistakes.unshift({ field: "sql", problem: "is empty", fix: "send a SELECT" });
  if (bytes > MAX_SQL_BYTES) {
    mistakes.unshift({ field: "sql", problem: `has ${bytes} bytes`, fix: `at most ${MAX_SQL_BYTES}` });
  }
  if (mistakes.length) throw Fault.invalid("bad query", mistakes);
}

const clamp = (size: number, { fallback, max }: { readonly fallback: number; readonly max: number }) =>
  size <= 0 ? fallback : Math.min(size, max);

function within(field: string, value: number, max: number, mistakes: Mistake[]): void {
  if (value >= 0 && value <= max) return;
  mistakes.push({ field, problem: `${value} is not within 0–${max}`, fix: "0 means the default" });
}

interface Wanted {
  readonly instance: string;
  readonly target: string;
  readonly outcome: string;
  readonly kind: string;
  readonly since: Timestamp | undefined;
}

function filterOf({ instance, target, outcome, kind, since }: Wanted): RunFilter {
  const mistakes: Mistake[] = [];
  const one = <T extends string>(field: string, value: string, closed: readonly T[]): T | undefined => {
    const known = closed.find((candidate) => candidate === value);
    if (value && !known) mistakes.push({ field, problem: `"${value}" is not known`, fix: closed.join(", ") });
    return known;
  };
  const filter = {
    kind: one("kind", kind, RUN_KINDS),
    outcome: one("outcome", outcome, OUTCOMES),
    instance: instance ? bare(instance) : undefined,
    target: target || undefined,
    sinceUs: since && microsOf(since),
  };
  if (mistakes.length) throw Fault.invalid("bad filter", mistakes);
  return filter;
}

/** Records hold bare ids of instances, plugins and resources, and full names of targets. */
const full = (collection: string, id: string) => (id === "" ? "" : `${collection}/${id}`);

function toRun(record: RunRecord): Run {
  const { runId, kind, plugin, version, instance, target, resource, beginUs, endUs } = record;
  return {
    name: `runs/${runId}`,
    fence: record.fence,
    attempt: record.attempt,
    kind,
    pluginVersion: plugin ? `${full("plugins", plugin)}/versions/${version}` : "",
    instance: full("instances", instance),
    target,
    resource: full("resources", resource),
    ...(beginUs === undefined || endUs === undefined
      ? { begin: undefined, end: undefined }
      : stretchOf(record.integers ? "int64" : "time", beginUs, endUs)),
    dueTime: timestampOf(record.dueUs),
    startTime: timestampOf(record.startedUs),
    endTime: timestampOf(record.finishedUs),
    outcome: record.outcome,
    committed: record.committed,
    message: record.message,
    rows: BigInt(record.rows),
    bytesIn: BigInt(record.bytesIn),
    bytesOut: BigInt(record.bytesOut),
    cpuMs: record.cpuMs,
    wallMs: record.wallMs,
    memoryPeakBytes: BigInt(record.memoryPeakBytes),
    hostCalls: Object.fromEntries(Object.entries(record.hostCalls).map(([name, count]) => [name, BigInt(count)])),
    executor: record.executor,
    rejected: BigInt(record.rejected ?? 0),
    gas: BigInt(record.gas ?? 0),
  };
}

const toLine = ({ timeUs, level, message, fence }: LogRecord): LogLine => ({
  time: timestampOf(timeUs),
  level,
  message,
  fence,
});
