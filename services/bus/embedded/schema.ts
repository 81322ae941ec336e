/** The tables of the embedded bus. All times are milliseconds since the epoch. */

export const SCHEMA_VERSION = 1;

/**
 * A message waits (`due_ms` is null, in order of `position`), is at work (`held`, back at `due_ms`) or is delayed
 * (not `held`, ready at `due_ms`). What becomes ready again takes a new position, behind what waits.
 */
export const SCHEMA = `
  CREATE TABLE kv_buckets (name TEXT PRIMARY KEY, ttl_ms INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE kv_entries (
    bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    revision INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    PRIMARY KEY (bucket, key)
  );

  CREATE TABLE blobs (
    bucket TEXT NOT NULL, digest TEXT NOT NULL, chunks INTEGER NOT NULL, PRIMARY KEY (bucket, digest));
  CREATE TABLE blob_chunks (
    bucket TEXT NOT NULL, digest TEXT NOT NULL, chunk INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (bucket, digest, chunk)
  );

  CREATE TABLE queues (name TEXT PRIMARY KEY, options TEXT NOT NULL, depth INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
    sent_ms INTEGER NOT NULL, deliveries INTEGER NOT NULL DEFAULT 0,
    position INTEGER NOT NULL, due_ms INTEGER, held INTEGER NOT NULL DEFAULT 0
  );
  CREATE INDEX messages_ready ON messages (queue, due_ms, position);
  CREATE INDEX messages_position ON messages (queue, position);
  CREATE TABLE sent_ids (
    queue TEXT NOT NULL, id TEXT NOT NULL, sent_ms INTEGER NOT NULL, PRIMARY KEY (queue, id)) WITHOUT ROWID;
  CREATE INDEX sent_ids_age ON sent_ids (queue, sent_ms);
  CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
    reason TEXT NOT NULL, dead_ms INTEGER NOT NULL, UNIQUE (queue, id)
  )`;
