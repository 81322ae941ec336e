/** A `millrace.yaml` against a real platform: what is planned, done, left alone, and done again after a failure. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { PipesService } from "../../proto/gen/millrace/registry/v1/pipe_service.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { SecretsService } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import { type Api, openApi } from "../../services/cli/api.ts";
import { applyPlan } from "../../services/cli/declaration/apply.ts";
import { declare } from "../../services/cli/declaration/declared.ts";
import { readLive } from "../../services/cli/declaration/live.ts";
import { planOf } from "../../services/cli/declaration/plan.ts";
import { readSource } from "../../services/cli/declaration/source.ts";
import { wantedOf } from "../../services/cli/declaration/wanted.ts";
import { type Platform, startPlatform } from "../../services/cli/platform.ts";
import { silentLog } from "../../services/kit/log.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { runCli } from "../harness/cli.ts";
import { type Answered, runCommand } from "../harness/command.ts";
import { workFolder } from "../harness/work-folder.ts";

const SECRET = "correct-horse-battery";
const FETCH = { columns: { time: "timestamp", n: "int64" }, datetime: "time", begin: "2020-01-01T00:00:00Z" };
const CONFIG = { type: "object", properties: { url: { type: "string" }, depth: { type: "integer", default: 3 } } };

let stack: AsyncDisposableStack;
let platform: Platform;
let api: Api;
let folder: string;

const bundle = (version: string) =>
  bundleOf(
    { name: "web", version, interfaces: { fetch: FETCH, poll: {} }, config: CONFIG },
    { "plugin.wasm": moduleOf("fetch", "poll") },
  );
const env = (more: NodeJS.ProcessEnv = {}) => ({ MILLRACE_ADDRESS: platform.grpc, WEB_KEY: SECRET, ...more });

interface Told {
  readonly actions: readonly { readonly verb: string; readonly name: string; readonly outcome?: string }[];
}
const done = ({ json }: Answered) => (json as Told).actions.map(({ verb, name }) => `${verb} ${name}`);

async function run(command: string, yaml: string, more: NodeJS.ProcessEnv = {}): Promise<Answered> {
  const file = join(folder, "millrace.yaml");
  await writeFile(file, yaml);
  return await runCommand(`${command} --file ${file}`, env(more));
}

const FILE = `
project: shop
plugins:
  web: ./web.tgz
secrets:
  web-key: { from: env:WEB_KEY, hosts: [api.example.org] }
schedules:
  nightly: cron 15 3 * * * Europe/Berlin
instances:
  web: { plugin: web, config: { url: "\${URL:-http://127.0.0.1/}" }, grants: { kv: true }, tags: [front] }
  second: { plugin: web, grants: all }
resources:
  router: { type: http, endpoint: "http://127.0.0.1:1/", labels: { rack: "7" } }
pipes:
  web.daily:
    tags: [daily]
    paused: not yet
    parameters: { schedule: nightly, chunk: 7d, index: [time] }
  second.daily.bern: { parameters: { columns: { n: int64 }, datetime: n, index: [n], begin: "-5", chunk: "500" } }
pollers:
  watch: { instance: second, schedule: every 1h, filter: resource.type == "http", paused: true }
`;
const ALL = [
  "secrets/web-key",
  "plugins/web",
  "instances/web",
  "instances/second",
  "resources/router",
  "pipes/web.daily",
  "pipes/second.daily.bern",
  "pollers/watch",
];

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const work = stack.use(await workFolder());
  folder = work.path;
  const doors = { http: "127.0.0.1:0", grpc: "127.0.0.1:0" };
  platform = stack.use(await startPlatform({ folder: join(folder, "state"), ...doors, log: silentLog, env: {} }));
  api = stack.use(openApi(platform.grpc, undefined));
  await writeFile(join(folder, "web.tgz"), bundle("1.0.0"));
}, 120_000);
afterAll(() => stack?.disposeAsync());

test("what is planned is done, in order; the second apply changes nothing; no value of a secret is told", async () => {
  const plan = await run("plan", FILE);
  expect(done(plan)).toEqual(ALL.map((name) => `create ${name}`));
  expect((await api.call(PipesService.listPipes, { pageSize: 0, pageToken: "" })).pipes).toEqual([]);
  await expect(run("apply", FILE)).rejects.toMatchObject({ code: "precondition" });

  const applied = await run("apply --yes", FILE);
  expect(applied.notes).not.toContain("failed");
  expect((applied.json as Told).actions.map(({ outcome }) => outcome)).toEqual(ALL.map(() => "done"));
  const again = await run("apply", FILE);
  expect(again.text).toContain("no changes");
  const same = await run("diff", FILE);
  expect(same.failed).toBe(false);

  const { pipe } = await api.call(PipesService.getPipe, { name: "pipes/web.daily" });
  expect(pipe).toMatchObject({ managedBy: "shop", tags: ["daily"], stateReason: "not yet" });
  expect(pipe?.effective).toMatchObject({ schedule: "cron 15 3 * * * Europe/Berlin", chunk: "7d", index: ["time"] });
  const { pipe: counted } = await api.call(PipesService.getPipe, { name: "pipes/second.daily.bern" });
  expect(counted?.effective).toMatchObject({ begin: "-5", chunk: "500", backtrack: "0", datetime: "n" });
  const { instance } = await api.call(InstancesService.getInstance, { name: "instances/web" });
  expect(instance?.config).toEqual({ url: "http://127.0.0.1/", depth: 3 });
  expect(JSON.stringify([plan, applied, again])).not.toContain(SECRET);
});

test("what changes is changed, what the file no longer names goes, what was made by hand stays", async () => {
  const byHand = Pipe.fromPartial({ instance: "instances/web", metric: "byhand" });
  await api.call(PipesService.createPipe, { pipe: byHand });
  const file = FILE.replace("chunk: 7d", "chunk: 14d")
    .replace("paused: not yet", "paused: later")
    .replace("kv: true", "kv: false")
    .replace(/ {2}second\.daily\.bern:.*\n/, "");
  const URL = "http://127.0.0.1:8/from-the-environment";
  const changed = ["secrets/web-key", "instances/web", "pipes/web.daily"].map((name) => `change ${name}`);
  const more = { WEB_KEY: "another-horse", URL };
  const diff = await run("diff", file, more);
  expect(diff.failed).toBe(true);
  expect(done(diff)).toEqual([...changed, "delete pipes/second.daily.bern"]);
  expect(diff.text).toContain('parameters.chunk: "7d" → "14d"');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what a person reads.
  expect(diff.text).toContain("${URL}");
  expect(diff.text).not.toContain(URL);
  await run("apply --yes", file, more);
  expect((await run("apply", file, more)).text).toContain("no changes");
  const { pipes } = await api.call(PipesService.listPipes, { pageSize: 0, pageToken: "" });
  expect(pipes.map(({ name }) => name)).toEqual(["pipes/web.byhand", "pipes/web.daily"]);
  await api.call(PipesService.deletePipe, { name: "pipes/web.byhand", etag: "" });
});

test("what others keep is refused, unless it is adopted", async () => {
  const byHand = Pipe.fromPartial({ instance: "instances/web", metric: "theirs", tags: ["mine"] });
  await api.call(PipesService.createPipe, { pipe: byHand });
  const file = FILE.replace("pipes:\n", "pipes:\n  web.theirs: { tags: [ours] }\n");
  const refusal = await run("plan", file).catch((thrown) => thrown);
  expect(refusal.mistakes).toMatchObject([{ problem: "pipes/web.theirs is there already and was made by hand" }]);
  expect(refusal.mistakes[0].field).toMatch(/millrace\.yaml:15:3 pipes\["web\.theirs"\]$/);
  await run("apply --yes --adopt", file);
  const { pipe } = await api.call(PipesService.getPipe, { name: "pipes/web.theirs" });
  expect(pipe).toMatchObject({ managedBy: "shop", tags: ["ours"] });
});

test("one that fails stops what needs it and nothing else; the same command goes on", async () => {
  // Their dataset is somebody else's: nobody sees that before it is tried.
  const other = Pipe.fromPartial({ instance: "instances/web", metric: "holder", parameters: { target: "taken" } });
  await api.call(PipesService.createPipe, { pipe: other });
  const entries = `
  web.fails: { parameters: { target: taken, columns: { time: timestamp } } }
  web.waits: { parameters: { refs: { chunk: pipes/web.fails } } }
  web.works:
`;
  const file = FILE.replace("pipes:\n", `pipes:${entries}`);
  const first = await run("apply --yes", file);
  expect(first.failed).toBe(true);
  const outcomes = Object.fromEntries((first.json as Told).actions.map(({ name, outcome }) => [name, outcome]));
  expect(outcomes).toMatchObject({
    "pipes/web.fails": "failed",
    "pipes/web.waits": "skipped",
    "pipes/web.works": "done",
  });
  expect(first.notes).toContain("pipes/web.fails has to be there first");
  await api.call(PipesService.deletePipe, { name: "pipes/web.holder", etag: "" });
  expect(done(await run("apply --yes", file))).toEqual(["create pipes/web.fails", "create pipes/web.waits"]);
});

test("what somebody changes between the plan and the deed is a conflict, and stays as they left it", async () => {
  await run("apply --yes", FILE);
  const source = readSource("millrace.yaml", FILE.replace("tags: [daily]", "tags: [weekly]"), env());
  const { items, live } = await wantedOf(api, declare(source, env(), folder), await readLive(api));
  const { plan, mistakes } = planOf(items, live, { project: "shop", adopt: false });
  expect([mistakes, plan.actions.map(({ name }) => name)]).toEqual([[], ["pipes/web.daily"]]);
  const edited = Pipe.fromPartial({ name: "pipes/web.daily", tags: ["mine"] });
  await api.call(PipesService.updatePipe, { pipe: edited, updateMask: ["tags"] });
  const [done] = await applyPlan(api, plan, { data: false, tell: () => {} });
  expect(done).toMatchObject({ outcome: "failed", reason: expect.stringContaining("changed meanwhile (tags)") });
  expect((await api.call(PipesService.getPipe, { name: "pipes/web.daily" })).pipe?.tags).toEqual(["mine"]);
});

test("another version of the plugin is published; other bytes under the same version are a mistake", async () => {
  await writeFile(join(folder, "web.tgz"), bundle("1.1.0"));
  expect(done(await run("apply --yes", FILE))).toContain("change plugins/web");
  const { plugin } = await api.call(PluginsService.getPlugin, { name: "plugins/web" });
  expect(plugin?.latestVersion).toBe("1.1.0");
  // A newer one that somebody else publishes has other defaults: the platform fills these in, and so does the plan.
  const more = { ...CONFIG, properties: { ...CONFIG.properties, extra: { type: "string", default: "new" } } };
  const newer = bundleOf(
    { name: "web", version: "2.0.0", interfaces: { fetch: FETCH, poll: {} }, config: more },
    { "plugin.wasm": moduleOf("fetch", "poll") },
  );
  await api.call(PluginsService.publishPlugin, { bundle: newer, validateOnly: false });
  expect((await run("diff", FILE)).text).toContain("no changes");
  const pinned = run("plan", FILE.replace("second: { plugin: web,", "second: { plugin: web, version: 9.9.9,"));
  await expect(pinned).rejects.toThrow("11:26 instances.second.version: 9.9.9 of plugins/web is not published");
  const { versions } = await api.call(PluginsService.listPluginVersions, {
    ...{ parent: "plugins/web", pageSize: 0, pageToken: "" },
  });
  const digest = versions.find(({ name }) => name.endsWith("/1.0.0"))?.bundleDigest;
  expect((await run("plan", FILE.replace("./web.tgz", `{ digest: "sha256:${digest}" }`))).failed).toBe(false);
  const unknown = run("plan", FILE.replace("./web.tgz", `{ digest: "${"0".repeat(64)}" }`));
  await expect(unknown).rejects.toMatchObject({ code: "invalid" });
  const files = { "plugin.wasm": moduleOf("fetch", "poll", "other") };
  const forged = bundleOf({ name: "web", version: "1.1.0", interfaces: { fetch: FETCH, poll: {} } }, files);
  await writeFile(join(folder, "web.tgz"), forged);
  const refusal = await run("plan", FILE).catch((thrown) => thrown);
  expect(refusal.message).toContain("exists with other bytes");
  await writeFile(join(folder, "web.tgz"), bundle("1.1.0"));
});

test("every mistake is told at once, with its place", async () => {
  const file = `project: shop
instances:
  web: { plugin: nothing, config: { depth: deep }, grants: most }
pipes:
  web.daily: { parameters: { chunkk: 5d, chunk: 5x, index: [a, a] } }
  plain: {}
pollers:
  watch: { instance: web, kind: pol, filter: "resource.typ == 1" }
secrets:
  key: plain-text-value
`;
  const refusal = await run("plan", file).catch((thrown) => thrown);
  const places = refusal.mistakes.map(({ field }: { field: string }) => field.replace(/^.*millrace\.yaml:/, ""));
  expect(places.toSorted()).toEqual([
    "10:3 secrets.key",
    "3:52 instances.web.grants",
    '5:30 pipes["web.daily"].parameters.chunkk',
    '5:42 pipes["web.daily"].parameters.chunk',
    '5:53 pipes["web.daily"].parameters.index',
    "6:3 pipes.plain",
    "8:27 pollers.watch.kind",
    "8:38 pollers.watch.filter",
  ]);
  expect(refusal.message).not.toContain("plain-text-value");
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as it is written in a file.
  const unset = "project: shop\npipes:\n  a.b: { tags: ['${A}', '${B:-b}'] }\nsecrets:\n  key: env:C\n";
  const missing = await run("plan", unset).catch((thrown) => thrown);
  expect(missing.mistakes.map(({ problem }: { problem: string }) => problem)).toEqual([
    "the environment has no A",
    "the environment has no C",
  ]);
});

test("a compose file of Meerschaum is applied, and applied again changes nothing", async () => {
  const compose = join(folder, "imported", "mrsm-compose.yaml");
  await mkdir(join(folder, "imported", "plugins"), { recursive: true });
  await writeFile(join(folder, "imported", "plugins", "web"), bundle("1.1.0"));
  await writeFile(
    compose,
    `project_name: old
sync: { schedule: daily, args: --begin 2020-01-01 }
instance: sql:main
pipes:
  - { connector: "plugin:web", metric: price, columns: { datetime: time }, parameters: { web: { depth: 5 } } }
  - connector: sql:main
    metric: dear
    columns: { datetime: time }
    parameters: { query: "SELECT time, n FROM plugin_web_price", parents: [{ connector: "plugin:web", metric: price }] }
`,
  );
  const imported = await runCommand(`import meerschaum ${compose}`, env());
  expect(imported.text).toContain("web.price");
  // The project of before has the default instance: what another one keeps is not touched.
  await expect(runCommand(`import meerschaum ${compose} --apply --yes`, env())).rejects.toMatchObject({
    code: "invalid",
  });
  const applied = await runCommand(`import meerschaum ${compose} --apply --yes --adopt`, env());
  expect(applied.notes).not.toContain("failed:");
  expect(applied.failed).toBe(false);
  expect((await runCommand(`import meerschaum ${compose} --apply`, env())).text).toContain("no changes");
  const { pipe } = await api.call(PipesService.getPipe, { name: "pipes/sql.dear" });
  expect(pipe?.effective).toMatchObject({ after: ["web.price"], reads: ["plugin_web_price"] });
  await writeFile(join(folder, "old.yaml"), "project: old\n");
  const gone = await runCommand(`destroy --yes --file ${join(folder, "old.yaml")}`, env());
  expect(gone.failed).toBe(true);
  expect(done(gone).slice(0, 2)).toEqual(["delete pipes/sql.dear", "delete pipes/web.price"]);
  await run("apply --yes --adopt", FILE);
});

test("destroy takes what the project keeps and nothing else; exit codes are those of scripts", async () => {
  const byHand = Pipe.fromPartial({ instance: "instances/second", metric: "byhand" });
  await api.call(PipesService.createPipe, { pipe: byHand });
  await run("apply --yes", FILE);
  const first = await run("destroy --yes", FILE);
  expect(first.failed).toBe(true);
  expect(first.notes).toContain("pipes/second.byhand");
  const left = await api.call(PipesService.listPipes, { pageSize: 0, pageToken: "", filter: "managed_by:shop" });
  expect(left.pipes).toEqual([]);
  await api.call(PipesService.deletePipe, { name: "pipes/second.byhand", etag: "" });
  expect(done(await run("destroy --yes", FILE))).toEqual(["delete instances/second", "delete plugins/web"]);
  expect((await api.call(SecretsService.listSecrets, { pageSize: 0, pageToken: "" })).secrets).toEqual([]);
  await writeFile(join(folder, "millrace.yaml"), FILE);
  const args = ["--file", join(folder, "millrace.yaml")];
  const ended = await runCli(["diff", ...args], env() as Record<string, string>);
  expect(ended.code).toBe(1);
}, 120_000);
