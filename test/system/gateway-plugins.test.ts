/** Plugin routes and files over real HTTP: guests in small executors that fail on demand, and in real ones. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { settings as executorSettings, start as startRealExecutor } from "../../services/executor/main.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import {
  type Answer,
  connected,
  type Guest,
  INDEX,
  json,
  post,
  ROUTES,
  startExecutor,
  startWorld,
  web,
} from "../harness/gateway.ts";
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

describe("plugin routes", () => {
  test("a declared route reaches a guest with all that it needs, and its answer comes back", async () => {
    await using world = await startWorld(results);
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
    const head = await fetch(`${world.url}/plugins/web/api/x`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([201, "3", ""]);
    expect(seen[3]).toMatchObject({ method: "GET" });
    const verb = await fetch(`${world.url}/plugins/web/api/x`, { method: "DELETE" });
    expect([verb.status, verb.headers.get("allow")]).toEqual([405, "GET, POST"]);
  });

  test("a guest that fails gets a status that says how, and never breaks the platform", async () => {
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
    await using world = await startWorld(results);
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
  test("a guest answers, fails, traps, spins, asks for a token; the run is in the history", async () => {
    await using world = await startWorld(results, { token: "s3cret" });
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
