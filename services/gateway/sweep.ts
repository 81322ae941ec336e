/** Sweeps rows that newer commits have superseded off the disk, now and then, behind everything else. */
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import type { Results } from "../results/records.ts";

/** Several gateways may do the same: what is being swept is left alone. */
const EVERY_MS = 3_600_000;
/** Superseded rows stay this long: far longer than any query or attempt takes. */
export const SWEEP_LAG_MS = 86_400_000;

export function sweeping(results: Results, log: Logger): AsyncDisposable {
  return background(
    async (signal) => {
      while (await pause(EVERY_MS, signal)) {
        try {
          const datasets = await results.sweep(SWEEP_LAG_MS);
          if (datasets.length) log.info({ datasets }, "superseded rows are being deleted");
        } catch (thrown) {
          log.warn({ reason: Fault.from(thrown).message }, "superseded rows stay for another hour");
        }
      }
    },
    (fault) => log.error({ reason: fault.message }, "the sweep of superseded rows has ended"),
  );
}
