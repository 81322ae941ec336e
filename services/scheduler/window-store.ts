/** Windows in kv, written by compare-and-set: of two schedulers that want the same window one gets it. */
import { Verification, Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { decodeKeyPart, encodeKeyPart } from "../bus/keys.ts";
import type { Kv, KvEntry } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { compactTime, microsOf, timestampOf } from "../kit/time.ts";
import type { KnownWindow, PlannedWindow, WindowStanding } from "./windows.ts";

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

const STANDINGS: Readonly<Record<number, WindowStanding>> = {
  [WindowState.RUNNING]: "running",
  [WindowState.DONE]: "done",
  [WindowState.FAILED]: "failed",
  [WindowState.STALE]: "stale",
};

export class WindowStore {
  readonly #kv: Kv;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  /** Windows of one pipe by its bare id, or of all for "". In no particular order. */
  async list(pipe: string): Promise<StoredWindow[]> {
    return (await this.#kv.list(pipe === "" ? "" : encodeKeyPart(pipe))).map(toStored);
  }

  /** Marks a window as running. Undefined when another was faster. */
  async claim(
    pipe: string,
    planned: PlannedWindow,
    former: StoredWindow | undefined,
    queued: { readonly run: string; readonly dueUs: bigint; readonly nowUs: bigint; readonly inputs?: string },
  ): Promise<Claim | undefined> {
    const window = Window.fromPartial({
      ...former?.window,
      begin: timestampOf(planned.beginUs),
      end: timestampOf(planned.endUs),
      state: WindowState.RUNNING,
      run: queued.run,
      dueTime: timestampOf(queued.dueUs),
      updateTime: timestampOf(queued.nowUs),
      message: "",
      formerState: restingState(former?.window),
      inputs: queued.inputs ?? "",
    });
    const key = keyOf(pipe, planned.beginUs);
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
      await this.#kv.update(keyOf(pipe, microsOf(window.begin)), Window.encode(marked).finish(), revision);
      return marked;
    } catch (thrown) {
      if (Fault.from(thrown).code === "conflict") return undefined;
      throw thrown;
    }
  }

  /** Takes a claim back, unless somebody has written the window since: then it is theirs. */
  async release(pipe: string, { window, revision, former }: Claim): Promise<void> {
    const key = keyOf(pipe, microsOf(window.begin));
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
    beginUs: microsOf(window.begin),
    endUs: microsOf(window.end),
    standing: STANDINGS[window.state] ?? "missing",
    fetchedUntilUs: microsOf(window.fetchedUntil),
    updatedUs: microsOf(window.updateTime),
  };
}

const keyOf = (pipe: string, beginUs: bigint) => `${encodeKeyPart(pipe)}.${compactTime(beginUs)}`;

function toStored({ key, value, revision }: KvEntry): StoredWindow {
  return { pipe: decodeKeyPart(key.slice(0, key.indexOf("."))), window: Window.decode(value), revision };
}
