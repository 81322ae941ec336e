/** The tables that are there before any dataset: runs and logs. Made and upgraded at open, in numbered steps. */
import { Fault } from "../kit/fault.ts";
import type { Store } from "./client.ts";
import { LOG_LEVELS, OUTCOMES, RUN_KINDS } from "./records.ts";

/** How many INSERTs ClickHouse remembers tokens of; a retry comes within seconds, not after ten thousand others. */
export const DEDUP_WINDOW = 10_000;

export interface Retention {
  readonly logDays: number;
  /** Runs without rows: calls, discoveries, failures. Runs whose rows are kept stay, or their rows would vanish. */
  readonly runDays: number;
  /** Rows of `metrics` and the polls that made them. */
  readonly metricDays: number;
}

/** The greatest step that this code knows. */
const SCHEMA_VERSION = 4;

const DURABLE = `non_replicated_deduplication_window = ${DEDUP_WINDOW}`;

/** Rows that were set aside: long enough to mend what was wrong. */
const REJECT_DAYS = 365;

const enumOf = (values: readonly string[]) => `LowCardinality(String) /* ${values.join(" ")} */`;

const steps = (db: string): readonly (readonly string[])[] => [
  [
    `CREATE TABLE IF NOT EXISTS ${db}.runs (
      dataset LowCardinality(String), run_id String, fence UInt64, attempt UInt32,
      kind ${enumOf(RUN_KINDS)}, plugin LowCardinality(String), version LowCardinality(String),
      digest LowCardinality(String), instance LowCardinality(String), target LowCardinality(String),
      resource LowCardinality(String), begin Nullable(DateTime64(6, 'UTC')), end Nullable(DateTime64(6, 'UTC')),
      due DateTime64(6, 'UTC'), started DateTime64(6, 'UTC'), finished DateTime64(6, 'UTC'),
      outcome ${enumOf(OUTCOMES)}, committed UInt8, parts Array(Tuple(fence UInt64, chunks UInt32)),
      chunks UInt32, rows UInt64, bytes_in UInt64, bytes_out UInt64,
      host_calls Map(LowCardinality(String), UInt64), cpu_ms Float64, wall_ms Float64, memory_peak_bytes UInt64,
      message String, executor LowCardinality(String)
    ) ENGINE = ReplacingMergeTree ORDER BY (dataset, run_id, fence) SETTINGS ${DURABLE}`,
    `CREATE TABLE IF NOT EXISTS ${db}.logs (
      run_id String, fence UInt64, time DateTime64(6, 'UTC'), level ${enumOf(LOG_LEVELS)},
      instance LowCardinality(String), message String, fields String
    ) ENGINE = MergeTree PARTITION BY toDate(time) ORDER BY (run_id, time)
    SETTINGS ${DURABLE}, ttl_only_drop_parts = 1`,
    `CREATE TABLE IF NOT EXISTS ${db}.schema_version (version UInt32, made DateTime DEFAULT now())
      ENGINE = ReplacingMergeTree ORDER BY version`,
  ],
  [
    `ALTER TABLE ${db}.runs ADD COLUMN IF NOT EXISTS rejected UInt64`,
    `CREATE TABLE IF NOT EXISTS ${db}.rejects (
      dataset LowCardinality(String), run_id String, fence UInt64, chunk UInt32, row UInt32,
      reason String, raw String, time DateTime64(3, 'UTC'), redriven_by UInt64
    ) ENGINE = ReplacingMergeTree(redriven_by) ORDER BY (dataset, run_id, fence, chunk, row)
    TTL toDateTime(time) + toIntervalDay(${REJECT_DAYS})
    SETTINGS ${DURABLE}`,
  ],
  [`ALTER TABLE ${db}.runs ADD COLUMN IF NOT EXISTS gas UInt64`],
  [
    // Windows on an axis of integers: signed, unsigned, and one beyond.
    `ALTER TABLE ${db}.runs ADD COLUMN IF NOT EXISTS begin_int Nullable(Int128) AFTER end,
      ADD COLUMN IF NOT EXISTS end_int Nullable(Int128) AFTER begin_int`,
  ],
];

/** Errors: `precondition` when a newer Millrace has been here. Safe to run by many processes at once. */
export async function prepareSchema(store: Store, retention: Retention): Promise<void> {
  const db = store.database;
  await store.command(`CREATE DATABASE IF NOT EXISTS ${db}`);
  const tables = await store.rows<{ name: string }>(
    "SELECT name FROM system.tables WHERE database = {db:String} AND name = 'schema_version'",
    { db },
  );
  const found = tables.length
    ? await store.rows<{ version: number }>(`SELECT max(version) AS version FROM ${db}.schema_version`)
    : [];
  const at = found[0]?.version ?? 0;
  if (at > SCHEMA_VERSION) {
    const fix = "start the newer Millrace, or use another database";
    throw new Fault("precondition", `database ${db} has schema ${at}, this Millrace knows ${SCHEMA_VERSION}; ${fix}`);
  }
  for (const [i, statements] of steps(db).entries()) {
    if (i < at) continue;
    for (const statement of statements) await store.command(statement);
    await store.command(`INSERT INTO ${db}.schema_version (version) VALUES (${i + 1})`);
  }
  await keepFor(store, retention);
}

/** Retention is a setting, so it is set at every open; only metadata changes, old parts go with their next merge. */
async function keepFor(store: Store, { logDays, runDays, metricDays }: Retention): Promise<void> {
  const db = store.database;
  const after = (column: string, days: number) => `toDateTime(${column}) + toIntervalDay(${days})`;
  const lazily = "SETTINGS materialize_ttl_after_modify = 0";
  await store.command(`ALTER TABLE ${db}.logs MODIFY TTL ${after("time", logDays)} ${lazily}`);
  await store.command(
    `ALTER TABLE ${db}.runs MODIFY TTL ${after("finished", runDays)} DELETE WHERE committed = 0 OR dataset = '',
      ${after("finished", metricDays)} DELETE WHERE dataset = 'metrics' ${lazily}`,
  );
}
