/** `query`: read-only SQL on the datasets that were granted. */
import { Fault } from "../../kit/fault.ts";
import type { Results } from "../../results/results.ts";
import { type Capability, isObject, readRequest } from "./functions.ts";

const DEFAULT_ROWS = 1_000;
export const MAX_QUERY_ROWS = 10_000;
export const MAX_QUERY_BYTES = 8 << 20;
const MAX_QUERY_MS = 30_000;

export function queryCapability(
  results: Pick<Results, "query">,
  tables: readonly string[],
  onDenied: () => void,
): Capability {
  return async (bytes, scope) => {
    const refuse = (message: string) => {
      onDenied();
      return new Fault("denied", message);
    };
    if (!tables.length) {
      throw refuse("query is not granted; the manifest must name datasets and the operator allow them");
    }
    const { sql, params, max_rows: asked } = readRequest("query", bytes);
    const mistakes = [];
    if (typeof sql !== "string") mistakes.push({ field: "sql", problem: "is not text", fix: "a SELECT" });
    if (params !== undefined && !isObject(params)) mistakes.push({ field: "params", problem: "is not an object" });
    if (asked !== undefined && !(Number.isInteger(asked) && Number(asked) > 0)) {
      mistakes.push({
        field: "max_rows",
        problem: `${JSON.stringify(asked)} is not a count`,
        fix: `1–${MAX_QUERY_ROWS}`,
      });
    }
    if (mistakes.length || typeof sql !== "string") throw Fault.invalid("query", mistakes);
    const { columns, rows, truncated } = await results
      .query({
        sql,
        params: isObject(params) ? params : undefined,
        maxRows: Math.min(Number(asked ?? DEFAULT_ROWS), MAX_QUERY_ROWS),
        maxBytes: MAX_QUERY_BYTES,
        timeoutMs: Math.ceil(Math.min(MAX_QUERY_MS, scope.remainingMs())),
        tables,
        signal: scope.signal,
      })
      .catch((thrown: unknown) => {
        const fault = Fault.from(thrown);
        throw fault.code === "denied" ? refuse(fault.message) : fault;
      });
    return { columns, rows, truncated };
  };
}
