/** Versions of plugins that break too often are not run by any executor, for a time or until they are released. */

import type { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { Quarantine } from "../../proto/gen/millrace/registry/v1/quarantine.ts";
import { quarantineKey } from "../../proto/names.ts";
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { mirror } from "../kit/mirror.ts";
import { formatTime, microsOf, timestampOf } from "../kit/time.ts";
import { type BreakdownRule, openBreakdowns } from "./breakdowns.ts";
import { nowUs } from "./run-record.ts";
import type { GuestResult } from "./sandbox.ts";

export interface QuarantineRule extends BreakdownRule {
  /** It ends by itself after so long; 0: only when it is released. */
  readonly minutes: number;
}

export interface Quarantines extends AsyncDisposable {
  /** Why the version is not run, and until when; or undefined. */
  reason(version: PluginVersion): string | undefined;
  /** Counts how a guest call ended. */
  note(version: PluginVersion, result: GuestResult): void;
  /** At once, and until it is released: a guest whose thread could not be ended takes a core each time. */
  stop(version: PluginVersion, why: string): void;
}

export interface QuarantinesOptions {
  readonly kv: Kv;
  /** Where executors count together; opened with `RING_TTL_MS`. */
  readonly counts: Kv;
  readonly rule: QuarantineRule;
  readonly executor: string;
  readonly log: Logger;
}

interface Standing {
  readonly quarantine: Quarantine;
  readonly revision: bigint;
}

const SYNC_MS = 30_000;
const MINUTE_US = 60_000_000n;

/** Resolves once the ones that stand are known. Errors: `deadline`. */
export async function openQuarantines(options: QuarantinesOptions): Promise<Quarantines> {
  const { kv, counts, rule, executor, log } = options;
  await using stack = new AsyncDisposableStack();
  const standing = stack.use(
    mirror<Standing>(
      "quarantine",
      async function* (signal) {
        for await (const change of kv.watch("", signal)) {
          if (change.type !== "put") yield change;
          else yield { ...change, value: { quarantine: Quarantine.decode(change.value), revision: change.revision } };
        }
      },
      log,
    ),
  );
  await standing.whenSynced(SYNC_MS);

  const stop = (key: string, name: string, reason: string, minutes: number) => {
    const now = nowUs();
    const expireTime = minutes > 0 ? timestampOf(now + BigInt(minutes) * MINUTE_US) : undefined;
    const entry: Quarantine = { name, reason, executor, createTime: timestampOf(now), expireTime };
    kv.create(key, Quarantine.encode(entry).finish()).then(
      () => log.warn({ version: name, reason }, "a version of a plugin was put in quarantine"),
      (thrown) => {
        const fault = Fault.from(thrown);
        if (fault.code !== "exists") log.error({ err: fault, version: name }, "a quarantine was not written");
      },
    );
  };
  /** Names of the versions that broke down here, by key. */
  const names = new Map<string, string>();
  const breakdowns = stack.use(
    await openBreakdowns({
      ...{ kv: counts, rule, log },
      onTooMany(key, { failures, calls, last }) {
        const reason = `${failures} of its last ${calls} calls broke down, the last one: ${last}`;
        stop(key, names.get(key) ?? "", reason, rule.minutes);
      },
    }),
  );
  // What was seen before it was stopped, or while it was, does not count afterwards.
  standing.onChange((key) => key !== undefined && breakdowns.forget(key));

  const life = stack.move();
  return {
    reason({ name }) {
      const key = keyOf(name);
      const found = standing.get(key);
      if (!found) return undefined;
      const { reason, expireTime } = found.quarantine;
      if (!expireTime) return `${reason}; until it is released`;
      if (microsOf(expireTime) > nowUs()) return `${reason}; until ${formatTime(microsOf(expireTime))}`;
      // Whoever asks first after its time clears it away; of several, one.
      kv.delete(key, found.revision).catch(() => {});
      return undefined;
    },
    note({ name }, result) {
      const key = keyOf(name);
      if (standing.get(key)) return;
      const broke = isBreakdown(result);
      if (broke) names.set(key, name);
      breakdowns.note(key, broke ? `${result.outcome}: ${result.error?.message ?? ""}` : undefined);
    },
    stop: ({ name }, why) => stop(keyOf(name), name, why, 0),
    [Symbol.asyncDispose]: () => life.disposeAsync(),
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

const keys = new Map<string, string>();

/** Asked for at every call, so remembered; there are as many as there are versions that run. */
function keyOf(name: string): string {
  const key = keys.get(name) ?? quarantineKey(name, encodeKeyPart);
  keys.set(name, key);
  return key;
}
