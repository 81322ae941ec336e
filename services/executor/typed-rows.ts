/** Rows of an answer that names their content type: text, or base64 of what is none. */
import type { RowFormat } from "../results/results.ts";

export interface TypedRows {
  readonly format: RowFormat;
  readonly bytes: Uint8Array;
}

const FORMATS: Readonly<Record<string, RowFormat>> = {
  "application/x-ndjson": "ndjson",
  "text/csv": "csv",
  "application/vnd.apache.arrow.stream": "arrow",
};
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** What is wrong, as text. */
export function typedRows(contentType: unknown, rows: unknown): TypedRows | string {
  const format = FORMATS[String(contentType).split(";")[0]?.trim().toLowerCase() ?? ""];
  if (!format) return `content_type: ${JSON.stringify(contentType)} is not one of ${Object.keys(FORMATS).join(", ")}`;
  if (typeof rows !== "string") return `rows: is not text, which ${contentType} needs`;
  if (format !== "arrow") return { format, bytes: Buffer.from(rows) };
  if (!BASE64.test(rows) || rows.length % 4 !== 0) return "rows: is not base64, as Arrow in JSON must be";
  return { format, bytes: Buffer.from(rows, "base64") };
}
