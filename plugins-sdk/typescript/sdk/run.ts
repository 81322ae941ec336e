/** What a run does beside fetching: rows, checkpoints, log lines, secrets, queries, calls, events and metrics. */
import type { Row } from "./calls.ts";
import { host, PluginError } from "./host.ts";

/** Sends rows to the platform, in batches; the last batch goes out when the export ends. */
export function emit(rows: Row | readonly Row[]): void {
  host.emit(rows);
}

/**
 * Sends rows as CSV with a header, which the store reads as they are: some MiB at a time, 16 at most. Returns how many
 * rows they were, once they are durable.
 */
export function emitCsv(text: string): number {
  host.flush();
  return (host.call("emit:csv", text) as { rows: number }).rows;
}

/**
 * Sends rows as an Arrow stream (IPC, the schema first, uncompressed), which the store reads as it is: some MiB at a
 * time, 16 at most. Returns how many rows they were, once they are durable.
 */
export function emitArrow(stream: ArrayBuffer | ArrayBufferView): number {
  host.flush();
  return (host.callBytes("emit:arrow", bytesOf(stream)) as { rows: number }).rows;
}

function bytesOf(given: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (ArrayBuffer.isView(given)) return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  throw new PluginError("invalid", `an Arrow stream is bytes (ArrayBuffer, Uint8Array), not ${typeof given}`);
}

/** All rows emitted so far are kept, and the next attempt of this run gets `cursor`. */
export function checkpoint(cursor: unknown): void {
  host.checkpoint(cursor);
}

export function progress(done: number, total?: number, message?: string): void {
  host.call("progress", { done, total, message });
}

type Fields = Readonly<Record<string, unknown>>;
const line = (level: string) => (message: string, fields?: Fields) => void host.call("log", { level, message, fields });

/** Lines of the run's log, with fields that can be searched for. `console` writes there too. */
export const log = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };

/**
 * The value of a secret. Needs `name!` among the permissions; most plugins need only `secret.placeholder`.
 * Errors: `denied`, `not_found`.
 */
export function secret(name: string): string {
  return (host.call("secret", { name }) as { value: string }).value;
}

/** Text for headers, query or body of an HTTP request: the host puts the value in, and the plugin never sees it. */
secret.placeholder = (name: string): string => `{{secret:${name}}}`;

export interface QueryOptions {
  /** Placeholders are ClickHouse's: `WHERE city = {city:String}`. Never build SQL from input. */
  readonly params?: Fields;
  readonly maxRows?: number;
}

/** Read-only SQL on granted tables, as objects with the columns' names as keys. */
export function query<T = Record<string, unknown>>(sql: string, { params, maxRows }: QueryOptions = {}): T[] {
  const answer = host.call("query", { sql, params, max_rows: maxRows }) as {
    columns: { name: string }[];
    rows: unknown[][];
  };
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map(({ name }, i) => [name, row[i]])) as T);
}

/** Another instance's function. Errors: `denied`, and what the called plugin failed with. */
export function call<T = unknown>(
  instance: string,
  fn: string,
  input: unknown = null,
  options: { readonly timeoutMs?: number } = {},
): T {
  const request = { instance, function: fn, input, timeout_ms: options.timeoutMs };
  return (host.call("call", request) as { output: T }).output;
}

/** An event to whoever listens now, below the instance's own subject. */
export function publish(subject: string, body: unknown = null): void {
  host.call("publish", { subject, body });
}

export interface MetricOptions {
  /** Default: `gauge`. A counter only grows, save for restarts: rates are made of it. */
  readonly type?: "gauge" | "counter";
  readonly dimensions?: Readonly<Record<string, string>>;
  /** RFC 3339. Default: now. */
  readonly time?: string;
}

/** A value of the plugin's own in the dataset `metrics`, with the instance as group. It is kept when the run is. */
export function metric(name: string, value: number, options: MetricOptions = {}): void {
  host.call("metric", { name, value, ...options });
}

/** Waits without using the CPU. Errors: `deadline` at once when the call would be over before. */
export function sleep(ms: number): void {
  host.call("sleep", { ms });
}
