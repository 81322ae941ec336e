/** Enrichment end to end: found, enriched, polled with what was found out; and every way in which a document is refused. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import type { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { Permissions as PermissionsMessage } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { Recording } from "../../proto/gen/millrace/results/v1/recording.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { BLOBS, BUCKETS, RECORDS, recordKey, runIds } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { readRecording } from "../../services/executor/recording/format.ts";
import { replayRun } from "../../services/executor/recording/replay.ts";
import { openSandbox } from "../../services/executor/sandbox.ts";
import { settings as gatewaySettings, start as startGateway } from "../../services/gateway/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { packed } from "../harness/bundle.ts";
import { type BusGround, embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { type Executing, openExecuting } from "../harness/executing.ts";
import { until } from "../harness/until.ts";

const FOLDER = join(import.meta.dirname, "../plugins/annotator");
const PLUGIN = "plugins/annotator";
const LISTEN = "127.0.0.1:0";

let clickHouse: TestClickHouse;
let bundle: Buffer;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  bundle = packed([
    { path: "plugin.json", content: await readFile(join(FOLDER, "plugin.json"), "utf8") },
    { path: "plugin.wasm", content: await readFile((await buildPlugin(FOLDER)).wasmPath) },
  ]);
}, 120_000);
afterAll(() => clickHouse[Symbol.asyncDispose]());

interface Ground extends AsyncDisposable {
  readonly bus: Bus;
  readonly results: Results;
  readonly at: Executing;
  readonly http: string;
  readonly grpc: string;
  resources(): Promise<readonly Resource[]>;
  /** Its documents, as the API shows them. */
  documents(resource: string): Promise<readonly Record<string, unknown>[]>;
}

