/** The doors of the gateway: token, readiness, what is told at start, and a close that loses nothing. */
import { Metadata } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { settings, start } from "../../services/gateway/main.ts";
import { type Config, readConfig } from "../../services/kit/config.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { type Answer, connected, json, startExecutor, startWorld, web } from "../harness/gateway.ts";
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

describe("doors", () => {
  test("with a token set it is asked for everywhere but for health and what is public", async () => {
    await using world = await startWorld(results, { token: "s3cret" });
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
    await using world = await startWorld(results);
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
    const world = await startWorld(results);
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
