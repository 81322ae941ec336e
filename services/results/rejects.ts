/** Rows that were set aside because they did not fit, and how they come back. */
import { Fault } from "../kit/fault.ts";
import { parseTime } from "../kit/time.ts";
import type { Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import { getRun } from "./history.ts";
import { boundedSize, readToken, writeToken } from "./page-token.ts";
import type { Page, Redrive, Redriven, Reject, RejectFilter, RejectsPage, RunPart, RunRecord } from "./records.ts";
import { encodeRows } from "./row.ts";
import type { Writer } from "./writer.ts";

const MAX_PAGE = 1_000;
/** Rows of one run that are redriven at once: they are one chunk. */
const MAX_REDRIVEN = 100_000;

interface RejectPlace {
  readonly runId: string;
  readonly fence: string;
  readonly chunk: number;
  readonly row: number;
}

interface RejectRow {
  readonly run_id: string;
  readonly fence: string;
  readonly chunk: number;
  readonly row: number;
  readonly reason: string;
  readonly raw: string;
  readonly time: string;
}

/** Of chunks that count, and not redriven under a fence that counts. */
const open = (db: string) => {
  const parts = `SELECT run_id, arrayJoin(parts) AS part FROM (SELECT run_id, parts FROM ${db}.runs
    WHERE dataset = {dataset:String} AND committed = 1
    ORDER BY run_id DESC, fence DESC, finished DESC LIMIT 1 BY run_id)`;
  return `(run_id, fence, chunk) IN (SELECT run_id, part.1, arrayJoin(range(part.2)) FROM (${parts}))
    AND (redriven_by = 0 OR (run_id, redriven_by) NOT IN (SELECT run_id, part.1 FROM (${parts})))`;
};

/** The same for one run whose parts are known; `run` is a parameter of the query. */
export async function countRejects(store: Store, run: Pick<RunRecord, "dataset" | "runId" | "parts">): Promise<number> {
  if (run.parts.length === 0) return 0;
  const counted = run.parts.map(({ fence, chunks }) => `(fence = ${fence} AND chunk < ${chunks})`).join(" OR ");
  const fences = run.parts.map(({ fence }) => fence).join(", ");
  const rows = await store.rows<{ n: string }>(
    `SELECT count() AS n FROM ${store.database}.rejects FINAL
     WHERE dataset = {dataset:String} AND run_id = {run:String} AND (${counted}) AND redriven_by NOT IN (${fences})`,
    { dataset: run.dataset, run: run.runId },
  );
  return Number(rows[0]?.n ?? 0);
}

async function select(store: Store, filter: RejectFilter, after: Partial<RejectPlace>, limit: number) {
  const where = ["dataset = {dataset:String}", open(store.database)];
  if (filter.runId !== undefined) where.push("run_id = {run:String}");
  if (after.runId) {
    where.push("(run_id, fence, chunk, row) > ({runId:String}, {fence:UInt64}, {chunk:UInt32}, {row:UInt32})");
  }
  return store.rows<RejectRow>(
    `SELECT run_id, fence, chunk, row, reason, raw, time FROM ${store.database}.rejects FINAL
     WHERE ${where.join(" AND ")} ORDER BY run_id, fence, chunk, row LIMIT {limit:UInt32}`,
    { dataset: filter.dataset, run: filter.runId ?? "", limit, ...after },
  );
}

/** Errors: `not_found` for an unknown dataset. */
export async function listRejects(
  store: Store,
  datasets: Datasets,
  filter: RejectFilter,
  page: Page,
): Promise<RejectsPage> {
  if (!(await datasets.find(filter.dataset))) throw new Fault("not_found", `no dataset named "${filter.dataset}"`);
  const size = boundedSize("page size", page.size, MAX_PAGE);
  const after = readToken<RejectPlace>(page.token, { runId: "", fence: "0", chunk: 0, row: 0 });
  const rows = await select(store, filter, after, size + 1);
  const last = rows.length > size ? rows[size - 1] : undefined;
  return {
    rejects: rows.slice(0, size).map(toReject),
    nextToken: last && writeToken({ runId: last.run_id, fence: last.fence, chunk: last.chunk, row: last.row }),
  };
}

const toReject = (row: RejectRow): Reject => ({
  runId: row.run_id,
  fence: BigInt(row.fence),
  chunk: row.chunk,
  row: row.row,
  reason: row.reason,
  raw: row.raw,
  timeUs: parseTime(row.time, "rejects"),
});

/**
 * Rows that fit by now become a chunk of their run under `fence`, which the caller holds the run's lock for; those that
 * do not are set aside again. They are marked before the commit, and the mark holds only if it comes: a kill in
 * between leaves everything as it was.
 */
export async function redriveRejects(
  store: Store,
  writer: Writer,
  { dataset, runId, fence }: Redrive,
): Promise<Redriven> {
  const run = (await getRun(store, runId)).find((attempt) => attempt.committed && attempt.dataset === dataset);
  if (!run) throw new Fault("not_found", `run ${runId} has not been committed to ${dataset}`);
  if (run.fence >= fence) throw new Fault("conflict", `run ${runId} has a newer attempt`);
  const rows = await select(store, { dataset, runId }, {}, MAX_REDRIVEN);
  if (rows.length === 0) return { stored: 0, rejected: 0 };
  const lines = Buffer.from(rows.map(({ raw }) => `${raw}\n`).join(""));
  const chunk = { dataset, runId, fence, attempt: run.attempt, chunk: 0, resource: run.resource, rows: lines };
  const stored = await writer.append(chunk);
  if (stored.rows === 0) return { stored: 0, rejected: stored.rejected };
  const marks = rows.map((row) => ({ dataset, ...row, redriven_by: fence }));
  await store.insert({
    sql: `INSERT INTO ${store.database}.rejects FORMAT JSONEachRow`,
    body: encodeRows(marks),
    token: `${runId}/${fence}/redriven`,
    assurance: "repeat",
  });
  const part: RunPart = { fence, chunks: 1 };
  await writer.commit({ ...run, fence, parts: [...run.parts, part], rows: run.rows + stored.rows });
  return { stored: stored.rows, rejected: stored.rejected };
}
