/**
 * Which windows of a pipe need fetching. Pure: no clock, no I/O. Microseconds since the epoch; on an axis of integers
 * positions are the integers themselves, and only now and the moments of standings are times.
 */

export type WindowStanding = "missing" | "running" | "done" | "failed" | "stale";

export interface KnownWindow {
  readonly beginUs: bigint;
  readonly endUs: bigint;
  readonly standing: WindowStanding;
  /** Up to when its source had been asked; 0 when it never was. */
  readonly fetchedUntilUs: bigint;
  /** When its standing last changed. */
  readonly updatedUs: bigint;
}

/**
 * Windows that are done and were fetched to their end, as columns of numbers, by begin. One whose end is NaN is none.
 */
export interface WholeWindows extends Scale {
  readonly count: number;
  readonly begins: Float64Array;
  readonly ends: Float64Array;
  /** When their standing last changed. */
  readonly updated: Float64Array;
  readonly rows: Float64Array;
}

/** How positions are numbers: as `(position - origin) / step`. */
export interface Scale {
  readonly origin: bigint;
  readonly step: bigint;
}

/** The number of the first position on the scale that is not before this one. */
export function numberFrom({ origin, step }: Scale, at: bigint): number {
  const [whole, rest] = [(at - origin) / step, (at - origin) % step];
  return Number(rest > 0n ? whole + 1n : whole);
}

/** What is known of a source whose axis has no clock. */
export interface Head {
  /** The source goes at least to here: what lies before it is all there. */
  readonly reachUs: bigint;
  /** Windows that begin after this are not asked for yet. */
  readonly openUs: bigint;
}

/** Windows are [begin + k × chunk, begin + (k + 1) × chunk). */
export interface Grid {
  readonly beginUs: bigint;
  /** End of what is worth fetching, exclusive; undefined: none. */
  readonly endUs: bigint | undefined;
  readonly chunkUs: bigint;
  /** How long rows are kept: a window that is wholly older would be fetched for nothing. Undefined: for ever. */
  readonly retentionUs?: bigint | undefined;
}

export interface WindowPlanInput extends Grid {
  /** Finished windows that end after the begin of the window of now, less this, are fetched again. */
  readonly backtrackUs: bigint;
  /** The due moment: nothing later than it is asked for, and what was fetched since it is not fetched again. */
  readonly nowUs: bigint;
  /** Of an axis of integers, which has no now; undefined: the axis is time. */
  readonly head?: Head | undefined;
  readonly known: Iterable<KnownWindow>;
  /** Others than those in `known`. */
  readonly whole?: WholeWindows | undefined;
  /** Also windows that are done. */
  readonly refetch: boolean;
  /** With `refetch`, done windows that changed since this were fetched for it already; undefined: none was. */
  readonly refetchBeforeUs?: bigint | undefined;
  /** Only windows that touch it; undefined: all. */
  readonly range?: Range | undefined;
  /** A running window whose standing last changed before this is taken for lost, and queued again. */
  readonly lostBeforeUs: bigint;
  /** At most this many windows, the first ones; undefined: all. */
  readonly limit?: number | undefined;
}

/** Without an end: as far as there is something. Integers may be asked for beyond what is known of the source. */
export interface Range {
  readonly beginUs: bigint;
  readonly endUs: bigint | undefined;
}

export interface PlannedWindow {
  readonly beginUs: bigint;
  readonly endUs: bigint;
  /** Up to when the source is to be asked: the end, or earlier for a window that is not over. */
  readonly untilUs: bigint;
  /** On an axis of integers: up to where the source is known to go. */
  readonly reachUs?: bigint;
}

export interface WindowPlan {
  /** By begin. */
  readonly queue: readonly PlannedWindow[];
  /** Windows in the range that need nothing, of those that were looked at. */
  readonly skipped: number;
  /** The first window that needs fetching and was left out for the limit. */
  readonly nextUs: bigint | undefined;
}

