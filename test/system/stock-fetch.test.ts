/** The stock plugins that fetch, against real HTTP servers, through registry, executor and ClickHouse. */
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Seen, startServer, type TestServer } from "../harness/http-guest.ts";
import { openStock, type Stock, TOKEN } from "../harness/stock.ts";

const SETUP_MS = 240_000;

let stock: Stock;
beforeAll(async () => {
  stock = await openStock(["http-json", "csv"]);
}, SETUP_MS);
afterAll(() => stock?.[Symbol.asyncDispose]());

/** Seven readings of the day and one of the next; ids are beyond what a double holds. */
const READINGS = Array.from({ length: 8 }, (_, i) => ({
  at: Date.parse("2024-01-01T00:00:00Z") / 1_000 + i * 4 * 3_600 - (i === 7 ? 3_600 : 0) + (i >= 6 ? 3_600 : 0),
  id: `90071992547409${91 + i}`,
  value: i / 4,
  kind: i % 2 ? "øvre" : null,
}));
const INSIDE = READINGS.filter(({ at: s }) => s < Date.parse("2024-01-02T00:00:00Z") / 1_000);
const FIELDS = {
  time: { from: "at", type: "timestamp", unit: "s" },
  id: { type: "int64" },
  value: { type: "float64" },
  kind: { type: "string" },
};
const bodyOf = (list: typeof READINGS, more = "") =>
  `{"data":{"items":[${list.map((one) => JSON.stringify(one).replace(/"(\d{16})"/, "$1")).join()}]}${more}}`;

/** An API that gives its readings in every way that pages come. */
function api(seen: Seen, response: ServerResponse): void {
  const url = new URL(seen.url, "http://api");
  const number = (name: string) => Number(url.searchParams.get(name) ?? 0);
  const slice = (from: number, size: number) => READINGS.slice(from, from + size);
  const send = (body: string, headers = {}) =>
    response.writeHead(200, { "content-type": "application/json", ...headers }).end(body);
  switch (url.pathname) {
    case "/whole":
      return void send(bodyOf(READINGS));
    case "/cursor": {
      const from = number("after");
      return void send(
        bodyOf(slice(from, 3), from + 3 < 8 ? `,"next":{"after":${from + 3}}` : `,"next":{"after":null}`),
      );
    }
    case "/page":
      return void send(bodyOf(slice((number("page") - 1) * 3, 3)));
    case "/offset":
      return void send(bodyOf(slice(number("offset"), number("limit")), `,"total":8`));
    case "/link": {
      const from = number("from");
      const link = from + 3 < 8 ? { link: `</link?from=${from + 3}>; rel="next", </link>; rel="first"` } : {};
      return void send(bodyOf(slice(from, 3)), link);
    }
    case "/url": {
      const from = number("from");
      return void send(bodyOf(slice(from, 3), from + 3 < 8 ? `,"more":"/url?from=${from + 3}"` : ""));
    }
    case "/columnar": {
      const columns = Object.fromEntries(
        ["at", "value", "kind"].map((name) => [name, READINGS.map((r) => r[name as "at"])]),
      );
      return void send(JSON.stringify({ hourly: columns, station: { name: "Ås" } }));
    }
    case "/nested":
      return void send(
        JSON.stringify([
          { s: "a", hours: READINGS.slice(0, 2) },
          { s: "b", hours: READINGS.slice(2, 3) },
        ]),
      );
    case "/echo":
      return void send(
        JSON.stringify([{ time: "2024-01-01T00:00:00Z", url: seen.url, ...seen.headers, body: seen.body }]),
      );
    case "/html":
      return void response.writeHead(200).end("<html>");
    default:
      response.writeHead(404).end("nothing here");
  }
}

