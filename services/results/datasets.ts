/** Datasets: a table of rows with an envelope, and the plain-named view of what counts. */
import { createHash } from "node:crypto";
import { Fault } from "../kit/fault.ts";
import type { Store } from "./client.ts";
import { checkSpec, storageType, typeOfStorage } from "./column.ts";
import type { ColumnType, Dataset, DatasetSpec } from "./records.ts";
import { DEDUP_WINDOW } from "./schema.ts";

/** Every row says who wrote it. The names are the table's, in the order of an INSERT. */
export const ENVELOPE = ["_run_id", "_fence", "_attempt", "_chunk", "_resource", "_ingested_at"] as const;

export const rowsTable = (dataset: string) => `${dataset}__rows`;
export const quote = (name: string) => `\`${name}\``;

/** Polls of every kind write here. `labels` is a map of text to text. */
export const METRICS: DatasetSpec = {
  dataset: "metrics",
  columns: {
    time: "timestamp",
    resource: "label",
    group: "label",
    dimensions: "labels",
    name: "label",
    type: "label",
    value: "float64",
  },
  datetime: "time",
};

interface Found {
  readonly dataset: Dataset;
  /** Which SQL the view was made from; empty when there is no view. */
  readonly viewMark: string;
}

/** What is kept with the table, as its comment. */
interface Note {
  readonly datetime?: string | undefined;
  readonly index: readonly string[];
}

export interface Datasets {
  ensure(spec: DatasetSpec): Promise<Dataset>;
  /** From memory where it can be; undefined when nobody made it. */
  find(dataset: string): Promise<Dataset | undefined>;
  list(): Promise<readonly Dataset[]>;
  /** Another process may have changed it. */
  forget(dataset: string): void;
}

/** Table, columns, note, view, and some to spare for others at the same work. */
const MAX_STEPS = 12;
/** How long another process's new columns may go unseen, in milliseconds. An unknown field asks again at once. */
const REMEMBER_MS = 60_000;

export function openDatasets(store: Store, metricDays: number): Datasets {
  const known = new Map<string, { readonly dataset: Dataset; readonly untilMs: number }>();
  const making = new Map<string, Promise<unknown>>();

  const load = async (name?: string): Promise<Found[]> => {
    const table = `database = {db:String} AND ${name === undefined ? "endsWith(%, '__rows')" : "% = {table:String}"}`;
    const params = { db: store.database, table: rowsTable(name ?? "") };
    const [tables, columns] = await Promise.all([
      store.rows<{ name: string; comment: string; rows: string; bytes: string; view: string }>(
        `SELECT t.name AS name, t.comment AS comment, toString(ifNull(t.total_rows, 0)) AS rows,
           toString(ifNull(t.total_bytes, 0)) AS bytes, v.comment AS view
         FROM (SELECT * FROM system.tables WHERE ${table.replace("%", "name")}) AS t
         LEFT JOIN (SELECT name, comment FROM system.tables WHERE database = {db:String} AND engine = 'View') AS v
         ON concat(v.name, '__rows') = t.name ORDER BY name`,
        params,
      ),
      store.rows<{ table: string; name: string; type: string }>(
        `SELECT table, name, type FROM system.columns WHERE ${table.replace("%", "table")} ORDER BY table, position`,
        params,
      ),
    ]);
    return tables.map((found): Found => {
      const own = columns.filter((column) => column.table === found.name && !column.name.startsWith("_"));
      const dataset = {
        dataset: found.name.slice(0, -"__rows".length),
        columns: Object.fromEntries(own.map((column) => [column.name, typeOfStorage(column.type)])),
        ...readNote(found.comment),
        storedRows: Number(found.rows),
        storedBytes: Number(found.bytes),
      };
      return { dataset, viewMark: found.view };
    });
  };
  const remember = (dataset: Dataset) =>
    known.set(dataset.dataset, { dataset, untilMs: performance.now() + REMEMBER_MS });

  /** One step towards the spec; undefined when something was changed and has to be looked at again. */
  const approach = async (spec: DatasetSpec): Promise<Dataset | undefined> => {
    const db = store.database;
    const [found] = await load(spec.dataset);
    if (!found) {
      await store.command(createTable(db, spec, metricDays));
      return undefined;
    }
    const { dataset, viewMark } = found;
    // ADD COLUMN IF NOT EXISTS with another type is silently nothing: two processes may have raced.
    refuseOtherTypes(dataset, spec);
    const added = Object.keys(spec.columns).filter((name) => dataset.columns[name] === undefined);
    const wanted = createView(db, { ...spec, columns: dataset.columns });
    if (added.length) await store.command(addColumns(db, spec, added));
    else if (writeNote(dataset) !== writeNote(spec)) await store.command(commentTable(db, spec));
    else if (viewMark !== markOf(wanted)) await store.command(`${wanted} COMMENT ${literal(markOf(wanted))}`);
    else return dataset;
    return undefined;
  };
  /** Converges whatever another process, or a crash half-way, has left. */
  const make = async (spec: DatasetSpec): Promise<Dataset> => {
    checkSpec(spec);
    for (let step = 0; step < MAX_STEPS; step += 1) {
      const made = await approach(spec);
      if (made) {
        remember(made);
        return made;
      }
    }
    throw new Fault("conflict", `dataset ${spec.dataset} is being changed by others at the same time; try again`);
  };

  return {
    async ensure(spec) {
      const turn = (making.get(spec.dataset) ?? Promise.resolve()).catch(() => undefined).then(() => make(spec));
      making.set(spec.dataset, turn);
      return turn;
    },
    async find(name) {
      const held = known.get(name);
      if (held && held.untilMs > performance.now()) return held.dataset;
      const [found] = await load(name);
      if (found) remember(found.dataset);
      return found?.dataset;
    },
    list: async () => (await load()).map((found) => found.dataset),
    forget: (name) => known.delete(name),
  };
}

