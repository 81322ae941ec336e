/** Versions of plugins that break too often are not run any more, by any executor, until somebody releases them. */

import type { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Quarantine } from "../../proto/gen/millrace/registry/v1/quarantine.ts";
import { quarantineKey } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { mirror } from "../kit/mirror.ts";
import { timestampOf } from "../kit/time.ts";
import { nowUs } from "./run-record.ts";
import type { GuestResult } from "./sandbox.ts";

export interface QuarantineRule {
  /** So many of the last `of` guest calls of a version, as this executor saw them. 0: never. */
  readonly failures: number;
  readonly of: number;
}

export interface Quarantines extends AsyncDisposable {
  /** Why the version is not run, or undefined. */
  reason(version: PluginVersion): string | undefined;
  /** Counts how a guest call ended. */
  note(version: PluginVersion, result: GuestResult): void;
}

export interface QuarantinesOptions {
  readonly kv: Kv;
  readonly rule: QuarantineRule;
  readonly executor: string;
  readonly log: Logger;
}

const SYNC_MS = 30_000;

/** Resolves once the ones that stand are known. Errors: `deadline`. */
export async function openQuarantines({ kv, rule, executor, log }: QuarantinesOptions): Promise<Quarantines> {
  const histories = new Map<string, History>();
  const standing = mirror<Quarantine>(
    "quarantine",
    async function* (signal) {
      for await (const change of kv.watch("", signal)) {
        if (change.type === "put") yield { ...change, value: Quarantine.decode(change.value) };
        else yield change;
      }
    },
    log,
  );
  // Released: what was before does not count again.
  standing.onChange((key) => {
    if (key !== undefined && !standing.get(key)) histories.delete(key);
  });
  await standing.whenSynced(SYNC_MS);

  const stop = (key: string, name: string, history: History, last: string) => {
    const reason = `${history.failures} of its last ${history.calls} calls broke down, the last one: ${last}`;
    const entry = { name, reason, executor, createTime: timestampOf(nowUs()) };
    kv.create(key, Quarantine.encode(entry).finish()).then(
      () => log.warn({ version: name, reason }, "a version of a plugin was put in quarantine"),
      (thrown) => {
        const fault = Fault.from(thrown);
        if (fault.code !== "exists") log.error({ err: fault, version: name }, "a quarantine was not written");
      },
    );
  };
  return {
    reason: ({ name }) => standing.get(keyOf(name))?.reason,
    note({ name }, result) {
      const broke = rule.failures > 0 && isBreakdown(result);
      const key = keyOf(name);
      let history = histories.get(key);
      if (!history) {
        // Most versions never break down, and need no history.
        if (!broke) return;
        history = new History(rule.of);
        histories.set(key, history);
      }
      history.add(broke);
      if (history.failures === 0) histories.delete(key);
      if (!broke || history.failures < rule.failures) return;
      histories.delete(key);
      stop(key, name, history, `${result.outcome}: ${result.error?.message ?? ""}`);
    },
    [Symbol.asyncDispose]: () => standing[Symbol.asyncDispose](),
  };
}

/**
 * The guest itself broke down. A time-out counts when it computed for more than half of its time: one that waited for
 * others is no danger, and would put every poller of a broken network in quarantine.
 */
export function isBreakdown({ outcome, usage }: Pick<GuestResult, "outcome" | "usage">): boolean {
  if (outcome === "timeout") return usage.cpuMs > usage.wallMs / 2;
  return outcome === "trap" || outcome === "cpu_exceeded" || outcome === "out_of_memory";
}

/** How the last calls ended, and how many of them broke down. */
class History {
  readonly #broke: boolean[] = [];
  readonly #size: number;
  #next = 0;
  failures = 0;

  constructor(size: number) {
    this.#size = size;
  }

  get calls(): number {
    return this.#broke.length;
  }

  add(broke: boolean): void {
    this.failures += Number(broke) - Number(this.#broke[this.#next] ?? false);
    this.#broke[this.#next] = broke;
    this.#next = (this.#next + 1) % this.#size;
  }
}

const keys = new Map<string, string>();

/** Asked for at every call, so remembered; there are as many as there are versions that run. */
function keyOf(name: string): string {
  const key = keys.get(name) ?? quarantineKey(name, encodeKeyPart);
  keys.set(name, key);
  return key;
}
