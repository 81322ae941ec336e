/** The gateway over real HTTP and gRPC, before a real registry, scheduler, bus and ClickHouse; executors are small servers. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Readable } from "node:stream";
import { create, createFileRegistry, fromBinary, hasOption } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Metadata, type ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { service as healthService } from "grpc-health-check";
import { request as rawRequest } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import {
  type ExecutorsServer,
  ExecutorsService,
  type Failure,
  type Invoke,
  type ServeRequest,
  type ServeResponse,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { BUCKETS, EXECUTOR_TTL_MS } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { settings as executorSettings, start as startRealExecutor } from "../../services/executor/main.ts";
import { type Gateway, settings, start } from "../../services/gateway/main.ts";
import { type Config, readConfig } from "../../services/kit/config.ts";
import { ask, connect, converse, listen, type Methods, serve, service } from "../../services/kit/grpc.ts";
import type { Running } from "../../services/kit/lifecycle.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { settings as schedulerSettings, start as startScheduler } from "../../services/scheduler/main.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { startRegistry } from "../harness/registry.ts";
import { until } from "../harness/until.ts";

let clickHouse: TestClickHouse;
let results: Results;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  results = await openTestResults(clickHouse);
});
afterAll(async () => {
  await results?.[Symbol.asyncDispose]();
  await clickHouse?.[Symbol.asyncDispose]();
});

interface World extends AsyncDisposable {
  readonly url: string;
  readonly gateway: Gateway;
  readonly bus: Bus;
  /** Address of the registry. */
  readonly registry: string;
  publish(bundle: Buffer): Promise<void>;
}

/** As far as the test reads it; by proto-loader, which names 64-bit numbers and bytes its own way. */
interface ReflectionAnswer {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
}

