/** Work on stored rows: sums to verify by, emptied windows, copies, dropped datasets, and the sweep of what is dead. */
import { Fault } from "../kit/fault.ts";
import { axisOf } from "../kit/time.ts";
import type { Store } from "./client.ts";
import { type Datasets, METRICS } from "./datasets.ts";
import type { Copy, Dataset, Duplicates, RunRecord, RunSum, WindowFilter } from "./records.ts";
import { selectAll } from "./row-query.ts";
import { decodeRun, type RunRow } from "./run-row.ts";
import { literal, quote, rowsTable } from "./sql-names.ts";
import { extraText, storedVersions } from "./stored-columns.ts";
import { countedRows } from "./view.ts";
import type { Writer } from "./writer.ts";

/** Runs looked at in one query. */
export const MAX_RUNS_AT_ONCE = 1_000;
const MAX_WINDOWS = 1_000_000;

/** As it is now: another process may have added what belongs to the rows. */
async function known(datasets: Datasets, name: string): Promise<Dataset> {
  datasets.forget(name);
  const dataset = await datasets.find(name);
  if (!dataset) throw new Fault("not_found", `no dataset named "${name}"`);
  return dataset;
}

/** The commit that counts of each run with rows, by begin; those that lie wholly within [beginUs, endUs). */
export async function committedRuns(store: Store, filter: WindowFilter): Promise<readonly RunRecord[]> {
  const rows = await store.rows<RunRow>(
    `SELECT * FROM ${store.database}.runs WHERE dataset = {dataset:String} AND committed = 1
     ORDER BY run_id DESC, fence DESC, finished DESC LIMIT 1 BY run_id`,
    { dataset: filter.dataset },
  );
  if (rows.length > MAX_WINDOWS) throw new Fault("too_large", `${filter.dataset} has more than ${MAX_WINDOWS} runs`);
  const { beginUs, endUs, target } = filter;
  return rows
    .map(decodeRun)
    .filter((run) => run.target === target && run.parts.length > 0)
    .filter((run) => beginUs === undefined || (run.beginUs !== undefined && run.beginUs >= beginUs))
    .filter((run) => endUs === undefined || (run.endUs !== undefined && run.endUs <= endUs))
    .sort((a, b) => (a.beginUs === b.beginUs ? 0 : (a.beginUs ?? 0n) < (b.beginUs ?? 0n) ? -1 : 1));
}

/** Counted rows of runs, before rows equal in the index are made one. Runs without any are left out. */
export async function sumRuns(
  store: Store,
  datasets: Datasets,
  name: string,
  runs: readonly RunRecord[],
): Promise<ReadonlyMap<string, RunSum>> {
  const dataset = await known(datasets, name);
  const sums = new Map<string, RunSum>();
  for (let at = 0; at < runs.length; at += MAX_RUNS_AT_ONCE) {
    for (const sum of await sumSome(store, dataset, runs.slice(at, at + MAX_RUNS_AT_ONCE))) sums.set(sum.runId, sum);
  }
  return sums;
}

async function sumSome(store: Store, dataset: Dataset, runs: readonly RunRecord[]): Promise<RunSum[]> {
  const db = store.database;
  const stored = Object.keys(dataset.columns).flatMap((name) => storedVersions(dataset, name));
  const values = stored.map(({ column, type }) =>
    /^(json|labels)$/.test(type) ? `toString(${quote(column)})` : quote(column),
  );
  const hash = `cityHash64(tuple(${[...values, extraText(dataset)].join(", ")}))`;
  const times = runs.filter(({ beginUs, endUs }) => beginUs !== undefined && endUs !== undefined);
  const integers = axisOf(dataset.columns[dataset.datetime ?? ""]) !== "time";
  const place = (column: string) =>
    integers ? `toInt128(${column})` : `toUnixTimestamp64Micro(toDateTime64(${column}, 6, 'UTC'))`;
  const at = (position: bigint | undefined) => (integers ? `toInt128('${position ?? 0n}')` : `${position ?? 0n}`);
  const outside = dataset.datetime
    ? `countIf(${place(quote(dataset.datetime))}
         NOT BETWEEN spans[_run_id].1 AND spans[_run_id].2 - 1 AND mapContains(spans, _run_id))`
    : "0";
  const spans = times.map(({ runId, beginUs, endUs }) => `${literal(runId)}, (${at(beginUs)}, ${at(endUs)})`);
  const rows = await store.rows<{ run: string; counted: string; checksum: string; outside: string }>(
    `WITH ${spans.length ? `map(${spans.join(", ")})` : `map('', (${at(0n)}, ${at(0n)}))`} AS spans
     SELECT _run_id AS run, count() AS counted, hex(sum(${hash})) AS checksum, ${outside} AS outside
     FROM ${db}.${quote(rowsTable(dataset.dataset))}
     WHERE _run_id IN (${runs.map(({ runId }) => literal(runId)).join(", ")})
       AND ${countedRows(db, dataset.dataset)} GROUP BY _run_id`,
  );
  return rows.map(({ run, counted, checksum, outside }) => ({
    runId: run,
    counted: Number(counted),
    checksum,
    outside: Number(outside),
  }));
}

export async function countDuplicates(store: Store, datasets: Datasets, name: string): Promise<Duplicates> {
  const { columns } = await known(datasets, name);
  const db = store.database;
  const values = Object.entries(columns).map(([column, type]) =>
    /^(json|labels)$/.test(type) ? `toString(${quote(column)})` : quote(column),
  );
  const [row] = await store.rows<Record<keyof Duplicates, string>>(
    `SELECT (SELECT count() FROM ${db}.${quote(rowsTable(name))}) AS stored,
       (SELECT count() FROM ${db}.${quote(rowsTable(name))} WHERE ${countedRows(db, name)}) AS counted,
       count() AS seen, count() - uniqExact(tuple(${[...values, "toString(_extra)"].join(", ")})) AS equal
     FROM ${db}.${quote(name)}`,
  );
  const count = (value: string | undefined) => Number(value ?? 0);
  return {
    stored: count(row?.stored),
    counted: count(row?.counted),
    seen: count(row?.seen),
    equal: count(row?.equal),
  };
}

