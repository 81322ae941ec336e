/** Backfills in kv, written by compare-and-set: a leader's progress and somebody's pause do not lose each other. */
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import { bare } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { type Axis, microsOf, timestampOf } from "../kit/time.ts";
import { usOfMs } from "./moments.ts";

/** Racers of one backfill in a row; more is not a race but a bug. */
const MAX_RACES = 20;
const KEEP_ENDED_US = usOfMs(30 * 86_400_000);
const MAX_ENDED_OF_A_PIPE = 100;

export const isOver = ({ state }: Backfill) => state !== BackfillState.RUNNING && state !== BackfillState.PAUSED;

export class BackfillStore {
  readonly #kv: Kv;

  constructor(kv: Kv) {
    this.#kv = kv;
  }

  /** Of one pipe by its bare id, or of all for "". Newest first. */
  async list(pipe: string): Promise<Backfill[]> {
    const entries = await this.#kv.list(pipe === "" ? "" : encodeKeyPart(pipe));
    const all = entries.map(({ value }) => Backfill.decode(value));
    return all.sort((a, b) => (idOf(a.name) < idOf(b.name) ? 1 : -1));
  }

  /** Errors: `not_found`. */
  async get(name: string): Promise<Backfill> {
    const entry = await this.#kv.get(keyOf(name));
    if (!entry) throw new Fault("not_found", `there is no ${name}`);
    return Backfill.decode(entry.value);
  }

  /** Those that are over and old, or too many, go at the same time. */
  async create(backfill: Backfill, nowUs: bigint): Promise<void> {
    const ended = (await this.list(bare(pipeOf(backfill.name)))).filter(isOver);
    const old = ended.filter(({ updateTime }, i) => {
      return i >= MAX_ENDED_OF_A_PIPE || microsOf(updateTime) < nowUs - KEEP_ENDED_US;
    });
    for (const { name } of old) await this.#kv.delete(keyOf(name));
    await this.#kv.create(keyOf(backfill.name), Backfill.encode(backfill).finish());
  }

  /**
   * Again when somebody else wrote in between; what `edit` returns as it was is not written. Errors: `not_found`; what
   * `edit` throws.
   */
  async change(name: string, nowUs: bigint, edit: (current: Backfill) => Backfill): Promise<Backfill> {
    const key = keyOf(name);
    for (let race = 0; race < MAX_RACES; race += 1) {
      const entry = await this.#kv.get(key);
      if (!entry) throw new Fault("not_found", `there is no ${name}`);
      const current = Backfill.decode(entry.value);
      const edited = edit(current);
      if (edited === current) return current;
      const next = { ...edited, updateTime: timestampOf(nowUs) };
      try {
        await this.#kv.update(key, Backfill.encode(next).finish(), entry.revision);
        return next;
      } catch (thrown) {
        if (Fault.from(thrown).code !== "conflict") throw thrown;
      }
    }
    throw new Fault("conflict", `${name} was written by others ${MAX_RACES} times in a row`);
  }

  /** Names of those that go on, as they come and go; calls back until the signal aborts. */
  async watch(signal: AbortSignal, onChange: (backfill: Backfill | undefined, key: string) => void): Promise<void> {
    for await (const change of this.#kv.watch("", signal)) {
      if (change.type === "put") onChange(Backfill.decode(change.value), change.key);
      else if (change.type === "delete") onChange(undefined, change.key);
    }
  }
}

/** The fields for where it goes on; undefined: every window was looked at. */
export const nextOf = (axis: Axis, nextUs: bigint | undefined) => ({
  next: axis === "time" && nextUs !== undefined ? timestampOf(nextUs) : undefined,
  nextInt: axis === "time" || nextUs === undefined ? "" : String(nextUs),
});

/** `pipes/a.b/backfills/x` → `pipes/a.b`. */
export const pipeOf = (name: string) => name.split("/").slice(0, 2).join("/");
const idOf = (name: string) => name.split("/")[3] ?? "";
const keyOf = (name: string) => `${encodeKeyPart(bare(pipeOf(name)))}.${encodeKeyPart(idOf(name))}`;
