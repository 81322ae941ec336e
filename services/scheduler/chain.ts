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
  /** Why it is not done, in words; absent: it is, or nobody asks. */
  readonly why?: string | undefined;
}

export interface Parent extends Grid {
  readonly id: string;
  /** By begin. */
  readonly windows: Pick<ReadonlyMap<bigint, ParentWindow>, "get">;
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
    if (!("waitsFor" in made) && needs(own.get(atUs), { endUs, ...made }, input))
      queue.push({ beginUs: atUs, endUs, ...made });
    else skipped += 1;
  }
  return { queue, skipped };
}

type Before = Pick<ChainInput, "parents" | "nowUs" | "axis" | "endUs" | "chunkUs">;

interface Made {
  readonly untilUs: bigint;
  readonly inputs: string;
}

/** Why a window cannot run, in words for people: the first one before it that is not done. Undefined: it can. */
export function whyItWaits(input: Before, beginUs: bigint): string | undefined {
  const made = madeFrom(input, beginUs, least(beginUs + input.chunkUs, least(input.endUs, input.nowUs)));
  return "waitsFor" in made ? `waits for ${made.waitsFor}` : undefined;
}

/** What a window would be made from, and up to when; or the window before it that is not done, and why. */
function madeFrom(
  { parents, nowUs, axis = "time" }: Before,
  beginUs: bigint,
  endUs: bigint,
): Made | { readonly waitsFor: string } {
  let untilUs = endUs;
  const results: string[] = [];
  for (const parent of parents) {
    const lastUs = least(parent.endUs, endUs);
    const firstUs = beginUs > parent.beginUs ? gridFloor(parent, beginUs) : parent.beginUs;
    for (let atUs = firstUs; atUs < lastUs; atUs += parent.chunkUs) {
      const window = parent.windows.get(atUs);
      const waits = (why: string) => ({ waitsFor: `${parent.id}/${compactPosition(axis, atUs)}: ${why}` });
      if (!window) return waits(whyMissing(parent, atUs, nowUs));
      if (!window.done) return waits(window.why ?? "it is not done");
      if (window.endUs !== atUs + parent.chunkUs) return waits("it was fetched with another chunk");
      // The window of now is done as far as it goes; one that is over is done when all of it was asked for.
      const wholeUs = least(parent.endUs, window.endUs);
      if (window.fetchedUntilUs < wholeUs) {
        if (window.endUs <= nowUs || window.fetchedUntilUs <= beginUs) return waits("only a part of it was asked for");
        untilUs = least(untilUs, window.fetchedUntilUs);
      }
      results.push(`${parent.id}/${compactPosition(axis, atUs)}=${window.result}`);
    }
  }
  const inputs = createHash("sha256").update(results.join("\n")).digest("hex").slice(0, 32);
  return { untilUs, inputs };
}

/** What is older than its pipe keeps nobody fetches: whoever waits for it waits for ever. */
function whyMissing(parent: Parent, atUs: bigint, nowUs: bigint): string {
  if (atUs < firstWanted({ ...parent, nowUs, range: undefined })) {
    return "it is older than its pipe keeps rows, and never comes; begin later, or keep them for as short";
  }
  return `it was not fetched; \`pipe backfill ${parent.id}\` fetches it, or begin later`;
}

function needs(
  window: OwnWindow | undefined,
  made: Made & { readonly endUs: bigint },
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
