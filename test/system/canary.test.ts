/** A planted secret, guests that carry it to everywhere they can, and a search of every store for every writing of it. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { gunzipSync } from "node:zlib";
import { createClient } from "@clickhouse/client";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { SecretsService } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import { Recording } from "../../proto/gen/millrace/results/v1/recording.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { BUCKETS, RECORDS, runIds } from "../../proto/names.ts";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { settings as gatewaySettings, start as startGateway } from "../../services/gateway/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { startServer, type TestServer } from "../harness/http-guest.ts";
import { until } from "../harness/until.ts";

const CANARY = `Kanarie-9f8e/7+"d6&c5' %zz~`;
const READABLE = `Lesbar<1f2e>\\3d+4c/5b=6a?`;

/** It searches all that a platform keeps. */
const TEST_MS = 120_000;

/** What a search looks for, made without the code that is judged. */
function writings(value: string): string[] {
  const raw = Buffer.from(value);
  const core = (text: string) => Buffer.from(text).toString("base64").slice(4, -6);
  const base64 = ["", "x", "xy"].map((before) => core(`${before}${value}`));
  const everyByte = [...raw].map((byte) => `%${byte.toString(16)}`).join("");
  return [
    ...[value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value), everyByte],
    ...base64,
    ...base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_")),
    ...[raw.toString("hex"), raw.toString("hex").toUpperCase()],
  ];
}

/** Gives back what it was sent, in every writing that it knows. */
const echo = (): Promise<TestServer> =>
  startServer(({ url, headers, body }, response) => {
    const key = Buffer.from(String(headers["x-key"] ?? ""), "latin1").toString();
    if (url.startsWith("/binary")) return response.end(Buffer.from([0xff, 0xfe, ...Buffer.from(key), 0xff]));
    const asked = new URL(url, "http://x/").searchParams.get("q") ?? "";
    const said = [asked, key, body]
      .filter(Boolean)
      .flatMap((text) => [
        ...[text, JSON.stringify(text), encodeURIComponent(text), new URLSearchParams({ text }).toString()],
        ...["", "u:", "user:"].map((before) => Buffer.from(before + text).toString("base64")),
        ...[Buffer.from(`u:${text}`).toString("base64url"), Buffer.from(text).toString("hex")],
        Buffer.from(text).toString("hex").toUpperCase(),
      ]);
    return response.setHeader("x-echo", key).end(said.join("\n"));
  });

let clickHouse: TestClickHouse;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
});
afterAll(async () => {
  await clickHouse?.[Symbol.asyncDispose]();
});

