/** The windows of a pipe as they are kept in the bus, for work on their stored rows. */
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { type Axis, beginOf, compactPosition, endOf, timestampOf } from "../kit/time.ts";

export interface PipeWindow {
  readonly window: Window;
  readonly key: string;
  readonly revision: bigint;
}

export interface Span {
  readonly beginUs?: bigint | undefined;
  readonly endUs?: bigint | undefined;
}

/** By begin; those that lie wholly within the span. */
export async function listWindows(windows: Kv, pipe: string, { beginUs, endUs }: Span): Promise<readonly PipeWindow[]> {
  const entries = await windows.list(encodeKeyPart(pipe));
  return entries
    .map(({ key, value, revision }) => ({ key, revision, window: Window.decode(value) }))
    .filter(({ window }) => beginUs === undefined || beginOf(window) >= beginUs)
    .filter(({ window }) => endUs === undefined || endOf(window) <= endUs)
    .sort((a, b) => (beginOf(a.window) < beginOf(b.window) ? -1 : 1));
}

/** Whoever wrote the window meanwhile knows better: then nothing is done, and false is returned. */
export async function markStale(windows: Kv, { key, revision, window }: PipeWindow, message: string): Promise<boolean> {
  const updateTime = timestampOf(BigInt(Date.now()) * 1_000n);
  const next = Window.fromPartial({ ...window, state: WindowState.STALE, message, updateTime });
  return unlessWritten(windows.update(key, Window.encode(next).finish(), revision));
}

/** The window is MISSING then. `fence` is that of the run's lock: a newer attempt keeps its window. */
export async function forgetWindow(
  windows: Kv,
  pipe: string,
  { axis, beginUs }: { readonly axis: Axis; readonly beginUs: bigint },
  fence: bigint,
): Promise<boolean> {
  const key = `${encodeKeyPart(pipe)}.${compactPosition(axis, beginUs)}`;
  const entry = await windows.get(key);
  if (!entry || Window.decode(entry.value).fence > fence) return false;
  return unlessWritten(windows.delete(key, entry.revision));
}

/** Rows that came to a window's run later on: its result is another, and what is made from it runs again. */
export async function addRows(windows: Kv, runId: string, rows: bigint): Promise<void> {
  const cut = runId.lastIndexOf("/");
  const key = `${encodeKeyPart(runId.slice(0, cut))}.${encodeKeyPart(runId.slice(cut + 1))}`;
  const entry = await windows.get(key);
  if (!entry) return;
  const window = Window.decode(entry.value);
  const next = { ...window, rows: window.rows + rows, result: "" };
  await unlessWritten(windows.update(key, Window.encode(next).finish(), entry.revision));
}

async function unlessWritten(writing: Promise<unknown>): Promise<boolean> {
  try {
    await writing;
    return true;
  } catch (thrown) {
    if (Fault.from(thrown).code !== "conflict") throw thrown;
    return false;
  }
}