/** Everything behind the gateway, and one gateway. */
async function startWorld(over: Partial<Config<typeof settings>> = {}): Promise<World> {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await embeddedGround());
  const registry = stack.use(await startRegistry(bus));
  const behind = { listen: "127.0.0.1:0", registry: registry.address };
  const scheduler = stack.use(await startScheduler(readConfig(schedulerSettings, {}, behind), { bus, log: silentLog }));
  const config = readConfig(
    settings,
    {},
    {
      ...{ http: "127.0.0.1:0", grpc: "127.0.0.1:0", registry: registry.address, scheduler: scheduler.address },
      ...over,
    },
  );
  const gateway = stack.use(await start(config, { bus, results, log: silentLog }));
  const url = `http://${gateway.http}`;
  await until("the gateway knows the catalogue", async () => (await fetch(`${url}/readyz`)).ok);
  return {
    url,
    gateway,
    bus,
    registry: registry.address,
    async publish(bundle) {
      const request = { bundle, validateOnly: false };
      const { instance } = await registry.call(PluginsService.publishPlugin, request);
      const id = instance.replace(/^instances\//, "");
      // 503 says that its page is known to this gateway but cannot be served; 404 that it is not known yet.
      await until(`the gateway knows ${id}`, async () => {
        const answer = await fetch(`${url}/plugins/${id}`, { redirect: "manual" });
        await answer.arrayBuffer();
        return answer.status === 308;
      });
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

type Answer = { readonly output: unknown } | { readonly failure: Partial<Failure> };
type Guest = (invoke: Invoke & { readonly json: Record<string, unknown> }, cancelled: AbortSignal) => Promise<Answer>;

/** A real gRPC server that speaks executor.v1 and answers with a function instead of a guest. */
async function startExecutor(bus: Bus, id: string, guest: Guest, capacity = 4): Promise<Running> {
  const methods: Methods<ExecutorsServer> = {
    async *serve(requests, { signal }) {
      const out = new TransformStream<ServeResponse, ServeResponse>();
      const writer = out.writable.getWriter();
      const write = (response: ServeResponse) => writer.write(response).catch(() => {});
      const calls = new Map<bigint, AbortController>();
      const read = async () => {
        for await (const { callId, kind } of requests as AsyncIterable<ServeRequest>) {
          if (kind?.$case === "cancel") calls.get(callId)?.abort();
          if (kind?.$case !== "invoke") continue;
          const cancel = new AbortController();
          calls.set(callId, cancel);
          const json = JSON.parse(Buffer.from(kind.value.input).toString("utf8")) as Record<string, unknown>;
          void guest({ ...kind.value, json }, cancel.signal).then((answer) => {
            const failed = { code: "internal", message: "", outcome: "", runId: "", guestCode: "" };
            return write({
              callId,
              kind:
                "failure" in answer
                  ? { $case: "failure", value: { ...failed, ...answer.failure } }
                  : { $case: "result", value: { output: Buffer.from(JSON.stringify(answer.output)), runId: "web/1" } },
            });
          });
        }
      };
      read().catch(() => {});
      signal.addEventListener("abort", () => void writer.abort().catch(() => {}), { once: true });
      yield { callId: 0n, kind: { $case: "hello", value: { executor: id, capacity } } };
      yield* out.readable;
    },
  };
  const server = await serve("127.0.0.1:0", [service(ExecutorsService, methods)], { log: silentLog, drainMs: 50 });
  const kv = await bus.kv(BUCKETS.executors, { ttlMs: EXECUTOR_TTL_MS });
  await kv.put(id, Buffer.from(JSON.stringify({ address: server.address })));
  return server;
}

const connected = (url: string, count: number) =>
  until(`${count} executors are connected`, async () =>
    (await (await fetch(`${url}/metrics`)).text()).includes(`\nmillrace_executors ${count}\n`),
  );

const ROUTES = [
  { method: "GET", path: "/api/{name}", auth: "public", timeout: "2s" },
  { method: "POST", path: "/api/{name}", auth: "public", timeout: "2s", max_body_bytes: 1_000 },
  { method: "GET", path: "/secret", timeout: "2s" },
];
const INDEX = "<!doctype html><title>web</title>";
const FILES = { "static/index.html": INDEX, "static/a/é b.txt": "0123456789", "static/app.js": "export {}" };
const web = (routes: readonly object[] = ROUTES) =>
  bundleOf({ name: "web", interfaces: { route: { routes } } }, { "plugin.wasm": moduleOf("route"), ...FILES });

const json = async (response: Response) => ({ status: response.status, body: JSON.parse(await response.text()) });
const post = (url: string, body: string | Uint8Array, type = "application/json") =>
  fetch(url, { method: "POST", body, headers: { "content-type": type } });

describe("the API over HTTP", () => {
  test("a bundle is published as raw bytes, listed, read and deleted; mistakes come back by name", async () => {
    await using world = await startWorld();
    const at = `${world.url}/v1/plugins`;
    const published = await json(await post(`${at}:publish`, web(), "application/x-www-form-urlencoded"));
    expect(published).toMatchObject({ status: 200, body: { created: true, instance: "instances/web" } });
    // Defaults are written out, 64-bit numbers are text, enums are names.
    const listed = await json(await fetch(at));
    expect(listed.body.plugins).toMatchObject([{ name: "plugins/web", state: "PLUGIN_STATE_ACTIVE", stateReason: "" }]);
    const version = await json(await fetch(`${at}/web/versions/1.0.0`));
    expect(version.body.version.staticFiles).toContainEqual(expect.objectContaining({ path: "app.js", bytes: "9" }));
    const instance = await json(await fetch(`${world.url}/v1/instances/web`));
    expect(instance.body.instance).toMatchObject({ plugin: "plugins/web", runningVersion: "1.0.0" });

    const again = await json(await post(`${at}:publish?validateOnly=true`, web(), "application/gzip"));
    expect(again).toMatchObject({ status: 200, body: { created: false } });
    const asJson = await json(await post(`${at}:publish`, JSON.stringify(web().toString("base64"))));
    expect(asJson).toMatchObject({ status: 200, body: { created: false } });
    const broken = await json(await post(`${at}:publish`, Buffer.from("no bundle"), "application/gzip"));
    expect(broken).toMatchObject({ status: 400, body: { error: { code: "invalid", status: 400 } } });
    expect(broken.body.error.mistakes.length).toBeGreaterThan(0);

    const missing = await json(await fetch(`${at}/nothing`));
    expect(missing).toMatchObject({ status: 404, body: { error: { code: "not_found", mistakes: [] } } });
    const refused = await json(await fetch(`${at}/web`, { method: "DELETE" }));
    expect(refused).toMatchObject({ status: 412, body: { error: { code: "precondition" } } });
    const deleted = await json(await fetch(`${at}/web?cascade=true`, { method: "DELETE" }));
    expect(deleted).toEqual({ status: 200, body: {} });
  });

  test("what cannot be read is refused in one shape", async () => {
    await using world = await startWorld();
    const query = `${world.url}/v1/query`;
    expect(await json(await post(query, "{"))).toMatchObject({ status: 400, body: { error: { code: "invalid" } } });
    expect(await json(await post(query, "{}", "text/plain"))).toMatchObject({
      status: 415,
      body: { error: { code: "invalid", status: 415, mistakes: [{ field: "content-type" }] } },
    });
    const large = await json(await post(query, JSON.stringify({ sql: "x".repeat(1 << 20) })));
    expect(large).toMatchObject({ status: 413, body: { error: { code: "too_large" } } });
    const huge = await json(await post(`${world.url}/v1/plugins:publish`, Buffer.alloc(40 << 20), "application/gzip"));
    expect(huge).toMatchObject({ status: 413, body: { error: { code: "too_large" } } });
    const chunked = await rawRequest(query, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(1 << 16, " "))),
    }).catch((thrown) => thrown);
    // The answer may be overtaken by the close of a connection that still sends.
    if (!(chunked instanceof Error)) expect(chunked.statusCode).toBe(413);
    const verb = await fetch(query, { method: "PUT" });
    expect([verb.status, verb.headers.get("allow")]).toEqual([405, "POST"]);
    expect(await json(verb)).toMatchObject({ body: { error: { code: "unimplemented", status: 405 } } });
    expect((await fetch(`${world.url}/v1/nothing`)).status).toBe(404);
    expect(await json(await fetch(`${world.url}/nothing`))).toMatchObject({ status: 404 });
    expect((await fetch(`${world.url}/v1/runs?${"x".repeat(9_000)}`)).status).toBe(413);
    expect((await fetch(`${world.url}/v1/pipes/%zz`)).status).toBeGreaterThanOrEqual(400);
    const foreign = await rawRequest(query, { method: "POST", headers: { origin: "http://evil.example" }, body: "{}" });
    expect(foreign.statusCode).toBe(403);
    await foreign.body.dump();
    const rebound = await rawRequest(`${world.url}/v1/runs`, { headers: { host: "evil.example" } });
    expect(rebound.statusCode).toBe(403);
    await rebound.body.dump();
  });

  test("a stream is NDJSON, or events when asked for, and ends with its reader", async () => {
    await using world = await startWorld();
    await world.publish(web());
    const leave = new AbortController();
    const read = async (accept: string, enough: string) => {
      const response = await fetch(`${world.url}/v1/catalog:watch`, { headers: { accept }, signal: leave.signal });
      let text = "";
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        if (text.includes(enough)) break;
      }
      return { type: response.headers.get("content-type"), text };
    };
    const lines = await read("*/*", '"synced":true');
    expect(lines.type).toContain("application/x-ndjson");
    const changes = lines.text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(changes.map((change) => change.plugin?.name).filter(Boolean)).toEqual(["plugins/web"]);
    const events = await read("text/event-stream", '"synced":true');
    expect(events.type).toBe("text/event-stream");
    expect(events.text).toMatch(/^data: \{.*\}\n\n/);
    leave.abort();
    await until("the streams are over", async () => {
      const metrics = await (await fetch(`${world.url}/metrics`)).text();
      return metrics.includes("\nmillrace_http_requests_in_flight 1\n");
    });
  });

  test("runs, logs, datasets and queries are answered from ClickHouse", async () => {
    await using world = await startWorld();
    const run = { runId: "web/daily/1", fence: 7n, kind: "fetch", target: "pipes/web.daily", instance: "web" } as const;
    await results.ensureDataset({ dataset: "web_daily", columns: { time: "timestamp", n: "int64" }, datetime: "time" });
    const rows = [1, 2, 3].map((n) => ({ time: `2024-01-0${n}T00:00:00Z`, n }));
    const chunk = { dataset: "web_daily", runId: run.runId, fence: 7n, attempt: 1, chunk: 0, resource: "", rows };
    await results.appendChunk(chunk);
    await results.commit(runRecord({ ...run, dataset: "web_daily", rows: 3, hostCalls: { http: 2 } }));
    const timeUs = BigInt(Date.now()) * 1_000n;
    results.log([{ runId: run.runId, fence: 7n, timeUs, level: "info", instance: "web", message: "hello" }]);
    await results.flush();
    const get = async (path: string) => (await json(await fetch(`${world.url}/v1/${path}`))).body;
    const listed = await get("runs?instance=instances/web&target=pipes/web.daily&outcome=ok");
    expect(listed.runs).toMatchObject([
      { name: "runs/web/daily/1", fence: "7", target: "pipes/web.daily", hostCalls: { http: "2" }, rows: "3" },
    ]);
    expect((await get("runs/web/daily/1")).attempts).toHaveLength(1);
    expect((await get("runs/web/daily/1:logs")).lines).toMatchObject([{ level: "info", message: "hello" }]);
    expect((await get("datasets")).datasets).toContainEqual(expect.objectContaining({ name: "datasets/web_daily" }));
    const page = await get("datasets/web_daily/rows?begin=2024-01-02T00:00:00Z&pageSize=1");
    expect(page.rows).toHaveLength(1);
    expect(page.nextPageToken).not.toBe("");
    const asked = { sql: "SELECT n FROM web_daily WHERE n > {low:Int64} ORDER BY n", params: { low: 1 } };
    const answer = await json(await post(`${world.url}/v1/query`, JSON.stringify(asked)));
    expect(answer.body).toMatchObject({ columns: [{ name: "n" }], rows: [["2"], ["3"]], truncated: false });
    const write = await json(await post(`${world.url}/v1/query`, JSON.stringify({ sql: "DROP TABLE runs" })));
    expect(write.status).toBeGreaterThanOrEqual(400);
    const many = await json(await post(`${world.url}/v1/query`, JSON.stringify({ sql: "", maxRows: 1_000_000 })));
    expect(many.body.error.mistakes.map((m: { field: string }) => m.field)).toEqual(["sql", "maxRows"]);
    expect((await get("runs?kind=odd&outcome=odd")).error.mistakes).toHaveLength(2);
    expect((await get("runs/no/such")).error.code).toBe("not_found");
  });

  test("the scheduler is reached too, and pages describe it all", async () => {
    await using world = await startWorld();
    await world.publish(web());
    const preview = await json(await fetch(`${world.url}/v1/schedules:preview?schedule=every%201h&count=3`));
    expect(preview.body.times).toHaveLength(3);
    const document = await json(await fetch(`${world.url}/openapi.json`));
    expect(document.body.paths["/v1/pipes/{pipe}:sync"].post.operationId).toBe("Schedules_SyncPipe");
    const docs = await fetch(`${world.url}/docs`);
    expect(await docs.text()).toContain("/docs/docs.js");
    expect(docs.headers.get("content-security-policy")).toContain("script-src 'self'");
    expect((await fetch(`${world.url}/docs/docs.js`)).headers.get("content-type")).toContain("text/javascript");
    expect(await (await fetch(`${world.url}/`)).text()).toContain('<a href="/plugins/web/">');
  });
});

