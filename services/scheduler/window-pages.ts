/** Which windows of a pipe a page of the list shows: stored ones and the gaps between them. Pure. */
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { type Grid, gridFloor, gridLength } from "./windows.ts";

/** Windows looked at for one page: a rare state in a long list comes in short pages rather than late. */
const MAX_LOOKED_AT = 100_000;

export interface PageRequest {
  /** Undefined for a pipe without a begin: nothing is missing then. */
  readonly grid: Grid | undefined;
  /** Now; of integers: where the last window ends that is worth asking for. */
  readonly nowUs: bigint;
  /** Of the pipe, by begin, from `fromUs` on. Those that are off the grid (its chunk was changed) are listed, too. */
  readonly stored: Iterable<{ readonly beginUs: bigint; readonly state: WindowState }>;
  /** UNSPECIFIED: all. */
  readonly state: WindowState;
  /** First begin to list; undefined: from the start. */
  readonly fromUs: bigint | undefined;
  readonly pageSize: number;
}

export interface WindowPage {
  /** By begin. */
  readonly windows: readonly { readonly beginUs: bigint; readonly state: WindowState }[];
  /** Where the next page begins; undefined on the last. */
  readonly nextUs: bigint | undefined;
}

export function pageWindows({ grid, nowUs, stored, state, fromUs, pageSize }: PageRequest): WindowPage {
  const known = stored[Symbol.iterator]();
  const windows: { readonly beginUs: bigint; readonly state: WindowState }[] = [];
  const endUs = grid ? grid.beginUs + BigInt(gridLength(grid, nowUs)) * grid.chunkUs : 0n;
  let gapUs = grid ? firstGap(grid, fromUs) : 0n;
  let next = known.next();
  for (let looked = 0; ; looked += 1) {
    const gap = grid && gapUs < endUs ? gapUs : undefined;
    const one = next.done ? undefined : next.value;
    if (!one && gap === undefined) return { windows, nextUs: undefined };
    const missing = gap !== undefined && (!one || gap < one.beginUs);
    const beginUs = missing ? gap : (one?.beginUs ?? 0n);
    if (windows.length === pageSize || looked === MAX_LOOKED_AT) return { windows, nextUs: beginUs };
    const stands = missing ? WindowState.MISSING : (one?.state ?? WindowState.MISSING);
    if (grid && gap === beginUs) gapUs += grid.chunkUs;
    if (!missing) next = known.next();
    if (state === WindowState.UNSPECIFIED || stands === state) windows.push({ beginUs, state: stands });
  }
}

function firstGap(grid: Grid, fromUs: bigint | undefined): bigint {
  if (fromUs === undefined || fromUs <= grid.beginUs) return grid.beginUs;
  const floorUs = gridFloor(grid, fromUs);
  return floorUs === fromUs ? floorUs : floorUs + grid.chunkUs;
}
