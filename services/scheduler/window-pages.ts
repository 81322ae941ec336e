/** The windows of a pipe as a list to read: the stored ones and the gaps between them, in pages. Pure. */
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { microsOf, timestampOf } from "../kit/time.ts";
import { type Grid, gridFloor, gridLength } from "./windows.ts";

/** Windows looked at for one page: a rare state in a long list comes in short pages rather than late. */
const MAX_LOOKED_AT = 100_000;

export interface PageRequest {
  /** Undefined for a pipe without a begin: nothing is missing then. */
  readonly grid: Grid | undefined;
  readonly nowUs: bigint;
  /** Of the pipe, in any order. Those that are off the grid (its chunk was changed) are listed, too. */
  readonly stored: readonly Window[];
  /** UNSPECIFIED: all. */
  readonly state: WindowState;
  /** First begin to list; undefined: from the start. */
  readonly fromUs: bigint | undefined;
  readonly pageSize: number;
}

export interface WindowPage {
  /** By begin. */
  readonly windows: readonly Window[];
  /** Where the next page begins; undefined on the last. */
  readonly nextUs: bigint | undefined;
}

export function pageWindows({ grid, nowUs, stored, state, fromUs, pageSize }: PageRequest): WindowPage {
  const known = stored
    .map((window) => ({ window, beginUs: microsOf(window.begin) }))
    .filter(({ beginUs }) => fromUs === undefined || beginUs >= fromUs)
    .sort((a, b) => (a.beginUs < b.beginUs ? -1 : 1));
  const windows: Window[] = [];
  const endUs = grid ? grid.beginUs + BigInt(gridLength(grid, nowUs)) * grid.chunkUs : 0n;
  let gapUs = grid ? firstGap(grid, fromUs) : 0n;
  let at = 0;
  for (let looked = 0; ; looked += 1) {
    const next = known[at];
    const gap = grid && gapUs < endUs ? gapUs : undefined;
    if (!next && gap === undefined) return { windows, nextUs: undefined };
    const missing = gap !== undefined && (!next || gap < next.beginUs);
    const beginUs = missing ? gap : (next?.beginUs ?? 0n);
    if (windows.length === pageSize || looked === MAX_LOOKED_AT) return { windows, nextUs: beginUs };
    const window = missing && grid ? missingWindow(beginUs, beginUs + grid.chunkUs) : next?.window;
    if (grid && gap === beginUs) gapUs += grid.chunkUs;
    if (!missing) at += 1;
    if (window && (state === WindowState.UNSPECIFIED || window.state === state)) windows.push(window);
  }
}

function firstGap(grid: Grid, fromUs: bigint | undefined): bigint {
  if (fromUs === undefined || fromUs <= grid.beginUs) return grid.beginUs;
  const floorUs = gridFloor(grid, fromUs);
  return floorUs === fromUs ? floorUs : floorUs + grid.chunkUs;
}

function missingWindow(beginUs: bigint, endUs: bigint): Window {
  const state = WindowState.MISSING;
  return Window.fromPartial({ begin: timestampOf(beginUs), end: timestampOf(endUs), state });
}
