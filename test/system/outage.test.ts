/**
 * NATS and ClickHouse go away in the middle of the work and come back: the state is told, nothing is lost or doubled.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { openBus } from "../../services/bus/open.ts";
import { openApi } from "../../services/cli/api.ts";
import { startPlatform } from "../../services/cli/platform.ts";
import { startWeatherSource } from "../../services/cli/weather-source.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { startNats } from "../harness/nats.ts";
import { until } from "../harness/until.ts";
import { allDone, CITY_DAYS, countRows, setUpWeather, WEEKS, windowsOf } from "../harness/weather.ts";

interface Readiness {
  readonly parts: Record<string, { readonly state: string; readonly reason?: string }>;
}

test("ClickHouse, then NATS, are killed and restarted while windows are fetched", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-outage-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  await using nats = await startNats();
  await using clickhouse = await startTestClickHouse();
  await using source = await startWeatherSource({ host: "127.0.0.1", port: 0, latencyMs: 30 });
  await using bus = await openBus({ natsUrl: nats.url, name: "outage", log: silentLog });
  await using results = await openTestResults(clickhouse);
  const doors = { http: "127.0.0.1:0", grpc: "127.0.0.1:0" };
  await using platform = await startPlatform({ folder, ...doors, log: silentLog, env: {}, bus, results });
  using api = openApi(platform.grpc, undefined);
  const done = async () => (await windowsOf(api, WindowState.DONE)).length;
  const readiness = async () => (await (await fetch(`http://${platform.http}/readyz`)).json()) as Readiness;

  await setUpWeather(api, source.address);
  await until("some windows are done", async () => (await done()) >= 10, 60_000);
  await clickhouse.kill9();
  const away = await until("the gateway says that ClickHouse is away", async () => {
    const { parts } = await readiness();
    return parts.clickhouse?.state !== "ok" && parts.clickhouse;
  });
  expect(away.reason).toBeTruthy();
  await clickhouse.restart();
  const before = await done();
  await until("work goes on", async () => (await done()) > before, 60_000);
  expect(before).toBeLessThan(WEEKS);

  await nats.kill9();
  await until("the gateway says that NATS is away", async () => (await readiness()).parts.bus?.state !== "ok");
  await nats.restart();
  await until("every window is done", () => allDone(api), 180_000);
  expect(await countRows(api)).toEqual({ rows: CITY_DAYS, distinct: CITY_DAYS });
}, 300_000);
