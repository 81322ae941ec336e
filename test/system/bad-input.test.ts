/** Bad input over every door of a real platform: REST, gRPC and the command line say the same, and nothing is kept. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Instance } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Poller, PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { PollersService } from "../../proto/gen/millrace/registry/v1/poller_service.ts";
import { ResourcesService } from "../../proto/gen/millrace/registry/v1/resource_service.ts";
import { QueriesService } from "../../proto/gen/millrace/results/v1/query_service.ts";
import { RunsService } from "../../proto/gen/millrace/results/v1/run_service.ts";
import { SchedulesService } from "../../proto/gen/millrace/scheduler/v1/schedule_service.ts";
import { type Api, openApi } from "../../services/cli/api.ts";
import { type Platform, startPlatform } from "../../services/cli/platform.ts";
import { Fault, type FaultCode } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { parseTime, timestampOf } from "../../services/kit/time.ts";
import { badBundles } from "../harness/bad-bundles.ts";
import { bundleOf } from "../harness/bundle.ts";
import { runCli } from "../harness/cli.ts";

const CONFIG = { type: "object", properties: { city: { type: "string" } }, additionalProperties: false };
const BUNDLE = bundleOf({ config: CONFIG });

interface Case {
  readonly what: string;
  readonly code: FaultCode;
  /** HTTP status where it is not the code's own. */
  readonly http?: number;
  /** What every door must say: the field, the value, the fix. */
  readonly words: readonly string[];
  readonly grpc?: (api: Api) => Promise<unknown>;
  /** Verb, path below /v1, body. */
  readonly rest?: readonly [string, string, (Buffer | object)?];
  readonly cli?: readonly string[];
}

const time = (text: string) => timestampOf(parseTime(text, "time"));
const sync = (begin: string, end: string) => (api: Api) =>
  api.call(SchedulesService.syncPipe, {
    ...{ name: "pipes/weather.daily", begin: time(begin), end: time(end), refetch: false },
  });
const pipe = (parameters: object) => ({ instance: "instances/weather", metric: "bad", parameters });
const createPipe = (parameters: object) => (api: Api) =>
  api.call(PipesService.createPipe, { pipe: Pipe.fromPartial(pipe(parameters)) });
const query = (sql: string) => (api: Api) =>
  api.call(QueriesService.query, { sql, params: {}, maxRows: 0, timeoutMs: 0 });
const sqlCase = (what: string, sql: string, code: FaultCode, words: readonly string[]): Case => ({
  ...{ what, code, words, grpc: query(sql), rest: ["POST", "/query", { sql }], cli: ["query", sql] },
});
const configure = Instance.fromPartial({ name: "instances/weather", config: { city: 5, town: "Bern" } });
const poller = { instance: "instances/weather", kind: PollerKind.POLL, schedule: "every 1h" };

