/** INSERT statements for rows of a dataset: fields as guests write them, into the columns that take them. */
import { storageType } from "./column.ts";
import type { ColumnType, Dataset } from "./records.ts";
import { literal, quote, rowsTable } from "./sql-names.ts";
import { EXTRA_TYPE, storedColumn } from "./stored-columns.ts";

/** Every row says who wrote it. The names are the table's, in the order of an INSERT. */
const ENVELOPE: readonly (readonly [string, string])[] = [
  ["_run_id", "String"],
  ["_fence", "UInt64"],
  ["_attempt", "UInt32"],
  ["_chunk", "UInt32"],
  ["_resource", "String"],
  ["_ingested_at", "DateTime64(3, 'UTC')"],
];
const EXTRA = ["_extra", EXTRA_TYPE] as const;
const extraOf = ({ extra }: Dataset) => (extra ? [EXTRA] : []);

/** Text takes whatever comes, as it was written: a column that grew to text gets numbers, too. */
const TEXT_TAKES_ALL = ["numbers", "bools", "objects", "arrays"]
  .map((kind) => `input_format_json_read_${kind}_as_strings = 1`)
  .join(", ");
const settingsOf = ({ schema }: Dataset) => (schema === "evolve" ? `SETTINGS ${TEXT_TAKES_ALL}` : "");

/** Rows with their envelope written on each line. */
export function stampedInsert(db: string, dataset: Dataset): string {
  const table = `${db}.${quote(rowsTable(dataset.dataset))}`;
  const plain = dataset.schema !== "evolve" && !dataset.timezone && Object.keys(dataset.versions).length === 0;
  if (plain) return `INSERT INTO ${table} FORMAT JSONEachRow`;
  const envelope = ENVELOPE.map(([name]) => name).join(", ");
  return into(table, dataset, envelope, [...ENVELOPE, ...fields(dataset)]);
}

/** The envelope as parameters, the rows as they came. */
export function bareInsert(db: string, dataset: Dataset): string {
  return into(`${db}.${quote(rowsTable(dataset.dataset))}`, dataset, BOUND_ENVELOPE, fields(dataset));
}
const BOUND_ENVELOPE = `{run:String}, {fence:UInt64}, {attempt:UInt32}, {chunk:UInt32}, {resource:String},
    toDateTime64({ingested:String}, 3, 'UTC')`;

/** Reads rows as `bareInsert` does, and stores nothing. */
export const dryInsert = (dataset: Dataset) =>
  `INSERT INTO FUNCTION null(${structure([...fields(dataset), EXTRA])}) ${settingsOf(dataset)} FORMAT JSONEachRow`;

/** As `bareInsert`, of rows in another format; `extra` are columns of theirs that have none of ours. */
export function formattedInsert(
  db: string,
  dataset: Dataset,
  format: "CSVWithNames" | "ArrowStream",
  extra: Readonly<Record<string, ColumnType>>,
): string {
  const more = Object.entries(extra).map(([name, type]) => [quote(name), storageType(type) ?? type] as const);
  const tuple = `CAST(tuple(${more.map(([name]) => name).join(", ")}), ${literal(`Tuple(${structureOf(more)})`)})`;
  const shown = Object.keys(dataset.columns);
  const taking = shown.map((name) => quote(storedColumn(dataset, name)));
  return `INSERT INTO ${db}.${quote(rowsTable(dataset.dataset))}
      (${[...ENVELOPE.map(([name]) => name), ...taking, ...(more.length ? ["_extra"] : [])].join(", ")})
    SELECT ${[BOUND_ENVELOPE, ...shown.map(quote), ...(more.length ? [`toJSONString(${tuple})`] : [])].join(", ")}
    FROM input(${structure([...fields(dataset), ...more])}) SETTINGS ${ONE_BLOCK} FORMAT ${format}`;
}
/** So that a bad row refuses the whole of it: the bytes are bounded, the rows of small ones are many. */
const ONE_BLOCK = ["min_insert_block_size_rows", "max_insert_block_size"]
  .map((name) => `${name} = 20000000`)
  .concat("min_insert_block_size_bytes = 1073741824")
  .join(", ");

type Field = readonly [name: string, type: string];

function into(table: string, dataset: Dataset, envelope: string, from: readonly Field[]): string {
  const shown = Object.keys(dataset.columns);
  const taking = shown.map((name) => quote(storedColumn(dataset, name)));
  const extra = extraOf(dataset);
  const own = extra.map(([name]) => name);
  return `INSERT INTO ${table} (${[...ENVELOPE.map(([name]) => name), ...taking, ...own].join(", ")})
    SELECT ${[envelope, ...shown.map(quote), ...own].join(", ")} FROM input(${structure([...from, ...extra])})
    ${settingsOf(dataset)} FORMAT JSONEachRow`;
}

/** A time without an offset is read in the zone of its column, so the zone is the type's while reading. */
function fields({ columns, timezone }: Dataset): Field[] {
  return Object.entries(columns).map(([name, type]) => {
    const stored = storageType(type) ?? type;
    return [quote(name), timezone ? stored.replaceAll("'UTC'", literal(timezone)) : stored];
  });
}

const structureOf = (all: readonly Field[]) => all.map((field) => field.join(" ")).join(", ");
const structure = (all: readonly Field[]) => literal(structureOf(all));
