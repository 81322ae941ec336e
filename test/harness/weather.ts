/** The weather example on a platform: published, pointed at a source, with a pipe over the four years that it has. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import type { PipeParameters } from "../../proto/gen/millrace/registry/v1/pipe_parameters.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import type { Api } from "../../services/cli/api.ts";
import { buildPlugin, root } from "../../services/cli/build.ts";

/** 2012 to 2015 in two cities. */
export const CITY_DAYS = 2 * 1_461;
/** Windows of seven days from 2012 to 2015. */
export const WEEKS = 209;
export const WEATHER_PIPE = "pipes/weather.daily";

/** Publishes and configures the plugin, and makes its pipe; `parameters` go over weekly windows every two seconds. */
export async function setUpWeather(api: Api, source: string, parameters: Partial<PipeParameters> = {}): Promise<void> {
  const bundle = await readFile((await buildPlugin(join(root, "plugins-sdk/examples/weather"))).path);
  await api.call(PluginsService.publishPlugin, { bundle, validateOnly: false });
  const config = { source: "demo", base_url: `http://${source}` };
  const instance = Instance.fromPartial({ name: "instances/weather", config, grants: { allRequested: true } });
  await api.call(InstancesService.updateInstance, { instance, updateMask: ["config", "grants"] });
  const span = { begin: "2012-01-01T00:00:00Z", end: "2016-01-01T00:00:00Z", chunk: "7d" };
  const pipe = Pipe.fromPartial({
    instance: "instances/weather",
    metric: "daily",
    parameters: { ...span, schedule: "every 2s", attempts: 20, ...parameters },
  });
  await api.call(PipesService.createPipe, { pipe });
}

export async function windowsOf(api: Api, state: WindowState = WindowState.UNSPECIFIED): Promise<Window[]> {
  const request = { parent: WEATHER_PIPE, pageSize: 10_000, pageToken: "", state };
  return (await api.call(SchedulesService.listWindows, request)).windows;
}

/** Whether every window of the pipe is done. */
export async function allDone(api: Api): Promise<boolean> {
  const all = await windowsOf(api);
  return all.length >= WEEKS && all.every((window) => window.state === WindowState.DONE);
}

export interface RowCounts {
  readonly rows: number;
  readonly distinct: number;
}

/** All rows that are seen, and how many differ by their index: equal when nothing is doubled. */
export async function countRows(api: Api): Promise<RowCounts> {
  const sql = "SELECT count(), uniqExact(time, city) FROM weather_daily";
  const answer = await api.call(QueriesService.query, { sql, params: {}, maxRows: 1, timeoutMs: 0 });
  const [rows, distinct] = answer.rows[0] ?? [];
  return { rows: Number(rows), distinct: Number(distinct) };
}
