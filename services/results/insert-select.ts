/** Rows that a SELECT makes inside ClickHouse: it is checked as a query from outside, and nothing leaves the server. */
import { randomUUID } from "node:crypto";
import type { ClickHouseSettings } from "@clickhouse/client";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Axis } from "../kit/time.ts";
import type { Store } from "./client.ts";
import { storageType } from "./column.ts";
import type { Datasets } from "./datasets.ts";
import { COLUMN_NAME, widen } from "./evolution.ts";
import type { Reader } from "./reader.ts";
import type { Chunk, ColumnType, Dataset, Stored } from "./records.ts";
import { literal, quote, rowsTable } from "./sql-names.ts";
import { storedColumn } from "./stored-columns.ts";

/** A chunk whose rows a SELECT makes inside ClickHouse. */
export interface SelectedChunk extends Omit<Chunk, "rows" | "format" | "resource"> {
  /** May name the window as `{begin}` and `{end}`. */
  readonly sql: string;
  /** Default: time. */
  readonly axis?: Axis;
  readonly beginUs: bigint;
  readonly endUs: bigint;
  /** Datasets that it may read. */
  readonly tables: readonly string[];
  readonly maxRows: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

interface Column {
  readonly name: string;
  readonly type: string;
}

const WINDOW = /\{(begin|end)\}/g;
const POSITIONS: Readonly<Record<Axis, string>> = { time: "DateTime64(6, 'UTC')", int64: "Int64", uint64: "UInt64" };

/** `{begin}` and `{end}` as parameters of a type; whoever writes the type himself keeps it. */
const withPositions = (sql: string, axis: Axis) => sql.replace(WINDOW, `{$1:${POSITIONS[axis]}}`);

/**
 * One INSERT … SELECT, never sent twice: whether an answer that was lost stored rows or not, only another fence can
 * tell. Errors: `denied` and `invalid` for the query, `invalid` naming a column, `exhausted` over a limit;
 * `unavailable` when it may or may not have been stored: begin anew under another fence.
 */
export async function insertSelect(
  store: Store,
  datasets: Datasets,
  reader: Reader,
  chunk: SelectedChunk,
  memoryBytes: number,
): Promise<Stored> {
  const { axis = "time" } = chunk;
  const written = (at: bigint) => (axis === "time" ? clickHouseTime(at) : String(at));
  const params = { begin: written(chunk.beginUs), end: written(chunk.endUs) };
  const sql = await reader.check({ sql: withPositions(chunk.sql, axis), params, tables: chunk.tables });
  const settings = { database: store.database } as ClickHouseSettings;
  const described = await describe(store, sql, params, settings);
  const dataset = await fitted(datasets, chunk.dataset, described);
  const queryId = randomUUID();
  const late = AbortSignal.timeout(chunk.timeoutMs + GRACE_MS);
  const stop = AbortSignal.any([chunk.signal, late]);
  const kill = () =>
    void store.command("KILL QUERY WHERE query_id = {id:String} ASYNC", { id: queryId }).catch(() => 0);
  stop.addEventListener("abort", kill, { once: true });
  try {
    stop.throwIfAborted();
    const { summary } = await store.client.command({
      query: statement(store.database, dataset, described, sql),
      query_id: queryId,
      query_params: { ...params, ...envelopeOf(chunk) },
      abort_signal: stop,
      clickhouse_settings: {
        ...settings,
        // The attempt is what is counted once; two equal blocks of one answer are both meant.
        insert_deduplicate: 0,
        max_execution_time: Math.max(0.001, chunk.timeoutMs / 1_000),
        timeout_overflow_mode: "throw",
        max_memory_usage: String(memoryBytes),
        allow_introspection_functions: 0,
        wait_end_of_query: 1,
      },
    });
    const [rows, bytes] = [Number(summary?.written_rows ?? 0), Number(summary?.written_bytes ?? 0)];
    if (rows <= chunk.maxRows) return { rows, rejected: 0, bytes };
    throw new Fault("exhausted", `the SELECT gave ${rows} rows; at most ${chunk.maxRows} in one window`);
  } catch (thrown) {
    if (chunk.signal.aborted) throw new Fault("cancelled", "the caller stopped waiting", { cause: thrown });
    const fault = store.fault(thrown);
    if (fault.code !== "deadline" && !late.aborted) throw fault;
    throw new Fault("deadline", `the SELECT did not finish within ${chunk.timeoutMs} ms`, { cause: thrown });
  } finally {
    stop.removeEventListener("abort", kill);
  }
}

/** How long the server gets to stop by itself before the query is killed. */
const GRACE_MS = 1_000;

function envelopeOf({ runId, fence, attempt, chunk }: SelectedChunk) {
  return { millrace_run: runId, millrace_fence: String(fence), millrace_attempt: attempt, millrace_chunk: chunk };
}

async function describe(
  store: Store,
  sql: string,
  params: Record<string, string>,
  settings: ClickHouseSettings,
): Promise<Column[]> {
  try {
    const answer = await store.client.query({
      query: `DESCRIBE TABLE (${sql})`,
      query_params: params,
      format: "JSONEachRow",
      clickhouse_settings: settings,
    });
    return await answer.json<Column>();
  } catch (thrown) {
    throw store.fault(thrown);
  }
}

/** The dataset with a column for each of the answer, as its policy allows. Errors: `invalid` naming every mistake. */
async function fitted(datasets: Datasets, name: string, described: readonly Column[]): Promise<Dataset> {
  datasets.forget(name);
  const known = await datasets.find(name);
  const { columns } = known ?? { columns: {} as Readonly<Record<string, ColumnType>> };
  const mistakes: Mistake[] = [];
  const needed: Record<string, ColumnType> = {};
  const evolves = known === undefined || known.schema === "evolve";
  for (const [i, column] of described.entries()) {
    const field = `column ${i + 1} of the SELECT`;
    const type = typeOfAnswer(column.type);
    const declared = columns[column.name];
    if (!COLUMN_NAME.test(column.name)) {
      const fix = "give it an alias of letters, digits and _, a letter first";
      mistakes.push({ field, problem: `${JSON.stringify(column.name)} is no column name`, fix });
    } else if (declared && isTime(declared) && !isTime(type)) {
      const fix = "parse it with its zone: parseDateTime64BestEffort(…, 6, 'UTC')";
      mistakes.push({ field, problem: `${column.name} is a ${column.type}, not a ${declared}`, fix });
    } else if (evolves) needed[column.name] = declared === undefined ? type : widen(declared, type);
  }
  if (mistakes.length) throw Fault.invalid(`rows of ${name}`, mistakes);
  const undeclared = described.some(({ name: column }) => !Object.hasOwn(columns, column));
  if (!evolves && known) return undeclared && !known.extra ? datasets.ensure({ ...known, extra: true }) : known;
  const wish = datasets.wish(name);
  const base = known ?? { ...wish, schema: "evolve" as const };
  return datasets.ensure({ ...base, columns: { ...base.columns, ...needed } });
}

const isTime = (type: ColumnType) => type === "timestamp" || type === "date";

/** What ClickHouse would change without a word is refused by it: a number that does not fit, a fraction cut off. */
function statement(db: string, dataset: Dataset, described: readonly Column[], sql: string): string {
  const shown = described.filter(({ name }) => Object.hasOwn(dataset.columns, name));
  const extra = described.filter(({ name }) => !Object.hasOwn(dataset.columns, name));
  const values = shown.map(({ name, type }) => converted(name, type, dataset.columns[name] ?? ""));
  const fields = extra.map(({ name, type }) => `${quote(name)} ${type}`).join(", ");
  const tuple = `CAST(tuple(${extra.map(({ name }) => quote(name)).join(", ")}), ${literal(`Tuple(${fields})`)})`;
  const [restInto, rest] = extra.length ? [["_extra"], [`toJSONString(${tuple})`]] : [[], []];
  const taking = shown.map(({ name }) => quote(storedColumn(dataset, name)));
  const envelope = "{millrace_run:String}, {millrace_fence:UInt64}, {millrace_attempt:UInt32}, {millrace_chunk:UInt32}";
  return `INSERT INTO ${db}.${quote(rowsTable(dataset.dataset))}
      (${["_run_id, _fence, _attempt, _chunk, _resource, _ingested_at", ...taking, ...restInto].join(", ")})
    SELECT ${[envelope, "''", "now64(3)", ...values, ...rest].join(", ")} FROM (${sql})`;
}

function converted(name: string, from: string, to: ColumnType): string {
  const stored = storageType(to) ?? to;
  if (from === stored) return quote(name);
  const exact = /^(u?int64|float64|decimal.*|date)$/.test(to);
  return `${exact ? "accurateCast" : "CAST"}(${quote(name)}, ${literal(stored)})`;
}

/** Our type for a column of an answer. What has none of ours is text. */
export function typeOfAnswer(type: string): ColumnType {
  const bare = /^(?:Nullable|LowCardinality)\((.*)\)$/.exec(type)?.[1];
  if (bare !== undefined) return typeOfAnswer(bare);
  const element = /^Array\((.*)\)$/.exec(type)?.[1];
  if (element !== undefined) {
    const inner = typeOfAnswer(element);
    return inner === "json" || inner.startsWith("array(") ? "string" : `array(${inner})`;
  }
  if (/^(Int(8|16|32|64)|UInt(8|16|32))$/.test(type)) return "int64";
  if (type === "UInt64") return "uint64";
  if (/^B?Float(16|32|64)$/.test(type)) return "float64";
  if (type === "Bool") return "bool";
  if (/^Date(32)?$/.test(type)) return "date";
  if (/^DateTime/.test(type)) return "timestamp";
  if (type === "UUID") return "uuid";
  if (/^(JSON|Map|Tuple)\b/.test(type)) return "json";
  const decimal = /^Decimal\((\d+), (\d+)\)$/.exec(type);
  return decimal ? `decimal(${decimal[1]},${decimal[2]})` : "string";
}

function clickHouseTime(us: bigint): string {
  const wholeMs = new Date(Number(us / 1_000n)).toISOString().replace("T", " ").slice(0, -1);
  return `${wholeMs}${String(((us % 1_000n) + 1_000n) % 1_000n).padStart(3, "0")}`;
}