describe("the API over gRPC", () => {
  test("calls and faults pass through; what is not public is not there", async () => {
    await using world = await startWorld();
    using channel = connect(world.gateway.grpc);
    const deadline = { deadlineMs: 5_000 };
    const { version } = await ask(
      channel,
      PluginsService.publishPlugin,
      { bundle: web(), validateOnly: false },
      deadline,
    );
    expect(version?.manifest?.name).toBe("web");
    const { instance } = await ask(channel, InstancesService.getInstance, { name: "instances/web" }, deadline);
    expect(instance?.state).toBe(InstanceState.ENABLED);
    const broken = ask(
      channel,
      PluginsService.publishPlugin,
      { bundle: Buffer.from("x"), validateOnly: true },
      deadline,
    );
    await expect(broken).rejects.toMatchObject({ code: "invalid", mistakes: [{ field: expect.any(String) }] });
    const inner = ask(
      channel,
      PipesService.registerPipe,
      { name: "pipes/a", defaults: undefined, failure: "", etag: "" },
      deadline,
    );
    await expect(inner).rejects.toMatchObject({ code: "unimplemented" });
  });

  test("health tells real states, reflection the real descriptors, to clients that know nothing of us", async () => {
    await using world = await startWorld();
    using channel = connect(world.gateway.grpc);
    const check = (name: string) =>
      ask(channel, healthService.Check as never, { service: name } as never, { deadlineMs: 5_000 });
    expect(await check("")).toMatchObject({ status: "SERVING" });
    expect(await check("millrace.results.v1.Queries")).toMatchObject({ status: "SERVING" });
    await expect(check("odd")).rejects.toMatchObject({ code: "not_found" });

    const protoPath = createRequire(import.meta.url).resolve(
      "@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
    );
    const definition = loadSync(protoPath)["grpc.reflection.v1.ServerReflection"] as ServiceDefinition;
    const talk = converse(channel, definition.ServerReflectionInfo as never, new AbortController().signal);
    const answers = (talk.responses as AsyncIterable<ReflectionAnswer>)[Symbol.asyncIterator]();
    const reflect = async (question: object) => {
      await talk.send(question as never);
      return (await answers.next()).value as ReflectionAnswer;
    };
    const { listServicesResponse } = await reflect({ listServices: "*" });
    const names = listServicesResponse?.service.map(({ name }) => name) ?? [];
    expect(names).toContain("millrace.registry.v1.Pipes");
    expect(names).not.toContain("millrace.executor.v1.Executors");
    const { fileDescriptorResponse } = await reflect({ fileContainingSymbol: "millrace.registry.v1.Pipes.GetPipe" });
    const protos = fileDescriptorResponse?.fileDescriptorProto ?? [];
    const file = protos.map((bytes) => fromBinary(FileDescriptorProtoSchema, new Uint8Array(bytes)));
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
    const http = registry.getExtension("google.api.http");
    const getPipe = registry.getService("millrace.registry.v1.Pipes")?.methods.find(({ name }) => name === "GetPipe");
    expect(http && getPipe && hasOption(getPipe, http)).toBe(true);
    expect(await reflect({ fileByFilename: "millrace/registry/v1/pipe.proto" })).toHaveProperty(
      "fileDescriptorResponse",
    );
    expect(await reflect({ fileContainingSymbol: "odd" })).toMatchObject({ errorResponse: { errorCode: 5 } });
    talk.end();
  });

  test("a caller's deadline and hang-up reach the service behind", async () => {
    await using world = await startWorld();
    using channel = connect(world.gateway.grpc);
    const leave = new AbortController();
    const changes: unknown[] = [];
    for await (const change of listen(channel, CatalogService.watchCatalog, {}, { signal: leave.signal })) {
      changes.push(change);
      leave.abort();
    }
    expect(changes).toHaveLength(1);
    const numbers = "(SELECT arrayJoin(range(1000000)) AS n)";
    const sql = `SELECT max(cityHash64(a.n, b.n)) FROM ${numbers} AS a, ${numbers} AS b`;
    const slow = { sql, params: {}, maxRows: 0, timeoutMs: 0 };
    const began = performance.now();
    const late = ask(channel, QueriesService.query, slow, { deadlineMs: 300 });
    await expect(late).rejects.toMatchObject({ code: "deadline" });
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe("plugin routes", () => {
  test("a declared route reaches a guest with all that it needs, and its answer comes back", async () => {
    await using world = await startWorld();
    await world.publish(web());
    const seen: Record<string, unknown>[] = [];
    await using _ = await startExecutor(world.bus, "e1", async ({ json: input, instance, target, deadlineMs }) => {
      seen.push({ ...input, instance, target, deadlineMs });
      return { output: { status: 201, headers: { "x-a": "b", "set-cookie": "c=d" }, body_base64: "AAEC" } };
    });
    await connected(world.url, 1);
    const answer = await fetch(`${world.url}/plugins/web/api/a%20b?q=1&q=2&r=`, {
      headers: { cookie: "a=b", "x-y": "z" },
    });
    expect(answer.status).toBe(201);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from([0, 1, 2]));
    expect(answer.headers.get("x-a")).toBe("b");
    expect(answer.headers.get("set-cookie")).toBeNull();
    expect(answer.headers.get("x-millrace-run")).toBe("web/1");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("content-security-policy")).toContain(`connect-src ${world.gateway.http}/plugins/web/;`);
    expect(seen[0]).toMatchObject({
      method: "GET",
      path: "/api/a%20b",
      params: { name: "a b" },
      instance: "instances/web",
    });
    expect(seen[0]).toMatchObject({ query: { q: ["1", "2"], r: "" }, target: "GET /api/{name}" });
    expect(seen[0]?.deadlineMs).toBeGreaterThan(1_500);
    expect(seen[0]?.headers).toMatchObject({ "x-y": "z" });
    expect(seen[0]?.headers).not.toHaveProperty("cookie");
    await post(`${world.url}/plugins/web/api/x`, '{"é":1}');
    expect(seen[1]).toMatchObject({ method: "POST", body: '{"é":1}' });
    await post(`${world.url}/plugins/web/api/x`, new Uint8Array([255, 0]), "image/png");
    expect(seen[2]).toMatchObject({ body_base64: "/wA=" });
    expect((await post(`${world.url}/plugins/web/api/x`, "x".repeat(1_001))).status).toBe(413);
    const verb = await fetch(`${world.url}/plugins/web/api/x`, { method: "DELETE" });
    expect([verb.status, verb.headers.get("allow")]).toEqual([405, "GET, POST"]);
  });

  test("a guest that fails gets a status that says how, and never breaks the platform", async () => {
    await using world = await startWorld();
    await world.publish(web());
    const failing = (outcome: string, code = "internal"): Answer => ({ failure: { outcome, code, message: "m" } });
    const answers: Record<string, Answer> = {
      trap: failing("trap"),
      guest: failing("guest_error"),
      late: failing("timeout", "deadline"),
      denied: failing("denied", "denied"),
      memory: failing("out_of_memory"),
      quarantined: failing("quarantined"),
      gone: failing("", "not_found"),
      odd: { output: { status: 99, headers: { "a b": "c" } } },
      text: { output: "just text" },
    };
    await using _ = await startExecutor(world.bus, "e1", async ({ json: input }) => {
      return answers[(input.params as { name: string }).name] ?? { output: { body: "fine" } };
    });
    await connected(world.url, 1);
    const statuses: Record<string, number> = {};
    for (const name of Object.keys(answers)) {
      const { status, body } = await json(await fetch(`${world.url}/plugins/web/api/${name}`));
      statuses[name] = status;
      expect(body.error.message, name).toContain("instances/web");
    }
    expect(statuses).toEqual({
      ...{
        trap: 502,
        guest: 502,
        late: 504,
        denied: 403,
        memory: 502,
        quarantined: 503,
        gone: 404,
        odd: 502,
        text: 502,
      },
    });
    expect(await (await fetch(`${world.url}/plugins/web/api/well`)).text()).toBe("fine");
  });

  test("a lost stream: what only reads is tried elsewhere once, what may write is not", async () => {
    await using world = await startWorld();
    await world.publish(web());
    const calls = { first: 0, second: 0 };
    const first = await startExecutor(world.bus, "e1", async () => {
      calls.first += 1;
      void first[Symbol.asyncDispose]();
      return new Promise(() => {});
    });
    await connected(world.url, 1);
    const lost = await json(await post(`${world.url}/plugins/web/api/x`, "{}"));
    expect(lost).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
    const third = await startExecutor(
      world.bus,
      "e3",
      async () => {
        void third[Symbol.asyncDispose]();
        return new Promise(() => {});
      },
      100,
    );
    await using _ = await startExecutor(world.bus, "e2", async () => {
      calls.second += 1;
      return { output: { body: "second" } };
    });
    await connected(world.url, 2);
    expect(await (await fetch(`${world.url}/plugins/web/api/x`)).text()).toBe("second");
    expect(calls).toEqual({ first: 1, second: 1 });
  });

  test("full executors are waited for a moment, then 503; a caller that leaves cancels its call", async () => {
    await using world = await startWorld();
    await world.publish(web());
    const none = await fetch(`${world.url}/plugins/web/api/x`);
    expect([none.status, none.headers.get("retry-after")]).toEqual([503, "1"]);
    const gates: (() => void)[] = [];
    let cancelled = 0;
    const hold: Guest = (_, signal) =>
      new Promise((resolve) => {
        const end = () => resolve({ output: { body: "held" } });
        gates.push(end);
        signal.addEventListener("abort", () => {
          cancelled += 1;
          end();
        });
      });
    await using _ = await startExecutor(world.bus, "e1", hold, 2);
    await connected(world.url, 1);
    const get = (signal?: AbortSignal) => fetch(`${world.url}/plugins/web/api/x`, signal ? { signal } : {});
    const leave = new AbortController();
    const held = [get(), get(leave.signal).catch(() => undefined)];
    await until("both places are taken", () => gates.length === 2);
    expect((await get()).status).toBe(503);
    const waiting = get();
    leave.abort();
    await until("the call was cancelled over there", () => cancelled === 1);
    await until("the one that waited got the place", () => gates.length === 3);
    for (const open of gates) open();
    expect((await waiting).status).toBe(200);
    expect((await held[0])?.status).toBe(200);
  });

  test("static files: index, ETag, ranges, HEAD; redirect; paused and unknown instances", async () => {
    await using world = await startWorld();
    await world.publish(web(ROUTES.slice(0, 2)));
    const at = `${world.url}/plugins/web`;
    const bare = await fetch(`${at}?a=b`, { redirect: "manual" });
    expect([bare.status, bare.headers.get("location")]).toEqual([308, "/plugins/web/?a=b"]);
    const index = await fetch(`${at}/`);
    expect([index.status, await index.text()]).toEqual([200, INDEX]);
    const etag = index.headers.get("etag") ?? "";
    expect(etag).toMatch(/^"[0-9a-f]{64}"$/);
    expect((await fetch(`${at}/index.html`, { headers: { "if-none-match": etag } })).status).toBe(304);
    const file = `${at}/a/${encodeURIComponent("é b.txt")}`;
    const range = await fetch(file, { headers: { range: "bytes=2-4" } });
    expect([range.status, range.headers.get("content-range"), await range.text()]).toEqual([
      206,
      "bytes 2-4/10",
      "234",
    ]);
    const beyond = await fetch(file, { headers: { range: "bytes=10-" } });
    expect([beyond.status, beyond.headers.get("content-range")]).toEqual([416, "bytes */10"]);
    const head = await fetch(file, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "10", ""]);
    expect((await fetch(`${at}/app.js`, { method: "POST" })).status).toBe(405);
    for (const path of ["/plugin.wasm", "/..%2fplugin.json", "/a/", "/nothing"]) {
      expect((await fetch(`${at}${path}`)).status, path).toBe(404);
    }
    expect((await fetch(`${world.url}/plugins/nobody/`)).status).toBe(404);
    const body = JSON.stringify({ state: "INSTANCE_STATE_PAUSED", stateReason: "holiday" });
    const headers = { "content-type": "application/json" };
    const paused = await fetch(`${world.url}/v1/instances/web`, { method: "PATCH", body, headers });
    expect(paused.status).toBe(200);
    const told = await until("the pause is known", async () => {
      const answer = await fetch(`${at}/`);
      return answer.status === 503 && answer;
    });
    expect((await json(told)).body.error.message).toContain("holiday");
  });
});

describe("plugin routes in real executors", () => {
  test("a guest answers, fails, traps, spins and is not let through without a token; the run is in the history", async () => {
    await using world = await startWorld({ token: "s3cret" });
    const over = { listen: "127.0.0.1:0", registry: world.registry, lanes: 1 };
    const ports = { bus: world.bus, results, log: silentLog };
    await using _ = await startRealExecutor(readConfig(executorSettings, {}, over), ports);
    const kitchen = await buildPlugin(join(import.meta.dirname, "../plugins/kitchen"));
    await world.publish(await readFile(kitchen.path));
    const authorization = "Bearer s3cret";
    const at = `${world.url}/plugins/kitchen`;
    await until("the guest answers", async () => (await fetch(`${at}/hello`)).ok);
    expect(await json(await fetch(`${at}/echo/${encodeURIComponent("é ☃")}`))).toEqual({
      status: 200,
      body: { name: "é ☃" },
    });
    const echoed = await post(`${at}/echo?a=1`, "räksmörgås", "text/plain");
    expect([echoed.status, await echoed.text()]).toEqual([200, expect.stringContaining("räksmörgås")]);
    const binary = await fetch(`${at}/binary`);
    expect((await binary.arrayBuffer()).byteLength).toBeGreaterThan(0);
    expect((await (await fetch(`${at}/big?bytes=3000000`)).text()).length).toBe(3_000_000);
    const codes: Record<string, number> = {};
    for (const path of ["trap", "fail", "spin", "private", "status/418"]) {
      codes[path] = (await fetch(`${at}/${path}`)).status;
    }
    expect(codes).toEqual({ trap: 502, fail: 502, spin: 504, private: 401, "status/418": 418 });
    const secret = await fetch(`${at}/private`, { headers: { authorization } });
    expect(await secret.text()).toBe("secret");
    const run = secret.headers.get("x-millrace-run") ?? "";
    const stored = await until("the run is in the history", async () => {
      const answer = await json(await fetch(`${world.url}/v1/runs/${run}`, { headers: { authorization } }));
      return answer.status === 200 && answer;
    });
    expect(stored.body.run).toMatchObject({ instance: "instances/kitchen", outcome: "ok", target: "GET /private" });
  });
});

describe("doors", () => {
  test("with a token set it is asked for everywhere but for health and what is public", async () => {
    await using world = await startWorld({ token: "s3cret" });
    await using _ = await startExecutor(world.bus, "e1", async ({ json: input }) => ({
      output: { body: JSON.stringify(input.headers) },
    }));
    using channel = connect(world.gateway.grpc);
    const authorization = "Bearer s3cret";
    const metadata = new Metadata();
    metadata.set("authorization", authorization);
    const list = { pageSize: 0, pageToken: "" };
    const refused = ask(channel, PluginsService.listPlugins, list, { deadlineMs: 5_000 });
    await expect(refused).rejects.toMatchObject({ code: "unauthenticated" });
    await ask(channel, PluginsService.listPlugins, list, { deadlineMs: 5_000, metadata });
    await world.publish(web());
    const status = async (path: string, headers: Record<string, string> = {}) =>
      (await fetch(`${world.url}${path}`, { headers })).status;
    await until("the executor is connected", async () => (await status("/plugins/web/api/x")) === 200);
    expect(await status("/v1/plugins")).toBe(401);
    expect(await status("/v1/plugins", { authorization: "Bearer wrong" })).toBe(401);
    expect(await status("/v1/plugins", { authorization })).toBe(200);
    expect(await status("/plugins/web/secret")).toBe(401);
    expect(await status("/plugins/web/secret", { authorization })).toBe(200);
    // One route asks for a token, so the files do too.
    expect(await status("/plugins/web/")).toBe(401);
    expect(await status("/plugins/web/", { authorization })).toBe(200);
    expect(await status("/metrics")).toBe(401);
    expect(await status("/healthz")).toBe(200);
    expect(await (await fetch(`${world.url}/readyz`)).json()).toEqual({ status: "ok" });
    expect(await (await fetch(`${world.url}/`)).text()).not.toContain("/plugins/web/");
    const seen = await fetch(`${world.url}/plugins/web/api/x`, { headers: { authorization } });
    expect(await seen.json()).not.toHaveProperty("authorization");
  });

  test("readiness names what is away; a port that is taken and a door without a token are told at start", async () => {
    await using world = await startWorld();
    const state = await json(await fetch(`${world.url}/readyz`));
    expect(state.body.parts).toMatchObject({
      ...{ registry: { state: "ok" }, scheduler: { state: "ok" }, bus: { state: "ok" }, clickhouse: { state: "ok" } },
      executors: { state: "away", reason: "no executor is connected" },
    });
    expect(state).toMatchObject({ status: 200, body: { status: "degraded" } });
    const ports = { bus: world.bus, results, log: silentLog };
    const nobody = { registry: "127.0.0.1:1", scheduler: "127.0.0.1:1" };
    const begin = (over: Partial<Config<typeof settings>>) =>
      start(readConfig(settings, {}, { http: "127.0.0.1:0", grpc: "127.0.0.1:0", ...nobody, ...over }), ports);
    const { http, grpc } = world.gateway;
    await expect(begin({ http })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining(http),
    });
    await expect(begin({ grpc })).rejects.toMatchObject({ message: expect.stringMatching(/GATEWAY_GRPC.*in use/) });
    await expect(begin({ http: "0.0.0.0:0" })).rejects.toMatchObject({ code: "precondition" });
    await using alone = await begin({});
    const unready = await json(await fetch(`http://${alone.http}/readyz`));
    expect(unready).toMatchObject({ status: 503, body: { status: "unready", parts: { registry: { state: "away" } } } });
    expect(await json(await fetch(`http://${alone.http}/v1/plugins`))).toMatchObject({ status: 503 });
  });

  test("on close readiness falls first, new work is refused, running work finishes", async () => {
    const world = await startWorld();
    await world.publish(web());
    let finish = () => {};
    await using _ = await startExecutor(world.bus, "e1", () => {
      const { promise, resolve } = Promise.withResolvers<Answer>();
      finish = () => resolve({ output: { body: "finished" } });
      return promise;
    });
    await connected(world.url, 1);
    const running = fetch(`${world.url}/plugins/web/api/x`);
    const watching = (await fetch(`${world.url}/v1/catalog:watch`)).text();
    await until("the call runs", async () =>
      (await (await fetch(`${world.url}/metrics`)).text()).includes("\nmillrace_executor_calls_in_flight 1\n"),
    );
    const closed = world.gateway[Symbol.asyncDispose]();
    const state = await json(await fetch(`${world.url}/readyz`));
    expect(state).toMatchObject({ status: 503, body: { status: "draining" } });
    const refused = await fetch(`${world.url}/v1/plugins`);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await watching).toContain('"synced":true');
    finish();
    expect(await (await running).text()).toBe("finished");
    await closed;
    await expect(fetch(`${world.url}/healthz`)).rejects.toThrow();
    await world[Symbol.asyncDispose]();
  });
});
