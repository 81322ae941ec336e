/**
 * INSERTs whose answer was lost: sent again under the same token, and then looked for. ClickHouse writes a token down
 * before it puts the part in its place (MergeTreeSink::commitPart), so a server that is killed in between knows the
 * token of rows that it does not have, and would take the second copy for a duplicate.
 */
import { Fault } from "../kit/fault.ts";
import { literal } from "./sql-names.ts";

/** Rows of an INSERT as they are found again. */
export interface Trace {
  /** SQL, with the database. */
  readonly table: string;
  readonly runId: string;
  readonly fence: bigint;
  readonly chunk: number;
  /** Rows of the chunk that were there before the INSERT. */
  readonly before: number;
  /** Rows of the INSERT; undefined: as many as ClickHouse read. */
  readonly rows: number | undefined;
}

/**
 * How to make sure of an INSERT whose answer was lost: by its rows; by repeating it, where a key makes copies one; or
 * not at all.
 */
export type Assurance = readonly Trace[] | "repeat" | "none";

export interface Sent {
  readonly written: number;
  /** Whether the first try was answered. */
  readonly heard: boolean;
}

/** Traces of one query: a statement has at most 256 KiB. */
const MAX_TRACES_AT_ONCE = 500;

/**
 * Resolves once the rows are in the table, whatever the server knew of the token. `send` tries until it is answered.
 * Errors: those of `send` and `rows`; `unavailable` when a part of the rows is there: another attempt, under another
 * fence, replaces them.
 */
export async function insertSurely(
  { token, assurance }: { readonly token: string; readonly assurance: Assurance },
  send: (token: string) => Promise<Sent>,
  rows: (sql: string) => Promise<readonly Counted[]>,
): Promise<number> {
  for (let copy = 1; ; copy += 1) {
    const { written, heard } = await send(copy === 1 ? token : `${token}/copy/${copy}`);
    if (heard || assurance === "none") return written;
    if (assurance === "repeat") continue;
    const found = await look(assurance, written, rows);
    if (found === "all") return written;
    if (found === "some") {
      throw new Fault("unavailable", `ClickHouse has lost a part of the INSERT ${token}; its run begins again`);
    }
  }
}

export interface Counted {
  readonly run: string;
  readonly fence: string;
  readonly chunk: number;
  readonly n: string;
}

/** ClickHouse counts what it read, also of what it then takes for a duplicate. */
async function look(traces: readonly Trace[], read: number, rows: (sql: string) => Promise<readonly Counted[]>) {
  const counts = new Map<string, number>();
  const keyOf = (run: string, fence: string, chunk: number) => `${fence}/${chunk}/${run}`;
  for (let at = 0; at < traces.length; at += MAX_TRACES_AT_ONCE) {
    const some = traces.slice(at, at + MAX_TRACES_AT_ONCE);
    const found = await rows(
      `SELECT _run_id AS run, _fence AS fence, _chunk AS chunk, count() AS n FROM ${some[0]?.table}
       WHERE (_run_id, _fence, _chunk) IN (${some.map(keyText).join(", ")}) GROUP BY run, fence, chunk`,
    );
    for (const { run, fence, chunk, n } of found) counts.set(keyOf(run, fence, chunk), Number(n));
  }
  const seen = traces.map(({ runId, fence, chunk, before, rows: sent = Math.max(1, read) }) => {
    const n = (counts.get(keyOf(runId, String(fence), chunk)) ?? 0) - before;
    return n >= sent ? "all" : n <= 0 ? "none" : "some";
  });
  return seen.every((one) => one === seen[0]) ? (seen[0] ?? "all") : "some";
}

const keyText = ({ runId, fence, chunk }: Trace) => `(${literal(runId)}, ${fence}, ${chunk})`;