test(
  "a guest that uses a secret, and one that may read it, leave it in no store, log or event",
  async () => {
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "millrace-canary-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const logged: Buffer[] = [];
    const log = pino(
      { level: "trace" },
      new Writable({
        write(chunk, _, done) {
          logged.push(chunk);
          done();
        },
      }),
    );
    const bus = stack.use(await openEmbeddedBus({ file: join(folder, "bus.sqlite"), log }));
    const events = listenToAll(bus, stack);
    const results = stack.use(await openTestResults(clickHouse));
    const server = stack.use(await echo());
    const executing = stack.use(await openExecuting(bus, results, log));
    const { registry } = executing;
    for (const [name, value] of [
      ["secrets/canary", CANARY],
      ["secrets/readable", READABLE],
    ] as const) {
      await registry.call(SecretsService.setSecret, { name, value, hosts: ["127.0.0.1"], etag: "" });
    }
    const { path } = await buildPlugin(join(import.meta.dirname, "../plugins/leaker"));
    await registry.call(PluginsService.publishPlugin, { bundle: await readFile(path), validateOnly: false }, 30_000);
    await executing.executor({ lanes: 1, record: "all" });

    const plugin = "plugins/leaker";
    const kinds = [
      { id: "user", config: { url: server.url } },
      { id: "reader", config: { url: server.url, secret: "readable", plain: "yes" } },
      { id: "failing", config: { url: server.url, fail: "yes" } },
      { id: "failing-reader", config: { url: server.url, secret: "readable", plain: "yes", fail: "yes" } },
    ];
    for (const { id, config } of kinds) {
      const instance = await executing.instance(id, config, { plugin });
      const pipe = await executing.pipe(instance, 1);
      const { runId } = await executing.fetch(pipe);
      const [run] = await executing.runs(runId, (runs) => runs.length > 0);
      expect([id, run?.outcome, run?.message.slice(0, 500)]).toEqual([
        id,
        id.startsWith("failing") ? "guest_error" : "ok",
        id.startsWith("failing") ? expect.stringContaining("(hidden)") : "",
      ]);
      const poller = await executing.poller(id, instance, PollerKind.POLL);
      const resource = await executing.resource(id, server.url);
      const polled = runIds.poll(id, id, "now");
      await executing.send({
        ...{ kind: JobKind.POLL, runId: polled, instance, poller: poller.name, resource: resource.name },
      });
      const [poll] = await executing.runs(polled, (runs) => runs.length > 0);
      expect([id, poll?.outcome]).toEqual([id, "ok"]);
    }
    const config = readConfig(
      gatewaySettings,
      {},
      { http: "127.0.0.1:0", grpc: "127.0.0.1:0", registry: registry.address },
    );
    const gateway = stack.use(await startGateway(config, { bus, results, log }));
    const routed = await until("a route answers", async () => {
      const answer = await fetch(`http://${gateway.http}/plugins/user/loot?url=${server.url}&secret=canary`);
      return answer.ok && (await answer.text());
    });
    const called = await fetch(`http://${gateway.http}/v1/instances/reader/functions/loot:call`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ url: server.url, secret: "readable", plain: "yes" }),
    });
    expect(called.status).toBe(200);
    const answers = [routed, await called.text()];
    // The values did reach the server, in all three places, or the search would be worth nothing.
    const got = server.seen.map(({ url, headers, body }) => [
      new URL(url, "http://x/").searchParams.get("q"),
      headers,
      body,
    ]);
    for (const value of [CANARY, READABLE]) {
      expect(got.filter(([q]) => q === value).length).toBeGreaterThanOrEqual(4);
      expect(server.seen.some(({ headers }) => headers["x-key"] === value)).toBe(true);
      expect(server.seen.some(({ body }) => body === JSON.stringify({ key: value }))).toBe(true);
    }
    await until("what the guests logged is stored", async () => {
      const stored = await dump(clickHouse, "logs");
      return kinds.every(({ id }) => stored.some((row) => row.includes(`"${id}"`)));
    });

    const places: [name: string, texts: readonly (string | Buffer)[]][] = [
      ["answers to callers", answers],
      ["ClickHouse", await dump(clickHouse)],
      ["process log", logged],
      ["events", events],
      ["files of the bus", await filesIn(folder)],
      ["records of runs", await recordsOf(bus)],
      [
        "dead letters",
        (await executing.dead((dead) => dead.length >= 2)).flatMap(({ body, reason }) => [Buffer.from(body), reason]),
      ],
    ];
    for (const [place, texts] of places) {
      expect([place, texts.length > 0]).toEqual([place, true]);
      for (const text of texts) {
        const bytes = Buffer.from(text as string);
        const found = [CANARY, READABLE].flatMap(writings).filter((writing) => bytes.includes(writing));
        expect([place, found]).toEqual([place, []]);
      }
    }
    // The search does find what is not hidden.
    const hidden = places.filter(([, texts]) => texts.some((text) => Buffer.from(text as string).includes("(hidden)")));
    expect(hidden.map(([place]) => place)).toEqual(places.map(([place]) => place).filter((p) => p !== "process log"));
  },
  TEST_MS,
);

function listenToAll(bus: Bus, stack: AsyncDisposableStack): Buffer[] {
  const heard: Buffer[] = [];
  const stop = new AbortController();
  stack.defer(() => stop.abort());
  for (const subject of ["runs", "progress", "guest"]) {
    const listen = async () => {
      for await (const { body } of bus.events.subscribe(subject, stop.signal)) heard.push(Buffer.from(body));
    };
    listen().catch(() => {});
  }
  return heard;
}

/** Every row of every table of the test's databases and of the server's own logs, as JSON lines. */
async function dump({ url }: TestClickHouse, only = ""): Promise<string[]> {
  const client = createClient({ url });
  try {
    await client.command({ query: "SYSTEM FLUSH LOGS" });
    const listed = await client.query({
      query: `SELECT database, name FROM system.tables WHERE engine NOT LIKE '%View'
        AND (database LIKE 'test_%' OR (database = 'system' AND name LIKE '%_log')) AND ({only:String} IN ('', name))`,
      query_params: { only },
      format: "JSONEachRow",
    });
    const rows: string[] = [];
    for (const { database, name } of await listed.json<{ database: string; name: string }>()) {
      const table = await client.query({ query: `SELECT * FROM \`${database}\`.\`${name}\``, format: "JSONEachRow" });
      rows.push(...(await table.json()).map((row) => JSON.stringify(row)));
    }
    return rows.map((row) => `${row}\n${row.replaceAll("\\/", "/")}\n${deepTexts(JSON.parse(row)).join("\n")}`);
  } finally {
    await client.close();
  }
}

/** The texts of a row as they are, without JSON's escapes. */
function deepTexts(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([k, v]) => [k, ...deepTexts(v)])
    : [];
}

async function filesIn(folder: string): Promise<Buffer[]> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  return Promise.all(names.map(({ parentPath, name }) => readFile(join(parentPath, name))));
}

/** They are packed, so that a look at the file would find nothing in any case. */
async function recordsOf(bus: Bus): Promise<Buffer[]> {
  const blobs = await bus.blobs(RECORDS);
  const index = await until("all runs have a record", async () => {
    const entries = await (await bus.kv(BUCKETS.records)).list("");
    return entries.length >= 8 && entries;
  });
  const digests = index.map(({ value }) => Recording.decode(value).digest);
  return Promise.all(digests.map(async (digest) => gunzipSync(await blobs.get(digest))));
}
