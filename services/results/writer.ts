/** Writes rows, runs and logs: batched, each INSERT with a token that names its bytes, retried until it is stored. */
import { createHash } from "node:crypto";
import { Fault } from "../kit/fault.ts";
import { Semaphore, within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { Batch, type BatchLimits, Budget, type Parcel } from "./batch.ts";
import type { Store } from "./client.ts";
import { mayRecover } from "./client.ts";
import { inferColumns, storageType } from "./column.ts";
import { type Datasets, quote, rowsTable } from "./datasets.ts";
import { openLogWriter } from "./log-writer.ts";
import { hasLongDigits, type Piece, splitLines, stampLines } from "./ndjson.ts";
import type { Chunk, Dataset, LogLine, RunRecord, Stored } from "./records.ts";
import { encodeRows, findMistakes, moveExtras, parseRows } from "./row.ts";
import { encodeRun } from "./run-row.ts";

export interface WriterOptions extends BatchLimits {
  /** Bytes of rows whose callers wait, in all; more callers wait for room. */
  readonly maxBufferedBytes: number;
  /** How long closing waits for ClickHouse, in milliseconds. */
  readonly closeMs: number;
  readonly log: Logger;
}

export interface Writer extends AsyncDisposable {
  append(chunk: Chunk, signal?: AbortSignal): Promise<Stored>;
  commit(run: RunRecord, signal?: AbortSignal): Promise<void>;
  log(lines: readonly LogLine[]): void;
  flush(): Promise<void>;
  readonly bufferedBytes: number;
  readonly droppedLogLines: number;
}

/**
 * Above this a chunk has an INSERT of its own, and ClickHouse adds the envelope: cheaper than to write it on each line.
 */
const OWN_INSERT_BYTES = 262_144;
/** One INSERT is one block, so that a bad row refuses the whole of it. */
const MAX_INSERT_ROWS = 100_000;
const MAX_INSERT_BYTES = 16_777_216;
const MAX_INSERTS_AT_ONCE = 4;
/** Chunks remembered, so that one appended again by its own process is not stored again inside another batch. */
const REMEMBERED_CHUNKS = 20_000;

export function openWriter(store: Store, datasets: Datasets, options: WriterOptions): Writer {
  const db = store.database;
  const stopping = new AbortController();
  const inserts = new Semaphore(MAX_INSERTS_AT_ONCE);
  const budget = new Budget(options.maxBufferedBytes);
  const batches = new Map<string, Batch>();
  const stored = new Map<string, Promise<Stored>>();
  /** Chunks under way, by attempt: a commit waits for them. */
  const underWay = new Map<string, Set<Promise<Stored>>>();
  const pending = new Set<Promise<unknown>>();
  const logs = openLogWriter(store, options.log, stopping.signal);

  const insert = async (sql: string, body: Uint8Array, token: string, params: Record<string, unknown> = {}) => {
    using _ = await inserts.acquire();
    await store.insert({ sql, body, token, params }, stopping.signal);
  };
  const batchInto = (table: string): Batch => {
    let batch = batches.get(table);
    if (!batch) {
      const sql = `INSERT INTO ${db}.${quote(table)} FORMAT JSONEachRow`;
      batch = new Batch(options, (parcels) => {
        const body = Buffer.concat(parcels.map((parcel) => parcel.bytes));
        return insert(sql, body, tokenOf(parcels, body));
      });
      batches.set(table, batch);
    }
    return batch;
  };

  /** Bytes go through unread; only what ClickHouse refuses is parsed, to save it or to say what is wrong. */
  const storeChunk = async (chunk: Chunk, bytes: Uint8Array): Promise<Stored> => {
    const pieces = splitLines(bytes, MAX_INSERT_ROWS, MAX_INSERT_BYTES);
    const rows = pieces.reduce((sum, piece) => sum + piece.rows, 0);
    if (rows === 0) return { rows, bytes: bytes.length };
    const dataset = (await datasets.find(chunk.dataset)) ?? (await infer(chunk, bytes));
    const ingestedMs = Date.now();
    for (const [i, piece] of pieces.entries()) {
      const token = `${chunk.runId}/${chunk.fence}/${chunk.chunk}${pieces.length > 1 ? `/${i}` : ""}`;
      try {
        await storePiece(chunk, piece, dataset, token, ingestedMs);
      } catch (thrown) {
        if (i > 0 && !mayRecover(Fault.from(thrown))) await takeBack(chunk);
        throw thrown;
      }
    }
    return { rows, bytes: bytes.length };
  };

  const storePiece = async (chunk: Chunk, piece: Piece, dataset: Dataset, token: string, ingestedMs: number) => {
    if (!hasLongDigits(piece.bytes)) {
      try {
        return await storeBytes(chunk, piece, dataset, token, ingestedMs);
      } catch (thrown) {
        if (!isRefusal(thrown)) throw thrown;
      }
    }
    datasets.forget(dataset.dataset);
    const now = (await datasets.find(dataset.dataset)) ?? dataset;
    const parsed = parseRows(piece.bytes);
    const explain = (cause?: unknown) => {
      const mistakes = findMistakes(parsed, now).filter((m) => cause !== undefined || OUT_OF_RANGE.test(m.problem));
      if (mistakes.length) throw Fault.invalid(`rows of ${dataset.dataset}`, mistakes);
      if (cause !== undefined) throw cause;
    };
    explain();
    const moved = { bytes: encodeRows(moveExtras(parsed, now)), rows: parsed.length };
    await storeBytes(chunk, moved, now, token, ingestedMs).catch((thrown) => {
      if (isRefusal(thrown)) explain(thrown);
      throw thrown;
    });
  };

  const storeBytes = async (chunk: Chunk, piece: Piece, dataset: Dataset, token: string, ingestedMs: number) => {
    const stamped =
      piece.bytes.length < OWN_INSERT_BYTES ? stampLines(piece, envelopeOf(chunk, ingestedMs)) : undefined;
    if (stamped) return batchInto(rowsTable(dataset.dataset)).add({ bytes: stamped, rows: piece.rows, token });
    const params = {
      run: chunk.runId,
      fence: String(chunk.fence),
      attempt: chunk.attempt,
      chunk: chunk.chunk,
      resource: chunk.resource,
      ingested: (ingestedMs / 1_000).toFixed(3),
    };
    await insert(ownInsert(db, dataset), piece.bytes, token, params);
  };

  const infer = (chunk: Chunk, bytes: Uint8Array): Promise<Dataset> => {
    const [head] = splitLines(bytes, INFERENCE_ROWS, MAX_INSERT_BYTES);
    const columns = inferColumns(parseRows(head?.bytes ?? bytes));
    return datasets.ensure({ dataset: chunk.dataset, columns });
  };

  /** Part of a chunk was stored before a later part was refused: nothing of it shall stay. */
  const takeBack = (chunk: Chunk) =>
    store.command(
      `DELETE FROM ${db}.${quote(rowsTable(chunk.dataset))}
       WHERE _run_id = {run:String} AND _fence = {fence:UInt64} AND _chunk = {chunk:UInt32}`,
      { run: chunk.runId, fence: String(chunk.fence), chunk: chunk.chunk },
    );

  return {
    get bufferedBytes() {
      return budget.held;
    },
    get droppedLogLines() {
      return logs.dropped;
    },
    async append(chunk, signal) {
      const key = `${chunk.dataset} ${chunk.runId}/${chunk.fence}/${chunk.chunk}`;
      const again = stored.get(key);
      if (again) return untilAborted(again, signal);
      refuseWhenClosed(stopping.signal);
      const bytes = isBytes(chunk.rows) ? chunk.rows : encodeRows(chunk.rows);
      const work = (async () => {
        using _ = await budget.take(bytes.length);
        refuseWhenClosed(stopping.signal);
        return await storeChunk(chunk, bytes);
      })();
      remember(stored, key, work);
      track(underWay, attemptKey(chunk.runId, chunk.fence), work);
      follow(pending, work);
      return untilAborted(work, signal);
    },
    async commit(run, signal) {
      refuseWhenClosed(stopping.signal);
      const work = (async () => {
        await Promise.all(underWay.get(attemptKey(run.runId, run.fence)) ?? []);
        const bytes = encodeRun(run);
        using _ = await budget.take(bytes.length);
        await batchInto("runs").add({ bytes, rows: 1, token: `${run.runId}/${run.fence}/commit/${digestOf(bytes)}` });
      })();
      follow(pending, work);
      await untilAborted(work, signal);
    },
    log: (lines) => logs.add(lines),
    async flush() {
      await Promise.allSettled(pending);
      await logs.flush();
    },
    async [Symbol.asyncDispose]() {
      const flushed = this.flush();
      await within(options.closeMs, "flushing to ClickHouse", flushed).catch((thrown) => {
        options.log.error({ problem: Fault.from(thrown).message }, "closing with rows that ClickHouse did not take");
      });
      stopping.abort();
      await logs[Symbol.asyncDispose]();
      await flushed.catch(() => undefined);
    },
  };
}

/** ClickHouse takes a number over 64 bits and wraps it round, so that one is found without its help. */
const OUT_OF_RANGE = / 64 bits /;
/** The bytes are at fault, or the table changed; not the server. */
const isRefusal = (thrown: unknown) => ["invalid", "not_found"].includes(Fault.from(thrown).code);

/** Rows that are looked at to infer a schema. */
const INFERENCE_ROWS = 1_000;

const attemptKey = (runId: string, fence: bigint) => `${runId}/${fence}`;
const isBytes = (rows: Chunk["rows"]): rows is Uint8Array => rows instanceof Uint8Array;
const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64url");

/** A parcel that travels alone keeps its own name, so that it is known again whoever sends it. */
function tokenOf(parcels: readonly Parcel[], body: Uint8Array): string {
  return parcels.length === 1 ? (parcels[0] as Parcel).token : digestOf(body);
}

function envelopeOf(chunk: Chunk, ingestedMs: number): Buffer {
  const { runId, fence, attempt, resource } = chunk;
  const at = new Date(ingestedMs).toISOString();
  const tail = `"_attempt":${attempt},"_chunk":${chunk.chunk},"_resource":${JSON.stringify(resource)}`;
  return Buffer.from(`"_run_id":${JSON.stringify(runId)},"_fence":${fence},${tail},"_ingested_at":"${at}"`);
}

/** The envelope as parameters, the rows as they came. */
function ownInsert(db: string, dataset: Dataset): string {
  const names = Object.keys(dataset.columns).map(quote);
  const fields = Object.entries(dataset.columns).map(([name, type]) => `${quote(name)} ${storageType(type) ?? type}`);
  const structure = [...fields, "_extra JSON(max_dynamic_paths = 64)"].join(", ").replace(/[\\']/g, "\\$&");
  const envelope = `{run:String}, {fence:UInt64}, {attempt:UInt32}, {chunk:UInt32}, {resource:String},
    toDateTime64({ingested:String}, 3, 'UTC')`;
  return `INSERT INTO ${db}.${quote(rowsTable(dataset.dataset))}
    (_run_id, _fence, _attempt, _chunk, _resource, _ingested_at, ${names.join(", ")}, _extra)
    SELECT ${envelope}, ${names.join(", ")}, _extra FROM input('${structure}') FORMAT JSONEachRow`;
}

function refuseWhenClosed(signal: AbortSignal): void {
  if (signal.aborted) throw new Fault("unavailable", "the results writer is closed");
}

function remember(stored: Map<string, Promise<Stored>>, key: string, work: Promise<Stored>): void {
  stored.set(key, work);
  work.catch(() => stored.delete(key));
  if (stored.size > REMEMBERED_CHUNKS) stored.delete(stored.keys().next().value as string);
}

function track(underWay: Map<string, Set<Promise<Stored>>>, key: string, work: Promise<Stored>): void {
  const set = underWay.get(key) ?? new Set();
  underWay.set(key, set.add(work));
  const done = () => {
    set.delete(work);
    if (set.size === 0) underWay.delete(key);
  };
  work.then(done, done);
}

function follow(pending: Set<Promise<unknown>>, work: Promise<unknown>): void {
  pending.add(work);
  const done = () => pending.delete(work);
  work.then(done, done);
}

/** The caller stops waiting; the work goes on. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const aborted = () => reject(new Fault("cancelled", "the caller stopped waiting for ClickHouse"));
  if (signal.aborted) aborted();
  signal.addEventListener("abort", aborted, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}
