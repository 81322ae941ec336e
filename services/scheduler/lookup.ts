/** What somebody names, in the copy of the catalogue. */
import { type EntityKind, type EntityOf, find } from "../../proto/catalog.ts";
import { Fault } from "../kit/fault.ts";
import type { Catalog } from "./standing.ts";

export type SyncedCatalog = Catalog & { readonly synced: boolean };

const CATALOG_RETRY_MS = 500;

/** Errors: `unavailable` before the first complete copy of the catalogue, `not_found`. */
export function lookUp<K extends EntityKind>(catalog: SyncedCatalog, kind: K, name: string): EntityOf<K> {
  const entity = find(catalog, kind, name);
  if (entity) return entity;
  if (catalog.synced) throw new Fault("not_found", `there is no ${name}`);
  const message = "the scheduler has no copy of the catalogue yet: is the registry up?";
  throw new Fault("unavailable", message, { retryAfterMs: CATALOG_RETRY_MS });
}
