/** The stock plugins that poll, against real HTTP servers, through registry, executor and ClickHouse. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer } from "../harness/http-guest.ts";
import { openStock, type Stock, TOKEN } from "../harness/stock.ts";
import { until } from "../harness/until.ts";

const SETUP_MS = 240_000;

let stock: Stock;
beforeAll(async () => {
  stock = await openStock(["http-probe", "prometheus-scrape", "heartbeat"]);
}, SETUP_MS);
afterAll(() => stock?.[Symbol.asyncDispose]());

test("http-probe: up, or down and why", async () => {
  await using server = await startServer((seen, response) => {
    const isKnown = seen.headers.authorization === `Bearer ${TOKEN}`;
    response.writeHead(isKnown ? 200 : 401).end("status: green");
  });
  const targets = [
    { name: "good", url: `${server.url}/`, body_matches: "status: (green|yellow)", labels: { team: "ø" } },
    { name: "wrong", url: `${server.url}/`, body_contains: "blue", expect_status: [204, 206] },
    { name: "gone", url: "http://127.0.0.1:9/" },
  ];
  const probe = await stock.polled("http-probe", { targets, auth: { kind: "bearer", secret: "token" } });
  expect(probe.resources.map(({ id, labels }) => [id, labels])).toEqual(
    expect.arrayContaining([
      ["good", { team: "ø" }],
      ["wrong", {}],
      ["gone", {}],
    ]),
  );
  const seen: Record<string, Record<string, unknown>> = {};
  for (const { id, name } of probe.resources) {
    expect((await probe.poll(name)).outcome).toBe("ok");
    seen[id] = Object.fromEntries((await probe.values(name)).map(({ name: metric, value }) => [metric, value]));
  }
  expect(seen.good).toMatchObject({ up: 1, status_code: 200, body_match: 1, body_bytes: 13 });
  expect(seen.wrong).toMatchObject({ up: 0, status_code: 200, body_match: 0 });
  expect(seen.gone).toEqual({ up: 0 });
});

test("prometheus-scrape: samples with labels, types and times; what is no number is left out", async () => {
  const text = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="post",path="/a\\"b\\\\c"} 1027 1704067200500
http_requests_total{method="get",path="/"} 3
# TYPE temp gauge
temp -3.5
# TYPE rpc histogram
rpc_bucket{le="0.5"} 5
rpc_bucket{le="+Inf"} 7
rpc_sum 1.25e1
odd NaN
this is no sample
go_threads 8
`;
  await using server = await startServer((_, response) => response.writeHead(200).end(text));
  const targets = [
    { name: "exporter", url: `${server.url}/metrics` },
    { name: "off", url: "http://127.0.0.1:9/metrics" },
  ];
  const scrape = await stock.polled("prometheus-scrape", { targets, match: "(?!go_).*" });
  const named = (wanted: string) => scrape.resources.find(({ id }) => id === wanted)?.name as string;
  expect(await scrape.poll(named("exporter"))).toMatchObject({ outcome: "ok" });
  const values = await scrape.values(named("exporter"));
  const of = (name: string) => values.filter((one) => one.name === name);
  expect(of("http_requests_total")).toEqual(
    expect.arrayContaining([
      {
        group: "prometheus",
        name: "http_requests_total",
        type: "counter",
        value: 1027,
        dimensions: { method: "post", path: '/a"b\\c' },
      },
    ]),
  );
  expect(of("temp")).toMatchObject([{ type: "gauge", value: -3.5, dimensions: {} }]);
  expect(of("rpc_bucket").map(({ type, dimensions }) => [type, dimensions])).toEqual(
    expect.arrayContaining([
      ["counter", { le: "+Inf" }],
      ["counter", { le: "0.5" }],
    ]),
  );
  expect(of("rpc_sum")).toMatchObject([{ type: "counter", value: 12.5 }]);
  expect([of("odd"), of("go_threads")]).toEqual([[], []]);
  expect(of("samples")).toMatchObject([{ group: "scrape", value: 6 }]);
  expect([of("bad_lines"), of("dropped")]).toMatchObject([[{ value: 1 }], [{ value: 1 }]]);
  expect((await scrape.poll(named("off"))).outcome).toBe("ok");
  expect(await scrape.values(named("off"))).toMatchObject([{ name: "up", value: 0 }]);
});

test("an expression that is none is told by its setting's name", async () => {
  await using server = await startServer((_, response) => response.writeHead(200).end("up 1\n"));
  const cases = [
    ["http-probe", { targets: [{ name: "c", url: server.url, body_matches: "(" }] }, "body_matches: ( is not"],
    ["prometheus-scrape", { targets: [{ name: "d", url: server.url }], match: "(" }, "match: ^(?:()$ is not"],
  ] as const;
  for (const [plugin, config, words] of cases) {
    const { resources, poll } = await stock.polled(plugin, config);
    const run = await poll(resources[0]?.name ?? "");
    expect([run.outcome, run.message]).toEqual(["guest_error", expect.stringContaining(words)]);
  }
});

test("heartbeat: counts beats, and sees that the one before came to the table", async () => {
  const heart = await stock.polled("heartbeat", {});
  const [{ name } = { name: "" }] = heart.resources;
  expect((await heart.poll(name)).outcome).toBe("ok");
  await until("the first beat is stored", async () => (await heart.values(name)).length > 0);
  expect((await heart.poll(name, "20240101T000010Z")).outcome).toBe("ok");
  const values = await until("the second too", async () => {
    const all = await heart.values(name);
    return all.some((one) => one.name === "stored_ok") && all;
  });
  const of = (metric: string) => values.filter((one) => one.name === metric).map(({ value }) => value);
  expect(of("beats").toSorted()).toEqual([1, 2]);
  expect([of("kv_ok"), of("stored_ok")]).toEqual([[1, 1], [1]]);
});
