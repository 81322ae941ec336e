/** How a dataset's table keeps its rows: for how long, cut how, compressed how. What of it is SQL. Pure. */
import { Fault, type Mistake } from "../kit/fault.ts";
import type { DatasetSpec } from "./records.ts";
import { quote } from "./sql-names.ts";

export interface Storage {
  /** Rows whose time is older are not seen, and are deleted when their parts are merged. Needs a datetime. */
  readonly retentionMs?: number | undefined;
  /** The same by when rows were stored. */
  readonly ttlMs?: number | undefined;
  /** By the datetime, else by when rows were stored. Undefined: by the month in which they were stored. */
  readonly partition?: "day" | "month" | "none" | undefined;
  /** Compression of columns that `codecs` does not name, as ClickHouse writes it: `ZSTD(3)`. */
  readonly codec?: string | undefined;
  readonly codecs?: Readonly<Record<string, string>> | undefined;
}

type Kept = Pick<DatasetSpec, "datetime"> & { readonly storage?: Storage | undefined };

const CODECS = /^[A-Za-z0-9]{1,20}(\(\d{1,3}\))?(\s*,\s*[A-Za-z0-9]{1,20}(\(\d{1,3}\))?){0,3}$/;
const CUTS = { day: "toYYYYMMDD", month: "toYYYYMM" } as const;
const STORED_AT = "_ingested_at";
/** Rows without a time stay; the last moment that the type of a TTL can hold. */
const NEVER = "toDateTime64('2299-12-31 23:59:59', 6, 'UTC')";

/** What is wrong with it by itself; whether a codec fits its column is for ClickHouse to say. */
export function storageMistakes({ datetime, storage = {} }: Kept): Mistake[] {
  const { retentionMs, codec, codecs = {} } = storage;
  const mistakes: Mistake[] = [];
  if (retentionMs !== undefined && datetime === undefined) {
    mistakes.push({ field: "retention", problem: "goes by a time column", fix: "declare datetime, or use ttl" });
  }
  for (const [field, value] of [["codec", codec], ...Object.entries(codecs)]) {
    if (value === undefined || CODECS.test(value)) continue;
    mistakes.push({ field: String(field), problem: `${JSON.stringify(value)} is no codec`, fix: 'such as "ZSTD(3)"' });
  }
  return mistakes;
}

/** As `system.tables` shows it, save for quotes. */
export function partitionKey({ datetime, storage = {} }: Kept): string {
  if (storage.partition === "none") return "";
  if (storage.partition === undefined) return `toYYYYMM(${STORED_AT})`;
  return `${CUTS[storage.partition]}(${datetime ?? STORED_AT})`;
}

export const partitionSql = (kept: Kept) => {
  const key = partitionKey(kept);
  if (key === "") return "tuple()";
  return kept.datetime && !key.includes(STORED_AT) ? key.replace(/\(.*\)/, `(${quote(kept.datetime)})`) : key;
};

/** When a row goes; "" when it stays. Times are DateTime64: a year before 1970 or after 2106 is what it says. */
export function ttlSql({ datetime, storage = {} }: Kept): string {
  const { retentionMs, ttlMs } = storage;
  const after = (moment: string, ms: number) => `${moment} + toIntervalSecond(${Math.ceil(ms / 1_000)})`;
  const ends: string[] = [];
  if (retentionMs !== undefined && datetime !== undefined) {
    ends.push(after(`ifNull(toDateTime64(${quote(datetime)}, 6, 'UTC'), ${NEVER})`, retentionMs));
  }
  if (ttlMs !== undefined) ends.push(after(`toDateTime64(${STORED_AT}, 6, 'UTC')`, ttlMs));
  return ends.length > 1 ? `least(${ends.join(", ")})` : (ends[0] ?? "");
}

/** Rows that are not over: a merge that is late shows nothing that should be gone. "" when all are. */
export function keptRows({ datetime, storage = {} }: Kept): string {
  const { retentionMs, ttlMs } = storage;
  const since = (ms: number) => `now64(3, 'UTC') - toIntervalMillisecond(${Math.trunc(ms)})`;
  const parts: string[] = [];
  if (retentionMs !== undefined && datetime !== undefined) {
    parts.push(`(isNull(t.${quote(datetime)}) OR t.${quote(datetime)} >= ${since(retentionMs)})`);
  }
  if (ttlMs !== undefined) parts.push(`t.${STORED_AT} >= ${since(ttlMs)}`);
  return parts.join(" AND ");
}

/** The codec of a column of the table; of one that grew wider only the table's own, which fits all types. */
export function codecOf({ storage = {} }: Kept, column: string): string {
  return storage.codecs?.[column] ?? storage.codec ?? "";
}

/** Equal for storages that ask for the same. */
export const storageKey = ({ retentionMs, ttlMs, partition, codec, codecs = {} }: Storage = {}) =>
  JSON.stringify([retentionMs, ttlMs, partition, codec, Object.entries(codecs).sort(([a], [b]) => (a < b ? -1 : 1))]);

/** Errors: `conflict`, because a table cannot be cut anew. */
export function refuseOtherPartition(dataset: string, spec: Kept, stored: string): void {
  const wanted = partitionKey(spec);
  // An older server says nothing where a newer one says `tuple()`.
  if (wanted === stored.replaceAll("`", "").replace(/^tuple\(\)$/, "")) return;
  const fix = "copy it to a dataset with another name, or drop it and fetch it again";
  const problem = `is cut by ${stored || "nothing"}, and cannot be cut by ${wanted || "nothing"} any more`;
  const mistakes = [{ field: "partition", problem, fix }];
  throw new Fault("conflict", `dataset ${dataset} ${problem}; ${fix}`, { mistakes });
}
