/** One connection to ClickHouse over HTTP: pinned settings, faults instead of errors, and whether it answers. */
import { Readable } from "node:stream";
import { type ClickHouseClient, ClickHouseLogLevel, type ClickHouseSettings, createClient } from "@clickhouse/client";
import type { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { forEver, type RetryPolicy, retry } from "../kit/retry.ts";
import { clickHouseFault, withoutCredentials } from "./clickhouse-fault.ts";
import { type Assurance, type Counted, insertSurely } from "./lost-answers.ts";

/** Defaults that changed between versions, or that hide a loss; never left to the server. */
export const PINNED: ClickHouseSettings = {
  async_insert: 0,
  wait_end_of_query: 0,
  date_time_input_format: "best_effort",
  date_time_output_format: "iso",
  output_format_json_quote_64bit_integers: 1,
  output_format_json_quote_decimals: 1,
  output_format_json_quote_denormals: 0,
  input_format_skip_unknown_fields: 0,
  input_format_json_read_numbers_as_strings: 0,
  input_format_json_read_bools_as_strings: 0,
  input_format_json_read_objects_as_strings: 0,
  input_format_json_read_arrays_as_strings: 0,
  input_format_json_read_bools_as_numbers: 0,
  input_format_null_as_default: 1,
};

/** Longest single statement; a batch is bounded, so an INSERT that takes longer has lost its server. */
const REQUEST_MS = 120_000;
const MAX_CONNECTIONS = 16;

export interface Health {
  readonly ok: boolean;
  readonly sinceMs: number;
  readonly problem?: string;
}

export interface Insert {
  readonly sql: string;
  readonly body: Uint8Array;
  /** Names these exact bytes: sent twice, stored once. */
  readonly token: string;
  readonly params?: Record<string, unknown>;
  readonly assurance: Assurance;
}

/** What the rest of the room needs of a server. */
export interface Store extends AsyncDisposable {
  readonly database: string;
  readonly client: ClickHouseClient;
  /** Runs DDL; settles like `rows`. */
  command(sql: string, params?: Record<string, unknown>): Promise<void>;
  /** All rows of a small answer of our own. */
  rows<T>(sql: string, params?: Record<string, unknown>): Promise<T[]>;
  /** The answer as text, in the format that the SQL itself names or else one JSON object a line. */
  text(sql: string, params?: Record<string, unknown>): Promise<string>;
  /**
   * Stores the bytes once, trying again for as long as the signal allows. Resolves with the rows that ClickHouse read.
   * Errors: what retrying cannot mend.
   */
  insert(insert: Insert, signal?: AbortSignal): Promise<number>;
  health(): Health;
  fault(thrown: unknown): Fault;
}

export interface StoreOptions {
  readonly url: string;
  readonly database: string;
  readonly log: Logger;
}

export function connectStore({ url, database, log }: StoreOptions): Store {
  const where = withoutCredentials(url);
  const client = createClient({
    url,
    request_timeout: REQUEST_MS,
    max_open_connections: MAX_CONNECTIONS,
    compression: { request: false, response: false },
    clickhouse_settings: PINNED,
    log: { level: ClickHouseLogLevel.OFF },
    // A connection that the server closed while idle would fail the next INSERT for nothing.
    keep_alive: { enabled: true, idle_socket_ttl: 2_000 },
  });
  const fault = (thrown: unknown) => clickHouseFault(thrown, where);

  let health: Health = { ok: true, sinceMs: Date.now() };
  const answered = () => {
    if (!health.ok) log.info({ where, downMs: Date.now() - health.sinceMs }, "ClickHouse answers again");
    if (!health.ok) health = { ok: true, sinceMs: Date.now() };
  };
  const failed = (problem: Fault) => {
    if (health.ok) log.warn({ where, problem: problem.message }, "ClickHouse does not take rows; trying again");
    health = { ok: false, sinceMs: health.ok ? Date.now() : health.sinceMs, problem: problem.message };
  };

  const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      const result = await work();
      answered();
      return result;
    } catch (thrown) {
      throw fault(thrown);
    }
  };
  /** Our own reads and DDL are idempotent: brief trouble is ridden out, a longer one is the caller's to hear of. */
  const ask = <T>(work: () => Promise<T>) =>
    retry(OWN_STATEMENTS, () => attempt(work), { again: mayRecover, onRetry: (problem) => failed(problem) });

  return {
    database,
    client,
    health: () => health,
    fault,
    command: (sql, params = {}) =>
      ask(async () => {
        await client.command({ query: sql, query_params: params });
      }),
    rows: <T>(sql: string, params: Record<string, unknown> = {}) =>
      ask(async () => {
        const answer = await client.query({ query: sql, query_params: params, format: "JSONEachRow" });
        return answer.json<T>();
      }),
    text: (sql, params = {}) =>
      ask(async () => {
        // Not a setting, but a parameter of the HTTP interface; the client sends both alike.
        const settings = { default_format: "JSONEachRow", readonly: "1" } as ClickHouseSettings;
        const { stream } = await client.exec({ query: sql, query_params: params, clickhouse_settings: settings });
        return Buffer.concat(await stream.toArray()).toString();
      }),
    insert: (insert, signal) => {
      const patiently = <T>(work: (attempt: number) => Promise<T>) =>
        retry(forEver, (tries) => attempt(() => work(tries)), {
          ...(signal ? { signal } : {}),
          again: mayRecover,
          onRetry: failed,
        });
      return insertSurely(
        insert,
        (token) =>
          patiently(async (tries) => ({ written: await sendInsert(client, { ...insert, token }), heard: tries === 1 })),
        (query) => patiently(async () => (await client.query({ query, format: "JSONEachRow" })).json<Counted>()),
      );
    },
    async [Symbol.asyncDispose]() {
      await client.close();
    },
  };
}

const OWN_STATEMENTS: RetryPolicy = { attempts: 4, firstDelayMs: 50, maxDelayMs: 1_000 };

/** Whether the same statement may succeed later: the server was away, full, or too slow. */
export function mayRecover(fault: Fault): boolean {
  return fault.code === "unavailable" || fault.code === "exhausted" || fault.code === "deadline";
}

async function sendInsert(client: ClickHouseClient, { sql, body, token, params }: Insert): Promise<number> {
  const { stream, summary } = await client.exec({
    query: sql,
    // Only a Buffer is taken as one piece; of any other array each byte would be one.
    values: Readable.from(Buffer.from(body.buffer, body.byteOffset, body.byteLength), { objectMode: false }),
    query_params: params ?? {},
    // Several INSERTs are under way at a time: one of some megabytes is read faster by one thread than cut up for two.
    clickhouse_settings: { insert_deduplication_token: token, wait_end_of_query: 1, input_format_parallel_parsing: 0 },
  });
  // The answer of an INSERT is empty; reading it to its end is what returns the connection.
  await stream.resume().toArray();
  return Number(summary?.written_rows ?? 0);
}
