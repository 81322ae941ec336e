/** Datasets: a table of rows with an envelope, and the plain-named view of what counts. */
import { createHash } from "node:crypto";
import { Fault } from "../kit/fault.ts";
import type { Store } from "./client.ts";
import { checkSpec, policyOf, storageType, typeOfStorage } from "./column.ts";
import { widest } from "./evolution.ts";
import { Looks } from "./looks.ts";
import type { ColumnType, Dataset, DatasetSpec, SchemaPolicy } from "./records.ts";
import { DEDUP_WINDOW } from "./schema.ts";
import { literal, quote, rowsTable } from "./sql-names.ts";
import { codecOf, partitionSql, refuseOtherPartition, type Storage, storageKey, ttlSql } from "./storage.ts";
import { addedColumns, EXTRA_TYPE, storedVersions, VERSION_MARK } from "./stored-columns.ts";
import { createView } from "./view.ts";

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

interface TableRow {
  readonly name: string;
  readonly comment: string;
  readonly rows: string;
  readonly bytes: string;
  /** Whether it is a view: 0 or 1. */
  readonly view: number;
  readonly partition: string;
  readonly ttl: number;
}

interface Found {
  readonly dataset: Dataset;
  /** Which SQL the view was made from; empty when there is no view. */
  readonly viewMark: string;
  /** How the table is cut. */
  readonly partition: string;
  readonly hasTtl: boolean;
}

/** What is kept with the table, as its comment. */
interface Note {
  readonly datetime?: string | undefined;
  readonly index: readonly string[];
  readonly schema: SchemaPolicy;
  readonly timezone?: string | undefined;
  readonly storage?: Storage | undefined;
}

