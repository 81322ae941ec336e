/** The lock of a run, taken as an executor takes it: whoever holds it may write the run's rows under its fence. */
import { encodeKeyPart } from "../bus/keys.ts";
import type { Kv } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";

/**
 * Not renewed: the work is short, and a lock that is lost harms nothing, for of two commits the greater fence counts.
 * Errors: `conflict` when the run is being worked on.
 */
export async function withRunLock<T>(locks: Kv, runId: string, work: (fence: bigint) => Promise<T>): Promise<T> {
  const key = `run.${encodeKeyPart(runId)}`;
  const value = Buffer.from(JSON.stringify({ holder: "gateway" }));
  const fence = await locks.create(key, value).catch((thrown) => {
    if (Fault.from(thrown).code !== "exists") throw thrown;
    throw new Fault("conflict", `run ${runId} is being worked on; try again when it has ended`);
  });
  try {
    return await work(fence);
  } finally {
    await locks.delete(key, fence).catch(() => {});
  }
}
