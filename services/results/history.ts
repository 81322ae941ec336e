/** Reads rows, runs and logs page by page, for the API and the console. */
import { Fault } from "../kit/fault.ts";
import { parseTime } from "../kit/time.ts";
import type { Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import { boundedSize, readToken, writeToken } from "./page-token.ts";
import type {
  LogLevel,
  LogsPage,
  Page,
  ReadRowsRequest,
  RowObject,
  RowsPage,
  RunFilter,
  RunRecord,
  RunsPage,
} from "./records.ts";
import { KEY_COLUMN, naive, type RowCursor, selectPage } from "./row-query.ts";
import { decodeRun, type RunRow } from "./run-row.ts";

const MAX_ROWS = 10_000;
const MAX_PAGE = 1_000;

export async function readRows(store: Store, datasets: Datasets, request: ReadRowsRequest): Promise<RowsPage> {
  const dataset = await datasets.find(request.dataset);
  if (!dataset) throw new Fault("not_found", `no dataset named "${request.dataset}"`);
  const limit = boundedSize("limit", request.limit, MAX_ROWS);
  const first: RowCursor = { key: [], skip: 0, asOfMs: Date.now(), order: "" };
  const at = readToken(request.cursor, first);
  const after = at === first ? undefined : at;
  const { sql, params, order } = selectPage(store.database, dataset, request, {
    limit: limit + 1,
    after,
    asOfMs: at.asOfMs,
  });
  const read = await store.rows<RowObject & { readonly [KEY_COLUMN]: readonly string[] }>(sql, params);
  const page = read.slice(0, limit);
  const rows = page.map(({ [KEY_COLUMN]: _, ...row }) => row);
  const last = page.at(-1);
  if (read.length <= limit || !last) return { rows, nextCursor: undefined };
  const key = last[KEY_COLUMN];
  const same = (row: (typeof page)[number]) => row[KEY_COLUMN].every((value, i) => value === key[i]);
  const equal = page.length - 1 - page.findLastIndex((row) => !same(row));
  const skip = equal + (equal === page.length && after?.key.every((value, i) => value === key[i]) ? after.skip : 0);
  return { rows, nextCursor: writeToken({ key, skip, asOfMs: at.asOfMs, order }) };
}

/** A window that is not over yet covers what there was when its run began. */
export async function fetchedUntil(store: Store): Promise<ReadonlyMap<string, bigint>> {
  const newest = `SELECT target, executor, outcome, least(assumeNotNull(end), started) AS until
    FROM ${store.database}.runs
    WHERE committed = 1 AND kind IN ('fetch', 'sync') AND isNotNull(end)
    ORDER BY dataset DESC, run_id DESC, fence DESC, finished DESC LIMIT 1 BY dataset, run_id`;
  const rows = await store.rows<{ target: string; until: string }>(
    `SELECT target, toString(toUnixTimestamp64Micro(max(until))) AS until FROM (${newest})
     WHERE executor != 'gateway' AND outcome != 'partial' GROUP BY target`,
  );
  return new Map(rows.map(({ target, until }) => [target, BigInt(until)]));
}

const FILTERS = ["kind", "instance", "target", "resource", "outcome", "dataset", "plugin"] as const;

export async function listRuns(store: Store, filter: RunFilter, page: Page): Promise<RunsPage> {
  const size = boundedSize("page size", page.size, MAX_PAGE);
  const after = readToken(page.token, { finished: "", runId: "", fence: "" });
  const where = FILTERS.filter((name) => filter[name] !== undefined).map((name) => `${name} = {${name}:String}`);
  if (filter.sinceUs !== undefined) where.push("finished >= {since:DateTime64(6, 'UTC')}");
  if (filter.untilUs !== undefined) where.push("finished < {until:DateTime64(6, 'UTC')}");
  if (after.finished) {
    where.push("(finished, run_id, fence) < ({finished:DateTime64(6, 'UTC')}, {runId:String}, {fence:UInt64})");
  }
  const rows = await store.rows<RunRow>(
    `SELECT * FROM ${store.database}.runs FINAL WHERE ${where.join(" AND ") || "1"}
     ORDER BY finished DESC, run_id DESC, fence DESC LIMIT {limit:UInt32}`,
    {
      ...Object.fromEntries(FILTERS.map((name) => [name, filter[name] ?? ""])),
      since: naive(filter.sinceUs),
      until: naive(filter.untilUs),
      finished: after.finished,
      runId: after.runId,
      fence: after.fence,
      limit: size + 1,
    },
  );
  const runs = rows.slice(0, size).map(decodeRun);
  const last = runs.at(-1);
  const more = rows.length > size && last;
  return {
    runs,
    nextToken: more
      ? writeToken({ finished: naive(last.finishedUs), runId: last.runId, fence: String(last.fence) })
      : undefined,
  };
}

export async function getRun(store: Store, runId: string): Promise<readonly RunRecord[]> {
  const rows = await store.rows<RunRow>(
    `SELECT * FROM ${store.database}.runs FINAL WHERE run_id = {runId:String} ORDER BY fence DESC LIMIT ${MAX_PAGE}`,
    { runId },
  );
  if (rows.length === 0) throw new Fault("not_found", `no run "${runId}" has been recorded`);
  return rows.map(decodeRun);
}

interface LogRow {
  readonly run_id: string;
  readonly fence: string;
  readonly time: string;
  readonly level: LogLevel;
  readonly instance: string;
  readonly message: string;
  readonly fields: string;
}

export async function runLogs(store: Store, runId: string, page: Page): Promise<LogsPage> {
  const size = boundedSize("page size", page.size, MAX_PAGE);
  const { offset } = readToken(page.token, { offset: 0 });
  const rows = await store.rows<LogRow>(
    `SELECT * FROM ${store.database}.logs WHERE run_id = {runId:String}
     ORDER BY time, fence LIMIT {limit:UInt32} OFFSET {offset:UInt64}`,
    { runId, limit: size + 1, offset },
  );
  const lines = rows.slice(0, size).map((row) => ({
    runId: row.run_id,
    fence: BigInt(row.fence),
    timeUs: parseTime(row.time, "logs"),
    level: row.level,
    instance: row.instance,
    message: row.message,
    ...(row.fields ? { fields: JSON.parse(row.fields) as Record<string, unknown> } : {}),
  }));
  return { lines, nextToken: rows.length > size ? writeToken({ offset: offset + size }) : undefined };
}
