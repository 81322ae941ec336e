/** What rows that were looked into ask of their dataset, by its policy: new columns, or what is wrong. Pure. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { axisOf } from "../kit/time.ts";
import { MAX_COLUMNS } from "./column.ts";
import { COLUMN_NAME, inferType, isNaiveTime, widen } from "./evolution.ts";
import type { ColumnType, Dataset, RowObject } from "./records.ts";
import { fits, mistakesOfRow } from "./row.ts";

/**
 * Columns, and wider types of columns, that hold every value of the rows. Errors: `invalid` when the time column would
 * be none any more.
 */
export function neededColumns(rows: readonly RowObject[], dataset: Dataset): Record<string, ColumnType> {
  const needed: Record<string, ColumnType> = {};
  let room = MAX_COLUMNS - Object.keys(dataset.columns).length;
  for (const [i, row] of rows.entries()) {
    for (const [name, value] of Object.entries(row)) {
      if (value === null || value === undefined || !COLUMN_NAME.test(name)) continue;
      const type = needed[name] ?? dataset.columns[name];
      if (type === undefined) {
        const first = room > 0 ? inferType(value, dataset.timezone) : undefined;
        if (first === undefined) continue;
        needed[name] = first;
        room -= 1;
      } else if (!holds(type, value, dataset)) {
        const wider = widen(type, inferType(value, dataset.timezone) ?? "string");
        const integers = axisOf(dataset.columns[dataset.datetime ?? ""]) !== "time";
        if (name === dataset.datetime && (integers || (wider !== "timestamp" && wider !== "date"))) {
          const kind = integers ? type : "time";
          const problem = `${JSON.stringify(value)} is no ${kind}, and the dataset goes by this column`;
          throw Fault.invalid(`rows of ${dataset.dataset}`, [{ field: `row ${i + 1}, column ${name}`, problem }]);
        }
        needed[name] = wider;
      }
    }
  }
  return needed;
}

/** A naive time is nobody's reason to make text of times: it is refused by itself. */
const holds = (type: ColumnType, value: unknown, { timezone }: Dataset) =>
  type === "string" || fits(type, value) || (/^(date|timestamp)$/.test(type) && !timezone && isNaiveTime(value));

/** Whether each field has a column: then the bytes may go as they came. */
export const allDeclared = (rows: readonly RowObject[], { columns }: Dataset) =>
  rows.every((row) => Object.keys(row).every((name) => Object.hasOwn(columns, name)));

export interface BadRow {
  /** Counted from 0 in the piece. */
  readonly at: number;
  readonly reason: string;
}

/** Rows whose values do not fit, each with its first mistakes. */
export function badRows(rows: readonly RowObject[], dataset: Dataset): BadRow[] {
  return rows.flatMap((row, at) => {
    const mistakes = mistakesOfRow(row, dataset);
    return mistakes.length ? [{ at, reason: mistakes.map(sayMistake).join("; ") }] : [];
  });
}

const sayMistake = ({ field, problem }: Mistake) => `${field}: ${problem}`;
