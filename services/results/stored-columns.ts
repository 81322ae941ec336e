/** The columns of a table behind those that are shown: one that grew wider has one for each of its types. */
import { storageType } from "./column.ts";
import { widen } from "./evolution.ts";
import type { ColumnType, Dataset, DatasetSpec } from "./records.ts";

/** The type itself is in the name: two processes that widen a column in two ways do not meet. */
export const VERSION_MARK = ":";

/** The column of the table that takes values for this one. */
export function storedColumn({ columns, versions }: Pick<Dataset, "columns" | "versions">, name: string): string {
  const first = versions[name]?.[0];
  return first === undefined || first === columns[name] ? name : `${name}${VERSION_MARK}${columns[name]}`;
}

/** Every column of the table that values of this one are in, with their types; the first is its oldest. */
export const storedVersions = ({ columns, versions }: Pick<Dataset, "columns" | "versions">, name: string) =>
  (versions[name] ?? [columns[name] ?? ""]).map((type, i) => ({
    type,
    column: i === 0 ? name : `${name}${VERSION_MARK}${type}`,
  }));

/** Fields without a column. A table has it once some came. */
export const EXTRA_TYPE = "JSON(max_dynamic_paths = 64)";

/** SQL of the fields of a row that have no column, as text; of the table itself, not of the view. */
export const extraText = ({ extra }: Pick<Dataset, "extra">) => (extra ? "toString(_extra)" : "'{}'");

/** What the table lacks: columns, and wider versions of those that it has. */
export function addedColumns(before: Dataset, spec: DatasetSpec): [string, ColumnType][] {
  const added: [string, ColumnType][] = [];
  for (const [name, type] of Object.entries({ ...before.columns, ...spec.columns })) {
    const is = before.columns[name];
    if (is === undefined) added.push([name, type]);
    const target = is === undefined ? type : storageType(is) === storageType(type) ? is : widen(is, type);
    const versions = before.versions[name] ?? (is === undefined ? [type] : [is]);
    if (!versions.includes(target)) added.push([`${name}${VERSION_MARK}${target}`, target]);
  }
  return added;
}
