/** The gRPC adapter on a real server: async methods, streams, faults with every mistake, hang-up, drain. */
import { expect, test } from "vitest";
import {
  type ExecutorsServer,
  ExecutorsService,
  type ServeRequest,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import {
  type CatalogServer,
  CatalogService,
  type WatchCatalogResponse,
} from "../../proto/gen/millrace/registry/v1/catalog_service.ts";
import { type PluginsServer, PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Fault } from "../../services/kit/fault.ts";
import { ask, connect, converse, listen, type Methods, serve, service } from "../../services/kit/grpc.ts";
import { silentLog } from "../../services/kit/log.ts";
import { until } from "../harness/until.ts";

const refuse = async () => {
  throw new Fault("unimplemented", "not in this test");
};

async function start() {
  const seen = { cancelled: 0, hangUps: 0 };
  const plugins: Methods<PluginsServer> = {
    publishPlugin: refuse,
    diffGrants: refuse,
    listPlugins: refuse,
    listPluginVersions: refuse,
    getPluginVersion: refuse,
    deletePluginVersion: refuse,
    async deletePlugin(_, { signal }) {
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      return {};
    },
    async getPlugin({ name }) {
      if (name === "plugins/bug") throw new TypeError("a bug");
      if (name !== "plugins/a")
        throw Fault.invalid("bad name", [
          { field: "name", problem: `"${name}" is odd`, fix: "use a" },
          { field: "other", problem: "é☃" },
        ]);
      return { plugin: undefined };
    },
  };
  const catalog: Methods<CatalogServer> = {
    async *watchCatalog(_, { signal }) {
      signal.addEventListener("abort", () => {
        seen.hangUps += 1;
      });
      yield { change: { $case: "removed", value: "plugins/x" } };
      yield { change: { $case: "synced", value: true } };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  };
  const executors: Methods<ExecutorsServer> = {
    async *serve(requests) {
      for await (const { callId } of requests as AsyncIterable<ServeRequest>)
        yield { callId, kind: { $case: "bye", value: {} } };
    },
  };
  const services = [
    service(PluginsService, plugins),
    service(CatalogService, catalog),
    service(ExecutorsService, executors),
  ];
  const server = await serve("127.0.0.1:0", services, { log: silentLog, drainMs: 200 });
  return { seen, server, channel: connect(server.address) };
}

test("a fault crosses the wire with its code and all its mistakes; a bug becomes internal", async () => {
  const { server, channel } = await start();
  await using _ = server;
  using __ = channel;
  const get = (name: string) => ask(channel, PluginsService.getPlugin, { name }, { deadlineMs: 2_000 });
  expect(await get("plugins/a")).toEqual({ plugin: undefined });
  const fault = await get("plugins/z").catch((thrown) => thrown);
  expect(fault).toMatchObject({ code: "invalid", mistakes: [{ field: "name" }, { field: "other", problem: "é☃" }] });
  expect(fault.mistakes[0].problem).toContain("use a");
  await expect(get("plugins/bug")).rejects.toMatchObject({ code: "internal", message: "a bug" });
});

test("a deadline and an abort both end the call on both sides", async () => {
  const { server, channel } = await start();
  await using _ = server;
  using __ = channel;
  const request = { name: "plugins/a", etag: "", cascade: false };
  const late = ask(channel, PluginsService.deletePlugin, request, { deadlineMs: 50 });
  await expect(late).rejects.toMatchObject({ code: "deadline" });
  const stop = new AbortController();
  const stopped = ask(channel, PluginsService.deletePlugin, request, { deadlineMs: 5_000, signal: stop.signal });
  stop.abort();
  await expect(stopped).rejects.toMatchObject({ code: "cancelled" });
});

test("a watch streams, ends with its reader, and is cut with `unavailable` when the server closes", async () => {
  const { server, channel, seen } = await start();
  using _ = channel;
  const stop = new AbortController();
  const got: WatchCatalogResponse[] = [];
  for await (const response of listen(channel, CatalogService.watchCatalog, {}, { signal: stop.signal })) {
    got.push(response);
    if (response.change?.$case === "synced") stop.abort();
  }
  expect(got.length).toBe(2);
  await until("the server hears the hang-up", () => seen.hangUps === 1);
  const open = (async () => {
    const never = new AbortController().signal;
    for await (const r of listen(channel, CatalogService.watchCatalog, {}, { signal: never })) got.push(r);
  })();
  await until("the second watch stands", () => got.length === 4);
  const closed = expect(open).rejects.toMatchObject({ code: "unavailable" });
  await server[Symbol.asyncDispose]();
  await closed;
});

test("a conversation answers every message in order", async () => {
  const { server, channel } = await start();
  await using _ = server;
  using __ = channel;
  const talk = converse(channel, ExecutorsService.serve, new AbortController().signal);
  const answers = (async () => {
    const ids: bigint[] = [];
    for await (const { callId } of talk.responses) ids.push(callId);
    return ids;
  })();
  for (let id = 1n; id <= 500n; id += 1n) await talk.send({ callId: id, kind: { $case: "cancel", value: {} } });
  talk.end();
  expect((await answers).length).toBe(500);
});

test("a port that is taken is named with what to do", async () => {
  const { server, channel } = await start();
  await using _ = server;
  using __ = channel;
  const second = serve(server.address, [], { log: silentLog });
  await expect(second).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining(server.address) });
});
