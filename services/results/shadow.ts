/** An attempt that nobody sees against what is stored: the same rows, or not. */
import { Fault } from "../kit/fault.ts";
import type { Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import type { RunPart } from "./records.ts";
import { quote, rowsTable } from "./sql-names.ts";
import { shownColumns } from "./view.ts";

/** Chunks of a run that were not committed, to be compared with those that were. */
export interface ShadowAttempt {
  readonly dataset: string;
  readonly runId: string;
  readonly parts: readonly RunPart[];
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
  const { dataset: name, runId, parts } = attempt;
  datasets.forget(name);
  const dataset = await datasets.find(name);
  if (!dataset) throw new Fault("not_found", `no dataset named "${name}"`);
  const [db, table] = [store.database, `${store.database}.${quote(rowsTable(name))}`];
  const names = Object.keys(dataset.columns);
  const values = names.map((column) =>
    /^(json|labels)$/.test(dataset.columns[column] ?? "") ? `toString(${quote(column)})` : quote(column),
  );
  const hash = `cityHash64(tuple(${[...values, "toString(_extra)"].join(", ")}))`;
  const sum = async (condition: string): Promise<RowsSum> => {
    const shown = `SELECT ${[...shownColumns(dataset), "_extra"].join(", ")} FROM ${table} AS t
      WHERE _run_id = {run:String} AND ${condition}`;
    const [row] = await store.rows<{ counted: string; checksum: string }>(
      `SELECT count() AS counted, hex(sum(${hash})) AS checksum FROM (${shown})`,
      { run: runId },
    );
    return { rows: Number(row?.counted ?? 0), checksum: row?.checksum ?? "" };
  };
  const [live] = await store.rows<{ parts: readonly { readonly fence: string; readonly chunks: number }[] }>(
    `SELECT parts FROM ${db}.runs WHERE dataset = {dataset:String} AND run_id = {run:String} AND committed = 1
     ORDER BY fence DESC, finished DESC LIMIT 1`,
    { dataset: name, run: runId },
  );
  const [stored, shadow] = await Promise.all([sum(rowsOf(live?.parts ?? [])), sum(rowsOf(parts))]);
  return { stored, shadow, differ: stored.rows !== shadow.rows || stored.checksum !== shadow.checksum };
}

const rowsOf = (parts: readonly { readonly fence: bigint | string; readonly chunks: number }[]) =>
  `(${parts.map(({ fence, chunks }) => `(_fence = ${fence} AND _chunk < ${chunks})`).join(" OR ") || "0"})`;
