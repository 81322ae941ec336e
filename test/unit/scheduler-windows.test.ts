/** Which windows need fetching: a table of cases, and random inputs against a slow and obvious model. */
import { expect, test } from "vitest";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { timestampOf } from "../../services/kit/time.ts";
import { WindowIndex } from "../../services/scheduler/window-index.ts";
import { type StoredWindow, toKnown } from "../../services/scheduler/window-store.ts";
import {
  gridFloor,
  gridLength,
  type KnownWindow,
  type PlannedWindow,
  planWindows,
  type WindowPlanInput,
  type WindowStanding,
} from "../../services/scheduler/windows.ts";
import { seeded } from "../harness/random.ts";

/** Small round numbers: begin 100, chunk 10, now 145, so windows 100 110 120 130 140, the last one not over. */
const base: WindowPlanInput = {
  beginUs: 100n,
  endUs: undefined,
  chunkUs: 10n,
  backtrackUs: 0n,
  nowUs: 145n,
  known: [],
  refetch: false,
  lostBeforeUs: 50n,
};
const known = (beginUs: bigint, standing: WindowStanding, over: Partial<KnownWindow> = {}): KnownWindow => ({
  beginUs,
  endUs: beginUs + 10n,
  standing,
  fetchedUntilUs: standing === "done" ? beginUs + 10n : 0n,
  updatedUs: 99n,
  ...over,
});
const done = [100n, 110n, 120n, 130n].map((beginUs) => known(beginUs, "done"));
const live = (fetchedUntilUs: bigint) => known(140n, "done", { fetchedUntilUs });

test.each<[string, Partial<WindowPlanInput>, string[]]>([
  ["nothing known: all, the last one up to now", {}, ["100-110", "110-120", "120-130", "130-140", "140-145"]],
  ["all but the unfinished one known", { known: done }, ["140-145"]],
  ["the unfinished one is fetched up to now already", { known: [...done, live(145n)] }, []],
  ["the unfinished one was fetched up to before now", { known: [...done, live(144n)] }, ["140-145"]],
  [
    "a window that was unfinished and is over now",
    { known: [...done, live(145n)], nowUs: 155n },
    ["140-150", "150-155"],
  ],
  ["a gap in the middle", { known: done.filter((w) => w.beginUs !== 120n), nowUs: 140n }, ["120-130"]],
  [
    "failed and stale ones, not running ones",
    {
      known: [known(100n, "failed"), known(110n, "stale"), known(120n, "running"), known(130n, "missing")],
      nowUs: 140n,
    },
    ["100-110", "110-120", "130-140"],
  ],
  [
    "a running one that is lost",
    { known: [...done.slice(1), known(100n, "running", { updatedUs: 49n })], nowUs: 140n },
    ["100-110"],
  ],
  [
    "a running one is left alone even by refetch",
    { known: [known(100n, "running")], nowUs: 120n, refetch: true },
    ["110-120"],
  ],
  [
    "refetch takes the done ones too",
    { known: done, nowUs: 140n, refetch: true },
    ["100-110", "110-120", "120-130", "130-140"],
  ],
  [
    "backtrack: what ends within it before the newest",
    { known: [...done, live(145n)], backtrackUs: 15n },
    ["120-130", "130-140", "140-145"],
  ],
  [
    "backtrack leaves alone what was fetched since it was due",
    { known: [...done, live(145n)].map((w) => ({ ...w, updatedUs: 145n })), backtrackUs: 15n },
    [],
  ],
  ["a range is widened to the grid", { range: { beginUs: 115n, endUs: 121n } }, ["110-120", "120-130"]],
  [
    "a range before the begin and after now is cut",
    { range: { beginUs: 0n, endUs: 9_999n }, nowUs: 115n },
    ["100-110", "110-115"],
  ],
  ["a range before the begin only", { range: { beginUs: 0n, endUs: 50n } }, []],
  ["a range on the grid stays", { range: { beginUs: 120n, endUs: 130n } }, ["120-130"]],
  ["the pipe's end cuts the last window", { endUs: 125n }, ["100-110", "110-120", "120-125"]],
  [
    "a window cut by the pipe's end is finished",
    { endUs: 125n, known: [...done.slice(0, 2), known(120n, "done", { fetchedUntilUs: 125n })] },
    [],
  ],
  [
    "backtrack ends some time after the pipe's end",
    {
      endUs: 125n,
      nowUs: 500n,
      backtrackUs: 20n,
      known: [...done.slice(0, 2), known(120n, "done", { fetchedUntilUs: 125n })],
    },
    [],
  ],
  ["a begin in the future", { nowUs: 100n }, []],
  [
    "a window of another length is fetched again",
    { known: [known(100n, "done", { endUs: 105n })], nowUs: 110n },
    ["100-110"],
  ],
])("%s", (_, over, expected) => {
  const { queue } = planWindows({ ...base, ...over });
  expect(queue.map((w) => `${w.beginUs}-${w.untilUs}`)).toEqual(expected);
});

const ROUNDS = 2_000;
const STATES: Readonly<Record<WindowStanding, WindowState>> = {
  missing: WindowState.MISSING,
  running: WindowState.RUNNING,
  done: WindowState.DONE,
  failed: WindowState.FAILED,
  stale: WindowState.STALE,
};
const stored = (known: KnownWindow): StoredWindow => ({
  pipe: "p",
  revision: 1n,
  window: Window.fromPartial({
    ...{ begin: timestampOf(known.beginUs), end: timestampOf(known.endUs), state: STATES[known.standing] },
    ...{ fetchedUntil: timestampOf(known.fetchedUntilUs), updateTime: timestampOf(known.updatedUs) },
  }),
});

