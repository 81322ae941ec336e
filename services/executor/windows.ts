/** What executors write about a window: that it is being fetched, and how that ended. */
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { compactTime, timestampOf } from "../kit/time.ts";
import { changeRecord, type Known, refuseNewer } from "./fenced-record.ts";

export interface WindowKey {
  readonly pipe: string;
  readonly beginUs: bigint;
  readonly endUs: bigint;
}

/** `run` and `fence` of the attempt that writes; the rest as it is to stand. Absent fields stay as they were. */
export type WindowChange = Pick<Window, "run" | "fence" | "state"> &
  Partial<Pick<Window, "rows" | "fetchedUntil" | "message" | "result">>;

const keyOf = ({ pipe, beginUs }: WindowKey) => `${encodeKeyPart(pipe)}.${compactTime(beginUs)}`;

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
    const { beginUs, endUs } = key;
    const next = Window.fromPartial({
      ...(stored ?? { begin: timestampOf(beginUs), end: timestampOf(endUs) }),
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
  return stored?.fetchedUntil ? WindowState.STALE : WindowState.MISSING;
}

const formatKey = ({ pipe, beginUs }: WindowKey) => `${pipe}/${compactTime(beginUs)}`;
