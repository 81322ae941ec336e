/** The plugin's own key-value store: small values, compare-and-set by revision. */
import { host } from "./host.ts";

export interface Entry<T = unknown> {
  readonly value: T;
  readonly revision: number;
}

const operate = (op: string, key: string, more: object = {}) =>
  host.call("kv", { op, key, ...more }) as { value?: unknown; revision?: number; entries?: unknown };

export const kv = {
  /** Undefined when there is no such key. */
  get<T = unknown>(key: string): T | undefined {
    return operate("get", key).value as T | undefined;
  },
  /** The value with its revision, for `update`. */
  entry<T = unknown>(key: string): Entry<T> | undefined {
    const { value, revision } = operate("get", key);
    return revision === undefined ? undefined : { value: value as T, revision };
  },
  /** Writes whatever is there. Returns the new revision. */
  put(key: string, value: unknown): number {
    return operate("put", key, { value }).revision as number;
  },
  /** Errors: `exists` when there is a value: of many racers one succeeds. */
  create(key: string, value: unknown): number {
    return operate("create", key, { value }).revision as number;
  },
  /** Errors: `conflict` when somebody wrote since `revision`. */
  update(key: string, value: unknown, revision: number): number {
    return operate("update", key, { value, revision }).revision as number;
  },
  delete(key: string, revision?: number): void {
    operate("delete", key, revision === undefined ? {} : { revision });
  },
  /** All entries whose key begins with `prefix`. */
  list<T = unknown>(prefix = ""): (Entry<T> & { readonly key: string })[] {
    return operate("list", prefix).entries as (Entry<T> & { readonly key: string })[];
  },
};