export interface Datasets {
  ensure(spec: DatasetSpec): Promise<Dataset>;
  /** What was said of a dataset that waits for its first rows. */
  wish(dataset: string): DatasetSpec;
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
/** Datasets that wait for their first rows. */
const MAX_WISHES = 10_000;

export function openDatasets(store: Store, metricDays: number): Datasets {
  const known = new Map<string, { readonly dataset: Dataset; readonly untilMs: number }>();
  const making = new Map<string, Promise<unknown>>();
  const wishes = new Map<string, DatasetSpec>();

  /** Without names: all. */
  const load = async (names?: readonly string[]): Promise<Found[]> => {
    const tables = names?.map(rowsTable) ?? [];
    const params = { db: store.database, tables, both: [...tables, ...(names ?? [])] };
    // By name: a look at one must not cost more the more there are.
    const [ofTables, ofColumns] = names
      ? ["has({both:Array(String)}, name)", "has({tables:Array(String)}, table)"]
      : ["(endsWith(name, '__rows') OR engine = 'View')", "endsWith(table, '__rows')"];
    const [found, columns] = await Promise.all([
      store.rows<TableRow>(
        `SELECT name, comment, toString(ifNull(total_rows, 0)) AS rows, toString(ifNull(total_bytes, 0)) AS bytes,
           partition_key AS partition, position(engine_full, ' TTL ') > 0 AS ttl, engine = 'View' AS view
         FROM system.tables WHERE database = {db:String} AND ${ofTables} ORDER BY name`,
        params,
      ),
      store.rows<{ table: string; name: string; type: string }>(
        `SELECT table, name, type FROM system.columns WHERE database = {db:String} AND ${ofColumns}
         ORDER BY table, position`,
        params,
      ),
    ]);
    const marks = new Map(found.filter(({ view }) => view).map((view) => [rowsTable(view.name), view.comment]));
    const stored = found.filter(({ view, name }) => !view && name.endsWith("__rows"));
    const columnsOf = Map.groupBy(columns, ({ table }) => table);
    return stored.map((found): Found => {
      const all = columnsOf.get(found.name) ?? [];
      const own = all.filter(({ name }) => !name.startsWith("_"));
      const types = new Map<string, ColumnType[]>();
      for (const { name, type } of own) {
        const [shown = name] = name.split(VERSION_MARK);
        types.set(shown, [...(types.get(shown) ?? []), typeOfStorage(type)]);
      }
      const dataset = {
        dataset: found.name.slice(0, -"__rows".length),
        columns: Object.fromEntries([...types].map(([shown, versions]) => [shown, widest(versions)])),
        extra: all.some(({ name }) => name === "_extra"),
        versions: Object.fromEntries([...types].filter(([, versions]) => versions.length > 1)),
        ...readNote(found.comment),
        storedRows: Number(found.rows),
        storedBytes: Number(found.bytes),
      };
      return { dataset, viewMark: marks.get(found.name) ?? "", partition: found.partition, hasTtl: found.ttl > 0 };
    });
  };
  const looks = new Looks(async (names) => {
    return new Map((await load(names)).map((found) => [found.dataset.dataset, found] as const));
  });
  const remember = (dataset: Dataset) =>
    known.set(dataset.dataset, { dataset, untilMs: performance.now() + REMEMBER_MS });

  /** One step towards what was said; undefined when something was changed and has to be looked at again. */
  const approach = async (said: DatasetSpec): Promise<Dataset | undefined> => {
    const db = store.database;
    const found = await looks.at(said.dataset);
    if (!found) {
      await store.command(createTable(db, said, metricDays));
      return undefined;
    }
    const { dataset, viewMark } = found;
    const spec = { ...said, storage: said.storage ?? dataset.storage };
    if (said.storage) refuseOtherPartition(said.dataset, said, found.partition);
    // ADD COLUMN IF NOT EXISTS with another type is silently nothing: two processes may have raced.
    if (spec.schema !== "evolve") refuseOtherTypes(dataset, spec);
    const added = addedColumns(dataset, spec);
    const { datetime, storage } = spec;
    const wanted = createView(db, { ...dataset, datetime, storage, index: spec.index ?? [] });
    if (spec.extra && !dataset.extra) await store.command(addExtra(db, spec));
    else if (added.length) await store.command(addColumns(db, spec, added));
    else if (storageKey(dataset.storage) !== storageKey(storage) || dataset.datetime !== datetime) {
      // The note is written last, so that a crash half-way begins here again.
      for (const change of storageChanges(db, spec, dataset, found.hasTtl)) await store.command(change);
      await store.command(commentTable(db, spec));
    } else if (writeNote(dataset) !== writeNote(spec)) await store.command(commentTable(db, spec));
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
    wish: (dataset) => wishes.get(dataset) ?? { dataset, columns: {} },
    async ensure(said) {
      let spec: DatasetSpec = { ...said, schema: policyOf(said) };
      if (Object.keys(said.columns).length === 0 && said.schema !== "freeze" && said.schema !== "reject") {
        const found = await looks.at(said.dataset);
        const { dataset, datetime, index = [] } = spec;
        wishes.set(dataset, spec);
        if (wishes.size > MAX_WISHES) wishes.delete(wishes.keys().next().value as string);
        const { storage = {} } = spec;
        const none = { versions: {}, extra: false, storedRows: 0, storedBytes: 0 };
        const bare = { schema: "evolve" as const, storage, ...none };
        if (!found) return { dataset, columns: {}, datetime, index, timezone: spec.timezone, ...bare };
        spec = { ...spec, columns: found.dataset.columns };
      }
      const turn = (making.get(spec.dataset) ?? Promise.resolve()).catch(() => undefined).then(() => make(spec));
      making.set(said.dataset, turn);
      return turn;
    },
    async find(name) {
      const held = known.get(name);
      if (held && held.untilMs > performance.now()) return held.dataset;
      const found = await looks.at(name);
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

const writeNote = ({ datetime, index, schema, timezone, storage = {} }: DatasetSpec) => {
  const kept = Object.keys(storage).length > 0 ? { storage } : {};
  return JSON.stringify({ datetime, index: index ?? [], schema, timezone, ...kept });
};

function readNote(comment: string): Note & { readonly storage: Storage } {
  try {
    const note = JSON.parse(comment) as Partial<Note>;
    return { ...note, index: note.index ?? [], schema: note.schema ?? "freeze", storage: note.storage ?? {} };
  } catch {
    return { index: [], schema: "freeze", storage: {} };
  }
}

const markOf = (viewSql: string) => createHash("sha256").update(viewSql).digest("hex").slice(0, 16);
function define(spec: DatasetSpec, name: string, type: ColumnType): string {
  const codec = codecOf(spec, name);
  return `${quote(name)} ${storageType(type)}${codec && ` CODEC(${codec})`}`;
}

/** TTL and compression; parts that are there get them with their next merges, and what is over goes then. */
function storageChanges(db: string, spec: DatasetSpec, before: Dataset, hasTtl: boolean): string[] {
  const table = `ALTER TABLE ${db}.${rowsTable(spec.dataset)}`;
  const ttl = ttlSql(spec);
  const columns = Object.keys(before.columns).flatMap((name) => storedVersions(before, name).map((one) => one.column));
  const recoded = columns
    .filter((column) => codecOf(before, column) !== codecOf(spec, column))
    .map((column) => `MODIFY COLUMN ${quote(column)} CODEC(${codecOf(spec, column) || "Default"})`);
  return [
    ...(ttl ? [`${table} MODIFY TTL ${ttl}`] : hasTtl ? [`${table} REMOVE TTL`] : []),
    ...(recoded.length ? [`${table} ${recoded.join(", ")}`] : []),
  ];
}

/** Sorted as the view reads it, so that deduplication streams instead of sorting. */
function createTable(db: string, spec: DatasetSpec, metricDays: number): string {
  const lead = spec.index?.length ? spec.index : spec.datetime ? [spec.datetime] : ["_resource"];
  const own = ttlSql(spec);
  const ofPolls = spec.dataset === METRICS.dataset;
  const metrics = ofPolls ? `TTL toDateTime(_ingested_at) + toIntervalDay(${metricDays})` : "";
  // A window's rows share the name of their run; of polls nearly each row has another.
  const run = ofPolls ? "String" : "LowCardinality(String)";
  const ttl = own ? `TTL ${own}` : metrics;
  return `CREATE TABLE IF NOT EXISTS ${db}.${rowsTable(spec.dataset)} (
    _run_id ${run}, _fence UInt64, _attempt UInt32, _chunk UInt32, _resource LowCardinality(String),
    _ingested_at DateTime64(3, 'UTC'),
    ${Object.entries(spec.columns)
      .map(([name, type]) => define(spec, name, type))
      .join(", ")},
    ${spec.extra ? `_extra ${EXTRA_TYPE},` : ""}
    CONSTRAINT has_run CHECK notEmpty(_run_id)
  ) ENGINE = MergeTree PARTITION BY ${partitionSql(spec)}
  ORDER BY (${[...lead.map(quote), "_run_id", "_fence", "_chunk"].join(", ")}) ${ttl}
  SETTINGS non_replicated_deduplication_window = ${DEDUP_WINDOW}, allow_nullable_key = 1
  COMMENT ${literal(writeNote(spec))}`;
}

function addColumns(db: string, spec: DatasetSpec, added: readonly (readonly [string, ColumnType])[]): string {
  const adds = added.map(([name, type]) => `ADD COLUMN IF NOT EXISTS ${define(spec, name, type)}`);
  return `ALTER TABLE ${db}.${rowsTable(spec.dataset)} ${adds.join(", ")}`;
}

const addExtra = (db: string, { dataset }: DatasetSpec) =>
  `ALTER TABLE ${db}.${rowsTable(dataset)} ADD COLUMN IF NOT EXISTS _extra ${EXTRA_TYPE}`;

const commentTable = (db: string, spec: DatasetSpec) =>
  `ALTER TABLE ${db}.${rowsTable(spec.dataset)} MODIFY COMMENT ${literal(writeNote(spec))}`;
