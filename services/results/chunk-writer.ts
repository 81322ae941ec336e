/** Stores the rows of one chunk: bytes unread where that goes well, else looked into by the policy of the dataset. */
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Parcel } from "./batch.ts";
import { type Insert, mayRecover, type Store } from "./client.ts";
import type { Datasets } from "./datasets.ts";
import { inferColumns } from "./evolution.ts";
import { allDeclared, type BadRow, badRows, neededColumns } from "./fitting.ts";
import { bareInsert, dryInsert, stampedInsert } from "./insert-sql.ts";
import { mayBeFiner, type Piece, splitLines, stampLines } from "./ndjson.ts";
import type { Chunk, Dataset, RowObject, Stored } from "./records.ts";
import { encodeRows, findMistakes, isSilent, moveExtras, parseRow, parseRows, readLines } from "./row.ts";
import { type RowScan, scanRows } from "./row-scan.ts";
import { quote, rowsTable } from "./sql-names.ts";

export interface ChunkPorts {
  readonly store: Store;
  readonly datasets: Datasets;
  /** An INSERT of its own. */
  readonly insert: (insert: Insert) => Promise<unknown>;
  /** An INSERT shared with others. */
  readonly share: (sql: string, parcel: Parcel) => Promise<void>;
}

/**
 * Above this a chunk has an INSERT of its own, and ClickHouse adds the envelope: cheaper than to write it on each line.
 */
const OWN_INSERT_BYTES = 262_144;
/** One INSERT is one block, so that a bad row refuses the whole of it. */
const MAX_INSERT_ROWS = 250_000;
const MAX_INSERT_BYTES = 16_777_216;
/** Rows that are looked at to infer a schema. */
const INFERENCE_ROWS = 1_000;
/** Another process may widen the same dataset in between. */
const MAX_EVOLUTIONS = 4;
/** Rows that only ClickHouse finds bad are searched for by halves; more than this many looks, and the chunk fails. */
const MAX_LOOKS = 1_000;