describe("http-json", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer(api);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.each([
    ["one answer", "/whole", undefined, {}, 1],
    ["a cursor", "/cursor", { kind: "cursor", path: "next.after" }, { after: "{cursor}" }, 3],
    ["pages", "/page", { kind: "page", size: 3 }, { page: "{page}" }, 3],
    ["offsets", "/offset", { kind: "offset", size: 3, total: "total" }, { offset: "{offset}", limit: "{size}" }, 3],
    ["a Link header", "/link", { kind: "link" }, {}, 3],
    ["an address in the answer", "/url", { kind: "url", path: "more" }, {}, 3],
  ])("%s: the rows of the window, each once, every digit kept", async (_, path, paging, query, requests) => {
    const before = server.seen.length;
    const source = { url: `${server.url}${path}`, query, rows: "data.items", fields: FIELDS, index: ["time"], paging };
    const { run, rows, pipe } = await stock.fetched("http-json", source);
    expect([run.outcome, run.message]).toEqual(["ok", ""]);
    expect(server.seen.length - before).toBe(requests);
    expect(pipe.effective).toMatchObject({ datetime: "time", index: ["time"] });
    expect(await rows()).toMatchObject(
      INSIDE.map(({ at: s, id, value, kind }) => ({
        time: new Date(s * 1_000).toISOString().replace("000Z", "000000Z"),
        ...{ id, value, kind },
      })),
    );
  });

  test("lists of columns, and fields from above and of the pipe's own", async () => {
    const fields = { time: FIELDS.time, value: "value", place: "$.station.name", metric: { value: "{metric}" } };
    const columnar = await stock.fetched("http-json", {
      url: `${server.url}/columnar`,
      rows: "hourly",
      columnar: true,
      fields,
    });
    expect(await columnar.rows()).toMatchObject(INSIDE.map(({ value }) => ({ value, place: "Ås", metric: "rows" })));
    const nested = { url: `${server.url}/nested`, rows: "[*].hours", fields: { time: FIELDS.time, station: "^.s" } };
    const rows = await (await stock.fetched("http-json", nested)).rows();
    expect(rows.map(({ station }) => station)).toEqual(["a", "a", "b"]);
  });

  test("templates, headers, a body, a secret that the plugin never sees", async () => {
    const source = {
      url: `${server.url}/echo?day={begin_date}`,
      fields: { time: "time", url: "url", key: "x-api-key" },
      method: "POST",
      query: { until: "{end}", empty: "{location}" },
      headers: { "X-Metric": "{metric}" },
      body: { from: "{begin_ms}", names: ["{metric}", "at {last_date}"] },
      auth: { kind: "header", name: "X-Api-Key", secret: "token", prefix: "Key " },
    };
    const { run, rows } = await stock.fetched("http-json", source);
    expect([run.outcome, run.message]).toEqual(["ok", ""]);
    const [row] = await rows();
    expect(row).toMatchObject({ url: "/echo?day=2024-01-01&until=2024-01-02T00%3A00%3A00Z" });
    const sent = server.seen.find(({ url }) => url.startsWith("/echo"));
    expect(sent?.headers).toMatchObject({ "x-metric": "rows", "x-api-key": `Key ${TOKEN}` });
    expect(JSON.parse(sent?.body ?? "")).toEqual({ from: 1704067200000, names: ["rows", "at 2024-01-01"] });
    expect(JSON.stringify(row)).not.toContain(TOKEN);
  });

  test.each([
    ["no JSON", { url: "/html" }, "did not answer with JSON: <html>"],
    ["a status", { url: "/nowhere" }, "answered 404: nothing here"],
    ["an unknown name", { url: "/whole?a={begin_dat}" }, "{begin_dat} is not known here; there are {begin}"],
    ["a bad path", { url: "/whole", rows: "data..items" }, "makes no sense at"],
    ["no rows there", { url: "/whole", rows: "data.items[0].id" }, "not an object"],
  ])("%s is told", async (_, source, words) => {
    const { run } = await stock.fetched("http-json", { ...source, url: server.url + source.url });
    expect([run.outcome, run.message]).toEqual(["guest_error", expect.stringContaining(words)]);
  });

  test("a run that was cut off goes on behind the last page; a 429 is waited for", async () => {
    let calls = 0;
    await using flaky = await startServer((seen, response) => {
      calls += 1;
      if (calls === 2) return void response.writeHead(429, { "retry-after": "0" }).end();
      if (calls === 4) return void response.writeHead(500).end("down");
      api(seen, response);
    });
    const source = { url: `${flaky.url}/page`, query: { page: "{page}" }, rows: "data.items", fields: FIELDS };
    const config = { ...source, paging: { kind: "page", size: 3 }, retry_attempts: 2 };
    const instance = await stock.instanceOf("http-json", { sources: { rows: config }, requests_per_second: 200 });
    const pipe = await stock.at.pipe(instance, 3);
    const { runId } = await stock.at.fetch(pipe);
    const runs = await stock.at.runs(runId, (all) => all.some((one) => one.committed));
    expect(runs[0]).toMatchObject({ outcome: "ok", rows: INSIDE.length });
    expect(flaky.seen.map(({ url }) => url.slice(-1))).toEqual(["1", "2", "2", "3", "3"]);
  });
});

