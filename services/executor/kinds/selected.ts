/** The rows of one window of a pipe of the built-in connector `sql`: a SELECT that never leaves ClickHouse. */
import { Fault } from "../../kit/fault.ts";
import { pause } from "../../kit/lifecycle.ts";
import { axisAmong } from "../../kit/time.ts";
import type { Results } from "../../results/results.ts";
import { spanOf } from "../windows.ts";
import type { Attempt, Failed } from "./kind.ts";
import type { Produced, WindowRows } from "./produced.ts";

const DEFAULT_TIMEOUT = "60s";
/** Asked for as long as the lease is kept: each time that the job is handed back counts against its deliveries. */
const AWAY_MS = 600_000;
const LOOK_AGAIN_MS = 1_000;

/** One INSERT under the attempt's own fence: when nobody knows whether it was stored, the next attempt begins anew. */
export async function selectRows(
  attempt: Attempt,
  { job, pipe, dataset, tools }: WindowRows,
): Promise<Produced | Failed> {
  const { effective } = pipe;
  const { maxRows, timeoutMs } = tools.limits(undefined, effective?.timeout || DEFAULT_TIMEOUT);
  const { fence, number, signal } = attempt;
  const { beginUs, untilUs } = spanOf(job);
  const startedMs = performance.now();
  try {
    await untilThere(tools.results, signal);
    const { rows, bytes } = await tools.results.selectChunk({
      ...{ dataset, runId: job.runId, fence, attempt: number, chunk: 0, signal, maxRows, timeoutMs },
      ...{ sql: effective?.sql ?? "", tables: effective?.reads ?? [] },
      ...{ axis: axisAmong(effective?.columns ?? [], effective?.datetime ?? ""), beginUs, endUs: untilUs },
    });
    const used = { cpuMs: 0, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: bytes };
    attempt.tally.add({ wallMs: performance.now() - startedMs, ...used });
    await attempt.step("chunk_stored");
    const parts = rows > 0 ? [{ fence, chunks: 1 }] : [];
    return { status: "ok", parts, chunks: parts.length, rows, allRows: rows };
  } catch (thrown) {
    return failedSelect(Fault.from(thrown));
  }
}

/** A store that is away is nobody's failure: the window waits for it. */
function failedSelect({ code, message, retryable }: Fault): Failed {
  if (code === "unavailable")
    return { outcome: "cancelled", error: { code, message, retryable: true }, handBack: true };
  if (code === "deadline") return { outcome: "timeout", error: { code, message, retryable: true } };
  if (code === "denied") return { outcome: "denied", error: { code, message, retryable: false } };
  const refused = code === "invalid" || code === "too_large" || code === "not_found";
  return {
    outcome: refused ? "guest_error" : "host_error",
    error: { code, message, retryable: !refused && retryable },
  };
}

async function untilThere(results: Pick<Results, "ping">, signal: AbortSignal): Promise<void> {
  for (const endMs = performance.now() + AWAY_MS; ; ) {
    try {
      return await results.ping();
    } catch (thrown) {
      if (performance.now() > endMs || !(await pause(LOOK_AGAIN_MS, signal))) throw thrown;
    }
  }
}
