/** The view of a dataset: the one definition of which rows count, and how values of every version are shown. */
import { elementOf, shownAs } from "./evolution.ts";
import type { Dataset } from "./records.ts";
import { literal, quote, rowsTable } from "./sql-names.ts";
import { keptRows } from "./storage.ts";
import { EXTRA_TYPE, storedVersions } from "./stored-columns.ts";

export type Shown = Pick<Dataset, "dataset" | "columns" | "versions" | "index" | "datetime" | "storage" | "extra">;

/** A condition on rows of the table: of each run the committed attempt with the greatest fence, and its chunks. */
export function countedRows(db: string, dataset: string): string {
  // In the order of the key of `runs`: a million runs are read as a stream, without a hash table of arrays.
  const live = `SELECT run_id, parts FROM ${db}.runs WHERE dataset = ${literal(dataset)} AND committed = 1
    ORDER BY run_id DESC, fence DESC, finished DESC LIMIT 1 BY run_id`;
  return `(_run_id, _fence, _chunk) IN (
    SELECT run_id, part.1, arrayJoin(range(part.2)) FROM (SELECT run_id, arrayJoin(parts) AS part FROM (${live})))`;
}

/**
 * Rows equal in the index columns are one: the newest by fence, then chunk, then the greatest in the other columns,
 * which is stable.
 */
export function createView(db: string, shown: Shown): string {
  const { dataset, columns, index } = shown;
  const names = Object.keys(columns);
  const values = shownColumns(shown);
  const envelope = ["_run_id", "_fence", "_resource", "_ingested_at"].map(quote);
  const extra = shown.extra ? quote("_extra") : `CAST('{}', ${literal(EXTRA_TYPE)}) AS _extra`;
  const sortable = (name: string) => !["json", "labels"].includes(columns[name] ?? "");
  const ties = names.filter((name) => !index.includes(name) && sortable(name));
  const order = [...index.map(quote), ...["_fence", "_chunk", "_run_id", ...ties].map((name) => `${quote(name)} DESC`)];
  const newest = index.length ? `ORDER BY ${order.join(", ")} LIMIT 1 BY ${index.map(quote).join(", ")}` : "";
  return `CREATE OR REPLACE VIEW ${db}.${dataset} AS
    SELECT ${[...values, ...envelope, extra].join(", ")} FROM ${db}.${rowsTable(dataset)} AS t
    WHERE ${[countedRows(db, dataset), keptRows(shown)].filter(Boolean).join(" AND ")} ${newest}`;
}

/** Every column as it is shown, of a table called `t`. */
export const shownColumns = (shown: Shown) => Object.keys(shown.columns).map((name) => shownColumn(shown, name));

/** The value of whichever version has one, the widest first: it is the newest. */
function shownColumn(shown: Shown, name: string): string {
  const type = shown.columns[name] ?? "";
  const versions = storedVersions(shown, name);
  if (versions.length === 1) return quote(name);
  const rank = (one: string) => (one === type ? 0 : 1);
  const values = versions
    .toSorted((a, b) => rank(a.type) - rank(b.type))
    .map((version) => ({ ...version, sql: `t.${quote(version.column)}` }));
  if (!elementOf(type)) {
    return `coalesce(${values.map((value) => shownAs(value.sql, value.type, type)).join(", ")}) AS ${quote(name)}`;
  }
  const cases = values.map((value) => [`notEmpty(${value.sql})`, shownAs(value.sql, value.type, type)]);
  return `multiIf(${cases.flat().join(", ")}, []) AS ${quote(name)}`;
}
