/** Datasets that stand as their pipes declare them, remembered, so that not every window asks ClickHouse again. */
import type { DatasetSpec, Results } from "../results/results.ts";

/** A table that somebody changed behind our back is looked at again after this. */
const REMEMBER_MS = 60_000;
const MAX_REMEMBERED = 10_000;

/** Resolves once the dataset stands. Errors: as `Results.ensureDataset`; nothing is remembered then. */
export type EnsureDataset = (spec: DatasetSpec) => Promise<void>;

export function declaredDatasets(results: Results): EnsureDataset {
  const known = new Map<string, number>();
  return async (spec) => {
    const key = JSON.stringify(spec);
    const nowMs = performance.now();
    if ((known.get(key) ?? 0) > nowMs) return;
    await results.ensureDataset(spec);
    known.delete(key);
    known.set(key, nowMs + REMEMBER_MS);
    if (known.size > MAX_REMEMBERED) known.delete(known.keys().next().value as string);
  };
}
