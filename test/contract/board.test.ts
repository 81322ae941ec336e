/** The board's SQL on a real ClickHouse, over what weather and uptime really gave: through the same guard as in use. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { startWeatherSource } from "../../services/cli/weather-source.ts";
import { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults, type Results, type RunRecord, startClickHouse } from "../../services/results/results.ts";
import { emittedRows, type HostFunction, httpThroughFetch, openGuest, runHost } from "../harness/guest.ts";

const EXAMPLES = join(import.meta.dirname, "../../plugins-sdk/examples");
const TEST_TIMEOUT_MS = 120_000;
const MEMORY_MIB = 1_024;
/** All days of both cities in the file. */
const ALL_DAYS = 2_922;

test("summary, weather and uptime answer from what was stored", { timeout: TEST_TIMEOUT_MS }, async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "millrace-board-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const server = stack.use(await startClickHouse({ folder, port: 0, memoryMib: MEMORY_MIB, log: silentLog }));
  const results = stack.use(await openResults({ url: server.url, readerUrl: server.readerUrl, log: silentLog }));
  const board = await openGuest((await buildPlugin(join(EXAMPLES, "board"))).wasmPath, { query: queryOver(results) });
  const get = async (path: string, query: Record<string, string> = {}) => {
    const { output, error } = await board.call("route", { method: "GET", path, params: {}, query, headers: {} });
    expect(error).toBeUndefined();
    const { status, body } = output as { status: number; body: string };
    expect([path, status, body.slice(0, 300)]).toEqual([path, 200, expect.any(String)]);
    return JSON.parse(body);
  };

  expect(await get("/api/summary")).toEqual({ cities: [], endpoints: [] });
  expect(await get("/api/weather", { city: "Seattle" })).toEqual({ city: "Seattle", days: [] });

  const source = stack.use(await startWeatherSource({ host: "127.0.0.1", port: 0 }));
  const manifest = JSON.parse(await readFile(join(EXAMPLES, "weather/plugin.json"), "utf8"));
  const { columns, index, datetime } = manifest.interfaces.fetch;
  await results.ensureDataset({ dataset: "weather_daily", columns, index, datetime });
  const weatherGuest = await openGuest((await buildPlugin(join(EXAMPLES, "weather"))).wasmPath, {
    ...runHost,
    http: httpThroughFetch,
  });
  const fetched = await weatherGuest.call("fetch", {
    pipe: { name: "weather.daily", connector: "weather", metric: "daily", location: null, parameters: {} },
    config: { base_url: `http://${source.address}` },
    begin: "2012-01-01T00:00:00Z",
    end: "2016-01-01T00:00:00Z",
    cursor: null,
    attempt: 1,
  });
  const rows = emittedRows(fetched);
  expect(rows).toHaveLength(ALL_DAYS);
  console.log(`${rows.length} days fetched and emitted in ${fetched.ms.toFixed(1)} ms (Extism's own host)`);
  await keep(results, "weather_daily", rows);

  const time = new Date().toISOString();
  const polled = [
    ["up", 1],
    ["status_code", 200],
    ["latency_ms", 12.5],
  ] as const;
  const metric = { time, resource: "platform", group: "http", dimensions: { endpoint: "home" }, type: "gauge" };
  const metrics = polled.map(([name, value]) => ({ ...metric, name, value }));
  await keep(results, "metrics", [...metrics, { ...metric, dimensions: {}, resource: "gone", name: "up", value: 0 }]);

  const summary = await get("/api/summary");
  expect(summary.cities).toMatchObject([
    { city: "New York", days: "1461", first_day: "2012-01-01", last_day: "2015-12-31", warmest: 37.8, coldest: -16 },
    { city: "Seattle", days: "1461", first_day: "2012-01-01", last_day: "2015-12-31", warmest: 35.6, coldest: -7.1 },
  ]);
  expect(summary.endpoints).toMatchObject([
    { resource: "gone", endpoint: "gone", up: 0, tls_checks: "0", checks: "1", availability: 0 },
    { resource: "platform", endpoint: "home", up: 1, status_code: 200, latency_ms: 12.5, tls_checks: "0", checks: "1" },
  ]);

  const weather = await get("/api/weather", { city: "Seattle", days: "30" });
  expect(weather.days).toHaveLength(30);
  expect(weather.days[0]).toMatchObject({ day: "2015-12-02" });
  const last = { day: "2015-12-31", temp_max: 5.6, temp_min: -2.1, precipitation: 0, wind_max: 3.5, weather_code: "0" };
  expect(weather.days.at(-1)).toEqual(last);
  expect((await get("/api/weather", { city: "Seattle", days: "3660" })).days).toHaveLength(1461);

  const uptime = await get("/api/uptime", { hours: "1" });
  expect(uptime).toMatchObject({ hours: 1, step_s: 30 });
  expect(uptime.points).toMatchObject([
    { resource: "gone", up: 0, latency_ms: null },
    { resource: "platform", up: 1, latency_ms: 12.5 },
  ]);
});

/** The host function `query` as the platform has it: granted tables only, faults as errors. */
function queryOver(results: Results): HostFunction {
  return async (request) => {
    const { sql, params, max_rows } = JSON.parse(request.toString("utf8"));
    const limits = { maxRows: max_rows ?? 1_000, maxBytes: 4_194_304, timeoutMs: 5_000 };
    try {
      const { columns, rows } = await results.query({ sql, params, ...limits, tables: ["weather_daily", "metrics"] });
      return { ok: { columns, rows } };
    } catch (thrown) {
      const { code, message, retryable } = Fault.from(thrown);
      return { error: { code, message, retryable } };
    }
  };
}

/** Stores rows as one committed run. */
async function keep(results: Results, dataset: string, rows: Record<string, unknown>[]): Promise<void> {
  const runId = `${dataset}/test`;
  await results.appendChunk({ dataset, runId, fence: 1n, attempt: 1, chunk: 0, resource: "", rows });
  const nowUs = BigInt(Date.now()) * 1_000n;
  const run: RunRecord = {
    dataset,
    runId,
    fence: 1n,
    attempt: 1,
    kind: dataset === "metrics" ? "poll" : "fetch",
    plugin: "",
    version: "",
    digest: "",
    instance: "",
    target: "",
    resource: "",
    beginUs: undefined,
    endUs: undefined,
    dueUs: nowUs,
    startedUs: nowUs,
    finishedUs: nowUs,
    outcome: "ok",
    committed: true,
    parts: [{ fence: 1n, chunks: 1 }],
    chunks: 1,
    rows: rows.length,
    bytesIn: 0,
    bytesOut: 0,
    hostCalls: {},
    cpuMs: 0,
    wallMs: 0,
    memoryPeakBytes: 0,
    message: "",
    executor: "",
  };
  await results.commit(run);
}
