/** Which windows of a pipe that comes after others can run, and which must again. Pure; microseconds since 1970. */
import { createHash } from "node:crypto";
import { type Axis, compactPosition } from "../kit/time.ts";
import { firstWanted, type Grid, gridFloor, type PlannedWindow, type Range, type WindowStanding } from "./windows.ts";

/** A window as it stands, of a pipe that others come after. */
export interface ParentWindow {
  readonly endUs: bigint;
  readonly done: boolean;
  readonly fetchedUntilUs: bigint;
  /** Names its rows. */
  readonly result: string;
}

export interface Parent extends Grid {
  readonly id: string;
  /** By begin. */
  readonly windows: ReadonlyMap<bigint, ParentWindow>;
}

export interface OwnWindow {
  readonly endUs: bigint;
  readonly standing: WindowStanding;
  readonly fetchedUntilUs: bigint;
  readonly updatedUs: bigint;
  /** What it was made from. */
  readonly inputs: string;
}

export interface ChainInput extends Grid {
  /** Of all of them; absent: time. */
  readonly axis?: Axis;
  /** Of integers: up to where anything before it was fetched. */
  readonly nowUs: bigint;
  readonly parents: readonly Parent[];
  /** By begin. */
  readonly own: ReadonlyMap<bigint, OwnWindow>;
  /** Only windows that touch it; undefined: all. */
  readonly range?: Range | undefined;
  /** Also windows that are done from what there is; those that changed since `refetchBeforeUs` were already. */
  readonly refetch: boolean;
  readonly refetchBeforeUs?: bigint | undefined;
  /** Also windows that have failed from what there is. */
  readonly retryFailed: boolean;
  /** A running window whose standing last changed before this is taken for lost, and queued again. */
  readonly lostBeforeUs: bigint;
}

export interface ChainWindow extends PlannedWindow {
  readonly inputs: string;
}

export interface ChainPlan {
  /** By begin. */
  readonly queue: readonly ChainWindow[];
  /** Windows in the range that need nothing, or wait for what comes before them. */
  readonly skipped: number;
}

export function planChain(input: ChainInput): ChainPlan {
  const { chunkUs, nowUs, range, own } = input;
  const horizonUs = least(input.endUs, nowUs);
  const toUs = least(range?.endUs, horizonUs);
  const queue: ChainWindow[] = [];
  let skipped = 0;
  for (let atUs = firstWanted(input); atUs < toUs; atUs += chunkUs) {
    const endUs = atUs + chunkUs;
    const made = madeFrom(input, atUs, least(endUs, horizonUs));
    if (made && needs(own.get(atUs), { endUs, ...made }, input)) queue.push({ beginUs: atUs, endUs, ...made });
    else skipped += 1;
  }
  return { queue, skipped };
}

/** What a window would be made from, and up to when; undefined while a part of it is not done. */
function madeFrom({ parents, nowUs, axis = "time" }: ChainInput, beginUs: bigint, endUs: bigint) {
  let untilUs = endUs;
  const results: string[] = [];
  for (const parent of parents) {
    const lastUs = least(parent.endUs, endUs);
    const firstUs = beginUs > parent.beginUs ? gridFloor(parent, beginUs) : parent.beginUs;
    for (let atUs = firstUs; atUs < lastUs; atUs += parent.chunkUs) {
      const window = parent.windows.get(atUs);
      if (!window?.done || window.endUs !== atUs + parent.chunkUs) return undefined;
      // The window of now is done as far as it goes; one that is over is done when all of it was asked for.
      const wholeUs = least(parent.endUs, window.endUs);
      if (window.fetchedUntilUs < wholeUs) {
        if (window.endUs <= nowUs || window.fetchedUntilUs <= beginUs) return undefined;
        untilUs = least(untilUs, window.fetchedUntilUs);
      }
      results.push(`${parent.id}/${compactPosition(axis, atUs)}=${window.result}`);
    }
  }
  const inputs = createHash("sha256").update(results.join("\n")).digest("hex").slice(0, 32);
  return { untilUs, inputs };
}

function needs(
  window: OwnWindow | undefined,
  made: { readonly endUs: bigint; readonly untilUs: bigint; readonly inputs: string },
  { refetch, refetchBeforeUs, retryFailed, lostBeforeUs }: ChainInput,
): boolean {
  switch (window?.standing) {
    case undefined:
    case "missing":
    case "stale":
      return true;
    case "running":
      return window.updatedUs < lostBeforeUs;
    case "failed":
      return retryFailed || window.inputs !== made.inputs;
    case "done":
      if (window.endUs !== made.endUs || window.inputs !== made.inputs) return true;
      if (window.fetchedUntilUs < made.untilUs) return true;
      return refetch && (refetchBeforeUs === undefined || window.updatedUs < refetchBeforeUs);
  }
}

function least(aUs: bigint | undefined, bUs: bigint): bigint {
  return aUs !== undefined && aUs < bUs ? aUs : bUs;
}