export function chunkWriter({ store, datasets, insert, share }: ChunkPorts) {
  const db = store.database;

  const storeBytes = async (into: Into, piece: Piece, dataset: Dataset) => {
    const { chunk, token, ingestedMs, before } = into;
    const { runId, fence } = chunk;
    const table = `${db}.${quote(rowsTable(dataset.dataset))}`;
    const trace = { table, runId, fence, chunk: chunk.chunk, before, rows: piece.rows };
    const stamped =
      piece.bytes.length < OWN_INSERT_BYTES ? stampLines(piece, envelopeOf(chunk, ingestedMs)) : undefined;
    if (stamped) return share(stampedInsert(db, dataset), { bytes: stamped, rows: piece.rows, token, trace });
    const params = {
      run: runId,
      fence: String(fence),
      attempt: chunk.attempt,
      chunk: chunk.chunk,
      resource: chunk.resource,
      ingested: (ingestedMs / 1_000).toFixed(3),
    };
    await insert({ sql: bareInsert(db, dataset), body: piece.bytes, token, params, assurance: [trace] });
  };
  const lookAgain = async (dataset: Dataset) => {
    datasets.forget(dataset.dataset);
    return (await datasets.find(dataset.dataset)) ?? dataset;
  };

  /** Only what ClickHouse refuses is parsed, to save it or to say what is wrong. Resolves with the rows set aside. */
  const storePiece = async (into: Into, piece: ScannedPiece, known: Dataset): Promise<number> => {
    if (!needsLook(piece, known)) {
      try {
        await storeBytes(into, piece, known);
        return 0;
      } catch (thrown) {
        if (!isRefusal(thrown)) throw thrown;
      }
    }
    const dataset = await lookAgain(known);
    if (dataset.schema === "reject") return storeGood(into, piece, dataset);
    const rows = parseRows(piece.bytes);
    await (dataset.schema === "evolve" ? evolve : freeze)(into, piece, rows, dataset);
    return 0;
  };

  /** What needs no moving goes as it was written: a decimal keeps its digits. */
  const storeLooked = async (into: Into, piece: Piece, rows: readonly RowObject[], dataset: Dataset) => {
    if (allDeclared(rows, dataset)) return storeBytes(into, piece, dataset);
    const roomy = dataset.extra ? dataset : await datasets.ensure({ ...dataset, extra: true });
    return storeBytes(into, { bytes: encodeRows(moveExtras(rows, roomy)), rows: rows.length }, roomy);
  };

  const freeze = async (into: Into, piece: Piece, rows: readonly RowObject[], dataset: Dataset) => {
    refuse(
      dataset,
      findMistakes(rows, dataset).filter((mistake) => isSilent(mistake)),
    );
    await storeLooked(into, piece, rows, dataset).catch((thrown) => {
      if (isRefusal(thrown)) refuse(dataset, findMistakes(rows, dataset));
      throw thrown;
    });
  };

  const evolve = async (into: Into, piece: Piece, rows: readonly RowObject[], from: Dataset) => {
    let dataset = from;
    for (let round = 1; ; round += 1) {
      const needed = neededColumns(rows, dataset);
      if (Object.keys(needed).length) {
        dataset = await datasets.ensure({ ...dataset, columns: { ...dataset.columns, ...needed } });
      }
      refuse(
        dataset,
        findMistakes(rows, dataset).filter((mistake) => isSilent(mistake)),
      );
      try {
        return await storeLooked(into, piece, rows, dataset);
      } catch (thrown) {
        if (!isRefusal(thrown)) throw thrown;
        if (round >= MAX_EVOLUTIONS) {
          refuse(dataset, findMistakes(rows, dataset));
          throw thrown;
        }
        dataset = await lookAgain(dataset);
      }
    }
  };

  /** Stores the good rows in one INSERT, and sets the bad ones aside before it. */
  const storeGood = async (into: Into, piece: Piece, dataset: Dataset): Promise<number> => {
    const lines = readLines(piece.bytes);
    const parsed = lines.map(parseRow);
    const rows = parsed.map((row) => (typeof row === "string" ? {} : row));
    const reasons = new Map<number, string>();
    for (const [at, row] of parsed.entries()) if (typeof row === "string") reasons.set(at, row);
    for (const { at, reason } of badRows(rows, dataset)) reasons.set(at, reason);
    const good = () => rows.map((row, at) => ({ row, at })).filter(({ at }) => !reasons.has(at));
    const store = async () => {
      const kept = good();
      const bytes = Buffer.from(kept.map(({ at }) => `${lines[at]}\n`).join(""));
      const rows = kept.map(({ row }) => row);
      if (rows.length) await storeLooked(into, { bytes, rows: rows.length }, rows, dataset);
    };
    await setAside(into, lines, reasons);
    try {
      await store();
    } catch (thrown) {
      if (!isRefusal(thrown)) throw thrown;
      for (const { at, reason } of await searchBad(good(), dataset)) reasons.set(at, reason);
      await setAside(into, lines, reasons);
      await store();
    }
    return reasons.size;
  };

  const searchBad = async (rows: readonly { readonly row: RowObject; readonly at: number }[], dataset: Dataset) => {
    const sql = dryInsert(dataset);
    let looks = 0;
    const search = async (some: typeof rows): Promise<BadRow[]> => {
      looks += 1;
      if (looks > MAX_LOOKS) throw new Fault("invalid", `too many rows of ${dataset.dataset} do not fit its columns`);
      const body = encodeRows(
        moveExtras(
          some.map(({ row }) => row),
          dataset,
        ),
      );
      try {
        await insert({ sql, body, token: "", assurance: "none" });
        return [];
      } catch (thrown) {
        if (!isRefusal(thrown)) throw thrown;
        const [first] = some;
        if (some.length === 1 && first) return [{ at: first.at, reason: Fault.from(thrown).message }];
      }
      const half = some.length >> 1;
      return [...(await search(some.slice(0, half))), ...(await search(some.slice(half)))];
    };
    return search(rows);
  };

  const setAside = async ({ chunk, token, firstRow, ingestedMs }: Into, lines: readonly string[], reasons: Reasons) => {
    if (reasons.size === 0) return;
    const rows = [...reasons].map(([at, reason]) => ({
      dataset: chunk.dataset,
      run_id: chunk.runId,
      fence: chunk.fence,
      chunk: chunk.chunk,
      row: firstRow + at + 1,
      reason,
      raw: lines[at],
      time: new Date(ingestedMs).toISOString(),
    }));
    const sql = `INSERT INTO ${db}.rejects FORMAT JSONEachRow`;
    const name = `${token}/rejects/${reasons.size}`;
    await insert({ sql, body: encodeRows(rows), token: name, assurance: "repeat" });
  };

  const infer = (chunk: Chunk, bytes: Uint8Array): Promise<Dataset> => {
    const [head] = splitLines(bytes, INFERENCE_ROWS, MAX_INSERT_BYTES);
    const wish = datasets.wish(chunk.dataset);
    const columns = inferColumns(parseRows(head?.bytes ?? bytes), wish.timezone);
    return datasets.ensure({ ...wish, columns, schema: "evolve" });
  };

  /** Part of a chunk was stored before a later part was refused: nothing of it shall stay. */
  const takeBack = (chunk: Chunk) =>
    store.command(
      `DELETE FROM ${db}.${quote(rowsTable(chunk.dataset))}
       WHERE _run_id = {run:String} AND _fence = {fence:UInt64} AND _chunk = {chunk:UInt32}`,
      { run: chunk.runId, fence: String(chunk.fence), chunk: chunk.chunk },
    );

  return async (chunk: Chunk, bytes: Uint8Array): Promise<Stored> => {
    const pieces = piecesOf(bytes, chunk.scan);
    const all = pieces.reduce((sum, piece) => sum + piece.rows, 0);
    if (all === 0) return { rows: 0, rejected: 0, bytes: bytes.length };
    let dataset = (await datasets.find(chunk.dataset)) ?? (await infer(chunk, bytes));
    const ingestedMs = Date.now();
    let [firstRow, rejected] = [0, 0];
    for (const [i, piece] of pieces.entries()) {
      const token = `${chunk.runId}/${chunk.fence}/${chunk.chunk}${pieces.length > 1 ? `/${i}` : ""}`;
      const before = firstRow - rejected;
      try {
        rejected += await storePiece({ chunk, token, ingestedMs, firstRow, before }, piece, dataset);
        dataset = (await datasets.find(chunk.dataset)) ?? dataset;
      } catch (thrown) {
        if (i > 0 && !mayRecover(Fault.from(thrown))) await takeBack(chunk);
        throw thrown;
      }
      firstRow += piece.rows;
    }
    return { rows: all - rejected, rejected, bytes: bytes.length };
  };
}