const cases: readonly Case[] = [
  {
    what: "a version that exists, with other bytes",
    code: "exists",
    words: ["weather", "1.0.0", "version"],
    grpc: (api) => api.call(PluginsService.publishPlugin, { bundle: bundleOf({}), validateOnly: false }),
    rest: ["POST", "/plugins:publish", bundleOf({})],
  },
  {
    what: "a config that breaks its schema, twice",
    code: "invalid",
    words: ["config.city", "config.town"],
    grpc: (api) => api.call(InstancesService.updateInstance, { instance: configure, updateMask: ["config"] }),
    rest: ["PATCH", "/instances/weather?updateMask=config", { config: { city: 5, town: "Bern" } }],
    cli: ["instance", "configure", "weather", "--config", '{"city":5,"town":"Bern"}'],
  },
  {
    what: "a window whose end is before its begin",
    code: "invalid",
    words: ["end", "2024-01-01", "2024-01-02"],
    grpc: sync("2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"),
    rest: ["POST", "/pipes/weather.daily:sync", { begin: "2024-01-02T00:00:00Z", end: "2024-01-01T00:00:00Z" }],
    cli: ["pipe", "sync", "weather.daily", "--begin", "2024-01-02T00:00:00Z", "--end", "2024-01-01T00:00:00Z"],
  },
  {
    what: "a naive time in a window",
    code: "invalid",
    words: ["begin", "2024-01-02T00:00:00", "Z"],
    rest: ["POST", "/pipes/weather.daily:sync", { begin: "2024-01-02T00:00:00" }],
    cli: ["pipe", "sync", "weather.daily", "--begin", "2024-01-02T00:00:00"],
  },
  {
    what: "a pipe with a naive begin, an end before it and a chunk that is none",
    code: "invalid",
    words: ["parameters.begin", "2024-01-02T00:00:00", "parameters.chunk", "a week"],
    grpc: createPipe({ begin: "2024-01-02T00:00:00", chunk: "a week" }),
    rest: ["POST", "/pipes", pipe({ begin: "2024-01-02T00:00:00", chunk: "a week" })],
    cli: ["pipe", "create", "weather", "bad", "--begin", "2024-01-02T00:00:00", "--chunk", "a week"],
  },
  {
    what: "a pipe whose end is before its begin",
    code: "invalid",
    words: ["parameters.end", "2023-01-01"],
    grpc: createPipe({ begin: "2024-01-01T00:00:00Z", end: "2023-01-01T00:00:00Z" }),
    rest: ["POST", "/pipes", pipe({ begin: "2024-01-01T00:00:00Z", end: "2023-01-01T00:00:00Z" })],
    cli: ["pipe", "create", "weather", "bad", "--begin", "2024-01-01T00:00:00Z", "--end", "2023-01-01T00:00:00Z"],
  },
  {
    what: "a poller of a plugin that cannot poll",
    code: "precondition",
    words: ["weather", "poll"],
    grpc: (api) => api.call(PollersService.createPoller, { poller: Poller.fromPartial(poller), pollerId: "bad" }),
    rest: ["POST", "/pollers?pollerId=bad", { ...poller, kind: "POLLER_KIND_POLL" }],
    cli: ["poller", "create", "weather", "bad", "--schedule", "every 1h"],
  },
  sqlCase("SQL that writes", "INSERT INTO metrics (name) VALUES ('x')", "denied", ["SELECT"]),
  sqlCase("SQL that drops", "DROP TABLE weather_daily", "denied", ["SELECT"]),
  sqlCase("two statements", "SELECT 1; DROP TABLE metrics", "invalid", ["Multi-statements are not allowed"]),
  sqlCase("SQL that reads files", "SELECT * FROM file('/etc/passwd', 'LineAsString')", "denied", ["file"]),
  sqlCase("SQL that does not parse", "SELEC 1", "invalid", ["position 7", "…"]),
  sqlCase("a table that is not there", "SELECT * FROM nowhere", "not_found", ["nowhere"]),
  ...(
    [
      ["plugin", (api: Api) => api.call(PluginsService.getPlugin, { name: "plugins/nobody" })],
      ["instance", (api: Api) => api.call(InstancesService.getInstance, { name: "instances/nobody" })],
      ["pipe", (api: Api) => api.call(PipesService.getPipe, { name: "pipes/nobody" })],
      ["poller", (api: Api) => api.call(PollersService.getPoller, { name: "pollers/nobody" })],
      ["resource", (api: Api) => api.call(ResourcesService.getResource, { name: "resources/nobody" })],
      ["run", (api: Api) => api.call(RunsService.getRun, { name: "runs/nobody" })],
    ] as const
  ).map(
    ([noun, grpc]): Case => ({
      ...{ what: `a ${noun} that is not there`, code: "not_found", words: [noun, "nobody"], grpc },
      ...{ rest: ["GET", `/${noun}s/nobody`], cli: [noun, "show", "nobody"] },
    }),
  ),
  {
    what: "the windows of a pipe that is not there",
    code: "not_found",
    words: ["nobody"],
    grpc: (api) =>
      api.call(SchedulesService.listWindows, { parent: "pipes/nobody", pageSize: 0, pageToken: "", state: 0 }),
    rest: ["GET", "/pipes/nobody/windows"],
    cli: ["pipe", "windows", "nobody"],
  },
  {
    what: "a job that was never given up",
    code: "not_found",
    words: ["nobody"],
    grpc: (api) => api.call(SchedulesService.redriveJob, { id: "nobody" }),
    cli: ["queue", "redrive", "nobody"],
  },
  {
    what: "a body over the limit",
    code: "too_large",
    words: ["41943040 bytes", "at most"],
    rest: ["POST", "/plugins:publish", Buffer.alloc(40 << 20)],
  },
  {
    what: "a body with a field that is none and a value of the wrong type",
    code: "invalid",
    words: ["metrik", "tags"],
    rest: ["POST", "/pipes", { ...pipe({}), metrik: "x", tags: 5 }],
  },
  { what: "a body that is not JSON", code: "invalid", words: ["JSON"], rest: ["POST", "/query", Buffer.from("{")] },
  { what: "a path that is none", code: "not_found", words: ["/v1/nothing"], rest: ["GET", "/nothing"] },
  {
    what: "a mask that names nothing",
    code: "invalid",
    words: ["update_mask", "colour"],
    rest: ["PATCH", "/instances/weather?updateMask=colour", {}],
  },
];

