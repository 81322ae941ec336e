/** A cluster of real processes loses an executor and its active scheduler in the middle: nothing is lost or doubled. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS, LEADER_TTL_MS } from "../../proto/names.ts";
import { openBus } from "../../services/bus/open.ts";
import { openApi } from "../../services/cli/api.ts";
import { type Cluster, startCluster } from "../../services/cli/cluster.ts";
import { syncPipe } from "../../services/cli/sync.ts";
import { startWeatherSource } from "../../services/cli/weather-source.ts";
import { silentLog } from "../../services/kit/log.ts";
import { until } from "../harness/until.ts";
import { allDone, CITY_DAYS, countRows, setUpWeather, WEATHER_PIPE, WEEKS, windowsOf } from "../harness/weather.ts";

/** What the leadership lease on the bus says of the scheduler that leads: its address. */
async function leader(cluster: Cluster): Promise<string> {
  await using bus = await openBus({ natsUrl: cluster.natsUrl, name: "test", log: silentLog });
  const leases = await bus.kv(BUCKETS.leaders, { ttlMs: LEADER_TTL_MS });
  const lease = await until("a scheduler leads", async () => (await leases.list(""))[0]);
  return new TextDecoder().decode(lease.value);
}

test("an executor and the active scheduler die in the middle; every window ends fetched, every row is there once", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-cluster-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  await using source = await startWeatherSource({ host: "127.0.0.1", port: 0, latencyMs: 20 });
  await using cluster = await startCluster({ folder, log: silentLog, env: process.env });
  using api = openApi(cluster.gateways[0]?.grpc ?? "", undefined);
  using other = openApi(cluster.gateways[1]?.grpc ?? "", undefined);

  await setUpWeather(api, source.address);
  await syncPipe(other, { name: WEATHER_PIPE, begin: undefined, end: undefined, refetch: false });
  await until("some windows are done", async () => (await windowsOf(api, WindowState.DONE)).length >= 20, 60_000);
  const lead = await leader(cluster);
  const victims = cluster.members.filter(
    ({ name, address }) => name === "executor 1" || (name.startsWith("scheduler") && lead.includes(address)),
  );
  expect(victims.length).toBe(2);
  await Promise.all(victims.map((victim) => victim.kill9()));
  expect((await windowsOf(other, WindowState.DONE)).length).toBeLessThan(WEEKS);

  await until("every window is done", () => allDone(other), 180_000);
  expect(await countRows(other)).toEqual({ rows: CITY_DAYS, distinct: CITY_DAYS });
  const next = await until("another scheduler leads", async () => {
    const now = await leader(cluster);
    return now !== lead && now;
  });
  expect(next).not.toBe(lead);
}, 300_000);
