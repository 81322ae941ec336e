/** How far a backfill that asks the source again is: answers of its windows, counted as often as that may cost. */
import type { Backfill } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { bare } from "../../proto/names.ts";
import { beginOf, endOf, microsOf } from "../kit/time.ts";
import { pipeOf } from "./backfill-store.ts";
import type { WindowStore } from "./window-store.ts";

/** A count reads every window of the pipe: then none for so many times as long. */
const REST_FACTOR = 10;
const MIN_REST_MS = 400;

export type Counts = Pick<Backfill, "answered" | "differing" | "repaired" | "problems">;

export interface Answers {
  readonly counts: Counts;
  /** Windows that were asked for and have no answer yet. */
  readonly pending: number;
}

export class AnswerCounts {
  /** When each backfill may be counted again, by its name: milliseconds of the process. */
  readonly #nextMs = new Map<string, number>();

  /** Undefined when it was counted a moment ago. Errors: `unavailable`. */
  async of(windows: WindowStore, backfill: Backfill): Promise<Answers | undefined> {
    const { name } = backfill;
    const startedMs = performance.now();
    if (startedMs < (this.#nextMs.get(name) ?? 0)) return undefined;
    const answers = count(
      (await windows.list(bare(pipeOf(name)))).map(({ window }) => window),
      backfill,
    );
    const endedMs = performance.now();
    this.#nextMs.set(name, endedMs + Math.max(MIN_REST_MS, (endedMs - startedMs) * REST_FACTOR));
    return answers;
  }

  forget(name: string): void {
    this.#nextMs.delete(name);
  }
}

type Asked = Awaited<ReturnType<WindowStore["list"]>>[number]["window"];

function count(windows: readonly Asked[], backfill: Backfill): Answers {
  const [beginUs, endUs, sinceUs] = [beginOf(backfill), endOf(backfill), microsOf(backfill.createTime)];
  const counts = { answered: 0n, differing: 0n, repaired: 0n, problems: 0n };
  let pending = 0;
  for (const window of windows) {
    const { verification } = window;
    const atUs = beginOf(window);
    if (!verification || atUs < beginUs || atUs >= endUs || microsOf(verification.dueTime) < sinceUs) continue;
    if (!verification.verifyTime) {
      pending += 1;
      continue;
    }
    counts.answered += 1n;
    if (verification.problem !== "") counts.problems += 1n;
    else if (verification.repaired) counts.repaired += 1n;
    else if (verification.differs) counts.differing += 1n;
  }
  return { counts, pending };
}