const bundleCases = badBundles.map(
  ({ what, bundle, code, words }): Case => ({
    ...{ what, code, words, rest: ["POST", "/plugins:publish", bundle] },
    grpc: (api) => api.call(PluginsService.publishPlugin, { bundle, validateOnly: false }),
  }),
);

let folder: string;
let platform: Platform;
let api: Api;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-bad-"));
  const doors = { http: "127.0.0.1:0", grpc: "127.0.0.1:0" };
  platform = await startPlatform({ folder, ...doors, log: silentLog, env: {} });
  api = openApi(platform.grpc, undefined);
  await api.call(PluginsService.publishPlugin, { bundle: BUNDLE, validateOnly: false });
  const parameters = { begin: "2024-01-01T00:00:00Z", schedule: "manual" };
  await api.call(PipesService.createPipe, {
    pipe: Pipe.fromPartial({ instance: "instances/weather", metric: "daily", parameters }),
  });
}, 60_000);
afterAll(async () => {
  api?.[Symbol.dispose]();
  await platform?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** All that the registry keeps, to see that a refusal changed nothing. */
async function everything(): Promise<unknown> {
  const lists = ["plugins", "instances", "pipes", "pollers", "resources", "queue"];
  return await Promise.all(lists.map(async (list) => (await fetch(`http://${platform.http}/v1/${list}`)).json()));
}

async function overRest([verb, path, body]: NonNullable<Case["rest"]>) {
  const raw = Buffer.isBuffer(body);
  const type = raw && !path.includes("query") ? "application/gzip" : "application/json";
  const response = await fetch(`http://${platform.http}/v1${path}`, {
    method: verb,
    ...(body && { headers: { "content-type": type }, body: raw ? new Uint8Array(body) : JSON.stringify(body) }),
  });
  const { error } = (await response.json()) as { error: { code: string; status: number; message: string } };
  return { ...error, http: response.status };
}

async function overGrpc(call: NonNullable<Case["grpc"]>): Promise<Fault> {
  return await call(api).then(
    (answer) => expect.unreachable(JSON.stringify(answer, (_, v) => (typeof v === "bigint" ? String(v) : v))),
    (thrown) => Fault.from(thrown),
  );
}

describe.each([...cases, ...bundleCases])("$what", ({ code, http, words, grpc, rest, cli }) => {
  const expected = new Fault(code, "");

  test.runIf(rest)("REST", async () => {
    const before = await everything();
    const error = await overRest(rest as NonNullable<typeof rest>);
    expect(error).toMatchObject({ code, http: http ?? expected.httpStatus, status: http ?? expected.httpStatus });
    for (const word of words) expect(error.message).toContain(word);
    expect(await everything()).toEqual(before);
  });

  test.runIf(grpc)("gRPC", async () => {
    const fault = await overGrpc(grpc as NonNullable<typeof grpc>);
    expect([fault.code, status[fault.grpcStatus]]).toEqual([code, status[expected.grpcStatus]]);
    for (const word of words) expect(fault.message).toContain(word);
  });

  test.runIf(cli)("CLI", async () => {
    const address = { MILLRACE_ADDRESS: platform.grpc };
    const ended = await runCli(cli as NonNullable<typeof cli>, address);
    expect([ended.code, ended.stdout]).toEqual([1, ""]);
    expect(ended.stderr.startsWith(`${code}: `)).toBe(true);
    for (const word of words) expect(ended.stderr).toContain(word);
    expect(ended.stderr).not.toContain("    at ");
  });
});

test("a bad bundle on the command line; with --json the error is JSON and nothing else", async () => {
  const file = join(folder, "bad.tgz");
  const bad = badBundles.find(({ what }) => what.startsWith("a manifest with five")) ?? expect.unreachable();
  await writeFile(file, bad.bundle);
  const ended = await runCli(["plugin", "publish", file, "--json"], { MILLRACE_ADDRESS: platform.grpc });
  expect([ended.code, ended.stderr]).toEqual([1, ""]);
  const { error } = JSON.parse(ended.stdout) as { error: { code: string; mistakes: { field: string }[] } };
  expect([error.code, error.mistakes.length]).toEqual(["invalid", bad.words.length]);
});
