/** How long does it take to find the gaps of a pipe with a million windows, one in a thousand missing or failed? */
import { type KnownWindow, planWindows } from "../../services/scheduler/windows.ts";
import { measure, report } from "./report.ts";

const WINDOWS = 1_000_000;
const GAP_EVERY = 1_000;
const ROUNDS = 10;
const CHUNK_US = 60_000_000n;
const BEGIN_US = 1_325_376_000_000_000n;
const NOW_US = BEGIN_US + BigInt(WINDOWS) * CHUNK_US;

const known: KnownWindow[] = [];
for (let n = 0; n < WINDOWS; n += 1) {
  if (n % GAP_EVERY === 7) continue;
  const beginUs = BEGIN_US + BigInt(n) * CHUNK_US;
  const endUs = beginUs + CHUNK_US;
  const standing = n % GAP_EVERY === 500 ? "failed" : "done";
  known.push({ beginUs, endUs, standing, fetchedUntilUs: endUs, updatedUs: endUs });
}

const wallMs = () => performance.now();
/** What other work on the machine does not add to. */
const cpuMs = () => process.cpuUsage().user / 1_000;

async function plan(clock: () => number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const startedMs = clock();
    const { queue } = planWindows({
      ...{ beginUs: BEGIN_US, endUs: undefined, chunkUs: CHUNK_US, backtrackUs: 0n, nowUs: NOW_US },
      ...{ known, refetch: false, lostBeforeUs: 0n },
    });
    times.push(clock() - startedMs);
    if (queue.length !== (2 * WINDOWS) / GAP_EVERY) throw new Error(`${queue.length} windows planned`);
  }
  return times.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0;
}

report({
  question: `Gaps of ${WINDOWS.toLocaleString("en-US")} windows, median of ${ROUNDS}`,
  rows: await measure([
    { name: "planWindows", unit: "ms", run: () => plan(wallMs) },
    { name: "the same, CPU", unit: "ms", run: () => plan(cpuMs) },
  ]),
});