/** Begin of the first window that is worth its run: not before the range, nor wholly older than what is kept. */
export function firstWanted(input: Grid & Pick<WindowPlanInput, "nowUs" | "range">): bigint {
  const { beginUs, nowUs, range, retentionUs } = input;
  const keptUs = retentionUs === undefined ? beginUs : nowUs - retentionUs;
  const wantedUs = range && range.beginUs > keptUs ? range.beginUs : keptUs;
  return wantedUs > beginUs ? gridFloor(input, wantedUs) : beginUs;
}

export function planWindows(input: WindowPlanInput): WindowPlan {
  const { beginUs, chunkUs, range, head } = input;
  const existsUs = existsUntil(input, input.nowUs, head, range);
  const horizonUs = horizon(input, existsUs);
  const againUs = backtrackedFrom(input);
  const { settled, known } = sortKnown(input, gridLength(input, existsUs), againUs);
  const fromUs = firstWanted(input);
  const toUs = range?.endUs === undefined ? horizonUs : earlier(range.endUs, horizonUs);
  const reach = head && { reachUs: head.reachUs };
  const queue: PlannedWindow[] = [];
  let skipped = 0;
  const last = toUs > fromUs ? Number((toUs - beginUs + chunkUs - 1n) / chunkUs) : 0;
  for (let slot = Number((fromUs - beginUs) / chunkUs); slot < last; slot += 1) {
    if (settled[slot]) {
      skipped += 1;
      continue;
    }
    const atUs = beginUs + BigInt(slot) * chunkUs;
    const endUs = atUs + chunkUs;
    const untilUs = earlier(endUs, horizonUs);
    const backtracked = input.backtrackUs > 0n && endUs > againUs;
    if (needs(known.get(atUs), { atUs, endUs, untilUs, backtracked }, input)) {
      if (queue.length === input.limit) return { queue, skipped, nextUs: atUs };
      queue.push({ beginUs: atUs, endUs, untilUs, ...reach });
    } else skipped += 1;
  }
  return { queue, skipped, nextUs: undefined };
}

/**
 * Most windows of an old pipe are whole and done: they need a glance only, and are settled by their number on the grid.
 * Plain numbers do for that; a million bigint keys in a map take seconds. The others are known by their begin.
 */
function sortKnown(input: WindowPlanInput, slots: number, againUs: bigint) {
  const { beginUs, chunkUs, backtrackUs, refetch } = input;
  const settled = new Uint8Array(slots);
  const known = new Map<bigint, KnownWindow>();
  const [begin, chunk] = [Number(beginUs), Number(chunkUs)];
  const againIs = backtrackUs > 0n ? Number(againUs) : Number.POSITIVE_INFINITY;
  for (const window of input.known) {
    const at = Number(window.beginUs);
    const end = Number(window.endUs);
    const slot = (at - begin) / chunk;
    const safe = Number.isSafeInteger(at) && Number.isSafeInteger(end) && Number.isSafeInteger(begin);
    const exact = safe && Number.isInteger(slot) && slot >= 0;
    const whole = end - at === chunk && Number(window.fetchedUntilUs) >= end && end <= againIs;
    if (exact && whole && slot < slots && window.standing === "done" && !refetch) settled[slot] = 1;
    else known.set(window.beginUs, window);
  }
  if (input.whole) settle(settled, input.whole, input, againIs);
  return { settled, known };
}

/** Of whole windows only those are left out that are wanted again, or do not lie on the grid. */
function settle(settled: Uint8Array, whole: WholeWindows, input: WindowPlanInput, againIs: number): void {
  const { count, begins, ends, updated, origin, step } = whole;
  // None of them lies on such a grid.
  if (input.chunkUs % step !== 0n || (input.beginUs - origin) % step !== 0n) return;
  const [begin, chunk] = [Number((input.beginUs - origin) / step), Number(input.chunkUs / step)];
  const now = Number(input.nowUs);
  const again = againIs === Number.POSITIVE_INFINITY ? againIs : numberFrom(whole, backtrackedFrom(input) + 1n) - 1;
  const refetchBefore = input.refetch ? Number(input.refetchBeforeUs ?? Number.POSITIVE_INFINITY) : 0;
  for (let i = 0; i < count; i += 1) {
    const at = begins[i] as number;
    const end = ends[i] as number;
    const since = updated[i] as number;
    if (end - at !== chunk || since < refetchBefore || (end > again && since < now)) continue;
    const slot = (at - begin) / chunk;
    if (slot >= 0 && slot < settled.length && Number.isInteger(slot)) settled[slot] = 1;
  }
}