/** The rows go in invisibly, under a fence of their own; the commit shows them all. */
export async function copyRows(store: Store, datasets: Datasets, writer: Writer, copy: Copy): Promise<number> {
  const source = await known(datasets, copy.dataset);
  if (copy.target === copy.dataset) {
    throw Fault.invalid("copy", [{ field: "target", problem: "is the dataset itself", fix: "choose another" }]);
  }
  const { columns, datetime, index, schema, timezone, extra } = source;
  const target = await datasets.ensure({ dataset: copy.target, columns, datetime, index, schema, timezone, extra });
  const names = Object.keys(columns);
  const taking = names.map((name) => {
    const version = storedVersions(target, name).find(({ type }) => type === columns[name]);
    if (version) return version.column;
    throw new Fault("conflict", `${copy.target} stores ${name} as ${target.columns[name]}, not as ${columns[name]}`);
  });
  const rest = extra ? ["_extra"] : [];
  const { sql, params } = selectAll(store.database, source, { ...copy, select: [...names, ...rest] }, false);
  const envelope = "{run:String}, {fence:UInt64}, 1, 0, '', now64(3)";
  // Sent once: asked again after an answer that was lost, it would store its rows twice under the same fence.
  const written = store.client.command({
    query: `INSERT INTO ${store.database}.${quote(rowsTable(copy.target))}
       (_run_id, _fence, _attempt, _chunk, _resource, _ingested_at, ${[...taking, ...rest].map(quote).join(", ")})
     SELECT ${envelope}, * FROM (${sql})`,
    query_params: { ...params, run: copy.run.runId, fence: String(copy.run.fence) },
    clickhouse_settings: { insert_deduplicate: 0, wait_end_of_query: 1 },
  });
  await written.catch((thrown) => {
    throw store.fault(thrown);
  });
  const [row] = await store.rows<{ n: string }>(
    `SELECT count() AS n FROM ${store.database}.${quote(rowsTable(copy.target))}
     WHERE _run_id = {run:String} AND _fence = {fence:UInt64}`,
    { run: copy.run.runId, fence: String(copy.run.fence) },
  );
  const rows = Number(row?.n ?? 0);
  const parts = [{ fence: copy.run.fence, chunks: 1 }];
  await writer.commit({ ...copy.run, dataset: copy.target, parts, chunks: 1, rows });
  return rows;
}

/** Table, view, rejects, and the runs that said which rows count. Safe to repeat. */
export async function dropDataset(store: Store, datasets: Datasets, name: string): Promise<number> {
  const dataset = await datasets.find(name);
  const db = store.database;
  await store.command(`DROP VIEW IF EXISTS ${db}.${quote(name)}`);
  await store.command(`DROP TABLE IF EXISTS ${db}.${quote(rowsTable(name))} SYNC`);
  datasets.forget(name);
  for (const table of ["rejects", "runs"]) {
    await store.command(`DELETE FROM ${db}.${table} WHERE dataset = {dataset:String}`, { dataset: name });
  }
  return dataset?.storedRows ?? 0;
}

/**
 * Deletes rows of attempts that a commit older than `lagMs` has superseded, or that were only there to be compared.
 * What a later attempt may still resume from has a greater fence than every commit, so it stays; a reader who began
 * before has its snapshot. Returns the datasets that are being swept; ClickHouse rewrites their parts behind our back.
 */
export async function sweepRows(store: Store, datasets: Datasets, lagMs: number): Promise<readonly string[]> {
  const db = store.database;
  const swept: string[] = [];
  for (const { dataset } of await datasets.list()) {
    // A poll's run is never done again, and its rows are many.
    if (dataset === METRICS.dataset) continue;
    const dead = `(_run_id, _fence) IN (SELECT _run_id, _fence
      FROM (SELECT DISTINCT _run_id, _fence FROM ${db}.${quote(rowsTable(dataset))}) AS rows
      INNER JOIN (SELECT run_id, fence, parts, finished FROM ${db}.runs
        WHERE dataset = ${literal(dataset)} AND committed = 1
        ORDER BY run_id DESC, fence DESC, finished DESC LIMIT 1 BY run_id) AS live ON rows._run_id = live.run_id
      WHERE _fence < fence AND NOT has(arrayMap(part -> part.1, parts), _fence)
        AND finished < now64(6) - toIntervalMillisecond(${Math.trunc(lagMs)})
      UNION ALL SELECT run_id, fence FROM ${db}.runs
      WHERE dataset = ${literal(dataset)} AND kind = 'verify' AND committed = 0
        AND finished < now64(6) - toIntervalMillisecond(${Math.trunc(lagMs)}))`;
    const [found] = await store.rows<{ dead: string; busy: string }>(
      `SELECT (SELECT count() FROM ${db}.${quote(rowsTable(dataset))} WHERE ${dead}) AS dead,
         (SELECT count() FROM system.mutations WHERE database = {db:String} AND table = {table:String} AND NOT is_done)
           AS busy`,
      { db, table: rowsTable(dataset) },
    );
    if (Number(found?.dead ?? 0) === 0 || Number(found?.busy ?? 0) > 0) continue;
    await store.command(
      `ALTER TABLE ${db}.${quote(rowsTable(dataset))} DELETE WHERE ${dead} SETTINGS mutations_sync = 0`,
    );
    swept.push(dataset);
  }
  return swept;
}
