/** An attempt that nobody sees against what is stored: the same rows, or not. */
import { Fault } from "../kit/fault.ts";
import { axisOf } from "../kit/time.ts";
import type { Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import type { Dataset, RunPart } from "./records.ts";
import { quote, rowsTable } from "./sql-names.ts";
import { extraText } from "./stored-columns.ts";
import { shownColumns } from "./view.ts";

/** Chunks of a run that were not committed, to be compared with those that were. */
export interface ShadowAttempt {
  readonly dataset: string;
  readonly runId: string;
  readonly parts: readonly RunPart[];
}

export interface PlacedAttempt extends ShadowAttempt {
  readonly begin: bigint;
  readonly end: bigint;
}

export interface RowsSum {
  readonly rows: number;
  /** Of the rows without their envelope, in any order. */
  readonly checksum: string;
}

export interface Comparison {
  readonly stored: RowsSum;
  readonly shadow: RowsSum;
  readonly differ: boolean;
}

/**
 * Sums are of the values as they are shown: a row that was stored before its column grew equals one that came after.
 * Errors: `not_found` for an unknown dataset.
 */
export async function compareAttempt(store: Store, datasets: Datasets, attempt: ShadowAttempt): Promise<Comparison> {
  const dataset = await lookAnew(datasets, attempt.dataset);
  const [live] = await store.rows<{ parts: readonly { readonly fence: string; readonly chunks: number }[] }>(
    `SELECT parts FROM ${store.database}.runs
     WHERE dataset = {dataset:String} AND run_id = {run:String} AND committed = 1
     ORDER BY fence DESC, finished DESC LIMIT 1`,
    { dataset: attempt.dataset, run: attempt.runId },
  );
  const committed = (live?.parts ?? []).map(({ fence, chunks }) => ({ fence: BigInt(fence), chunks }));
  const [stored, shadow] = await Promise.all([
    sum(store, dataset, { ...attempt, parts: committed }),
    sum(store, dataset, attempt),
  ]);
  return { stored, shadow, differ: stored.rows !== shadow.rows || stored.checksum !== shadow.checksum };
}

export async function sumAttempt(store: Store, datasets: Datasets, attempt: ShadowAttempt): Promise<RowsSum> {
  return sum(store, await lookAnew(datasets, attempt.dataset), attempt);
}

/** Whether one of these rows lies within [begin, end) of the integers that the dataset goes by. Errors: `not_found`. */
export async function liesWithin(
  store: Store,
  datasets: Datasets,
  { dataset: name, runId, parts, begin, end }: PlacedAttempt,
): Promise<boolean> {
  const { datetime = "", columns } = await lookAnew(datasets, name);
  const type = axisOf(columns[datetime]) === "uint64" ? "UInt64" : "Int64";
  const rows = await store.rows(
    `SELECT 1 FROM ${store.database}.${quote(rowsTable(name))}
     WHERE ${quote(datetime)} >= {begin:${type}} AND ${quote(datetime)} < {end:${type}}
       AND _run_id = {run:String} AND (${countedBy(parts)}) LIMIT 1`,
    { run: runId, begin: String(begin), end: String(end) },
  );
  return rows.length > 0;
}

const countedBy = (parts: readonly RunPart[]) =>
  parts.map(({ fence, chunks }) => `(_fence = ${fence} AND _chunk < ${chunks})`).join(" OR ") || "0";

async function lookAnew(datasets: Datasets, name: string): Promise<Dataset> {
  datasets.forget(name);
  const dataset = await datasets.find(name);
  if (dataset) return dataset;
  throw new Fault("not_found", `no dataset named "${name}"`);
}

async function sum(store: Store, dataset: Dataset, { runId, parts }: ShadowAttempt): Promise<RowsSum> {
  const values = Object.entries(dataset.columns).map(([column, type]) =>
    /^(json|labels)$/.test(type) ? `toString(${quote(column)})` : quote(column),
  );
  const hash = `cityHash64(tuple(${[...values, "_extra"].join(", ")}))`;
  const [row] = await store.rows<{ counted: string; checksum: string }>(
    `SELECT count() AS counted, hex(sum(${hash})) AS checksum
     FROM (SELECT ${[...shownColumns(dataset), `${extraText(dataset)} AS _extra`].join(", ")}
       FROM ${store.database}.${quote(rowsTable(dataset.dataset))} AS t
       WHERE _run_id = {run:String} AND (${countedBy(parts)}))`,
    { run: runId },
  );
  return { rows: Number(row?.counted ?? 0), checksum: row?.checksum ?? "" };
}
