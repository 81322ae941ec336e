/** Read-only SQL from outside, checked before it runs and bounded while it runs. */
import { randomUUID } from "node:crypto";
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from "@clickhouse/client";
import { Fault } from "../kit/fault.ts";
import { PINNED, type Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import { exporter } from "./export.ts";
import type { Export, QueryRequest, QueryResult } from "./records.ts";
import { guardSql, refuseOddNames, type SqlWorld } from "./sql-guard.ts";
import { rowsTable } from "./sql-names.ts";

export interface ReaderOptions {
  /** The server as a user that can only read, where there is one: a second wall behind the check. */
  readonly readerUrl?: string | undefined;
  /** Memory of one query, in MiB. */
  readonly queryMemoryMib: number;
}

export interface Reader extends AsyncDisposable {
  /** The server's own writing of a query that is harmless. Errors: as `query`. */
  check(request: Pick<QueryRequest, "sql" | "params" | "tables">): Promise<string>;
  export(request: Export): AsyncIterable<Uint8Array>;
  query(request: QueryRequest): Promise<QueryResult>;
}

const MIB = 1_048_576;
const MAX_SQL_CHARS = 100_000;
/** How long the server gets to stop by itself before the query is killed. */
const GRACE_MS = 1_000;
/** Adding a function is the operator's doing, and rare; listing them is the dearest part of a check. */
const FUNCTIONS_MS = 60_000;
/** Beside the datasets, anyone who may query everything may read these. */
const OWN_TABLES = ["runs", "logs"];

export function openReader(store: Store, datasets: Datasets, options: ReaderOptions): Reader {
  const { readerUrl, queryMemoryMib } = options;
  const client = readerUrl === undefined ? store.client : readerClient(readerUrl);
  let added: { readonly names: ReadonlySet<string>; readonly untilMs: number } | undefined;
  const addedFunctions = async (): Promise<ReadonlySet<string>> => {
    if (added && added.untilMs > performance.now()) return added.names;
    const rows = await store.rows<{ name: string }>("SELECT name FROM system.functions WHERE origin != 'System'");
    added = { names: new Set(rows.map((row) => row.name)), untilMs: performance.now() + FUNCTIONS_MS };
    return added.names;
  };
  /** Asked for each query: a table that is a moment old must not be mistaken for a CTE. */
  const look = async (): Promise<Omit<SqlWorld, "granted">> => {
    const rows = await store.rows<{ kind: string; name: string }>(
      `SELECT 'table' AS kind, name FROM system.tables WHERE database = {db:String}
       UNION ALL SELECT 'database', name FROM system.databases`,
      { db: store.database },
    );
    const named = (kind: string) => new Set(rows.filter((row) => row.kind === kind).map((row) => row.name));
    const { database } = store;
    return { database, tables: named("table"), databases: named("database"), addedFunctions: await addedFunctions() };
  };

  /** The server's own writing of the query, once it is known to be harmless: what was checked is what runs. */
  const check = async ({ sql, params, tables }: Pick<QueryRequest, "sql" | "params" | "tables">): Promise<string> => {
    if (sql.length > MAX_SQL_CHARS) throw new Fault("too_large", `the SQL is longer than ${MAX_SQL_CHARS} characters`);
    const [[written], seen] = await Promise.all([
      store.rows<{ sql: string }>("SELECT formatQuerySingleLine({sql:String}) AS sql", { sql }),
      look(),
    ]);
    const plain = written?.sql ?? "";
    const all = [...seen.tables].filter((name) => OWN_TABLES.includes(name) || seen.tables.has(rowsTable(name)));
    const granted = new Set(tables ?? all);
    if (plain === "SHOW TABLES") return showTables([...granted].filter((name) => seen.tables.has(name)));
    refuseOddNames(plain);
    guardSql(readLines(await store.text(`EXPLAIN AST ${plain}`, { ...params })), { ...seen, granted });
    return plain;
  };

  const memoryBytes = queryMemoryMib * MIB;
  return {
    check,
    export: exporter({ store, client, datasets, check, memoryBytes }),
    async query(request) {
      const { params, maxRows, maxBytes, timeoutMs, signal } = request;
      const startedMs = performance.now();
      const sql = await check(request);
      const queryId = randomUUID();
      const late = AbortSignal.timeout(timeoutMs + GRACE_MS);
      const stop = signal ? AbortSignal.any([signal, late]) : late;
      const kill = () =>
        void store.command("KILL QUERY WHERE query_id = {id:String} ASYNC", { id: queryId }).catch(() => 0);
      stop.addEventListener("abort", kill, { once: true });
      try {
        const answer = await client.query({
          query: sql,
          query_id: queryId,
          query_params: { ...params },
          format: "JSONCompactEachRowWithNamesAndTypes",
          abort_signal: stop,
          clickhouse_settings: {
            readonly: "1",
            database: store.database,
            max_execution_time: Math.max(0.001, timeoutMs / 1_000),
            timeout_overflow_mode: "throw",
            max_memory_usage: String(memoryBytes),
            // One row more than asked for tells that there is more.
            max_result_rows: String(maxRows + 1),
            max_result_bytes: String(maxBytes * RESULT_SLACK),
            result_overflow_mode: "break",
            allow_introspection_functions: 0,
            // Held back to its end, so that an error half-way is an error and not a cut answer.
            wait_end_of_query: 1,
          },
        });
        const bounded = takeRows(await answer.text(), maxRows, maxBytes);
        const summary = JSON.parse(String(answer.response_headers["x-clickhouse-summary"] ?? "{}"));
        return {
          ...bounded,
          elapsedMs: performance.now() - startedMs,
          rowsRead: Number((summary as { read_rows?: string }).read_rows ?? 0),
        };
      } catch (thrown) {
        if (signal?.aborted) throw new Fault("cancelled", "the query was cancelled", { cause: thrown });
        const fault = store.fault(thrown);
        if (fault.code === "deadline" || late.aborted) {
          throw new Fault("deadline", `the query did not finish within ${timeoutMs} ms`, { cause: thrown });
        }
        throw fault;
      } finally {
        stop.removeEventListener("abort", kill);
      }
    },
    async [Symbol.asyncDispose]() {
      if (client !== store.client) await client.close();
    },
  };
}

/** In memory a row is larger or smaller than as JSON; the exact bound is kept by `takeRows`. */
const RESULT_SLACK = 4;

function readerClient(url: string): ClickHouseClient {
  const log = { level: ClickHouseLogLevel.OFF };
  return createClient({ url, log, clickhouse_settings: PINNED, keep_alive: { enabled: true, idle_socket_ttl: 2_000 } });
}

/** A query with a FORMAT of its own answers in that. */
function readLines(text: string): string[] {
  try {
    const lines = text.trimEnd().split("\n");
    return lines.map((line) => (JSON.parse(line) as { readonly explain: string }).explain);
  } catch (cause) {
    throw new Fault("invalid", "FORMAT is not allowed: the answer has a fixed form", { cause });
  }
}

function showTables(names: readonly string[]): string {
  const list = names.map((name) => `'${name.replace(/[\\']/g, "\\$&")}'`).join(", ");
  return `SELECT arrayJoin([${list}]::Array(String)) AS name ORDER BY name`;
}

function takeRows(
  text: string,
  maxRows: number,
  maxBytes: number,
): Pick<QueryResult, "columns" | "rows" | "truncated"> {
  const [names = "[]", types = "[]", ...lines] = text.trimEnd().split("\n");
  const typeNames = JSON.parse(types) as string[];
  const columns = (JSON.parse(names) as string[]).map((name, i) => ({ name, type: typeNames[i] ?? "" }));
  const rows: unknown[][] = [];
  let bytes = 0;
  for (const line of lines) {
    bytes += Buffer.byteLength(line);
    if (rows.length >= maxRows || bytes > maxBytes) return { columns, rows, truncated: true };
    rows.push(JSON.parse(line) as unknown[]);
  }
  return { columns, rows, truncated: false };
}
