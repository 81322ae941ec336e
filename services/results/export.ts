/** Files of rows, streamed from ClickHouse as it writes them: memory does not grow with their size. */
import { randomUUID } from "node:crypto";
import type { ClickHouseClient, ClickHouseSettings } from "@clickhouse/client";
import { Fault } from "../kit/fault.ts";
import type { Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import type { Export, Format, QueryRequest, RowSelection } from "./records.ts";
import { selectAll } from "./row-query.ts";

export interface ExportPorts {
  readonly store: Store;
  readonly client: ClickHouseClient;
  readonly datasets: Datasets;
  /** The statement as it may run. */
  readonly check: (request: Pick<QueryRequest, "sql" | "params">) => Promise<string>;
  readonly memoryBytes: number;
}

/** Each holds a connection for as long as its reader takes. */
const MAX_AT_ONCE = 4;
/** What the end is searched in for an error that came after the first bytes. */
const TAIL_BYTES = 65_536;
const ERROR_MARK = "__exception__";
const MIB = 1_048_576;
/** Rows of a Parquet file are held back in groups. */
const ROW_GROUP_BYTES = 16 * MIB;

const WRITTEN: Readonly<Record<Format, string>> = {
  json: "JSONEachRow",
  ndjson: "JSONEachRow",
  csv: "CSVWithNames",
  arrow: "ArrowStream",
  parquet: "Parquet",
};

export function exporter({ store, client, datasets, check, memoryBytes }: ExportPorts) {
  let running = 0;

  const queryOf = async (from: Export["from"], format: Format) => {
    if ("sql" in from) return { sql: await check(from), params: from.params ?? {} };
    const dataset = await datasets.find(from.dataset);
    if (!dataset) throw new Fault("not_found", `no dataset named "${from.dataset}"`);
    return selectAll(store.database, dataset, from as RowSelection, format === "arrow" || format === "parquet");
  };

  return async function* ({ from, format, timeoutMs, signal }: Export): AsyncGenerator<Uint8Array> {
    const { sql, params } = await queryOf(from, format);
    if (running >= MAX_AT_ONCE) throw new Fault("exhausted", `${MAX_AT_ONCE} exports are running already; try later`);
    running += 1;

    const id = randomUUID();
    const late = AbortSignal.timeout(timeoutMs);
    const stop = AbortSignal.any([signal, late]);
    let tail: Buffer = Buffer.alloc(0);
    let ended = false;
    try {
      const { stream } = await client.exec({
        query: `${sql} FORMAT ${WRITTEN[format]}`,
        query_id: id,
        query_params: params as Record<string, unknown>,
        abort_signal: stop,
        clickhouse_settings: settingsFor(format, store.database, timeoutMs, memoryBytes),
      });
      stop.addEventListener("abort", () => stream.destroy(), { once: true });
      for await (const piece of stream as AsyncIterable<Buffer>) {
        // Held back: should ClickHouse fail now, its last bytes are not rows.
        const all = tail.length ? Buffer.concat([tail, piece]) : piece;
        if (all.length > 2 * TAIL_BYTES) yield all.subarray(0, all.length - TAIL_BYTES);
        tail = all.length > 2 * TAIL_BYTES ? all.subarray(all.length - TAIL_BYTES) : all;
      }
      stop.throwIfAborted();
      ended = true;
      if (tail.length) yield tail;
    } catch (thrown) {
      if (signal.aborted) throw new Fault("cancelled", "the reader left", { cause: thrown });
      if (late.aborted) throw new Fault("deadline", `the export did not end within ${timeoutMs} ms`, { cause: thrown });
      const said = tail.lastIndexOf(`${ERROR_MARK}\r\n`, tail.length - ERROR_MARK.length - 8);
      if (said === -1) throw store.fault(thrown);
      const message = tail.subarray(said).toString().split("\r\n")[2] ?? "";
      throw new Fault("exhausted", `ClickHouse gave up: ${message.split("\n")[0]}`, { cause: thrown });
    } finally {
      running -= 1;
      if (!ended) void store.command("KILL QUERY WHERE query_id = {id:String} ASYNC", { id }).catch(() => 0);
    }
  };
}

function settingsFor(format: Format, database: string, timeoutMs: number, memoryBytes: number): ClickHouseSettings {
  const settings = {
    readonly: "1",
    database,
    max_execution_time: Math.max(0.001, timeoutMs / 1_000),
    timeout_overflow_mode: "throw",
    max_memory_usage: String(memoryBytes),
    // A sort that does not fit goes to disk.
    max_bytes_before_external_sort: String(Math.trunc(memoryBytes / 4)),
    allow_introspection_functions: 0,
    output_format_json_array_of_rows: format === "json" ? 1 : 0,
    output_format_parquet_row_group_size_bytes: String(ROW_GROUP_BYTES),
  };
  return settings as ClickHouseSettings;
}
