/** Pages of windows: stored ones and gaps by begin, none twice, none lost between pages. */
import { expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { pageWindows } from "../../services/scheduler/window-pages.ts";
import { seeded } from "../harness/random.ts";

const grid = { beginUs: 100n, endUs: undefined, chunkUs: 10n };
const window = (beginUs: bigint, state: WindowState = WindowState.DONE) => ({ beginUs, state });
const base = { grid, nowUs: 155n, stored: [], state: WindowState.UNSPECIFIED, fromUs: undefined, pageSize: 100 };

function allPages(over: Partial<Parameters<typeof pageWindows>[0]>) {
  const seen: string[] = [];
  let fromUs: bigint | undefined;
  do {
    const given = [...(over.stored ?? [])].filter((w) => fromUs === undefined || w.beginUs >= fromUs);
    const stored = given.sort((a, b) => Number(a.beginUs - b.beginUs));
    const page = pageWindows({ ...base, ...over, stored, fromUs });
    seen.push(...page.windows.map((w) => `${w.beginUs}${w.state === WindowState.MISSING ? "?" : ""}`));
    fromUs = page.nextUs;
  } while (fromUs !== undefined);
  return seen;
}

test.each([1, 2, 3, 100])("pages of %i hold every window once, gaps included", (pageSize) => {
  const stored = [window(130n), window(110n)];
  expect(allPages({ stored, pageSize })).toEqual(["100?", "110", "120?", "130", "140?", "150?"]);
});

test("a state picks; windows off the grid and before its begin are shown, too", () => {
  const stored = [window(115n), window(120n, WindowState.FAILED), window(40n)];
  expect(allPages({ stored, pageSize: 2 })).toEqual(["40", "100?", "110?", "115", "120", "130?", "140?", "150?"]);
  expect(allPages({ stored, state: WindowState.FAILED, pageSize: 2 })).toEqual(["120"]);
  expect(allPages({ stored, state: WindowState.MISSING, pageSize: 2 })).toEqual([
    "100?",
    "110?",
    "130?",
    "140?",
    "150?",
  ]);
});

test.each([1, 2, 3])("random pages are the union of what is stored and the gaps, each once: seed %i", (seed) => {
  const random = seeded(seed);
  const states = [WindowState.RUNNING, WindowState.DONE, WindowState.FAILED, WindowState.STALE];
  for (let round = 0; round < 500; round += 1) {
    const chunkUs = 1n + BigInt(Math.floor(random() * 9));
    const beginUs = BigInt(Math.floor(random() * 50));
    const nowUs = BigInt(Math.floor(random() * 150));
    const begins = new Set(Array.from({ length: Math.floor(random() * 20) }, () => BigInt(Math.floor(random() * 160))));
    const stored = [...begins].map((begin) => window(begin, states[Math.floor(random() * states.length)]));
    const union = new Map(stored.map((one) => [one.beginUs, `${one.beginUs}`]));
    for (let at = beginUs; at < nowUs; at += chunkUs) if (!union.has(at)) union.set(at, `${at}?`);
    const inOrder = [...union].sort(([a], [b]) => Number(a - b)).map(([, shown]) => shown);
    const pageSize = 1 + Math.floor(random() * 12);
    expect(allPages({ grid: { beginUs, endUs: undefined, chunkUs }, nowUs, stored, pageSize })).toEqual(inOrder);
  }
});

test("the pipe's end bounds the gaps, and without a begin nothing is missing", () => {
  expect(allPages({ grid: { ...grid, endUs: 115n } })).toEqual(["100?", "110?"]);
  expect(allPages({ grid: undefined, stored: [window(70n)] })).toEqual(["70"]);
  expect(allPages({ grid: { ...grid, beginUs: 500n } })).toEqual([]);
});

test("a rare state in a long list comes in short pages", () => {
  const long = { grid: { ...grid, chunkUs: 1n }, nowUs: 250_100n, stored: [window(200_100n, WindowState.FAILED)] };
  const first = pageWindows({ ...base, ...long, state: WindowState.FAILED });
  expect(first).toEqual({ windows: [], nextUs: 100_100n });
  expect(allPages({ ...long, state: WindowState.FAILED })).toEqual(["200100"]);
});
