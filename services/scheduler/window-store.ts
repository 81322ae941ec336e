/** Windows in kv, written by compare-and-set: of two schedulers that want the same window one gets it. */
import { Verification, Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { decodeKeyPart, encodeKeyPart } from "../bus/keys.ts";
import type { Kv, KvEntry } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import {
  type Axis,
  beginOf,
  compactPosition,
  endOf,
  isInteger,
  microsOf,
  parseTime,
  positionOf,
  stretchOf,
  timestampOf,
} from "../kit/time.ts";
import { WindowIndex } from "./window-index.ts";
import type { WindowMirror } from "./window-mirror.ts";
import type { WindowPage } from "./window-pages.ts";
import type { KnownWindow, PlannedWindow, WindowStanding } from "./windows.ts";

/** No pipe's: their names begin with a letter. Written to learn that everything before it was seen. */
export const MARK = "_seen";

export interface StoredWindow {
  /** Bare id of the pipe. */
  readonly pipe: string;
  readonly window: Window;
  readonly revision: bigint;
}

/** A window that was marked as running, and what it was before. */
export interface Claim {
  readonly window: Window;
  readonly revision: bigint;
  readonly former: StoredWindow | undefined;
}

export interface Queued {
  readonly run: string;
  readonly dueUs: bigint;
  readonly nowUs: bigint;
  readonly inputs?: string;
  /** When the sync was due that goes on after this window. */
  readonly sinceUs?: bigint | undefined;
}

/** Reads in flight. */
const READS = 256;

const STANDINGS: Readonly<Record<number, WindowStanding>> = {
  [WindowState.RUNNING]: "running",
  [WindowState.DONE]: "done",
  [WindowState.FAILED]: "failed",
  [WindowState.STALE]: "stale",
};

export class WindowStore {
  readonly #kv: Kv;
  readonly #mirror: WindowMirror | undefined;

  /** Without a mirror, whoever asks for an index pays for reading all windows of the pipe. */
  constructor(kv: Kv, mirror?: WindowMirror) {
    this.#kv = kv;
    this.#mirror = mirror;
  }

  /** Of a pipe by its bare id, with everything that was stored before the call. Errors: `unavailable`. */
  async index(pipe: string): Promise<WindowIndex> {
    if (this.#mirror) return this.#mirror.pipe(pipe);
    const index = new WindowIndex();
    for (const stored of await this.list(pipe)) index.put(stored);
    return index;
  }

  /** Windows of all pipes, all those among them that are at work. */
  live(): Promise<readonly StoredWindow[]> {
    return this.#mirror?.live() ?? this.list("");
  }

  /** Windows of one pipe by its bare id, or of all for "". In no particular order. */
  async list(pipe: string): Promise<StoredWindow[]> {
    const entries = await this.#kv.list(pipe === "" ? "" : encodeKeyPart(pipe));
    return entries.filter(({ key }) => key !== MARK).map(toStored);
  }

  /** Calls back with the bare id of a pipe for each of its windows that is written as done; never without a mirror. */
  onDone(listener: (pipe: string, window: Window) => void): Disposable | undefined {
    return this.#mirror?.onDone(listener);
  }

  async get(pipe: string, axis: Axis, beginUs: bigint): Promise<StoredWindow | undefined> {
    const entry = await this.#kv.get(keyOf(pipe, axis, beginUs));
    return entry && toStored(entry);
  }

  /** Windows of a page, whole: an index has no more of them than numbers. */
  async show(pipe: string, axis: Axis, picked: WindowPage["windows"], chunkUs: bigint): Promise<Window[]> {
    const show = async ({ beginUs, state }: WindowPage["windows"][number]) => {
      const stored = state === WindowState.MISSING ? undefined : await this.get(pipe, axis, beginUs);
      const missing = { ...stretchOf(axis, beginUs, beginUs + chunkUs), state: WindowState.MISSING };
      return stored?.window ?? Window.fromPartial(missing);
    };
    const shown: Window[] = [];
    for (let at = 0; at < picked.length; at += READS) {
      shown.push(...(await Promise.all(picked.slice(at, at + READS).map(show))));
    }
    return shown;
  }

  /** Marks a window as running. Undefined when another was faster. */
  async claim(
    pipe: string,
    axis: Axis,
    planned: PlannedWindow,
    former: StoredWindow | undefined,
    queued: Queued,
  ): Promise<Claim | undefined> {
    const window = Window.fromPartial({
      ...former?.window,
      ...stretchOf(axis, planned.beginUs, planned.endUs),
      state: WindowState.RUNNING,
      run: queued.run,
      dueTime: timestampOf(queued.dueUs),
      updateTime: timestampOf(queued.nowUs),
      message: "",
      formerState: restingState(former?.window),
      inputs: queued.inputs ?? "",
      syncTime: queued.sinceUs === undefined ? undefined : timestampOf(queued.sinceUs),
    });
    const key = keyOf(pipe, axis, planned.beginUs);
    const bytes = Window.encode(window).finish();
    try {
      const revision = former ? await this.#kv.update(key, bytes, former.revision) : await this.#kv.create(key, bytes);
      return { window, revision, former };
    } catch (thrown) {
      const fault = Fault.from(thrown);
      if (fault.code === "conflict" || fault.code === "exists") return undefined;
      throw fault;
    }
  }

  /** Notes that the source is asked again. Undefined when somebody has written the window since. */
  async markAsked({ pipe, window, revision }: StoredWindow, dueUs: bigint): Promise<Window | undefined> {
    const marked = { ...window, verification: Verification.fromPartial({ dueTime: timestampOf(dueUs) }) };
    try {
      await this.#kv.update(keyOfWindow(pipe, window), Window.encode(marked).finish(), revision);
      return marked;
    } catch (thrown) {
      if (Fault.from(thrown).code === "conflict") return undefined;
      throw thrown;
    }
  }

  /** Takes a claim back, unless somebody has written the window since: then it is theirs. */
  async release(pipe: string, { window, revision, former }: Claim): Promise<void> {
    const key = keyOfWindow(pipe, window);
    const undo = former
      ? this.#kv.update(key, Window.encode(former.window).finish(), revision)
      : this.#kv.delete(key, revision);
    await undo.catch((thrown) => {
      if (Fault.from(thrown).code !== "conflict") throw thrown;
    });
  }
}

/** Where a window goes back to whose job does not run. */
function restingState(former: Window | undefined): WindowState {
  if (!former) return WindowState.MISSING;
  return former.state === WindowState.RUNNING ? former.formerState : former.state;
}

export function toKnown({ window }: StoredWindow): KnownWindow {
  return {
    beginUs: beginOf(window),
    endUs: endOf(window),
    standing: STANDINGS[window.state] ?? "missing",
    fetchedUntilUs: fetchedUntilOf(window),
    updatedUs: microsOf(window.updateTime),
  };
}

export function fetchedUntilOf({ fetchedUntil, fetchedUntilInt, beginInt }: Window): bigint {
  // Never fetched: 0 may be somewhere in the middle of integers.
  if (beginInt !== "" && fetchedUntilInt === "") return BigInt(beginInt);
  return positionOf(fetchedUntil, fetchedUntilInt);
}

const keyOf = (pipe: string, axis: Axis, beginUs: bigint) => `${encodeKeyPart(pipe)}.${compactPosition(axis, beginUs)}`;
const keyOfWindow = (pipe: string, window: Window) => keyOf(pipe, window.beginInt ? "int64" : "time", beginOf(window));

/** `weather=2Edaily.20120101T000000_500000Z` → the microseconds of 2012-01-01T00:00:00.5Z; `a=2Eb.-100` → -100. */
export function beginOfKey(key: string): bigint {
  const last = key.slice(key.lastIndexOf(".") + 1);
  if (isInteger(last)) return BigInt(last);
  const [, date = "", hour, minute, second, micros = ""] = BEGIN.exec(key) ?? [];
  const day = date.replace(/(\d\d)(\d\d)$/, "-$1-$2");
  return parseTime(`${day}T${hour}:${minute}:${second}${micros.replace("_", ".")}Z`, "key");
}
const BEGIN = /\.(\d+)T(\d\d)(\d\d)(\d\d)(_\d+)?Z$/;

export function toStored({ key, value, revision }: KvEntry): StoredWindow {
  return { pipe: decodeKeyPart(key.slice(0, key.indexOf("."))), window: Window.decode(value), revision };
}
