/** Rows and answers as files: which format is asked for, and the pieces on their way. */
import type {
  ExportQueryRequest,
  ExportRowsRequest,
  ExportRowsResponse,
} from "../../proto/gen/millrace/results/v1/query_service.ts";
import { Fault } from "../kit/fault.ts";
import { microsOf, type Stretch } from "../kit/time.ts";
import { type Export, FORMATS, type Format, type Results } from "../results/records.ts";

const MEDIA_TYPES: Readonly<Record<Format, string>> = {
  json: "application/json; charset=utf-8",
  ndjson: "application/x-ndjson; charset=utf-8",
  csv: "text/csv; charset=utf-8; header=present",
  arrow: "application/vnd.apache.arrow.stream",
  parquet: "application/vnd.apache.parquet",
};
const FALLBACK: Format = "ndjson";
/** A piece fits into one gRPC message with room to spare. */
const PIECE_BYTES = 1 << 20;
const MAX_EXPORT_MS = 600_000;

/** The first that we can write, in the order of an Accept header; its weights are not looked at. Errors: `invalid`. */
export function parseFormat(wanted: string): Format {
  const asked = wanted.split(",").map((part) => part.split(";")[0]?.trim().toLowerCase() ?? "");
  for (const one of asked) {
    const format = FORMATS.find((name) => name === one || MEDIA_TYPES[name].split(";")[0] === one);
    if (format) return format;
    if (one === "" || one === "*/*" || one === "application/*") return FALLBACK;
    if (one === "text/*") return "csv";
  }
  const fix = `one of ${FORMATS.join(", ")}, or ${FORMATS.map((name) => MEDIA_TYPES[name].split(";")[0]).join(", ")}`;
  throw Fault.invalid("format", [{ field: "format", problem: `${JSON.stringify(wanted)} cannot be written`, fix }]);
}

/** The range of a request; whether it suits the dataset, the reader says. */
export const selectionOf = ({ begin, end, beginInt, endInt }: Stretch) => ({
  ...(begin && { beginUs: microsOf(begin) }),
  ...(end && { endUs: microsOf(end) }),
  ...(beginInt && { beginInt }),
  ...(endInt && { endInt }),
});

export function exportRows(results: Results, dataset: string, request: ExportRowsRequest, signal: AbortSignal) {
  const { select, where, orderBy, limit, format } = request;
  if (limit < 0n)
    throw Fault.invalid("limit", [{ field: "limit", problem: `${limit} is below 0`, fix: "0 means all" }]);
  const from = {
    dataset,
    select,
    where,
    orderBy,
    limit: Number(limit),
    ...selectionOf(request),
  };
  return pieces(results, { from, format: parseFormat(format), timeoutMs: MAX_EXPORT_MS, signal });
}

export function exportQuery(results: Results, request: ExportQueryRequest, signal: AbortSignal) {
  const { sql, params, format, timeoutMs } = request;
  const from = { sql, params: params ?? {} };
  return pieces(results, { from, format: parseFormat(format), timeoutMs: timeoutMs || MAX_EXPORT_MS, signal });
}

async function* pieces(results: Results, request: Export): AsyncGenerator<ExportRowsResponse> {
  const contentType = MEDIA_TYPES[request.format];
  let sent = false;
  for await (const bytes of results.export(request)) {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      yield { contentType, data: Buffer.from(bytes.subarray(at, at + PIECE_BYTES)) };
      sent = true;
    }
  }
  if (!sent) yield { contentType, data: Buffer.alloc(0) };
}