/** Whether a planned window still needs fetching, by how it stands now. */
export function isWanted(window: KnownWindow, planned: PlannedWindow, input: Omit<WindowPlanInput, "known">): boolean {
  const { beginUs: atUs, endUs, untilUs } = planned;
  const againUs = backtrackedFrom(input);
  return needs(window, { atUs, endUs, untilUs, backtracked: input.backtrackUs > 0n && endUs > againUs }, input);
}

/** Windows that end after it are backtracked. Counted from now and not from the pipe's end: that changes no more. */
const backtrackedFrom = ({ head, nowUs, backtrackUs, ...grid }: Omit<WindowPlanInput, "known">) =>
  gridFloor(grid, (head?.reachUs ?? nowUs) - 1n) - backtrackUs;

/** Up to where there is something to ask for: now, or the end of the last window that the source may reach. */
export function existsUntil(grid: Grid, nowUs: bigint, head: Head | undefined, range?: Range): bigint {
  if (!head) return nowUs;
  const openUs = later(head.openUs, grid.beginUs);
  return gridFloor(grid, later(openUs, (range?.endUs ?? openUs) - 1n)) + grid.chunkUs;
}

/** How many windows there are from the begin to `nowUs`: what a plan or a listing costs. */
export function gridLength(grid: Grid, nowUs: bigint): number {
  const spanUs = horizon(grid, nowUs) - grid.beginUs;
  return spanUs <= 0n ? 0 : Number((spanUs + grid.chunkUs - 1n) / grid.chunkUs);
}

/** The begin of the window that `us` lies in. */
export function gridFloor({ beginUs, chunkUs }: Pick<Grid, "beginUs" | "chunkUs">, us: bigint): bigint {
  const offsetUs = (us - beginUs) % chunkUs;
  return us - (offsetUs < 0n ? offsetUs + chunkUs : offsetUs);
}

interface Slot {
  readonly atUs: bigint;
  readonly endUs: bigint;
  readonly untilUs: bigint;
  readonly backtracked: boolean;
}

function needs(window: KnownWindow | undefined, slot: Slot, input: Omit<WindowPlanInput, "known">): boolean {
  if (!window) return true;
  if (window.standing === "running") return window.updatedUs < input.lostBeforeUs;
  // A sync that goes on does not try again what it has tried.
  if (window.standing !== "done") return !input.head || window.updatedUs < input.nowUs;
  // Another length than the grid's: the chunk was changed since.
  if (window.endUs !== slot.endUs) return true;
  if (input.refetch && (input.refetchBeforeUs === undefined || window.updatedUs < input.refetchBeforeUs)) return true;
  const { head, nowUs } = input;
  const passed = head === undefined || head.reachUs > slot.atUs;
  if (passed && window.fetchedUntilUs < (head ? earlier(slot.untilUs, head.reachUs) : slot.untilUs)) return true;
  // At the head nobody knows without asking, so each due moment asks.
  const open = head !== undefined && window.fetchedUntilUs < slot.untilUs && slot.atUs <= head.openUs;
  if (open && window.updatedUs < nowUs) return true;
  return slot.backtracked && window.updatedUs < nowUs;
}

/** The end of what exists by now. */
function horizon({ endUs }: Grid, nowUs: bigint): bigint {
  return endUs === undefined ? nowUs : earlier(endUs, nowUs);
}

function earlier(aUs: bigint, bUs: bigint): bigint {
  if (aUs < bUs) return aUs;
  return bUs;
}

export function later(aUs: bigint, bUs: bigint): bigint {
  if (aUs > bUs) return aUs;
  return bUs;
}
