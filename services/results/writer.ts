/** Writes rows, runs and logs: batched, each INSERT with a token that names its bytes, retried until it is stored. */
import { createHash } from "node:crypto";
import { Fault } from "../kit/fault.ts";
import { Semaphore, within } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { Batch, type BatchLimits, Budget, type Parcel } from "./batch.ts";
import { chunkWriter } from "./chunk-writer.ts";
import type { Insert, Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import { formattedWriter } from "./formatted-chunk.ts";
import { openLogWriter } from "./log-writer.ts";
import type { Chunk, LogLine, RunRecord, Stored } from "./records.ts";
import { countRejects } from "./rejects.ts";
import { encodeRows } from "./row.ts";
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

const MAX_INSERTS_AT_ONCE = 4;
/** Chunks remembered, so that one appended again by its own process is not stored again inside another batch. */
const REMEMBERED_CHUNKS = 20_000;
/** Kinds of INSERT that are collected at once; one that is let go still sends what it has. */
const REMEMBERED_BATCHES = 10_000;

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

  const insert = async (one: Insert) => {
    using _ = await inserts.acquire();
    return await store.insert(one, stopping.signal);
  };
  const share = (sql: string, parcel: Parcel): Promise<void> => {
    let batch = batches.get(sql);
    if (!batch) {
      batch = new Batch(options, async (parcels) => {
        const body = Buffer.concat(parcels.map((one) => one.bytes));
        const traces = parcels.flatMap(({ trace }) => trace ?? []);
        const assurance = traces.length === parcels.length ? traces : "repeat";
        await insert({ sql, body, token: tokenOf(parcels, body), assurance });
      });
      batches.set(sql, batch);
      if (batches.size > REMEMBERED_BATCHES) batches.delete(batches.keys().next().value as string);
    }
    return batch.add(parcel);
  };
  const storeLines = chunkWriter({ store, datasets, insert, share });
  const storeFormatted = formattedWriter({ store, datasets, insert, storeLines });
  /** Only the store knows: a resumed run builds on chunks of others. */
  const countRejected = async (run: RunRecord): Promise<number> => {
    if (run.dataset === "" || !run.committed || run.parts.length === 0) return 0;
    if ((await datasets.find(run.dataset))?.schema !== "reject") return 0;
    return countRejects(store, run);
  };

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
        const plain = chunk.format === undefined || chunk.format === "ndjson";
        return await (plain ? storeLines : storeFormatted)(chunk, bytes);
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
        const bytes = encodeRun({ ...run, rejected: await countRejected(run) });
        using _ = await budget.take(bytes.length);
        const token = `${run.runId}/${run.fence}/commit/${digestOf(bytes)}`;
        await share(`INSERT INTO ${db}.runs FORMAT JSONEachRow`, { bytes, rows: 1, token });
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

const attemptKey = (runId: string, fence: bigint) => `${runId}/${fence}`;
const isBytes = (rows: Chunk["rows"]): rows is Uint8Array => rows instanceof Uint8Array;
const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64url");

/** A parcel that travels alone keeps its own name, so that it is known again whoever sends it. */
function tokenOf(parcels: readonly Parcel[], body: Uint8Array): string {
  return parcels.length === 1 ? (parcels[0] as Parcel).token : digestOf(body);
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
