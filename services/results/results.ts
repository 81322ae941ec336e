/** The results room: where rows, runs and logs are kept, and the only code that knows ClickHouse. */
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { retry } from "../kit/retry.ts";
import { withoutCredentials } from "./clickhouse-fault.ts";
import { connectStore } from "./client.ts";
import { METRICS, openDatasets } from "./datasets.ts";
import { fetchedUntil, getRun, listRuns, readRows, runLogs } from "./history.ts";
import { insertSelect } from "./insert-select.ts";
import { committedRuns, copyRows, countDuplicates, dropDataset, sumRuns, sweepRows } from "./maintenance.ts";
import { openReader } from "./reader.ts";
import type { Results } from "./records.ts";
import { listRejects, redriveRejects } from "./rejects.ts";
import { prepareSchema } from "./schema.ts";
import { compareAttempt, liesWithin, sumAttempt } from "./shadow.ts";
import { openWriter } from "./writer.ts";

export { columnTypes } from "./column.ts";
export { METRICS } from "./datasets.ts";
export { inferColumns } from "./evolution.ts";
export type { SelectedChunk } from "./insert-select.ts";
export * from "./records.ts";
export { type ClickHouseServer, type ServerOptions, startClickHouse } from "./server.ts";
export type { Comparison } from "./shadow.ts";

export interface ResultsOptions {
  /** ClickHouse over HTTP, with credentials: http://user:password@host:8123 */
  readonly url: string;
  /** The same server as a user that may only SELECT; queries from outside run as it. */
  readonly readerUrl?: string;
  readonly database?: string;
  readonly log: Logger;
  /** How long `openResults` waits for ClickHouse, in milliseconds. */
  readonly waitMs?: number;
  readonly closeMs?: number;
  /** A batch goes out with this many rows, bytes, or after this time in milliseconds. */
  readonly batchRows?: number;
  readonly batchBytes?: number;
  readonly batchAgeMs?: number;
  readonly maxBufferedBytes?: number;
  /** Memory of one query from outside, in MiB. */
  readonly queryMemoryMib?: number;
  readonly logDays?: number;
  readonly runDays?: number;
  readonly metricDays?: number;
}

const DEFAULTS = {
  database: "millrace",
  waitMs: 30_000,
  closeMs: 10_000,
  batchRows: 10_000,
  batchBytes: 4_194_304,
  batchAgeMs: 50,
  maxBufferedBytes: 134_217_728,
  queryMemoryMib: 1_024,
  logDays: 30,
  runDays: 30,
  metricDays: 365,
} as const;

const MIB = 1_048_576;
const DATABASE_NAME = /^[a-z][a-z0-9_]{0,62}$/;

/** Makes the tables where they are missing. Errors: `unavailable` naming the URL without credentials; `invalid`. */
export async function openResults(options: ResultsOptions): Promise<Results> {
  const settings = { ...DEFAULTS, ...options };
  const { url, database, log } = settings;
  checkAddress(url, database);
  await using opening = new AsyncDisposableStack();
  const store = opening.use(connectStore({ url, database, log }));
  await awaitServer(url, settings.waitMs, () => store.rows("SELECT 1"));
  await prepareSchema(store, settings);
  const datasets = openDatasets(store, settings.metricDays);
  await datasets.ensure(METRICS);
  const reader = opening.use(
    openReader(store, datasets, { readerUrl: settings.readerUrl, queryMemoryMib: settings.queryMemoryMib }),
  );
  const writer = opening.use(
    openWriter(store, datasets, {
      maxRows: settings.batchRows,
      maxBytes: settings.batchBytes,
      maxAgeMs: settings.batchAgeMs,
      maxBufferedBytes: settings.maxBufferedBytes,
      closeMs: settings.closeMs,
      log,
    }),
  );
  const life = opening.move();
  return {
    ensureDataset: (spec) => datasets.ensure(spec),
    appendChunk: (chunk, signal) => writer.append(chunk, signal),
    selectChunk: (chunk) => insertSelect(store, datasets, reader, chunk, settings.queryMemoryMib * MIB),
    commit: (run, signal) => writer.commit(run, signal),
    log: (lines) => writer.log(lines),
    flush: () => writer.flush(),
    state: () => ({
      ...store.health(),
      droppedLogLines: writer.droppedLogLines,
      bufferedBytes: writer.bufferedBytes,
    }),
    ping: async () => void (await store.rows("SELECT 1")),
    query: (request) => reader.query(request),
    export: (request) => reader.export(request),
    readRows: (request) => readRows(store, datasets, request),
    listRuns: (filter, page) => listRuns(store, filter, page),
    getRun: (runId) => getRun(store, runId),
    runLogs: (runId, page) => runLogs(store, runId, page),
    listDatasets: () => datasets.list(),
    listRejects: (filter, page) => listRejects(store, datasets, filter, page),
    redriveRejects: (redrive) => redriveRejects(store, writer, redrive),
    committedRuns: (filter) => committedRuns(store, filter),
    sumRuns: (dataset, runs) => sumRuns(store, datasets, dataset, runs),
    countDuplicates: (dataset) => countDuplicates(store, datasets, dataset),
    compareAttempt: (attempt) => compareAttempt(store, datasets, attempt),
    sumAttempt: (attempt) => sumAttempt(store, datasets, attempt),
    liesWithin: (attempt) => liesWithin(store, datasets, attempt),
    copyRows: (copy) => copyRows(store, datasets, writer, copy),
    dropDataset: (dataset) => dropDataset(store, datasets, dataset),
    sweep: (lagMs) => sweepRows(store, datasets, lagMs),
    fetchedUntil: () => fetchedUntil(store),
    [Symbol.asyncDispose]: () => life.disposeAsync(),
  };
}

function checkAddress(url: string, database: string): void {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new Fault("invalid", "the ClickHouse URL is not http(s)://host:port");
  }
  if (!DATABASE_NAME.test(database)) {
    throw new Fault("invalid", `"${database}" is no database name: lower-case letters, digits and _, a letter first`);
  }
}

async function awaitServer(url: string, waitMs: number, ask: () => Promise<unknown>): Promise<void> {
  const signal = AbortSignal.timeout(waitMs);
  const policy = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 100, maxDelayMs: 1_000 };
  await retry(policy, ask, { signal }).catch((thrown) => {
    const fault = Fault.from(thrown);
    if (fault.code !== "unavailable" && fault.code !== "deadline") throw fault;
    const where = withoutCredentials(url);
    throw new Fault("unavailable", `ClickHouse at ${where} did not answer within ${waitMs} ms`, { cause: fault });
  });
}
