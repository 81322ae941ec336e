/** What other rooms ask of stored rows, and what they get: statements, selections, pages, files. */
import type { RowObject } from "./records.ts";

export interface QueryRequest {
  readonly sql: string;
  /** Values for `{name:Type}` in the SQL. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  readonly maxRows: number;
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** Only these datasets; undefined: every dataset, `runs` and `logs`. */
  readonly tables?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface QueryResult {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** Values as JSON; 64-bit integers and decimals as strings. */
  readonly rows: readonly (readonly unknown[])[];
  /** Whether rows were left out because of `maxRows` or `maxBytes`. */
  readonly truncated: boolean;
  readonly elapsedMs: number;
  readonly rowsRead: number;
}

/** Rows of a dataset, as an API asks for them. */
export interface RowSelection {
  readonly dataset: string;
  /** Within [beginUs, endUs) of the dataset's datetime column. */
  readonly beginUs?: bigint | undefined;
  readonly endUs?: bigint | undefined;
  /** The same where that column is one of integers: decimal numbers; "" is none. */
  readonly beginInt?: string | undefined;
  readonly endInt?: string | undefined;
  /** Columns; none: all. */
  readonly select?: readonly string[] | undefined;
  /** Conditions that all hold: `city=Bern`, `temp>=20`, `city!=null`, `city=["Bern","Basel"]`. */
  readonly where?: readonly string[] | undefined;
  /** `temp desc,city`. */
  readonly orderBy?: string | undefined;
  /** At most this many rows; exports without one give all. */
  readonly limit?: number | undefined;
}

export interface ReadRowsRequest extends RowSelection {
  /** 1–10,000. */
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export const FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"] as const;
export type Format = (typeof FORMATS)[number];

export interface Export {
  /** What is written: rows of a dataset, or the answer of a statement. */
  readonly from: RowSelection | { readonly sql: string; readonly params?: Readonly<Record<string, unknown>> };
  readonly format: Format;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface RowsPage {
  readonly rows: readonly RowObject[];
  /** Hand it back for the next page; undefined at the end. */
  readonly nextCursor: string | undefined;
}
