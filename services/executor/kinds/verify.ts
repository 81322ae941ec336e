/** The source was asked again for a window: whether it says what is stored, and what becomes of it if not. */
import { Verification, type Window, WindowState } from "../../../proto/gen/millrace/scheduler/v1/window.ts";
import { positionOf, timestampOf } from "../../kit/time.ts";
import type { Comparison } from "../../results/results.ts";
import { nowUs } from "../run-record.ts";
import { changeWindow, readWindow, spanOf, type WindowKey } from "../windows.ts";
import type { Attempt, Skip, Success } from "./kind.ts";
import type { Produced, WindowRows } from "./produced.ts";

/** What is stored now was not there when the source was to be asked for it: the two cannot be compared. */
export async function skipOutdated(place: WindowRows, window: WindowKey): Promise<Skip | undefined> {
  const { job, tools } = place;
  const stored = await readWindow(tools.windows, window);
  const there = stored?.state === WindowState.DONE || stored?.state === WindowState.STALE;
  const { untilUs } = spanOf(job);
  if (there && positionOf(stored.fetchedUntil, stored.fetchedUntilInt) === untilUs) return undefined;
  const message = "the window was fetched again, or cleared, since it was asked for";
  await noteProblem(place, window, undefined, message);
  return { outcome: "dropped_late", message };
}

/** An attempt whose rows differ takes their place when that was asked for; all others are never seen. */
export async function compareWithSource(
  place: WindowRows,
  window: WindowKey,
  attempt: Attempt,
  { status, parts }: Produced,
  success: Success,
): Promise<Success> {
  const { dataset, job, tools } = place;
  const unseen = { ...success, committed: false };
  if (status === "partial" || status === "not_modified") {
    const message = `the source gave only "${status}": there is nothing to compare`;
    return { ...unseen, message, finish: () => noteProblem(place, window, attempt.fence, message) };
  }
  const compared = await tools.results.compareAttempt({ dataset, runId: job.runId, parts });
  const message = said(compared, job.repair);
  const note = () =>
    changeWindow(tools.windows, window, attempt.fence, (stored) => ({
      ...stored,
      verification: Verification.fromPartial({
        ...{ dueTime: timestampOf(job.dueUs), verifyTime: timestampOf(nowUs()), differs: compared.differ },
        ...{ sourceRows: BigInt(compared.shadow.rows), storedRows: BigInt(compared.stored.rows) },
        ...{ sourceChecksum: compared.shadow.checksum, storedChecksum: compared.stored.checksum },
        repaired: compared.differ && job.repair,
      }),
    }));
  if (!compared.differ || !job.repair) return { ...unseen, message, finish: note };
  const finish = async () => {
    await success.finish();
    await note();
  };
  return { ...success, message, finish };
}

function said({ stored, shadow, differ }: Comparison, repair: boolean): string {
  if (!differ) return `as at the source: ${stored.rows} rows`;
  const how = stored.rows === shadow.rows ? `${stored.rows} rows, others` : `${shadow.rows} rows, not ${stored.rows}`;
  return `the source has ${how}; ${repair ? "replaced" : "nothing was changed"}`;
}

/** The window stands as it did. `fence` undefined: nobody worked on it. */
export function noteProblem(
  { job, tools }: WindowRows,
  window: WindowKey,
  fence: bigint | undefined,
  problem: string,
): Promise<void> {
  const times = { dueTime: timestampOf(job.dueUs), verifyTime: timestampOf(nowUs()) };
  return changeWindow(tools.windows, window, fence, (stored: Window) => ({
    ...stored,
    verification: Verification.fromPartial({ ...times, problem }),
  }));
}
