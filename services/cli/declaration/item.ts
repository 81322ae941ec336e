/** A thing that the file asks for, and one that is there, reduced to what can be compared: facets by update mask. */
import { isDeepStrictEqual } from "node:util";
import type { Api } from "../api.ts";

/** JSON by the path that an update mask names: `parameters.chunk`, `tags`, `config`. */
export type Facets = Readonly<Record<string, unknown>>;

/** What comes first is made first and removed last. */
export const ORDER = ["secrets", "plugins", "instances", "resources", "pipes", "pollers"] as const;
export type Collection = (typeof ORDER)[number];

/** What is wanted. */
export interface Item {
  /** `pipes/weather.daily`. */
  readonly name: string;
  /** Where it stands in the file. */
  readonly field: string;
  /** Full names of what must be there before. */
  readonly needs: readonly string[];
  /** Only what the file has a say in. */
  readonly facets: Facets;
  /** Facets that no update can change. */
  readonly fixed: readonly string[];
  create(api: Api): Promise<unknown>;
  /** Writes only these facets, and only over what `etag` names. */
  update(api: Api, facets: readonly string[], etag: string): Promise<unknown>;
}

/** What is there. */
export interface Live {
  readonly name: string;
  readonly etag: string;
  /** The project that keeps it; "" when it was made by hand. */
  readonly managedBy: string;
  readonly facets: Facets;
  /** `data` also takes the rows of a pipe. */
  remove(api: Api, options: { readonly etag: string; readonly data: boolean }): Promise<unknown>;
  /** As it is now; undefined when it is gone. */
  again(api: Api): Promise<Live | undefined>;
}

export interface Difference {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

export const collectionOf = ({ name }: { readonly name: string }) => name.slice(0, name.indexOf("/")) as Collection;

/** What an update would change. Of what the file is silent about nothing is said. */
export function differences(before: Facets, after: Facets): Difference[] {
  return Object.keys(after)
    .filter((field) => !isDeepStrictEqual(before[field], after[field]))
    .map((field) => ({ field, before: before[field], after: after[field] }));
}
