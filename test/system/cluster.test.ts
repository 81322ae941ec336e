/** A cluster of real processes loses an executor and its active scheduler in the middle: nothing is lost or doubled. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, LEADER_TTL_MS } from "../../proto/names.ts";
import { openBus } from "../../services/bus/open.ts";
import { type Api, openApi } from "../../services/cli/api.ts";
import { buildPlugin, root } from "../../services/cli/build.ts";
import { type Cluster, startCluster } from "../../services/cli/cluster.ts";
import { syncPipe } from "../../services/cli/sync.ts";
import { startWeatherSource } from "../../services/cli/weather-source.ts";
import { silentLog } from "../../services/kit/log.ts";
import { until } from "../harness/until.ts";

const BEGIN = "2012-01-01T00:00:00Z";
const END = "2016-01-01T00:00:00Z";
/** 2012 to 2015 in two cities. */
const CITY_DAYS = 2 * 1_461;

async function count(api: Api, sql: string): Promise<number> {
  const answer = await api.call(QueriesService.query, { sql, params: {}, maxRows: 1, timeoutMs: 0 });
  return Number(answer.rows[0]?.[0]);
}

async function windows(api: Api, state: WindowState) {
  const request = { parent: "pipes/weather.daily", pageSize: 10_000, pageToken: "", state };
  return (await api.call(SchedulesService.listWindows, request)).windows;
}

/** What the leadership lease on the bus says of the scheduler that leads: its address. */
async function leader(cluster: Cluster): Promise<string> {
  await using bus = await openBus({ natsUrl: cluster.natsUrl, name: "test", log: silentLog });
  const lease = await until(
    "a scheduler leads",
    async () => (await (await bus.kv(BUCKETS.leaders, { ttlMs: LEADER_TTL_MS })).list(""))[0],
  );
  return new TextDecoder().decode(lease.value);
}

test("an executor and the active scheduler die in the middle; every window ends fetched, every row is there once", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-cluster-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  await using source = await startWeatherSource({ host: "127.0.0.1", port: 0, latencyMs: 20 });
  await using cluster = await startCluster({ folder, log: silentLog, env: process.env });
  using api = openApi(cluster.gateways[0]?.grpc ?? "", undefined);
  using other = openApi(cluster.gateways[1]?.grpc ?? "", undefined);

  const bundle = await readFile((await buildPlugin(join(root, "plugins-sdk/examples/weather"))).path);
  await api.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  const config = { source: "demo", base_url: `http://${source.address}` };
  const instance = Instance.fromPartial({ name: "instances/weather", config, grants: { allRequested: true } });
  await api.call(InstancesService.updateInstance, { instance, updateMask: ["config", "grants"] });
  const parameters = { begin: BEGIN, end: END, chunk: "7d", schedule: "every 2s", attempts: 10 };
  const pipe = Pipe.fromPartial({ instance: "instances/weather", metric: "daily", parameters });
  await api.call(PipesService.createPipe, { pipe });
  const name = "pipes/weather.daily";
  await syncPipe(other, { name, begin: undefined, end: undefined, refetch: false });

  await until("some windows are done", async () => (await windows(api, WindowState.DONE)).length >= 20, 60_000);
  const lead = await leader(cluster);
  const victims = cluster.members.filter(
    (member) => member.name === "executor 1" || (member.name.startsWith("scheduler") && lead.includes(member.address)),
  );
  expect(victims.length).toBe(2);
  await Promise.all(victims.map((victim) => victim.kill9()));
  expect((await windows(other, WindowState.DONE)).length).toBeLessThan(209);

  await until(
    "every window is done",
    async () => {
      const all = await windows(other, WindowState.UNSPECIFIED);
      return all.length >= 209 && all.every((window) => window.state === WindowState.DONE);
    },
    180_000,
  );
  const rows = "SELECT count() FROM weather_daily";
  const distinct = "SELECT uniqExact(time, city) FROM weather_daily";
  expect([await count(other, rows), await count(other, distinct)]).toEqual([CITY_DAYS, CITY_DAYS]);
  const next = await until("another scheduler leads", async () => {
    const now = await leader(cluster);
    return now !== lead && now;
  });
  expect(next).not.toBe(lead);
}, 300_000);