// A seed that failed is run again alone by putting it here.
test.each([7, 11, 13, 17])("random plans agree with a model that looks at every microsecond: seed %i", (seed) => {
  const random = seeded(seed);
  const upTo = (n: number) => BigInt(Math.floor(random() * (n + 1)));
  const standings: WindowStanding[] = ["missing", "running", "done", "failed", "stale"];
  for (let round = 0; round < ROUNDS; round += 1) {
    const beginUs = upTo(20);
    const chunkUs = 1n + upTo(7);
    const nowUs = upTo(80);
    const windows: KnownWindow[] = [];
    for (let at = beginUs; at < 90n; at += chunkUs) {
      if (random() < 0.4) continue;
      const standing = standings[Math.floor(random() * standings.length)] as WindowStanding;
      const fetchedUntilUs = random() < 0.6 ? at + chunkUs : at + upTo(Number(chunkUs));
      windows.push({ beginUs: at, endUs: at + chunkUs, standing, fetchedUntilUs, updatedUs: upTo(90) });
    }
    const rangeBegin = upTo(80);
    const input: WindowPlanInput = {
      beginUs,
      chunkUs,
      nowUs,
      endUs: random() < 0.3 ? beginUs + upTo(60) : undefined,
      backtrackUs: random() < 0.5 ? 0n : upTo(20),
      refetch: random() < 0.2,
      known: windows,
      refetchBeforeUs: random() < 0.5 ? undefined : upTo(90),
      retentionUs: random() < 0.7 ? undefined : upTo(60),
      lostBeforeUs: upTo(60),
      range: random() < 0.5 ? undefined : { beginUs: rangeBegin, endUs: rangeBegin + 1n + upTo(30) },
    };
    const plan = planWindows(input);
    const wanted = model(input);
    expect(plan.queue.map((w) => [w.beginUs, w.endUs, w.untilUs])).toEqual(wanted.queue);
    expect(plan.skipped).toBe(wanted.skipped);
    // The same from an index that was filled in any order, with windows that came and went, in pieces.
    const index = new WindowIndex();
    for (const window of windows.toSorted(() => random() - 0.5)) {
      if (random() < 0.2) index.put(stored({ ...window, standing: "done", fetchedUntilUs: window.endUs }));
      if (random() < 0.1) index.delete(window.beginUs);
      if (random() < 0.3) index.whole();
      index.put(stored(window));
    }
    const fromIndex: PlannedWindow[] = [];
    const limit = 1 + Math.floor(random() * 6);
    let { range } = input;
    for (;;) {
      const indexed = { known: [...index.live.values()].map(toKnown), whole: index.whole() };
      const piece = planWindows({ ...input, ...indexed, range, limit });
      fromIndex.push(...piece.queue);
      if (piece.nextUs === undefined) break;
      range = { beginUs: piece.nextUs, endUs: input.range?.endUs ?? nowUs };
    }
    expect(fromIndex).toEqual(plan.queue);
    const byBegin = [...windows].sort((a, b) => Number(a.beginUs - b.beginUs));
    expect([...index.from(undefined)].map((one) => one.beginUs)).toEqual(byBegin.map((one) => one.beginUs));
    const all = planWindows({ ...input, range: undefined, retentionUs: undefined, refetch: true });
    expect(gridLength(input, nowUs)).toBe(all.queue.length + all.skipped);
  }
});

/** Marks every microsecond of the pipe's life with its window, then asks of each window why it would be fetched. */
function model(input: WindowPlanInput) {
  const { beginUs, chunkUs, nowUs, endUs, range } = input;
  const windowOf = new Map<bigint, bigint[]>();
  for (let us = beginUs; us < nowUs && (endUs === undefined || us < endUs); us += 1n) {
    let begin = beginUs;
    while (begin + chunkUs <= us) begin += chunkUs;
    windowOf.set(begin, [...(windowOf.get(begin) ?? []), us]);
  }
  let newest = beginUs;
  while (newest + chunkUs < nowUs) newest += chunkUs;
  const queue: bigint[][] = [];
  let skipped = 0;
  for (const [begin, moments] of windowOf) {
    const end = begin + chunkUs;
    if (range && !(begin < (range.endUs ?? nowUs) && end > range.beginUs)) continue;
    if (input.retentionUs !== undefined && end <= nowUs - input.retentionUs) continue;
    const until = (moments.at(-1) as bigint) + 1n;
    const found = [...input.known].find((w) => w.beginUs === begin);
    const reasons = [
      found === undefined,
      found?.standing === "missing",
      found?.standing === "failed",
      found?.standing === "stale",
      found?.standing === "running" && found.updatedUs < input.lostBeforeUs,
      found?.standing === "done" &&
        input.refetch &&
        !(input.refetchBeforeUs !== undefined && found.updatedUs >= input.refetchBeforeUs),
      found?.standing === "done" && moments.some((us) => us >= found.fetchedUntilUs),
      found?.standing === "done" &&
        input.backtrackUs > 0n &&
        end > newest - input.backtrackUs &&
        found.updatedUs < nowUs,
    ];
    if (reasons.some(Boolean)) queue.push([begin, end, until]);
    else skipped += 1;
  }
  return { queue, skipped };
}

test("the grid goes on before its begin", () => {
  expect(gridFloor(base, 99n)).toBe(90n);
  expect(gridFloor(base, 100n)).toBe(100n);
  expect(gridFloor(base, 109n)).toBe(100n);
});
