/** What is kept: the plugin's own key-value store, and documents about resources. */
import { host } from "./host.ts";

export interface Entry<T = unknown> {
  readonly value: T;
  readonly revision: number;
  /** What is left of its life; absent when it has no end. */
  readonly ttl_ms?: number;
}
export type KeyedEntry<T = unknown> = Entry<T> & { readonly key: string };

export interface Lifetime {
  /** Gone after this time. Writing again begins it anew, and without this it stays. */
  readonly ttlMs?: number;
}

export interface PageOptions {
  readonly limit: number;
  /** The `next` of the page before. */
  readonly after?: string | undefined;
}

const operate = (op: string, key: string, more: object = {}) =>
  host.call("kv", { op, key, ...more }) as Partial<Entry> & { entries?: unknown; next?: string };
const living = ({ ttlMs }: Lifetime) => (ttlMs === undefined ? {} : { ttl_ms: ttlMs });

export const kv = {
  /** Undefined when there is no such key. */
  get<T = unknown>(key: string): T | undefined {
    return operate("get", key).value as T | undefined;
  },
  /** The value with its revision, for `update`. */
  entry<T = unknown>(key: string): Entry<T> | undefined {
    const found = operate("get", key);
    return found.revision === undefined ? undefined : (found as Entry<T>);
  },
  /** Writes whatever is there. Returns the new revision. */
  put(key: string, value: unknown, lifetime: Lifetime = {}): number {
    return operate("put", key, { value, ...living(lifetime) }).revision as number;
  },
  /** Errors: `exists` when there is a value: of many racers one succeeds. */
  create(key: string, value: unknown, lifetime: Lifetime = {}): number {
    return operate("create", key, { value, ...living(lifetime) }).revision as number;
  },
  /** Errors: `conflict` when somebody wrote since `revision`. */
  update(key: string, value: unknown, revision: number, lifetime: Lifetime = {}): number {
    return operate("update", key, { value, revision, ...living(lifetime) }).revision as number;
  },
  delete(key: string, revision?: number): void {
    operate("delete", key, revision === undefined ? {} : { revision });
  },
  /** All entries whose key begins with `prefix`. Errors: `too_large` over 4 MiB; ask for pages then. */
  list<T = unknown>(prefix = ""): KeyedEntry<T>[] {
    return operate("list", prefix).entries as KeyedEntry<T>[];
  },
  /** A page of them; without `next` it is the last one. */
  page<T = unknown>(prefix: string, { limit, after }: PageOptions): { entries: KeyedEntry<T>[]; next?: string } {
    return operate("list", prefix, { limit, after }) as { entries: KeyedEntry<T>[]; next?: string };
  },
};

/** What an enrichment wrote about a resource. */
export interface ContextEntry<T = unknown> {
  readonly key: string;
  readonly value: T;
  /** The instance that wrote it. */
  readonly instance: string;
  /** When (RFC 3339). */
  readonly written: string;
  readonly ttl_ms: number;
}

export interface About {
  /** Name of a resource. Default: the one that this call is about. */
  readonly resource?: string;
}

const look = (op: string, namespace: string, key: string, more: object) =>
  host.call("context", { op, namespace, key, ...more });

/** Documents about resources. What `poll` declares in plugin.json comes with its call instead. Errors: `denied`. */
export const context = {
  /** Undefined when there is none. */
  get<T = unknown>(namespace: string, key: string, about?: About): T | undefined {
    return (look("get", namespace, key, { ...about }) as { value?: T }).value;
  },
  entry<T = unknown>(namespace: string, key: string, about?: About): ContextEntry<T> | undefined {
    const found = look("get", namespace, key, { ...about }) as Partial<ContextEntry<T>>;
    return found.key === undefined ? undefined : (found as ContextEntry<T>);
  },
  /** Those whose key begins with `prefix`. */
  list<T = unknown>(namespace: string, options: About & { readonly prefix?: string } = {}): ContextEntry<T>[] {
    const { prefix = "", ...about } = options;
    return (look("list", namespace, prefix, about) as { documents: ContextEntry<T>[] }).documents;
  },
  page<T = unknown>(namespace: string, options: About & PageOptions & { readonly prefix?: string }) {
    const { prefix = "", ...more } = options;
    return look("list", namespace, prefix, more) as { documents: ContextEntry<T>[]; next?: string };
  },
};
