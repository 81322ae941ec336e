/** What executors write about a window: that it is being fetched, and how that ended. */
import type { Job } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { type Axis, compactPosition, stretchOf, timestampOf } from "../kit/time.ts";
import { changeRecord, type Known, refuseNewer } from "./fenced-record.ts";

/** Where the window of a job lies: microseconds since the epoch, or on an axis of integers these. */
export interface WindowSpan {
  readonly axis: Axis;
  readonly beginUs: bigint;
  readonly endUs: bigint;
  /** Up to where the source is asked. */
  readonly untilUs: bigint;
  /** Up to where it is known to go. */
  readonly reachUs: bigint;
}

export function spanOf(job: Job): WindowSpan {
  const { beginUs, endUs, beginInt, endInt, untilInt, reachInt } = job;
  const untilUs = job.untilUs || endUs;
  if (beginInt === "") return { axis: "time", beginUs, endUs, untilUs, reachUs: untilUs };
  const [begin, end, until, reach] = [BigInt(beginInt), BigInt(endInt), BigInt(untilInt), BigInt(reachInt)];
  // Whether the column is signed makes no difference to what is written.
  return { axis: "int64", beginUs: begin, endUs: end, untilUs: until, reachUs: reach };
}

/** Integers have no now: up to where it is fetched is what is known of the source, by its own word or from before. */
export function fetchedOf({ axis, untilUs, reachUs }: WindowSpan, watermark: bigint | undefined) {
  if (axis === "time") return { fetchedUntil: timestampOf(untilUs) };
  const known = watermark !== undefined && watermark > reachUs ? watermark : reachUs;
  const fetchedUntilInt = String(known < untilUs ? known : untilUs);
  return { fetchedUntilInt, watermarkInt: watermark === undefined ? "" : String(watermark) };
}

export interface WindowKey extends Pick<WindowSpan, "beginUs" | "endUs"> {
  readonly pipe: string;
  /** Default: time. */
  readonly axis?: Axis;
}

/** `run` and `fence` of the attempt that writes; the rest as it is to stand. Absent fields stay as they were. */
export type WindowChange = Pick<Window, "run" | "fence" | "state"> &
  Partial<Pick<Window, "rows" | "fetchedUntil" | "fetchedUntilInt" | "watermarkInt" | "message" | "result">>;

const keyOf = ({ pipe, axis = "time", beginUs }: WindowKey) =>
  `${encodeKeyPart(pipe)}.${compactPosition(axis, beginUs)}`;

export async function readWindow(windows: Kv, key: WindowKey): Promise<Window | undefined> {
  const entry = await windows.get(keyOf(key));
  return entry && Window.decode(entry.value);
}

/** Writes of one attempt: what it wrote last is not read again. Errors: `conflict` when a newer attempt has written. */
export function windowWriter(windows: Kv, key: WindowKey) {
  let known: Known | undefined;
  return async (change: Parameters<typeof writeWindow>[2]): Promise<void> => {
    known = await writeWindow(windows, key, change, known);
  };
}

/** Resolves with what stands now. Errors: `conflict` when a newer attempt has written. */
export async function writeWindow(
  windows: Kv,
  key: WindowKey,
  change: WindowChange | ((stored: Window | undefined) => WindowChange),
  known?: Known,
): Promise<Known | undefined> {
  const changed = (bytes: Uint8Array | undefined) => {
    const stored = bytes && Window.decode(bytes);
    const fields = typeof change === "function" ? change(stored) : change;
    refuseNewer(stored?.fence ?? 0n, fields.fence, `window ${formatKey(key)}`);
    const { axis = "time", beginUs, endUs } = key;
    const next = Window.fromPartial({
      ...(stored ?? stretchOf(axis, beginUs, endUs)),
      message: "",
      ...fields,
      updateTime: timestampOf(BigInt(Date.now()) * 1_000n),
    });
    return Window.encode(next).finish();
  };
  return changeRecord(windows, keyOf(key), changed, known);
}

/**
 * Changes what is there, but for how it stands; a window that is gone stays so. Errors: `conflict` when a newer attempt
 * has written.
 */
export async function changeWindow(
  windows: Kv,
  key: WindowKey,
  fence: bigint | undefined,
  change: (stored: Window) => Window,
): Promise<void> {
  await changeRecord(windows, keyOf(key), (bytes) => {
    if (!bytes) return undefined;
    const stored = Window.decode(bytes);
    if (fence !== undefined) refuseNewer(stored.fence, fence, `window ${formatKey(key)}`);
    return Window.encode(change(stored)).finish();
  });
}

/** Where a window goes whose job was dropped unrun: back to what it was, as far as that is known. */
export function unrunState(stored: Window | undefined): WindowState {
  const { formerState = WindowState.UNSPECIFIED } = stored ?? {};
  if (formerState !== WindowState.UNSPECIFIED && formerState !== WindowState.RUNNING) return formerState;
  return stored?.fetchedUntil || stored?.fetchedUntilInt ? WindowState.STALE : WindowState.MISSING;
}

const formatKey = ({ pipe, axis = "time", beginUs }: WindowKey) => `${pipe}/${compactPosition(axis, beginUs)}`;