interface Into {
  readonly chunk: Chunk;
  readonly token: string;
  readonly ingestedMs: number;
  /** Rows of the chunk before the piece. */
  readonly firstRow: number;
  /** Those of them that were stored. */
  readonly before: number;
}

/** Why rows are bad, by their place in the piece. */
type Reasons = ReadonlyMap<number, string>;

/** The bytes are at fault, or the table changed; not the server. */
const isRefusal = (thrown: unknown) => ["invalid", "not_found"].includes(Fault.from(thrown).code);

interface ScannedPiece extends Piece {
  readonly scan?: RowScan;
}

/** Most chunks are one piece, and one look at them is enough. */
function piecesOf(bytes: Uint8Array, known: RowScan | undefined): ScannedPiece[] {
  if (bytes.length > MAX_INSERT_BYTES) return splitLines(bytes, MAX_INSERT_ROWS, MAX_INSERT_BYTES);
  const scan = known ?? scanRows(bytes);
  if (scan.rows > MAX_INSERT_ROWS) return splitLines(bytes, MAX_INSERT_ROWS, MAX_INSERT_BYTES);
  return scan.rows ? [{ bytes, rows: scan.rows, scan }] : [];
}

/** ClickHouse wraps long numbers round, cuts decimals off and reads a naive time as UTC, all without a word. */
function needsLook({ bytes, scan = scanRows(bytes) }: ScannedPiece, { columns, timezone }: Dataset): boolean {
  if (scan.longDigits) return true;
  const types = Object.values(columns);
  if (scan.naiveTime && !timezone && types.some((type) => type.includes("timestamp"))) return true;
  const scales = types.flatMap((type) => /decimal\(\d+,(\d+)\)/.exec(type)?.[1] ?? []);
  return scales.length > 0 && mayBeFiner(bytes, Math.min(...scales.map(Number)));
}

function refuse({ dataset }: Dataset, mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid(`rows of ${dataset}`, mistakes);
}

function envelopeOf(chunk: Chunk, ingestedMs: number): Buffer {
  const { runId, fence, attempt, resource } = chunk;
  const at = new Date(ingestedMs).toISOString();
  const tail = `"_attempt":${attempt},"_chunk":${chunk.chunk},"_resource":${JSON.stringify(resource)}`;
  return Buffer.from(`"_run_id":${JSON.stringify(runId)},"_fence":${fence},${tail},"_ingested_at":"${at}"`);
}