describe("csv", () => {
  const CSV = `\uFEFFAt,"Wind, m/s",Name\n2024-01-01T01:00:00Z,3.5,"He said ""hei"",\nand left"\n2024-01-01T02:00:00Z,NA,\n2024-01-03T00:00:00Z,1,x\n`;
  const ROWS = [
    { wind: 3.5, Name: 'He said "hei",\nand left' },
    { wind: null, Name: null },
  ];
  const fields = {
    time: { from: "At", type: "timestamp" },
    wind: { from: "Wind, m/s", type: "float64" },
    Name: "Name",
  };
  const base = { fields, null_values: ["", "NA"] };

  test.each([
    ["csv", "/f.csv", CSV, base],
    ["gzipped", "/f.csv.gz", gzipSync(CSV), base],
    [
      "tsv with a head",
      "/f.tsv",
      `# made by us\n${CSV.slice(1).replace("Wind, m/s", "Wind").replaceAll(",2", "\t2")}`,
      undefined,
    ],
    [
      "ndjson",
      "/f.ndjson",
      `{"At":"2024-01-01T01:00:00Z","Wind, m/s":3.5,"Name":"He said \\"hei\\",\\nand left"}\n\n{"At":"2024-01-01T02:00:00Z"}\n`,
      base,
    ],
  ] as const)("%s", async (kind, path, content, source) => {
    await using server = await startServer((_, response) => response.writeHead(200).end(content));
    if (source === undefined) {
      const tsv = "# made by us\nAt\tWind\tName\n2024-01-01T01:00:00Z\t3.5\tx\n";
      await using other = await startServer((_, response) => response.writeHead(200).end(tsv));
      const { rows } = await stock.fetched("csv", {
        url: `${other.url}${path}`,
        skip_lines: 1,
        fields: { ...fields, wind: { from: "Wind", type: "float64" } },
      });
      return expect(await rows()).toMatchObject([{ wind: 3.5, Name: "x" }]);
    }
    const { run, rows } = await stock.fetched("csv", { url: `${server.url}${path}`, ...source });
    expect([kind, run.outcome, run.message]).toEqual([kind, "ok", ""]);
    expect(await rows()).toMatchObject(ROWS);
  });

  test.each([
    ["ragged lines", "/f.csv", "a,b\n1,2\n1\n1,2,3\n", "row 2: has 1 values for 2 columns\nrow 3: has 3 values"],
    ["a quote without end", "/f.csv", 'a,b\n1,"2\n', "Quoted field unterminated"],
    ["gzip that is cut", "/f.csv.gz", gzipSync(CSV).subarray(0, 40), "is gzip that does not unpack"],
    ["half a line", "/f.ndjson", '{"a":1}\n{"a":', ":2: {"],
  ])("%s is told", async (_, path, content, words) => {
    await using server = await startServer((_seen, response) => response.writeHead(200).end(content));
    const { run } = await stock.fetched("csv", { url: `${server.url}${path}` });
    expect([run.outcome, run.message]).toEqual(["guest_error", expect.stringContaining(words)]);
  });
});
