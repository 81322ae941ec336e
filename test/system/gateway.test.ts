/** The API over real HTTP and gRPC, before a real registry, scheduler, bus and ClickHouse. */
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { create, createFileRegistry, fromBinary, hasOption } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { service as healthService } from "grpc-health-check";
import { request as rawRequest } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CatalogService } from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { ask, connect, converse, listen } from "../../services/kit/grpc.ts";
import type { Results } from "../../services/results/results.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { json, post, startWorld, web } from "../harness/gateway.ts";
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

/** As far as the test reads it; by proto-loader, which names 64-bit numbers and bytes its own way. */
interface ReflectionAnswer {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
}

describe("the API over HTTP", () => {
  test("a bundle is published as raw bytes, listed, read and deleted; mistakes come back by name", async () => {
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    const probe = await rawRequest(`${world.url}/healthz`, { headers: { host: "10.0.0.7:7400" } });
    expect(probe.statusCode).toBe(200);
    await probe.body.dump();
  });

  test("a stream is NDJSON, or events when asked for, and ends with its reader", async () => {
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
