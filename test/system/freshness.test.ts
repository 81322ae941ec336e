/** How fresh pipes are, against what they promise: over the API, in lists, and for Prometheus. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Results } from "../../services/results/results.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { chunkOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { runCommand } from "../harness/command.ts";
import { json, post, startWorld, type World } from "../harness/gateway.ts";
import { until } from "../harness/until.ts";

const FETCH = { columns: { time: "timestamp", n: "int64" }, datetime: "time", begin: "2020-01-01T00:00:00Z" };
const nowUs = () => BigInt(Date.now()) * 1_000n;

let stack: AsyncDisposableStack;
let clickHouse: TestClickHouse;
let results: Results;
let world: World;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  clickHouse = stack.use(await startTestClickHouse());
  results = stack.use(await openTestResults(clickHouse));
  world = stack.use(await startWorld(results));
  const route = { routes: [{ method: "GET", path: "/api", auth: "public" }] };
  const files = { "plugin.wasm": moduleOf("fetch", "route"), "static/index.html": "x" };
  await world.publish(bundleOf({ name: "web", interfaces: { fetch: FETCH, route } }, files));
  const objectives = { fresh: "3h", late: "1h", open: "1h", quiet: "", cleared: "1h", partial: "1h" };
  for (const [metric, freshness] of Object.entries(objectives)) {
    const pipe = JSON.stringify({ instance: "instances/web", metric, parameters: { freshness } });
    expect((await json(await post(`${world.url}/v1/pipes`, pipe))).status).toBe(200);
    await results.ensureDataset({ dataset: `web_${metric}`, columns: FETCH.columns, datetime: "time" });
  }
}, 60_000);
afterAll(() => stack?.disposeAsync());

let fences = 10n;
/** A run over a window that began and ended so many hours ago; below 0 is to come. */
async function ran(metric: string, [from, to]: readonly [number, number], over: object = {}): Promise<void> {
  fences += 1n;
  const ago = (hours: number) => nowUs() - BigInt(hours * 3_600) * 1_000_000n;
  const place = { dataset: `web_${metric}`, runId: `web.${metric}/${from}`, fence: fences };
  await results.appendChunk(chunkOf({ ...place, rows: [{ n: 1 }] }));
  const span = { beginUs: ago(from), endUs: ago(to), target: `pipes/web.${metric}`, kind: "fetch" as const };
  await results.commit(runRecord({ ...place, ...span, startedUs: ago(Math.max(to, 0)), ...over }));
}
interface Fresh {
  readonly name: string;
  readonly ageSeconds: number;
  readonly late: boolean;
  readonly fetchedUntil?: string;
}
const list = async (query = ""): Promise<Fresh[]> =>
  (await json(await fetch(`${world.url}/v1/freshness${query}`))).body.pipes;

test("the age is that of the newest committed window; over the objective it is late; what was cleared is not there", async () => {
  await ran("fresh", [4, 2]);
  await ran("fresh", [9, 7]);
  await ran("late", [4, 2]);
  await ran("late", [2, 1], { committed: false, outcome: "guest_error" });
  // A window that is not over covers what there was when it was asked.
  await ran("open", [1, -24], { startedUs: nowUs() });
  await ran("cleared", [4, 3]);
  await ran("cleared", [1, 0]);
  await ran("cleared", [1, 0], { executor: "gateway", outcome: "no_data" });
  await ran("partial", [4, 3]);
  await ran("partial", [1, 0], { outcome: "partial" });
  const pipes = new Map((await list()).map((pipe) => [pipe.name.slice("pipes/web.".length), pipe]));
  const hours = (name: string) => Math.round((pipes.get(name)?.ageSeconds ?? 0) / 3_600);
  expect(["fresh", "late", "open", "cleared", "partial"].map(hours)).toEqual([2, 2, 0, 3, 3]);
  const late = [...pipes].filter(([, pipe]) => pipe.late).map(([name]) => name);
  expect(late.toSorted()).toEqual(["cleared", "late", "partial"]);
  expect(pipes.get("quiet")?.fetchedUntil ?? null).toBeNull();
});

test("pages, only the late, only some; lists and /metrics say the same", async () => {
  expect((await list("?late=true")).map(({ name }) => name)).toEqual(
    ["cleared", "late", "partial"].map((name) => `pipes/web.${name}`),
  );
  expect((await list("?pipes=pipes/web.open&pipes=pipes/web.fresh")).map(({ name }) => name)).toHaveLength(2);
  const first = await json(await fetch(`${world.url}/v1/freshness?pageSize=4`));
  const second = await list(`?pageSize=4&pageToken=${first.body.nextPageToken}`);
  expect(first.body.pipes.length + second.length).toBe(6);
  expect((await fetch(`${world.url}/v1/freshness?pageToken=x`)).status).toBe(400);
  const env = { MILLRACE_ADDRESS: world.gateway.grpc };
  const shown = await runCommand("pipe list", env);
  expect(shown.text).toMatch(/web\.late.*2h ago, late: over 1h/);
  expect(shown.text).toMatch(/web\.quiet.*never/);
  expect((await runCommand("pipe show web.fresh", env)).text).toContain("fresh: 2h ago");
  const metrics = await (await fetch(`${world.url}/metrics`)).text();
  expect(metrics).toMatch(/millrace_pipe_freshness_seconds\{pipe="web\.fresh"\} 7\d\d\d/);
  expect(metrics).toContain('millrace_pipe_late{pipe="web.late"} 1');
  expect(metrics).toContain('millrace_pipe_late{pipe="web.open"} 0');
  expect(metrics).not.toContain('millrace_pipe_late{pipe="web.quiet"}');
});

test("without ClickHouse a scrape says so and is not late itself; lists are shown without it", async () => {
  await clickHouse[Symbol.asyncDispose]();
  const metrics = await until("the scrape says that it does not know", async () => {
    const text = await (await fetch(`${world.url}/metrics`)).text();
    return text.includes("millrace_pipe_freshness_known 0") && text;
  });
  expect(metrics).toContain("millrace_http_requests_total");
  const shown = await runCommand("pipe list", { MILLRACE_ADDRESS: world.gateway.grpc });
  expect(shown.text).toContain("web.late");
});
