/** When a window of a pipe that comes after others runs, waits, and runs again: hours in tables, and a slow model. */
import { expect, test } from "vitest";
import {
  type ChainInput,
  type OwnWindow,
  type Parent,
  type ParentWindow,
  planChain,
  whyItWaits,
} from "../../services/scheduler/chain.ts";
import { seeded } from "../harness/random.ts";

const HOUR = 3_600_000_000n;
const hours = (n: number) => BigInt(n) * HOUR;

type ParentByBegin = Parent & { readonly windows: ReadonlyMap<bigint, ParentWindow> };

/** Windows of `chunk` hours from 0 on: `d` done, `p` done up to half of it, `f` failed, `-` missing. */
function parent(id: string, chunk: number, states: string, result = "r"): ParentByBegin {
  const windows = [...states].flatMap((state, i) => {
    if (state === "-") return [];
    const [atUs, endUs] = [hours(i * chunk), hours((i + 1) * chunk)];
    const fetchedUntilUs = state === "p" ? atUs + hours(chunk) / 2n : endUs;
    return [[atUs, { endUs, done: state === "d" || state === "p", fetchedUntilUs, result: `${result}${i}` }] as const];
  });
  return { id, beginUs: 0n, endUs: undefined, chunkUs: hours(chunk), windows: new Map(windows) };
}
const input = (over: Partial<ChainInput> & Pick<ChainInput, "parents">): ChainInput => ({
  ...{ beginUs: 0n, endUs: undefined, chunkUs: hours(2), nowUs: hours(8), own: new Map() },
  ...{ refetch: false, retryFailed: false, lostBeforeUs: hours(-1), ...over },
});
const begins = (asked: ChainInput) => planChain(asked).queue.map(({ beginUs }) => Number(beginUs / HOUR));

/** Everything that can run has run, from what there is. */
function ran(asked: ChainInput, standing: OwnWindow["standing"] = "done"): ReadonlyMap<bigint, OwnWindow> {
  return new Map(
    planChain(asked).queue.map(({ beginUs, endUs, untilUs, inputs }) => [
      beginUs,
      { endUs, standing, fetchedUntilUs: untilUs, updatedUs: asked.nowUs, inputs },
    ]),
  );
}

test.each([
  ["all are done", [parent("a", 1, "dddddddd")], [0, 2, 4, 6]],
  ["a window of two hours needs both", [parent("a", 1, "dd-ddddd")], [0, 4, 6]],
  ["failed is not done", [parent("a", 1, "dddddfdd")], [0, 2, 6]],
  ["longer windows before it", [parent("a", 4, "d-")], [0, 2]],
  ["every one of several", [parent("a", 1, "dddddddd"), parent("b", 2, "d-dd")], [0, 4, 6]],
  ["over, but asked for only in part", [parent("a", 2, "dpdd")], [0, 4, 6]],
  ["nothing is there", [parent("a", 2, "")], []],
])("%s", (_, parents, wanted) => {
  expect(begins(input({ parents }))).toEqual(wanted);
});

test("a window that is wholly older than what the pipe keeps is not made", () => {
  const asked = input({ parents: [parent("a", 1, "dddddddd")], retentionUs: hours(5) });
  expect(begins(asked)).toEqual([2, 4, 6]);
  expect(begins({ ...asked, range: { beginUs: hours(0), endUs: hours(5) } })).toEqual([2, 4]);
});

test("the window of now is made as far as what comes before it goes, and again when that is further", () => {
  const parents = [parent("a", 2, "dddp")];
  const asked = input({ parents, nowUs: hours(7) + HOUR / 2n });
  expect(planChain(asked).queue.at(-1)).toMatchObject({ beginUs: hours(6), untilUs: hours(7) });
  const own = ran(asked);
  expect(begins({ ...asked, own })).toEqual([]);
  expect(begins({ ...asked, own, parents: [parent("a", 2, "dddd")] })).toEqual([6]);
});

test("what is out of range of what comes before it waits for nothing", () => {
  const early: Parent = { ...parent("a", 2, "--d-"), beginUs: hours(4), endUs: hours(6) };
  expect(begins(input({ parents: [early] }))).toEqual([0, 2, 4, 6]);
});