function refuseOtherTypes(before: Dataset, spec: DatasetSpec): void {
  const mistakes = Object.entries(spec.columns).flatMap(([name, type]) => {
    const is = before.columns[name];
    if (is === undefined || storageType(is) === storageType(type)) return [];
    const fix = "keep the type, or give the column another name";
    return [{ field: `columns.${name}`, problem: `is stored as ${is} and cannot become ${type}`, fix }];
  });
  if (!mistakes.length) return;
  const lines = mistakes.map((m) => `  ${m.field}: ${m.problem}; ${m.fix}`);
  throw new Fault("conflict", [`dataset ${spec.dataset} has other column types`, ...lines].join("\n"), { mistakes });
}

const writeNote = ({ datetime, index }: DatasetSpec) => JSON.stringify({ datetime, index: index ?? [] });

function readNote(comment: string): Note {
  try {
    return JSON.parse(comment) as Note;
  } catch {
    return { index: [] };
  }
}

const markOf = (viewSql: string) => createHash("sha256").update(viewSql).digest("hex").slice(0, 16);
const define = (name: string, type: ColumnType) => `${quote(name)} ${storageType(type)}`;
const literal = (text: string) => `'${text.replace(/[\\']/g, "\\$&")}'`;

/** Sorted as the view reads it, so that deduplication streams instead of sorting. */
function createTable(db: string, spec: DatasetSpec, metricDays: number): string {
  const lead = spec.index?.length ? spec.index : spec.datetime ? [spec.datetime] : ["_resource"];
  const ttl = spec.dataset === METRICS.dataset ? `TTL toDateTime(_ingested_at) + toIntervalDay(${metricDays})` : "";
  return `CREATE TABLE IF NOT EXISTS ${db}.${rowsTable(spec.dataset)} (
    _run_id String, _fence UInt64, _attempt UInt32, _chunk UInt32, _resource LowCardinality(String),
    _ingested_at DateTime64(3, 'UTC'),
    ${Object.entries(spec.columns)
      .map(([name, type]) => define(name, type))
      .join(", ")},
    _extra JSON(max_dynamic_paths = 64),
    CONSTRAINT has_run CHECK notEmpty(_run_id)
  ) ENGINE = MergeTree PARTITION BY toYYYYMM(_ingested_at)
  ORDER BY (${[...lead.map(quote), "_run_id", "_fence", "_chunk"].join(", ")}) ${ttl}
  SETTINGS non_replicated_deduplication_window = ${DEDUP_WINDOW}, allow_nullable_key = 1
  COMMENT ${literal(writeNote(spec))}`;
}

function addColumns(db: string, spec: DatasetSpec, names: readonly string[]): string {
  const adds = names.map((name) => `ADD COLUMN IF NOT EXISTS ${define(name, spec.columns[name] ?? "")}`);
  return `ALTER TABLE ${db}.${rowsTable(spec.dataset)} ${adds.join(", ")}`;
}

const commentTable = (db: string, spec: DatasetSpec) =>
  `ALTER TABLE ${db}.${rowsTable(spec.dataset)} MODIFY COMMENT ${literal(writeNote(spec))}`;

/**
 * What counts: of each run the committed attempt with the greatest fence, and of it the chunks it names. Rows equal in
 * the index columns are one: the newest by fence, then chunk, then the greatest in the other columns, which is stable.
 */
export function createView(db: string, spec: DatasetSpec): string {
  const names = Object.keys(spec.columns);
  const shown = [...names, "_run_id", "_fence", "_resource", "_ingested_at", "_extra"].map(quote).join(", ");
  // In the order of the key of `runs`: a million runs are read as a stream, without a hash table of arrays.
  const live = `SELECT run_id, parts FROM ${db}.runs WHERE dataset = ${literal(spec.dataset)} AND committed = 1
    ORDER BY run_id DESC, fence DESC, finished DESC LIMIT 1 BY run_id`;
  const counted = `(_run_id, _fence, _chunk) IN (
    SELECT run_id, part.1, arrayJoin(range(part.2)) FROM (SELECT run_id, arrayJoin(parts) AS part FROM (${live})))`;
  const index = spec.index ?? [];
  const ties = names.filter((name) => !index.includes(name) && !["json", "labels"].includes(spec.columns[name] ?? ""));
  const order = [...index.map(quote), ...["_fence", "_chunk", "_run_id", ...ties].map((name) => `${quote(name)} DESC`)];
  const newest = index.length ? `ORDER BY ${order.join(", ")} LIMIT 1 BY ${index.map(quote).join(", ")}` : "";
  return `CREATE OR REPLACE VIEW ${db}.${spec.dataset} AS
    SELECT ${shown} FROM ${db}.${rowsTable(spec.dataset)} WHERE ${counted} ${newest}`;
}
