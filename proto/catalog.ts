/** The catalogue stream as changes of named entities, for whoever keeps a mirror of it. */
import type { WatchCatalogResponse } from "./gen/millrace/registry/v1/catalog_service.ts";
import type { Resource } from "./gen/millrace/registry/v1/resource.ts";

type Change = NonNullable<WatchCatalogResponse["change"]>;

/** Something that the registry owns, under its full name: `pipes/weather.daily`. */
export type Entity = Exclude<Change, { $case: "removed" } | { $case: "synced" }>;
export type EntityKind = Entity["$case"];
type EntityTypes = { [E in Entity as E["$case"]]: E["value"] };
export type EntityOf<K extends EntityKind> = EntityTypes[K];

export type CatalogChange =
  | { readonly type: "put"; readonly key: string; readonly value: Entity }
  | { readonly type: "delete"; readonly key: string }
  | { readonly type: "synced" };

/** Undefined for a change of a kind that this build does not know: a newer registry may send one. */
export function catalogChange({ change }: WatchCatalogResponse): CatalogChange | undefined {
  if (!change) return undefined;
  if (change.$case === "synced") return { type: "synced" };
  if (change.$case === "removed") return { type: "delete", key: change.value };
  return { type: "put", key: change.value.name, value: change };
}

/** One entity by its full name, if it is there and of that kind. */
export function find<K extends EntityKind>(
  catalog: { get(key: string): Entity | undefined },
  kind: K,
  name: string,
): EntityOf<K> | undefined {
  const entity = catalog.get(name);
  return entity?.$case === kind ? (entity.value as EntityOf<K>) : undefined;
}

/** All entities of a kind. */
export function* all<K extends EntityKind>(catalog: { values(): Iterable<Entity> }, kind: K): Generator<EntityOf<K>> {
  for (const entity of catalog.values()) if (entity.$case === kind) yield entity.value as EntityOf<K>;
}

/** What a filter of pollers may ask of a resource: CEL types by field. */
export const RESOURCE_VARIABLE = {
  name: "resource",
  fields: {
    name: "string",
    id: "string",
    site: "string",
    class: "string",
    subclass: "string",
    type: "string",
    endpoint: "string",
    labels: "map<string, string>",
    origin: "string",
  },
} as const;

/** What a filter is asked about a resource. */
export function filteredFields({ name, id, site, class: kind, subclass, type, endpoint, labels, origin }: Resource) {
  return { name, id, site, class: kind, subclass, type, endpoint, labels, origin };
}
