/** Keys and values in SQLite, with watches woken by the commits of this process. */
import { Fault } from "../../kit/fault.ts";
import { Backlog } from "../backlog.ts";
import { checkKey, checkPrefix, checkSize, isBelow, MAX_VALUE_BYTES } from "../keys.ts";
import type { Kv, KvChange, KvEntry } from "../ports.ts";
import type { Store } from "./store.ts";

interface EntryRow {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
  readonly created_ms: number;
}

interface Watcher {
  readonly prefix: string;
  readonly backlog: Backlog<string, KvChange>;
}

const COLUMNS = "key, value, revision, created_ms";
/** "/" is the character after "." in ASCII, so [p + ".", p + "/") is exactly what lies below p. */
const BELOW = "(key = ? OR (key >= ? AND key < ?) OR ? = '')";

export class EmbeddedKv implements Kv {
  readonly #store: Store;
  readonly #bucket: string;
  readonly #ttlMs: number;
  readonly #closing: AbortSignal;
  readonly #watchers = new Set<Watcher>();

  /** `ttlMs` 0: entries stay. `closing` ends the watches. */
  constructor(store: Store, bucket: string, ttlMs: number, closing: AbortSignal) {
    this.#store = store;
    this.#bucket = bucket;
    this.#ttlMs = ttlMs;
    this.#closing = closing;
  }

  async get(key: string): Promise<KvEntry | undefined> {
    checkKey(key);
    return this.#live(key);
  }

  async put(key: string, value: Uint8Array): Promise<bigint> {
    return this.#write(key, value, () => {});
  }

  async create(key: string, value: Uint8Array): Promise<bigint> {
    return this.#write(key, value, () => {
      if (this.#live(key)) throw new Fault("exists", `key ${key} exists in ${this.#bucket}`);
    });
  }

  async update(key: string, value: Uint8Array, revision: bigint): Promise<bigint> {
    return this.#write(key, value, () => this.#checkRevision(key, revision));
  }

  async delete(key: string, revision?: bigint): Promise<void> {
    checkKey(key);
    await this.#store.write(() => {
      if (revision !== undefined) this.#checkRevision(key, revision);
      const gone = this.#store.run("DELETE FROM kv_entries WHERE bucket = ? AND key = ?", this.#bucket, key);
      if (gone === 0) return;
      const deleted = { type: "delete", key, revision: this.#nextRevision() } as const;
      this.#store.afterCommit(() => this.#tell(deleted));
    });
  }

  async list(prefix: string): Promise<KvEntry[]> {
    checkPrefix(prefix);
    return this.#select(prefix, "key");
  }

  async revision(): Promise<bigint> {
    return this.#newestRevision();
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<KvChange, void, void> {
    checkPrefix(prefix);
    const ends = AbortSignal.any([signal, this.#closing]);
    const backlog = new Backlog<string, KvChange>({ signal: ends });
    const watcher = { prefix, backlog };
    const stored = this.#select(prefix, "revision");
    const revision = this.#newestRevision();
    this.#watchers.add(watcher);
    try {
      for (const entry of stored) {
        if (ends.aborted) return;
        yield { type: "put", ...entry };
      }
      if (!ends.aborted) yield { type: "synced", revision };
      yield* backlog;
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  /** Removes what expired; readers never see it in any case. */
  async sweep(): Promise<void> {
    await this.#store.write(() =>
      this.#store.run("DELETE FROM kv_entries WHERE bucket = ? AND created_ms <= ?", this.#bucket, this.#horizonMs()),
    );
  }

  async #write(key: string, value: Uint8Array, check: () => void): Promise<bigint> {
    checkKey(key);
    checkSize(value, MAX_VALUE_BYTES, `the value of ${key}`);
    const kept = Uint8Array.from(value);
    return this.#store.write(() => {
      check();
      const revision = this.#nextRevision();
      const createdMs = Date.now();
      this.#store.run(
        "INSERT OR REPLACE INTO kv_entries (bucket, key, value, revision, created_ms) VALUES (?, ?, ?, ?, ?)",
        ...[this.#bucket, key, kept, revision, createdMs],
      );
      this.#store.afterCommit(() => this.#tell({ type: "put", key, value: kept, revision, createdMs }));
      return revision;
    });
  }

  #checkRevision(key: string, revision: bigint): void {
    const newest = this.#live(key)?.revision;
    if (newest === revision) return;
    const found = newest === undefined ? "is not there" : `is at revision ${newest}`;
    throw new Fault("conflict", `key ${key} in ${this.#bucket} ${found}, not at ${revision}`);
  }

  #nextRevision(): bigint {
    const sql = "UPDATE kv_buckets SET revision = revision + 1 WHERE name = ? RETURNING revision";
    return BigInt((this.#store.get<{ revision: number }>(sql, this.#bucket) as { revision: number }).revision);
  }

  #newestRevision(): bigint {
    const sql = "SELECT revision FROM kv_buckets WHERE name = ?";
    return BigInt((this.#store.get<{ revision: number }>(sql, this.#bucket) as { revision: number }).revision);
  }

  #live(key: string): KvEntry | undefined {
    const row = this.#store.get<EntryRow>(
      `SELECT ${COLUMNS} FROM kv_entries WHERE bucket = ? AND key = ? AND created_ms > ?`,
      ...[this.#bucket, key, this.#horizonMs()],
    );
    return row && toEntry(row);
  }

  #select(prefix: string, order: "key" | "revision"): KvEntry[] {
    const rows = this.#store.all<EntryRow>(
      `SELECT ${COLUMNS} FROM kv_entries WHERE bucket = ? AND ${BELOW} AND created_ms > ? ORDER BY ${order}`,
      ...[this.#bucket, prefix, `${prefix}.`, `${prefix}/`, prefix, this.#horizonMs()],
    );
    return rows.map(toEntry);
  }

  /** What was written then or earlier has expired. */
  #horizonMs(): number {
    return this.#ttlMs === 0 ? -1 : Date.now() - this.#ttlMs;
  }

  #tell(change: KvChange & { readonly key: string }): void {
    for (const { prefix, backlog } of this.#watchers) {
      if (isBelow(change.key, prefix)) backlog.push(change.key, change);
    }
  }
}

function toEntry(row: EntryRow): KvEntry {
  return { key: row.key, value: row.value, revision: BigInt(row.revision), createdMs: row.created_ms };
}
