/** Datasets that stand as their pipes declare them, remembered, so that not every window asks ClickHouse again. */
import type { DatasetSpec, Results } from "../results/results.ts";

/** A table that somebody changed behind our back is looked at again after this. */
const REMEMBER_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/** Resolves once the dataset stands. Errors: as `Results.ensureDataset`; nothing is remembered then. */
export type EnsureDataset = (spec: DatasetSpec) => Promise<void>;

export function declaredDatasets(results: Pick<Results, "ensureDataset">): EnsureDataset {
  const known = new Map<string, { readonly untilMs: number; readonly stands: Promise<unknown> }>();
  return async (spec) => {
    const key = JSON.stringify(spec);
    const nowMs = performance.now();
    let asked = known.get(key);
    if (!asked || asked.untilMs < nowMs) {
      // Whoever comes while the first one asks waits for the same answer.
      const stands = results.ensureDataset(spec);
      asked = { untilMs: nowMs + REMEMBER_MS, stands };
      known.delete(key);
      known.set(key, asked);
      if (known.size > MAX_REMEMBERED) known.delete(known.keys().next().value as string);
    }
    await asked.stands.catch((thrown) => {
      if (known.get(key) === asked) known.delete(key);
      throw thrown;
    });
  };
}
