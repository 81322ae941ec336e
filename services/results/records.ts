/** What other rooms write and read here: runs, chunks, log lines, datasets and pages. Times are bigint microseconds. */

import type { SelectedChunk } from "./insert-select.ts";
import type { Export, QueryRequest, QueryResult, ReadRowsRequest, RowsPage } from "./reading.ts";
import type { RowScan } from "./row-scan.ts";
import type { Comparison, PlacedAttempt, RowsSum, ShadowAttempt } from "./shadow.ts";
import type { Storage } from "./storage.ts";

export * from "./reading.ts";
export type { Storage } from "./storage.ts";

/** The closed list of how a run may end. Lower-case strings everywhere: in ClickHouse, REST, gRPC and the console. */
export const OUTCOMES = [
  "ok",
  "no_data",
  "not_modified",
  "partial",
  "guest_error",
  "trap",
  "timeout",
  "cpu_exceeded",
  "out_of_memory",
  "denied",
  "host_error",
  "skipped_locked",
  "skipped_early",
  "dropped_late",
  "cancelled",
  "quarantined",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export const RUN_KINDS = [
  "fetch",
  "sync",
  "verify",
  "register",
  "poll",
  "discover",
  "enrich",
  "route",
  "function",
  "procedure",
  "hook",
] as const;
export type RunKind = (typeof RUN_KINDS)[number];

/** The first `chunks` chunks written under `fence` count. A resumed run has a part for each attempt it builds on. */
export interface RunPart {
  readonly fence: bigint;
  readonly chunks: number;
}

/** One attempt of a run, with its end. Written once, as the last step before the ack. */
export interface RunRecord {
  /** Where its rows are; "" when a run has no dataset (a route call, a discovery). */
  readonly dataset: string;
  readonly runId: string;
  /** Names the attempt: of all committed attempts of a run, the greatest fence is the one that is seen. */
  readonly fence: bigint;
  /** Delivery count, from 1. Information only. */
  readonly attempt: number;
  readonly kind: RunKind;
  readonly plugin: string;
  readonly version: string;
  /** SHA-256 of the module, lower-case hex. */
  readonly digest: string;
  readonly instance: string;
  /** Pipe, poller or route. */
  readonly target: string;
  readonly resource: string;
  /** The window of a fetch. */
  readonly beginUs: bigint | undefined;
  readonly endUs: bigint | undefined;
  /** Whether these are integers of an axis of its own, and not microseconds. Default: no. */
  readonly integers?: boolean;
  readonly dueUs: bigint;
  readonly startedUs: bigint;
  readonly finishedUs: bigint;
  readonly outcome: Outcome;
  /** Whether its parts replace what earlier attempts of this run stored, no rows at all included. */
  readonly committed: boolean;
  readonly parts: readonly RunPart[];
  /** Chunks, rows and bytes that this attempt itself wrote. */
  readonly chunks: number;
  readonly rows: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Calls by host function: {"http": 3, "emit": 12}. */
  readonly hostCalls: Readonly<Record<string, number>>;
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly memoryPeakBytes: number;
  /** Instructions of a metered plugin; 0 or absent: not metered. */
  readonly gas?: number;
  /** Rows set aside because they did not fit, of the chunks that count. The store counts them; writers say nothing. */
  readonly rejected?: number;
  /** Why it failed, or what the guest said. Cut at 8 KiB. */
  readonly message: string;
  readonly executor: string;
}

export type RowObject = Readonly<Record<string, unknown>>;

export const ROW_FORMATS = ["ndjson", "csv", "arrow"] as const;
export type RowFormat = (typeof ROW_FORMATS)[number];

export interface Chunk {
  readonly dataset: string;
  readonly runId: string;
  readonly fence: bigint;
  readonly attempt: number;
  /** Counts from 0 within the attempt; the same number always means the same rows. */
  readonly chunk: number;
  readonly resource: string;
  /** Of `rows` as bytes; undefined: NDJSON. CSV begins with a header, Arrow is the IPC streaming format. */
  readonly format?: RowFormat | undefined;
  /** NDJSON, one object a line; or rows as objects (bigint and Uint8Array-free values). */
  readonly rows: Uint8Array | readonly RowObject[];
  /** What is known of `rows` when they are NDJSON and somebody has looked at them. */
  readonly scan?: RowScan | undefined;
}

export interface Stored {
  /** Rows of the chunk that are stored. */
  readonly rows: number;
  /** Rows that were set aside. */
  readonly rejected: number;
  readonly bytes: number;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogLine {
  readonly runId: string;
  readonly fence: bigint;
  readonly timeUs: bigint;
  readonly level: LogLevel;
  readonly instance: string;
  /** Cut at 8 KiB. */
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** string int64 uint64 float64 bool timestamp date decimal(p,s) uuid json, and array(…) of all but json. */
export type ColumnType = string;

/**
 * What becomes of rows that do not fit the columns. `evolve`: columns are added and grow wider. `freeze`: unknown
 * fields go to `_extra`, a wrong type fails the chunk. `reject`: as freeze, but a bad row is set aside.
 */
export type SchemaPolicy = "evolve" | "freeze" | "reject";

/** What a pipe or a plugin says about its table. */
export interface DatasetSpec {
  readonly dataset: string;
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** The column that windows and `readRows` go by: a timestamp or date, or an int64 or uint64. */
  readonly datetime?: string | undefined;
  /** Rows equal in these columns are one row: the newest. None: every row stays. */
  readonly index?: readonly string[] | undefined;
  /** Undefined: evolve without columns, freeze with columns. */
  readonly schema?: SchemaPolicy | undefined;
  /** Zone that naive times are in, an IANA name; undefined: they are refused. */
  readonly timezone?: string | undefined;
  /** Undefined: as it is, or for a new dataset for ever, by the month of storing, with the server's compression. */
  readonly storage?: Storage | undefined;
  /** Whether the table keeps fields without a column, in one of its own. Undefined: as it is, at first not. */
  readonly extra?: boolean | undefined;
}

export interface Dataset extends DatasetSpec {
  readonly index: readonly string[];
  readonly schema: SchemaPolicy;
  readonly storage: Storage;
  readonly extra: boolean;
  /** Types that a column has had, of columns that grew wider; the widest is the one in `columns`. */
  readonly versions: Readonly<Record<string, readonly ColumnType[]>>;
  /** Rows and bytes on disk, rows of superseded attempts included. */
  readonly storedRows: number;
  readonly storedBytes: number;
}

export interface RunFilter {
  readonly kind?: RunKind | undefined;
  readonly instance?: string | undefined;
  readonly target?: string | undefined;
  readonly resource?: string | undefined;
  readonly outcome?: Outcome | undefined;
  readonly dataset?: string | undefined;
  readonly plugin?: string | undefined;
  /** Finished within [sinceUs, untilUs). */
  readonly sinceUs?: bigint | undefined;
  readonly untilUs?: bigint | undefined;
}

export interface Page {
  /** 1–1,000. */
  readonly size: number;
  readonly token?: string | undefined;
}

export interface RunsPage {
  /** Newest first by the time they finished. */
  readonly runs: readonly RunRecord[];
  readonly nextToken: string | undefined;
}

export interface LogsPage {
  /** Oldest first. */
  readonly lines: readonly LogLine[];
  readonly nextToken: string | undefined;
}

export interface RejectFilter {
  readonly dataset: string;
  readonly runId?: string | undefined;
}

/** A row that was set aside, of a chunk that counts. */
export interface Reject {
  readonly runId: string;
  readonly fence: bigint;
  readonly chunk: number;
  /** Its place in the chunk, from 1. */
  readonly row: number;
  readonly reason: string;
  /** The line as it came. */
  readonly raw: string;
  readonly timeUs: bigint;
}

export interface RejectsPage {
  /** By run, fence, chunk and row. */
  readonly rejects: readonly Reject[];
  readonly nextToken: string | undefined;
}

export interface Redrive {
  readonly dataset: string;
  readonly runId: string;
  /** Of the run's lock, held by the caller. */
  readonly fence: bigint;
}

export interface Redriven {
  readonly stored: number;
  readonly rejected: number;
}

/** Windows of one pipe: its runs with rows that lie within [beginUs, endUs). */
export interface WindowFilter {
  readonly dataset: string;
  readonly target: string;
  readonly beginUs?: bigint | undefined;
  readonly endUs?: bigint | undefined;
}

export interface RunSum {
  readonly runId: string;
  readonly counted: number;
  /** Of the rows without their envelope, in any order. */
  readonly checksum: string;
  /** Rows whose time is not in the run's window. */
  readonly outside: number;
}

export interface Duplicates {
  readonly stored: number;
  readonly counted: number;
  readonly seen: number;
  /** Rows that equal another one in every column. */
  readonly equal: number;
}

export interface Copy {
  readonly dataset: string;
  readonly target: string;
  readonly beginUs?: bigint | undefined;
  readonly endUs?: bigint | undefined;
  /** Where the dataset goes by integers. */
  readonly beginInt?: string | undefined;
  readonly endInt?: string | undefined;
  /** The run of the copy; its parts and counts are filled in. */
  readonly run: RunRecord;
}

/** Whether ClickHouse answers, since when, and if not, why. */
export interface ResultsState {
  readonly ok: boolean;
  readonly sinceMs: number;
  readonly problem?: string;
  /** Log lines dropped because ClickHouse could not take them in time. */
  readonly droppedLogLines: number;
  /** Bytes whose callers still wait. */
  readonly bufferedBytes: number;
}

export interface Results extends AsyncDisposable {
  /**
   * Creates the dataset's table and view or widens them. Without columns the first rows make them; what else the spec
   * says is kept by this process until then. Errors: `invalid` spec; `conflict` naming both types.
   */
  ensureDataset(spec: DatasetSpec): Promise<Dataset>;
  /**
   * Resolves once the rows are durable; waits for as long as ClickHouse is away. Errors: `invalid` naming column, row
   * and value (nothing of the chunk is stored); `cancelled` by the signal, after which the chunk may be stored or not.
   */
  appendChunk(chunk: Chunk, signal?: AbortSignal): Promise<Stored>;
  /**
   * Stores what a SELECT answers, once or not at all. Errors: `denied` and `invalid` for the SELECT, as `query`;
   * `invalid` naming a column; `exhausted`; `deadline`; `unavailable` when it may have been stored: only a new fence is
   * exact then.
   */
  selectChunk(chunk: SelectedChunk): Promise<Stored>;
  /** Resolves once durable; every chunk of the attempt that was appended before comes before it. */
  commit(run: RunRecord, signal?: AbortSignal): Promise<void>;
  /** Takes lines and returns at once. Over the bound the oldest lines are dropped, and counted. */
  log(lines: readonly LogLine[]): void;
  /** Resolves when everything that was handed over before is durable. */
  flush(): Promise<void>;
  state(): ResultsState;
  /** Resolves when ClickHouse answers. Errors: `unavailable`. */
  ping(): Promise<void>;

  /** Read-only SQL. Errors: `denied` or `invalid` saying what is not allowed; `deadline`; `exhausted` over a limit. */
  query(request: QueryRequest): Promise<QueryResult>;
  readRows(request: ReadRowsRequest): Promise<RowsPage>;
  /** A file in pieces, as they come from ClickHouse. Errors: as `query` and `readRows`; one in the middle cuts it. */
  export(request: Export): AsyncIterable<Uint8Array>;
  listRuns(filter: RunFilter, page: Page): Promise<RunsPage>;
  /** Every recorded attempt, newest fence first. Errors: `not_found`. */
  getRun(runId: string): Promise<readonly RunRecord[]>;
  runLogs(runId: string, page: Page): Promise<LogsPage>;
  listDatasets(): Promise<readonly Dataset[]>;
  /** Errors: `not_found` for an unknown dataset. */
  listRejects(filter: RejectFilter, page: Page): Promise<RejectsPage>;
  /** Stores what fits by now with its run. Errors: `not_found`; `conflict` when the run has a newer attempt. */
  redriveRejects(redrive: Redrive): Promise<Redriven>;
  /** The commit that counts of each run with rows, by begin. */
  committedRuns(filter: WindowFilter): Promise<readonly RunRecord[]>;
  /** By run id. Errors: `not_found`. */
  sumRuns(dataset: string, runs: readonly RunRecord[]): Promise<ReadonlyMap<string, RunSum>>;
  countDuplicates(dataset: string): Promise<Duplicates>;
  /** Errors: `not_found`. */
  compareAttempt(attempt: ShadowAttempt): Promise<Comparison>;
  /** Of chunks that need not be committed. Errors: `not_found`. */
  sumAttempt(attempt: ShadowAttempt): Promise<RowsSum>;
  /** Of the same, whether one is within [begin, end) of the integers that the dataset goes by. Errors: `not_found`. */
  liesWithin(attempt: PlacedAttempt): Promise<boolean>;
  /** All rows at once or none; resolves with their count. Errors: `not_found`; `invalid`; `conflict`. */
  copyRows(copy: Copy): Promise<number>;
  /** Everything of a dataset; resolves with the rows that were stored. Safe to repeat. */
  dropDataset(dataset: string): Promise<number>;
  /** Begins to delete what commits older than `lagMs` have superseded; resolves with the datasets it does that in. */
  sweep(lagMs: number): Promise<readonly string[]>;
  /** By target: the newest moment that a committed window covers, save what was cleared or came only in part. */
  fetchedUntil(): Promise<ReadonlyMap<string, bigint>>;
}
