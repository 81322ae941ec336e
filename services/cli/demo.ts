/** The demo: builds the example plugins, applies them to a running platform, and waits until their data are there. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Poller, PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { type Api, openApi } from "./api.ts";
import { root } from "./build.ts";
import { buildAside } from "./build-thread.ts";
import { followSync, syncPipe } from "./sync.ts";
import type { Terminal } from "./terminal.ts";
import { startWeatherSource } from "./weather-source.ts";

const EXAMPLES = ["weather", "uptime", "board"] as const;
const PIPE = { instance: "instances/weather", metric: "daily", location: "" };
const SYNC_TIMEOUT_MS = 300_000;
const METRICS_TIMEOUT_MS = 60_000;
/** Kept when free, so that a second start finds the config of the first unchanged. */
const SOURCE_PORT = 7409;

/** A small question that the weather source answers, to watch it by. */
const ONE_DAY =
  "/v1/archive?latitude=47.6&longitude=-122.3&start_date=2012-01-01&end_date=2012-01-01&daily=temperature_2m_max";

export interface DemoOptions {
  readonly platform: { readonly http: string; readonly grpc: string };
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stack: AsyncDisposableStack;
  readonly signal: AbortSignal;
  /** Port of the weather source; default: a fixed one when it is free. */
  readonly sourcePort?: number;
}

/** Errors: whatever a step answered. A second run on the same stores changes nothing and fetches what is missing. */
export async function runDemo({ platform, terminal, env, stack, signal, sourcePort }: DemoOptions): Promise<void> {
  const source = stack.use(await startSource(sourcePort));
  using api = openApi(platform.grpc, env.MILLRACE_TOKEN);
  await publishExamples(api, terminal, signal);
  await configure(api, "weather", { source: "demo", base_url: `http://${source.address}` });
  const endpoints = [
    { name: "millrace-readiness", url: `http://${platform.http}/readyz` },
    { name: "millrace-api", url: `http://${platform.http}/v1/plugins` },
    { name: "weather-source", url: `http://${source.address}${ONE_DAY}` },
    { name: "nobody-home", url: "http://127.0.0.1:9/" },
  ];
  await configure(api, "uptime", { endpoints });
  await ensurePoller(api, "uptime-discover", PollerKind.DISCOVER, "every 1m");
  await ensurePoller(api, "uptime-poll", PollerKind.POLL, "every 5s");
  const pipe = await ensurePipe(api);
  signal.throwIfAborted();
  const queued = await syncPipe(api, { name: pipe, begin: undefined, end: undefined, refetch: false });
  const sync = await followSync(api, pipe, queued.windows, terminal, SYNC_TIMEOUT_MS, signal);
  if (!sync.done) terminal.note(`${pipe}: all ${queued.skipped} windows are there already`);
  if (sync.failed.length) throw new Fault("internal", `${pipe}: ${sync.failed[0]?.message}`);
  await untilPolled(api, signal);
  if (!signal.aborted) await tell(api, platform.http, terminal);
}

async function startSource(port: number | undefined) {
  if (port !== undefined) return startWeatherSource({ host: "127.0.0.1", port });
  return startWeatherSource({ host: "127.0.0.1", port: SOURCE_PORT }).catch(() =>
    startWeatherSource({ host: "127.0.0.1", port: 0 }),
  );
}

async function publishExamples(api: Api, terminal: Terminal, signal: AbortSignal): Promise<void> {
  using bar = terminal.bar("plugins", EXAMPLES.length);
  for (const [done, name] of EXAMPLES.entries()) {
    signal.throwIfAborted();
    bar.update(done, `building ${name}`);
    const { path } = await buildAside(join(root, "plugins-sdk/examples", name));
    const request = { bundle: await readFile(path), validateOnly: false };
    await api.call(PluginsService.publishPlugin, request).catch((thrown) => {
      // An older version stays in service when a developer changed the source and not the version.
      if (Fault.from(thrown).code !== "exists") throw thrown;
      terminal.note(`${name}: this version is published with other bytes; raise "version" in its plugin.json`);
    });
    bar.update(done + 1, name);
  }
}

/** Overlays keys on an instance's config; writes only when something changes. */
async function configure(api: Api, id: string, over: Record<string, unknown>): Promise<void> {
  const { instance } = await api.call(InstancesService.getInstance, { name: `instances/${id}` });
  const config = { ...instance?.config, ...over };
  const grants = { allRequested: true, only: undefined };
  if (isDeepStrictEqual(config, instance?.config) && instance?.grants?.allRequested) return;
  const changed = Instance.fromPartial({ name: `instances/${id}`, config, grants });
  await api.call(InstancesService.updateInstance, { instance: changed, updateMask: ["config", "grants"] });
}

async function ensurePipe(api: Api): Promise<string> {
  const name = `pipes/weather.${PIPE.metric}`;
  await orExists(api.call(PipesService.createPipe, { pipe: Pipe.fromPartial(PIPE) }));
  return name;
}

async function ensurePoller(api: Api, pollerId: string, kind: PollerKind, schedule: string): Promise<void> {
  const poller = Poller.fromPartial({ instance: "instances/uptime", kind, schedule });
  await orExists(api.call(PollersService.createPoller, { poller, pollerId }));
}

async function orExists(work: Promise<unknown>): Promise<void> {
  await work.catch((thrown) => {
    if (Fault.from(thrown).code !== "exists") throw thrown;
  });
}

async function count(api: Api, sql: string): Promise<number> {
  const response = await api.call(QueriesService.query, { sql, params: {}, maxRows: 1, timeoutMs: 0 });
  return Number(response.rows[0]?.[0] ?? 0);
}

async function untilPolled(api: Api, signal: AbortSignal): Promise<void> {
  const giveUpMs = performance.now() + METRICS_TIMEOUT_MS;
  while (!signal.aborted && (await count(api, "SELECT count() FROM metrics WHERE name = 'up'")) === 0) {
    if (performance.now() > giveUpMs)
      throw new Fault("deadline", `uptime stored nothing within ${METRICS_TIMEOUT_MS} ms; look with: run list`);
    await pause(200, signal);
  }
}

async function tell(api: Api, http: string, terminal: Terminal): Promise<void> {
  const days = await count(api, "SELECT count() FROM weather_daily");
  const metrics = await count(api, "SELECT count() FROM metrics");
  const warmest = await api.call(QueriesService.query, {
    sql: "SELECT city, toDate(time) AS day, temp_max FROM weather_daily ORDER BY temp_max DESC LIMIT 1",
    params: {},
    maxRows: 1,
    timeoutMs: 0,
  });
  const [city, day, degrees] = warmest.rows[0] ?? [];
  terminal.note(`
fetched   weather.daily: ${days} city days in the table weather_daily; the warmest: ${city}, ${day}, ${degrees} °C
polled    uptime: ${metrics} metrics so far in the table metrics
served    http://${http}/plugins/board/   charts of both, by the board plugin

look      http://${http}/docs             the API
          npm run -s millrace query "SELECT city, max(temp_max) FROM weather_daily GROUP BY city"
          npm run -s millrace run list
          npm run -s millrace pipe windows weather.daily
`);
}
