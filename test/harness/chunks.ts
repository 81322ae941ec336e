/** Chunks, rows and what is seen of them, for tests of the results room. */
import type { Chunk, Results } from "../../services/results/results.ts";

export const plain = {
  dataset: "weather",
  columns: { time: "timestamp", city: "string", temp: "float64", n: "int64" },
};
export const NOW_US = BigInt(Date.now()) * 1_000n;
export const RUN = { runId: "weather.daily/20120101T000000Z", fence: 7n };
export const chunkOf = (over: Partial<Chunk>): Chunk => ({
  dataset: "weather",
  ...RUN,
  attempt: 1,
  chunk: 0,
  resource: "",
  rows: [{ city: "Zürich", n: 1 }],
  ...over,
});
export const ndjson = (rows: readonly object[]) => Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
export const numbers = (from: number, count: number) => Array.from({ length: count }, (_, i) => ({ n: from + i }));

export async function rowsOf(results: Results, sql = "SELECT n FROM weather ORDER BY n") {
  return (await results.query({ sql, maxRows: 500_000, maxBytes: 1e8, timeoutMs: 20_000 })).rows;
}
export const column = async (results: Results, sql?: string) => (await rowsOf(results, sql)).map((row) => row[0]);
