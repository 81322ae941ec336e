/** The example plugins against a real weather source and real HTTP servers, without the platform. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { startWeatherSource } from "../../services/cli/weather-source.ts";
import { emittedRows, type HostFunction, httpThroughFetch, openGuest, runHost } from "../harness/guest.ts";

const EXAMPLES = join(import.meta.dirname, "../../plugins-sdk/examples");
const BUILD_TIMEOUT_MS = 60_000;
const SEATTLE = { name: "Seattle", latitude: 47.6062, longitude: -122.3321 };
const NEW_YORK = { name: "New York", latitude: 40.7128, longitude: -74.006 };
const WMO: Record<string, number> = { sun: 0, fog: 45, drizzle: 51, rain: 61, snow: 71 };

const built: Record<string, string> = {};
beforeAll(async () => {
  for (const name of ["weather", "uptime", "board"]) built[name] = (await buildPlugin(join(EXAMPLES, name))).wasmPath;
}, BUILD_TIMEOUT_MS);

const open = (name: string, host: Record<string, HostFunction>) =>
  openGuest(built[name] as string, { ...runHost, ...host });

describe("weather", () => {
  const windowOf = (config: object, begin = "2012-01-01T00:00:00Z", end = "2012-02-01T00:00:00Z") => {
    const pipe = { name: "weather.daily", connector: "weather", metric: "daily", location: null, parameters: {} };
    return { pipe, config, begin, end, cursor: null as unknown, attempt: 1 };
  };

  test("gives exactly the rows of the file for a window, city by city", async () => {
    await using source = await startWeatherSource({ host: "127.0.0.1", port: 0 });
    const guest = await open("weather", { http: httpThroughFetch });
    const run = await guest.call("fetch", windowOf({ source: "demo", base_url: `http://${source.address}` }));
    expect(run.error).toBeUndefined();
    expect(run.output).toEqual({ status: "ok" });
    expect(emittedRows(run)).toEqual([
      ...(await fileRows("Seattle", "2012-01-01", "2012-01-31")),
      ...(await fileRows("New York", "2012-01-01", "2012-01-31")),
    ]);
    const cursors = run.calls
      .filter((call) => call.name === "checkpoint")
      .map((call) => JSON.parse(call.request).cursor);
    expect(cursors).toEqual([
      { cities: 1, rows: 31 },
      { cities: 2, rows: 62 },
    ]);
    expect(run.calls.map((call) => call.name)).toEqual([
      "http",
      "emit",
      "checkpoint",
      "progress",
      "http",
      "emit",
      "checkpoint",
      "progress",
    ]);
  });

  test("windows that touch share no day and miss none, wherever they are cut", async () => {
    await using source = await startWeatherSource({ host: "127.0.0.1", port: 0 });
    const guest = await open("weather", { http: httpThroughFetch });
    const config = { base_url: `http://${source.address}`, cities: [SEATTLE] };
    const cuts = [
      "2012-02-27T00:00:00Z",
      "2012-02-28T12:00:00Z",
      "2012-02-29T00:00:00.000001Z",
      "2012-03-03T00:00:00Z",
    ];
    const days: unknown[] = [];
    for (let i = 0; i + 1 < cuts.length; i++) {
      const run = await guest.call("fetch", windowOf(config, cuts[i], cuts[i + 1]));
      days.push(...emittedRows(run).map((row) => row.time));
    }
    expect(days).toEqual((await fileRows("Seattle", "2012-02-27", "2012-03-02")).map((row) => row.time));
  });

  test("starts after the last checkpoint, and keeps any name of a city", async () => {
    await using source = await startWeatherSource({ host: "127.0.0.1", port: 0 });
    const guest = await open("weather", { http: httpThroughFetch });
    const cities = [SEATTLE, { ...NEW_YORK, name: '"Ñew" Yørk 纽约 🗽' }];
    const input = { ...windowOf({ base_url: `http://${source.address}`, cities }), cursor: { cities: 1, rows: 31 } };
    const run = await guest.call("fetch", input);
    const expected = (await fileRows("New York", "2012-01-01", "2012-01-31")).map((row) => ({
      ...row,
      city: cities[1]?.name,
    }));
    expect(emittedRows(run)).toEqual(expected);
    expect(source.requests).toBe(1);
  });

  test("says no_data where the source has no days", async () => {
    await using source = await startWeatherSource({ host: "127.0.0.1", port: 0 });
    const guest = await open("weather", { http: httpThroughFetch });
    const config = { base_url: `http://${source.address}` };
    const run = await guest.call("fetch", windowOf(config, "2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"));
    expect(run.output).toEqual({ status: "no_data" });
    expect(emittedRows(run)).toEqual([]);
  });

  test("asks to be tried again after a 429, no sooner than the source says", async () => {
    await using source = await startWeatherSource({ host: "127.0.0.1", port: 0, failFirst: 1 });
    const guest = await open("weather", { http: httpThroughFetch });
    const input = windowOf({ base_url: `http://${source.address}`, cities: [SEATTLE] });
    expect((await guest.call("fetch", input)).error).toMatchObject({
      code: "rate_limited",
      retryable: true,
      details: { status: 429, retry_after_ms: 1_000 },
    });
    expect(emittedRows(await guest.call("fetch", input))).toHaveLength(31);
  });

  test("passes on why a source refuses", async () => {
    await using source = await startWeatherSource({ host: "127.0.0.1", port: 0 });
    const guest = await open("weather", { http: httpThroughFetch });
    const config = { base_url: `http://${source.address}`, cities: [{ ...SEATTLE, latitude: 91 }] };
    const { error } = await guest.call("fetch", windowOf(config));
    expect(error).toMatchObject({ code: "source_refused", retryable: false });
    expect(error?.message).toBe(
      "the source answered 400 for Seattle: Latitude must be in range of -90 to 90°. Given: 91.",
    );
  });

  test.each([
    ["<html>", "bad_answer", 'the weather of Seattle is not JSON: unexpected "<" at character 0'],
    ['{"daily":{"time":["2012-01-01"', "bad_answer", "the weather of Seattle is not JSON: the text ends too early"],
    ["{}", "bad_answer", "the weather of Seattle has no daily.time"],
    ['{"daily":{"time":[7]}}', "bad_answer", "the weather of Seattle has no date at daily.time[0]"],
  ])("refuses the answer %s", async (body, code, message) => {
    await using server = await serve(200, body);
    const guest = await open("weather", { http: httpThroughFetch });
    const { error } = await guest.call("fetch", windowOf({ base_url: server.url, cities: [SEATTLE] }));
    expect(error).toMatchObject({ code, retryable: false });
    expect(error?.message).toContain(message);
  });

  test("says what is wrong when its source is not set, not there, broken or not granted", async () => {
    const guest = await open("weather", { http: httpThroughFetch });
    expect((await guest.call("fetch", windowOf({}))).error?.code).toBe("bad_config");
    const gone = { base_url: await closedUrl(), cities: [SEATTLE] };
    expect((await guest.call("fetch", windowOf(gone))).error).toMatchObject({ code: "unavailable", retryable: true });
    await using broken = await serve(503, "oops");
    const down = await guest.call("fetch", windowOf({ base_url: broken.url, cities: [SEATTLE] }));
    expect(down.error).toMatchObject({ code: "source_refused", retryable: true, details: { status: 503 } });
    const denied = await (await open("weather", {})).call("fetch", windowOf(gone));
    expect(denied.error).toMatchObject({ code: "denied", retryable: false });
  });

  test("asks the public API when told to", async () => {
    const asked: string[] = [];
    const http: HostFunction = (request) => {
      asked.push(JSON.parse(request.toString()).url);
      return { ok: { status: 200, headers: {}, body: '{"daily":{"time":[]}}' } };
    };
    await (await open("weather", { http })).call("fetch", windowOf({ source: "open-meteo", cities: [SEATTLE] }));
    expect(asked).toEqual([
      "https://archive-api.open-meteo.com/v1/archive?latitude=47.6062&longitude=-122.3321&start_date=2012-01-01" +
        "&end_date=2012-01-31&daily=temperature_2m_max,temperature_2m_min,precipitation_sum,wind_speed_10m_max," +
        "weather_code&timezone=UTC",
    ]);
  });

  test("registers what its manifest declares", async () => {
    const manifest = JSON.parse(await readFile(join(EXAMPLES, "weather/plugin.json"), "utf8"));
    const { output } = await (await open("weather", {})).call("register", windowOf({}));
    const { columns, datetime, index } = manifest.interfaces.fetch;
    expect(output).toEqual({ columns, datetime, index });
  });
});

describe("uptime", () => {
  const endpoint = (url: string, labels = {}) => ({
    resource: { name: "page", id: "page", type: "http", endpoint: url, labels },
    config: { timeout_ms: 500 },
    previous: null,
    attempt: 1,
  });
  const valuesOf = (output: unknown) => (output as { metrics: { values: object }[] }).metrics[0]?.values;

  test("discovers the endpoints of its config", async () => {
    const endpoints = [
      { name: "a", url: "http://a/" },
      { name: "b", url: "http://b/", expect_status: 204, body_contains: "ø" },
    ];
    const { output } = await (await open("uptime", {})).call("discover", { config: { endpoints }, site: null });
    expect(output).toEqual({
      resources: [
        { id: "a", type: "http", endpoint: "http://a/", labels: {} },
        { id: "b", type: "http", endpoint: "http://b/", labels: { expect_status: "204", body_contains: "ø" } },
      ],
      complete: true,
    });
  });

  test.each([
    ["an answer", 200, {}, 1],
    ["a redirect or other good status", 304, {}, 1],
    ["a missing page", 404, {}, 0],
    ["a missing page that is expected", 404, { expect_status: "404" }, 1],
    ["another status than the expected one", 200, { expect_status: "204" }, 0],
    ["a body with the text", 200, { body_contains: "ça va ☃" }, 1],
    ["a body without it", 200, { body_contains: "ca va" }, 0],
  ])("measures %s", async (_, status, labels, up) => {
    await using server = await serve(status, status === 304 ? "" : "<p>ça va ☃</p>");
    const { output } = await (await open("uptime", { http: httpThroughFetch })).call(
      "poll",
      endpoint(server.url, labels),
    );
    expect(valuesOf(output)).toEqual({
      up: { value: up, type: "gauge" },
      status_code: { value: status, type: "gauge" },
      latency_ms: { value: expect.any(Number), type: "gauge" },
    });
  });

  test("a server that is not there is down, not an error", async () => {
    const { output } = await (await open("uptime", { http: httpThroughFetch })).call(
      "poll",
      endpoint(await closedUrl()),
    );
    expect(output).toMatchObject({ status: "ok", metrics: [{ group: "http", values: { up: { value: 0 } } }] });
  });

  test("a URL that is not granted is an error, not down", async () => {
    const { error } = await (await open("uptime", {})).call("poll", endpoint("http://x/"));
    expect(error?.code).toBe("denied");
  });

  test("counts the days of a certificate", async () => {
    const validUntil = new Date(Date.now() + 36 * 3_600_000).toISOString();
    const http = () => ({
      ok: { status: 200, headers: {}, body: "", elapsed_ms: 7.25, tls: { valid_until: validUntil } },
    });
    const { output } = await (await open("uptime", { http })).call("poll", endpoint("https://x/"));
    const { tls_days_left, latency_ms } = valuesOf(output) as Record<string, { value: number }>;
    expect(tls_days_left?.value).toBeCloseTo(1.5, 3);
    expect(latency_ms?.value).toBe(7.25);
  });
});

describe("board", () => {
  const ask = (path: string, query: Record<string, string> = {}) => ({
    method: "GET",
    path,
    params: {},
    query,
    headers: {},
  });
  const answered = (output: unknown) => {
    const { status, body, headers } = output as { status: number; body: string; headers: Record<string, string> };
    expect(headers["content-type"]).toBe("application/json; charset=utf-8");
    return { status, body: JSON.parse(body) };
  };

  test("asks with parameters, never with input inside the SQL", async () => {
    const asked: { sql: string; params: object; max_rows?: number }[] = [];
    const query: HostFunction = (request) => {
      asked.push(JSON.parse(request.toString("utf8")));
      return {
        ok: {
          columns: [
            { name: "day", type: "String" },
            { name: "temp_max", type: "Float64" },
          ],
          rows: [["2012-01-01", 12.8]],
        },
      };
    };
    const guest = await open("board", { query });
    const city = "'; DROP TABLE weather_daily; -- é";
    const { output } = await guest.call("route", ask("/api/weather", { city, days: "30" }));
    expect(answered(output)).toEqual({ status: 200, body: { city, days: [{ day: "2012-01-01", temp_max: 12.8 }] } });
    expect(asked).toEqual([{ sql: expect.not.stringContaining("DROP"), params: { city, days: 30 }, max_rows: 3_660 }]);
  });

  test.each([
    ["/api/weather", {}, "city is missing; /api/summary lists the cities"],
    ["/api/weather", { city: "x".repeat(101) }, "city has 101 characters; at most 100 are allowed"],
    ["/api/weather", { city: "x", days: "0" }, 'days "0" is not a whole number from 1 to 3660'],
    ["/api/weather", { city: "x", days: "1e2" }, 'days "1e2" is not a whole number from 1 to 3660'],
    ["/api/weather", { city: "x", days: "-5" }, 'days "-5" is not a whole number from 1 to 3660'],
    ["/api/uptime", { hours: "169" }, 'hours "169" is not a whole number from 1 to 168'],
    ["/api/uptime", { hours: "é" }, 'hours "é" is not a whole number from 1 to 168'],
  ])("refuses %s with %o", async (path, query, message) => {
    const { output } = await (await open("board", {})).call("route", ask(path, query as Record<string, string>));
    expect(answered(output)).toEqual({ status: 400, body: { error: { code: "invalid", message } } });
  });

  test("is empty, not broken, before anything was stored", async () => {
    const query = () => ({ error: { code: "not_found", message: "no table weather_daily", retryable: false } });
    const guest = await open("board", { query });
    expect(answered((await guest.call("route", ask("/api/summary"))).output)).toEqual({
      status: 200,
      body: { cities: [], endpoints: [] },
    });
    const uptime = answered((await guest.call("route", ask("/api/uptime"))).output);
    expect(uptime).toEqual({ status: 200, body: { hours: 1, step_s: 30, points: [] } });
  });

  test("passes on why a query failed", async () => {
    const denied = answered((await (await open("board", {})).call("route", ask("/api/uptime"))).output);
    expect(denied).toEqual({ status: 502, body: { error: { code: "denied", message: "no query here" } } });
  });

  test("knows no other path", async () => {
    expect(answered((await (await open("board", {})).call("route", ask("/api/nothing"))).output).status).toBe(404);
  });
});

/** Rows as the plugin should give them, from the file itself. */
async function fileRows(city: string, first: string, last: string): Promise<Record<string, unknown>[]> {
  const file = fileURLToPath(new URL("../data/weather.csv", import.meta.resolve("vega-datasets")));
  const lines = (await readFile(file, "utf8")).trim().split("\n").slice(1);
  const days = lines
    .map((line) => line.split(","))
    .filter(([where, day = ""]) => where === city && day >= first && day <= last);
  return days.map(([, day, precipitation, warmest, coldest, wind, word = ""]) => ({
    time: `${day}T00:00:00Z`,
    city,
    temp_max: Number(warmest),
    temp_min: Number(coldest),
    precipitation: Number(precipitation),
    wind_max: Number(wind),
    weather_code: WMO[word],
  }));
}

/** A server that always answers the same. */
async function serve(status: number, body: string) {
  const server = createServer((_, response) => void response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A URL on which nothing listens any more. */
async function closedUrl(): Promise<string> {
  await using server = await serve(200, "");
  return server.url;
}
