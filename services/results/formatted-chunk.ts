/** Chunks that are CSV or Arrow: ClickHouse reads them as they came; what it refuses is looked into where it can be. */
import { Fault, type Mistake } from "../kit/fault.ts";
import { arrowColumns } from "./arrow-schema.ts";
import type { Insert, Store } from "./client.ts";
import { storageType } from "./column.ts";
import { csvLines, mayHaveNaiveField } from "./csv.ts";
import type { Datasets } from "./datasets.ts";
import { COLUMN_NAME, widen } from "./evolution.ts";
import { formattedInsert } from "./insert-sql.ts";
import { hasLongDigits, mayBeFiner } from "./ndjson.ts";
import type { Chunk, ColumnType, Dataset, Stored } from "./records.ts";
import { quote, rowsTable } from "./sql-names.ts";

export interface FormattedPorts {
  readonly store: Store;
  readonly datasets: Datasets;
  /** An INSERT of its own. Resolves with the rows that ClickHouse read. */
  readonly insert: (insert: Insert) => Promise<number>;
  /** The same rows as NDJSON, by the policy of the dataset. */
  readonly storeLines: (chunk: Chunk, ndjson: Uint8Array) => Promise<Stored>;
}

/** Errors: as `Results.appendChunk`. */
export function formattedWriter({ store, datasets, insert, storeLines }: FormattedPorts) {
  const storeAs = async (chunk: Chunk, body: Uint8Array, sql: string): Promise<Stored> => {
    const { runId, fence, attempt, resource } = chunk;
    const table = `${store.database}.${quote(rowsTable(chunk.dataset))}`;
    const trace = { table, runId, fence, chunk: chunk.chunk, before: 0, rows: undefined };
    const envelope = { run: runId, fence: String(fence), attempt, chunk: chunk.chunk, resource };
    const params = { ...envelope, ingested: (Date.now() / 1_000).toFixed(3) };
    const token = `${runId}/${fence}/${chunk.chunk}`;
    const rows = await insert({ sql, body, token, params, assurance: [trace] });
    return { rows: rows || (await countRows(store, chunk)), rejected: 0, bytes: body.length };
  };

  return async (chunk: Chunk, bytes: Uint8Array): Promise<Stored> => {
    if (chunk.format === "arrow") {
      const { dataset, extra } = await fitArrow(datasets, chunk.dataset, bytes);
      return storeAs(chunk, bytes, formattedInsert(store.database, dataset, "ArrowStream", extra));
    }
    const dataset = await datasets.find(chunk.dataset);
    if (dataset && !csvNeedsLook(bytes, dataset)) {
      try {
        return await storeAs(chunk, bytes, formattedInsert(store.database, dataset, "CSVWithNames", {}));
      } catch (thrown) {
        if (!["invalid", "not_found"].includes(Fault.from(thrown).code)) throw thrown;
      }
    }
    return storeLines(chunk, csvLines(bytes, dataset?.columns ?? {}));
  };
}

/** The chunk was sent before, and ClickHouse knows its token. */
async function countRows(store: Store, { dataset, runId, fence, chunk }: Chunk): Promise<number> {
  const [row] = await store.rows<{ n: string }>(
    `SELECT count() AS n FROM ${store.database}.${quote(rowsTable(dataset))}
     WHERE _run_id = {run:String} AND _fence = {fence:UInt64} AND _chunk = {chunk:UInt32}`,
    { run: runId, fence: String(fence), chunk },
  );
  return Number(row?.n ?? 0);
}

/** ClickHouse wraps long numbers round, cuts decimals off and reads a naive time as UTC, all without a word. */
function csvNeedsLook(bytes: Uint8Array, { columns, timezone }: Dataset): boolean {
  const types = Object.values(columns);
  if (hasLongDigits(bytes) && types.some((type) => /int64/.test(type))) return true;
  if (!timezone && types.some((type) => type.includes("timestamp")) && mayHaveNaiveField(bytes)) return true;
  const scales = types.flatMap((type) => /decimal\(\d+,(\d+)\)/.exec(type)?.[1] ?? []);
  return scales.length > 0 && mayBeFiner(bytes, Math.min(...scales.map(Number)));
}

/**
 * The dataset with the stream's columns, as its policy allows, and those that go to `_extra`. Values are typed, so what
 * does not fit is a whole column. Errors: `invalid` naming each.
 */
async function fitArrow(datasets: Datasets, name: string, bytes: Uint8Array) {
  const known = await datasets.find(name);
  const evolves = known === undefined || known.schema === "evolve";
  const base = known ?? { ...datasets.wish(name), schema: "evolve" as const };
  const mistakes: Mistake[] = [];
  const needed: Record<string, ColumnType> = {};
  const extra: Record<string, ColumnType> = {};
  for (const { name: column, type, naive } of arrowColumns(bytes)) {
    const declared = base.columns[column];
    const wrong = (problem: string, fix: string) => mistakes.push({ field: `column ${column}`, problem, fix });
    if (!COLUMN_NAME.test(column)) wrong("is no column name", "letters, digits and _, a letter first");
    else if (!type) wrong("has a type that no column has", "leave it out, or write it as text");
    else if (naive && base.timezone !== "UTC") {
      wrong("is a timestamp without a zone", 'give it a zone, or set the pipe\'s timezone to "UTC"');
    } else if (declared === undefined) (evolves ? needed : extra)[column] = type;
    else if (!holds(declared, type)) {
      if (evolves && column !== base.datetime) needed[column] = widen(declared, type);
      else wrong(`is ${type} in Arrow, ${declared} in the dataset`, `write it as ${declared}`);
    }
  }
  if (mistakes.length) throw Fault.invalid(`rows of ${name}`, mistakes);
  const keepsExtra = Object.keys(extra).length > 0;
  const fitting = known !== undefined && Object.keys(needed).length === 0 && (known.extra || !keepsExtra);
  const wider = { ...base, columns: { ...base.columns, ...needed }, ...(keepsExtra && { extra: true }) };
  const dataset = fitting ? known : await datasets.ensure(wider);
  return { dataset, extra };
}

/** Whether every value of the one is a value of the other, as ClickHouse reads it. */
function holds(declared: ColumnType, type: ColumnType): boolean {
  if (storageType(declared) === storageType(type)) return true;
  if (declared === "float64") return type === "int64";
  if (declared === "uuid" || declared === "json") return type === "string";
  if (declared === "timestamp") return type === "date";
  const [ours, theirs] = [declared, type].map((one) => /^decimal\((\d+),\s?(\d+)\)$/.exec(one)?.slice(1).map(Number));
  if (!ours || !theirs) return false;
  const [digits = 0, scale = 0, others = 0, theirScale = 0] = [...ours, ...theirs];
  return theirScale <= scale && others - theirScale <= digits - scale;
}
