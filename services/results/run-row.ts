/** A run as a row of `runs`, and back. */
import { formatTime, parseTime } from "../kit/time.ts";
import type { Outcome, RunKind, RunPart, RunRecord } from "./records.ts";

/** A message is for a person; the rest of a dump belongs in the log. */
const MAX_MESSAGE = 8_192;

/** One line of JSONEachRow. */
export function encodeRun(run: RunRecord): Buffer {
  const row = {
    dataset: run.dataset,
    run_id: run.runId,
    fence: String(run.fence),
    attempt: run.attempt,
    kind: run.kind,
    plugin: run.plugin,
    version: run.version,
    digest: run.digest,
    instance: run.instance,
    target: run.target,
    resource: run.resource,
    ...boundsOf(run),
    due: formatTime(run.dueUs),
    started: formatTime(run.startedUs),
    finished: formatTime(run.finishedUs),
    outcome: run.outcome,
    committed: run.committed ? 1 : 0,
    parts: run.parts.map(({ fence, chunks }) => ({ fence: String(fence), chunks })),
    chunks: run.chunks,
    rows: run.rows,
    bytes_in: run.bytesIn,
    bytes_out: run.bytesOut,
    host_calls: run.hostCalls,
    cpu_ms: run.cpuMs,
    wall_ms: run.wallMs,
    memory_peak_bytes: run.memoryPeakBytes,
    gas: run.gas ?? 0,
    rejected: run.rejected ?? 0,
    message: run.message.slice(0, MAX_MESSAGE),
    executor: run.executor,
  };
  return Buffer.from(`${JSON.stringify(row)}\n`);
}

function boundsOf({ beginUs, endUs, integers }: RunRecord) {
  if (beginUs === undefined || endUs === undefined) return { begin: null, end: null };
  if (integers) return { begin: null, end: null, begin_int: String(beginUs), end_int: String(endUs) };
  return { begin: formatTime(beginUs), end: formatTime(endUs) };
}

/** What JSONEachRow gives back: 64-bit integers as strings, times in ISO. */
export interface RunRow {
  readonly dataset: string;
  readonly run_id: string;
  readonly fence: string;
  readonly attempt: number;
  readonly kind: RunKind;
  readonly plugin: string;
  readonly version: string;
  readonly digest: string;
  readonly instance: string;
  readonly target: string;
  readonly resource: string;
  readonly begin: string | null;
  readonly end: string | null;
  readonly begin_int: string | null;
  readonly end_int: string | null;
  readonly due: string;
  readonly started: string;
  readonly finished: string;
  readonly outcome: Outcome;
  readonly committed: number;
  readonly parts: readonly { readonly fence: string; readonly chunks: number }[];
  readonly chunks: number;
  readonly rows: string;
  readonly bytes_in: string;
  readonly bytes_out: string;
  readonly host_calls: Readonly<Record<string, string>>;
  readonly cpu_ms: number;
  readonly wall_ms: number;
  readonly memory_peak_bytes: string;
  readonly gas: string;
  readonly rejected: string;
  readonly message: string;
  readonly executor: string;
}

export function decodeRun(row: RunRow): RunRecord {
  const time = (value: string) => parseTime(value, "runs");
  return {
    dataset: row.dataset,
    runId: row.run_id,
    fence: BigInt(row.fence),
    attempt: row.attempt,
    kind: row.kind,
    plugin: row.plugin,
    version: row.version,
    digest: row.digest,
    instance: row.instance,
    target: row.target,
    resource: row.resource,
    beginUs: row.begin_int !== null ? BigInt(row.begin_int) : row.begin === null ? undefined : time(row.begin),
    endUs: row.end_int !== null ? BigInt(row.end_int) : row.end === null ? undefined : time(row.end),
    ...(row.begin_int !== null && { integers: true }),
    dueUs: time(row.due),
    startedUs: time(row.started),
    finishedUs: time(row.finished),
    outcome: row.outcome,
    committed: row.committed === 1,
    parts: row.parts.map((part): RunPart => ({ fence: BigInt(part.fence), chunks: part.chunks })),
    chunks: row.chunks,
    rows: Number(row.rows),
    bytesIn: Number(row.bytes_in),
    bytesOut: Number(row.bytes_out),
    hostCalls: Object.fromEntries(Object.entries(row.host_calls).map(([name, count]) => [name, Number(count)])),
    cpuMs: row.cpu_ms,
    wallMs: row.wall_ms,
    memoryPeakBytes: Number(row.memory_peak_bytes),
    gas: Number(row.gas),
    rejected: Number(row.rejected),
    message: row.message,
    executor: row.executor,
  };
}