async function ground(open: () => Promise<BusGround> = embeddedGround, scheduled = false): Promise<Ground> {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await open());
  const results = stack.use(await openTestResults(clickHouse));
  const at = stack.use(await openExecuting(bus, results));
  const { registry } = at;
  await registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  const ports = { bus, results, log: silentLog };
  const addresses = { registry: registry.address };
  if (scheduled) {
    stack.use(await startScheduler(readConfig(schedulerSettings, {}, { listen: LISTEN, ...addresses }), ports));
  }
  const config = readConfig(gatewaySettings, {}, { http: LISTEN, grpc: LISTEN, ...addresses });
  const gateway = stack.use(await startGateway(config, ports));
  await at.executor({ record: "all" });
  return {
    ...{ bus, results, at, http: gateway.http, grpc: gateway.grpc },
    async resources() {
      const page = { pageSize: 0, pageToken: "", filter: "" };
      const { resources } = await registry.call(ResourcesService.listResources, page as never);
      return resources;
    },
    async documents(resource) {
      const answer = await fetch(`http://${gateway.http}/v1/${resource}/context`);
      if (answer.status === 404) return [];
      return ((await answer.json()) as { documents: Record<string, unknown>[] }).documents;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** An instance of its own for a resource made by hand, enriched once: how the run ended. */
function enricher({ at }: Ground) {
  let due = 0;
  return {
    async instance(id: string, config: object, only?: Partial<Permissions>) {
      const more = only && { grants: { allRequested: false, only: PermissionsMessage.fromPartial(only) } };
      const instance = await at.instance(id, config as never, { plugin: PLUGIN, ...more });
      await at.poller(`${id}-enrich`, instance, PollerKind.ENRICH);
      await at.poller(`${id}-poll`, instance, PollerKind.POLL);
      return instance;
    },
    async run(id: string, resource: Resource, kind: "enrich" | "poll" = "enrich") {
      due += 1;
      const poller = `${id}-${kind}`;
      const runId = runIds.poll(poller, resource.name.slice("resources/".length), `${due}`);
      const job = { kind: kind === "poll" ? JobKind.POLL : JobKind.ENRICH, instance: `instances/${id}`, manual: true };
      await at.send({ ...job, runId, poller: `pollers/${poller}`, resource: resource.name });
      const [run] = await at.runs(runId, (runs) => runs.length === 1);
      return { runId, outcome: run?.outcome, rows: run?.rows, message: run?.message, hostCalls: run?.hostCalls };
    },
  };
}

test.each([
  ["SQLite", embeddedGround],
  ["NATS", natsGround],
] as const)(
  "on %s: discovered, enriched, polled with the documents; they go with the resource",
  async (_, open) => {
    await using g = await ground(open, true);
    const instance = await g.at.instance("net", {}, { plugin: PLUGIN });
    await g.at.poller("find", instance, PollerKind.DISCOVER);
    await g.at.poller("enrich", instance, PollerKind.ENRICH);
    await g.at.poller("poll", instance, PollerKind.POLL);
    const sql =
      "SELECT resource, max(value), anyLast(dimensions['note']) FROM metrics " +
      "WHERE name IN ('given', 'asked') AND value > 0 GROUP BY resource HAVING uniqExact(name) = 2 ORDER BY resource";
    const rows = await until("metrics made of documents", async () => {
      const found = await g.results.query({ sql, maxRows: 10, maxBytes: 1 << 20, timeoutMs: 10_000 });
      return found.rows.length === 2 && found.rows;
    });
    const resources = await g.resources();
    const names = resources.map(({ name }) => name.slice("resources/".length)).sort();
    expect(rows.map(([resource, value]) => [resource, value])).toEqual(names.map((name) => [name, 1000]));
    expect(rows.map(([, , note]) => note).sort()).toEqual(["about dev-0", "about dev-1"]);

    const resource = resources.find(({ id }) => id === "dev-1")?.name ?? "";
    const documents = await g.documents(resource);
    expect(documents.map(({ namespace, key, value, instance: by }) => [namespace, key, value, by])).toEqual([
      ["interface", "1", { speed: 1000, name: "eth0" }, "instances/net"],
      ["note", "héllo ☃", "about dev-1", "instances/net"],
    ]);
    const [first] = documents as { run: string; writeTime: string; expireTime: string }[];
    expect(first?.run).toMatch(/^runs\/enrich\/net-dev-1-/);
    expect(Date.parse(first?.expireTime ?? "") - Date.parse(first?.writeTime ?? "")).toBe(3_600_000);
    const said = await runCli(["resource", "context", resource, "--namespace", "note", "--address", g.grpc, "--json"]);
    expect(JSON.parse(said.stdout)).toMatchObject([{ key: "héllo ☃", value: "about dev-1" }]);

    const { registry } = g.at;
    await registry.call(ResourcesService.deleteResource, { name: resource, etag: "" });
    const bucket = await g.bus.kv(BUCKETS.contexts);
    const owner = resource.slice("resources/".length);
    await until("its documents are gone", async () => (await bucket.list(owner)).length === 0);
    await until("and their mark", async () => (await bucket.get(`_.${owner}`)) === undefined);
    const answer = await fetch(`http://${g.http}/v1/${resource}/context`);
    expect(answer.status).toBe(404);
    const other = resources.find(({ id }) => id === "dev-0")?.name ?? "";
    expect((await g.documents(other)).length).toBe(2);
  },
  90_000,
);

test("documents that do not fit are named, all at once; the others are kept; quotas and owners hold", async () => {
  await using g = await ground();
  const { instance, run } = enricher(g);
  const device = await g.at.resource("device", "10.0.0.1");
  const good = { namespace: "interface", key: "good", value: { speed: 1, name: "eth1" } };
  const bad = [
    { namespace: "interface", key: "a", value: { speed: 0, name: "ETH" } },
    { namespace: "nowhere", key: "" },
    { namespace: "note", key: "a", ttl: "11m" },
    { namespace: "note", key: "b", ttl: "soon", resource: "nobody" },
    { namespace: "note", key: "c", value: "x".repeat(65 * 1_024) },
    "text",
  ];
  await instance("mixed", { documents: [good, ...bad, good] });
  const mixed = await run("mixed", device);
  expect(mixed).toMatchObject({ outcome: "partial", rows: 1 });
  expect(mixed.message?.split("\n")).toEqual([
    "documents[1].value.speed: must be >= 1",
    'documents[1].value.name: must match pattern "^[a-z]+[0-9]*$"',
    'documents[2].namespace: "nowhere" is not declared in interfaces.enrich.namespaces; there are: interface note',
    'documents[2].key: "" is not text of 1 to 128 bytes',
    'documents[3].ttl: "11m" is longer than the namespace\'s ttl of 600000 ms',
    'documents[4].resource: there is no resource "nobody"',
    'documents[4].ttl: "soon" is not a duration',
    "documents[5].value: is 66562 bytes; at most 65536",
    "documents[6]: is not an object",
    'documents[7].key: "good" is there twice',
  ]);
  expect((await g.documents(device.name)).map(({ key }) => key)).toEqual(["good"]);

  await instance("wrong", { documents: bad.slice(0, 2) });
  expect(await run("wrong", device)).toMatchObject({ outcome: "guest_error", rows: 0 });

  await instance("other", { documents: [good, { ...good, key: "mine" }] });
  const other = await run("other", device);
  expect(other).toMatchObject({ outcome: "partial", rows: 1 });
  expect(other.message).toMatch(/^documents\[0\]: belongs to instances\/mixed for another \d+ ms$/);

  const many = Array.from({ length: 1_010 }, (_, i) => ({ namespace: "note", key: `k${i}`, value: i }));
  await instance("many", { documents: many });
  const full = await run("many", device);
  expect(full).toMatchObject({ outcome: "partial", rows: 1_000 });
  expect(full.message).toContain("at most 1000 documents of instances/many about resources/device");
  await instance("large", { large: 20 });
  const heavy = await run("large", await g.at.resource("cabinet", "10.0.0.2"));
  expect(heavy).toMatchObject({ outcome: "partial", rows: 17 });
  expect(heavy.message).toContain("of instances/large about resources/cabinet; at most 1048576");
  // Written again, they count once: the quota is of what is stored.
  expect(await run("many", device)).toMatchObject({ outcome: "partial", rows: 1_000 });
}, 90_000);

test("what is not granted is refused and counted; a document ends with its ttl; runs replay to the byte", async () => {
  await using g = await ground();
  const { instance, run } = enricher(g);
  const device = await g.at.resource("device", "10.0.0.1");
  const other = await g.at.resource("other", "10.0.0.2");
  const brief = { namespace: "note", key: "brief", value: "soon gone", ttl: "1s" };
  const port = { namespace: "interface", key: "1", value: { speed: 7, name: "eth0" }, resource: "other" };
  await instance("open", { documents: [brief, port] });
  await instance("shut", {}, {});
  await instance("own", {}, { context: ["interface"] });
  expect(await run("open", device)).toMatchObject({ outcome: "ok", rows: 2 });

  const ask = async (id: string, request: object) => {
    const body = JSON.stringify({ name: "context", request });
    const headers = { "content-type": "application/json" };
    const url = `http://${g.http}/v1/instances/${id}/functions/ask:call`;
    const answer = await until(`${id} answers`, async () => {
      const got = await fetch(url, { method: "POST", body, headers });
      return got.status === 200 && ((await got.json()) as { output: { ok?: object; error?: { code: string } } });
    });
    return answer.output;
  };
  const get = { op: "get", resource: "other", namespace: "interface", key: "1" };
  expect(await ask("open", get)).toMatchObject({ ok: { value: { speed: 7 }, key: "1", instance: "open" } });
  expect(await ask("open", { ...get, op: "list", key: "" })).toMatchObject({ ok: { documents: [{ key: "1" }] } });
  expect((await ask("own", get)).error).toMatchObject({
    code: "denied",
    message: expect.stringContaining('"interface/*"'),
  });
  expect((await ask("shut", get)).error?.code).toBe("denied");
  // A function is called for no resource, so one has to be named.
  expect((await ask("open", { op: "get", namespace: "interface", key: "1" })).error).toMatchObject({
    code: "invalid",
    message: expect.stringContaining("resource"),
  });
  expect((await ask("open", { ...get, op: "put", namespace: "No" })).error?.code).toBe("invalid");

  const shut = await run("shut", other, "poll");
  expect(shut).toMatchObject({ outcome: "denied", hostCalls: { context: 1, denied: 3 } });
  const own = await run("own", other, "poll");
  expect(own).toMatchObject({ outcome: "ok", message: "context left out: note (not granted)" });
  const open = await run("open", other, "poll");
  expect(open).toMatchObject({ outcome: "ok", message: "", hostCalls: { context: 2 } });

  const entry = await until("a record", async () => (await g.bus.kv(BUCKETS.records)).get(recordKey(open.runId)));
  const { digest, moduleDigest } = Recording.decode(entry.value);
  const recording = readRecording(await (await g.bus.blobs(RECORDS)).get(digest));
  expect(JSON.stringify(recording.calls[0])).toContain('{\\"speed\\":7,\\"name\\":\\"eth0\\"}');
  await using sandbox = await openSandbox({ lanes: 1, callsPerLane: 1, log: silentLog });
  const module = await (await g.bus.blobs(BLOBS)).get(moduleDigest);
  expect(await replayRun(recording, module, sandbox)).toMatchObject({ differences: [], hostCalls: 2 });

  const gone = async () => (await g.documents(device.name)).length === 0;
  await until("the brief one is over", gone);
  expect(await run("open", device)).toMatchObject({ outcome: "ok", rows: 2 });
  expect((await g.documents(device.name)).map(({ key }) => key)).toEqual(["brief"]);
}, 90_000);

test("without a platform: enrich is judged, and poll is given documents, by `plugin call`", async () => {
  const call = (...args: string[]) => runCli(["plugin", "call", FOLDER, ...args, "--json"]);
  const context = { interface: { 1: { speed: 9 } }, note: {} };
  const polled = await call("poll", "--input", JSON.stringify({ context }));
  const values = { given: { value: 9 }, asked: { value: 9 }, listed: { value: 1 } };
  expect(JSON.parse(polled.stdout)).toMatchObject({ outcome: "ok", answer: { metrics: [{ values }] } });
  const documents = [{ namespace: "interface", key: "1", value: { speed: 0 } }];
  const wrong = await call("enrich", "--config", JSON.stringify({ documents }));
  const { outcome, error } = JSON.parse(wrong.stdout) as { outcome: string; error: { message: string } };
  expect([outcome, error.message.split("\n").length, wrong.code]).toEqual(["guest_error", 2, 1]);
}, 60_000);
