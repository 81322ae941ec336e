/** Small records that attempts of a run share: written by compare-and-set, and never over a newer attempt's. */
import type { Kv, KvEntry } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";

/** Racers of one key in a row; more is not a race but a bug. */
const MAX_RACES = 20;

export type Known = Pick<KvEntry, "value" | "revision">;

/**
 * Reads the record, lets `change` make the new one, and writes it if nobody wrote meanwhile; else starts over.
 * `change` refuses by throwing; what it returns undefined for is left alone. `known`: what the caller wrote or read
 * last; most likely it still stands, and then nothing is read. Resolves with what stands now. Errors: what `change`
 * throws; `conflict`.
 */
export async function changeRecord(
  kv: Kv,
  key: string,
  change: (stored: Uint8Array | undefined) => Uint8Array | undefined,
  known?: Known,
): Promise<Known | undefined> {
  for (let race = 0; race < MAX_RACES; race += 1) {
    const entry = race === 0 && known ? known : await kv.get(key);
    const value = change(entry?.value);
    if (value === undefined) return entry;
    try {
      const revision = entry ? await kv.update(key, value, entry.revision) : await kv.create(key, value);
      return { value, revision };
    } catch (thrown) {
      const { code } = Fault.from(thrown);
      if (code !== "conflict" && code !== "exists") throw thrown;
    }
  }
  throw new Fault("conflict", `${key} was written by others ${MAX_RACES} times in a row`);
}

/** Errors: `conflict` when a newer attempt has been here. */
export function refuseNewer(storedFence: bigint, fence: bigint, what: string): void {
  if (storedFence <= fence) return;
  throw new Fault("conflict", `${what} belongs to a newer attempt: fence ${storedFence}, ours is ${fence}`);
}