test("what waits says for what, and whether that ever comes", () => {
  const why = (before: Parent, at = 0) => whyItWaits(input({ parents: [parent("ok", 2, "dddd"), before] }), hours(at));
  expect(why(parent("a", 1, "dddddddd"))).toBeUndefined();
  expect(why(parent("a", 1, "d-dd"))).toMatch("waits for a/19700101T010000Z: it was not fetched; `pipe backfill a`");
  const failed = { endUs: hours(2), done: false, fetchedUntilUs: 0n, result: "", why: "it has failed" };
  expect(why({ ...parent("a", 2, ""), windows: new Map([[0n, failed]]) })).toBe(
    "waits for a/19700101T000000Z: it has failed",
  );
  expect(why(parent("a", 4, "dp"), 4)).toMatch("a/19700101T040000Z: only a part of it was asked for");
  expect(why({ ...parent("a", 1, "dddd"), chunkUs: hours(2) })).toMatch("it was fetched with another chunk");
  const forgets = { ...parent("a", 1, "----dddd"), retentionUs: hours(4) };
  expect(why(forgets, 2)).toMatch("a/19700101T020000Z: it is older than its pipe keeps rows, and never comes");
  expect(why(forgets, 4)).toBeUndefined();
});

test("another result runs again what was made from it, and nothing else", () => {
  const before = [parent("a", 1, "dddddddd"), parent("b", 4, "dd")];
  const asked = input({ parents: before });
  const own = ran(asked);
  const changed = (id: string, at: number) => {
    const parents = before.map((one) => {
      if (one.id !== id) return one;
      const windows = [...one.windows].map(
        ([beginUs, window]) => [beginUs, beginUs === hours(at) ? { ...window, result: "new" } : window] as const,
      );
      return { ...one, windows: new Map(windows) };
    });
    return begins({ ...asked, own, parents });
  };
  expect(begins({ ...asked, own })).toEqual([]);
  expect(changed("a", 3)).toEqual([2]);
  expect(changed("b", 4)).toEqual([4, 6]);
  expect(begins({ ...asked, own, refetch: true })).toEqual([0, 2, 4, 6]);
  expect(begins({ ...asked, own, refetch: true, refetchBeforeUs: asked.nowUs })).toEqual([]);
  expect(begins({ ...asked, own, refetch: true, range: { beginUs: hours(3), endUs: hours(5) } })).toEqual([2, 4]);
});

test("what failed runs again when it is asked for, or from something else; what is at work is left alone", () => {
  const asked = input({ parents: [parent("a", 2, "dddd")] });
  const own = ran(asked, "failed");
  expect(begins({ ...asked, own })).toEqual([]);
  expect(begins({ ...asked, own, retryFailed: true })).toEqual([0, 2, 4, 6]);
  expect(begins({ ...asked, own, parents: [parent("a", 2, "dddd", "other")] })).toEqual([0, 2, 4, 6]);
  const running = ran(asked, "running");
  expect(begins({ ...asked, own: running, parents: [parent("a", 2, "dddd", "other")] })).toEqual([]);
  expect(begins({ ...asked, own: running, lostBeforeUs: hours(9) })).toEqual([0, 2, 4, 6]);
  expect(begins({ ...asked, own: ran(asked, "stale") })).toEqual([0, 2, 4, 6]);
});

test("random grids and states: a window is ready when every minute of it is, as a slow model counts", () => {
  const random = seeded(5);
  const pick = (n: number) => Math.floor(random() * n);
  for (let round = 0; round < 300; round += 1) {
    const parents = Array.from({ length: 1 + pick(3) }, (_, i) => {
      const chunk = 1 + pick(4);
      return parent(`p${i}`, chunk, Array.from({ length: Math.ceil(24 / chunk) }, () => "ddddd-f"[pick(7)]).join(""));
    });
    const [chunk, now] = [1 + pick(5), 6 + pick(12)];
    const ready = (at: number) => parents.every((one) => one.windows.get(hours(at) - (hours(at) % one.chunkUs))?.done);
    const wanted = [];
    for (let at = 0; at < now; at += chunk) {
      const covered = Array.from({ length: Math.min(chunk, now - at) }, (_, i) => ready(at + i));
      if (covered.every(Boolean)) wanted.push(at);
    }
    expect(begins(input({ parents, chunkUs: hours(chunk), nowUs: hours(now) }))).toEqual(wanted);
  }
});
