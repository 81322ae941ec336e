/** Commands over many pipes: picked by tags or named, run a few at once, told in one summary. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Results } from "../../services/results/results.ts";
import { bundleOf, moduleOf } from "../harness/bundle.ts";
import { chunkOf, RUN } from "../harness/chunks.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, runRecord, startTestClickHouse } from "../harness/clickhouse.ts";
import { runCommand } from "../harness/command.ts";
import { json, post, startWorld, type World } from "../harness/gateway.ts";

const FETCH = { columns: { time: "timestamp", n: "int64" }, datetime: "time", begin: "2020-01-01T00:00:00Z" };
const PIPES = { a: ["daily"], b: ["daily", "slow"], c: ["hourly"], d: [] };

let stack: AsyncDisposableStack;
let results: Results;
let world: World;
const run = (line: string) => runCommand(line, { MILLRACE_ADDRESS: world.gateway.grpc });
interface One {
  readonly name: string;
  readonly ok: boolean;
  readonly error?: string;
}
const ends = (json: unknown) => (json as One[]).map(({ name, ok }) => `${name} ${ok}`);

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  results = stack.use(await openTestResults(stack.use(await startTestClickHouse())));
  world = stack.use(await startWorld(results));
  const route = { routes: [{ method: "GET", path: "/api", auth: "public" }] };
  const files = { "plugin.wasm": moduleOf("fetch", "route"), "static/index.html": "x" };
  await world.publish(bundleOf({ name: "web", interfaces: { fetch: FETCH, route } }, files));
  for (const [metric, tags] of Object.entries(PIPES)) {
    const pipe = JSON.stringify({ instance: "instances/web", metric, tags });
    expect((await json(await post(`${world.url}/v1/pipes`, pipe))).status).toBe(200);
  }
}, 60_000);
afterAll(() => stack?.disposeAsync());

test("lists take a selector on every face; a wrong one is told with its place", async () => {
  const listed = await run('pipe list --tags "daily and not slow or name:web.c"');
  expect((listed.json as { name: string }[]).map(({ name }) => name)).toEqual(["pipes/web.a", "pipes/web.c"]);
  const rest = await json(await fetch(`${world.url}/v1/pipes?filter=${encodeURIComponent("not daily")}`));
  expect(rest.body.pipes.map(({ name }: { name: string }) => name)).toEqual(["pipes/web.c", "pipes/web.d"]);
  expect((await run("instance list --tags plugin:web")).json).toHaveLength(1);
  expect((await run("poller list --tags state:enabled")).json).toEqual([]);
  await expect(run('pipe list --tags "daily slow"')).rejects.toMatchObject({ code: "invalid" });
});

test("what is picked is paused, with one line each; what fails is told by name, and the others are done", async () => {
  const paused = await run('pipe pause --tags daily --note "not now" --parallel 2');
  expect(ends(paused.json)).toEqual(["pipes/web.a true", "pipes/web.b true"]);
  expect(paused.text).toMatch(/web\.a +ok +pipes\/web\.a is paused/);
  const shown = await run("pipe show web.a");
  expect(shown.json).toMatchObject({ stateReason: "not now" });
  const synced = await run("pipe sync --all --no-wait");
  expect(ends(synced.json)).toEqual(["pipes/web.a false", "pipes/web.b false", "pipes/web.c true", "pipes/web.d true"]);
  expect(synced.failed).toBe(true);
  expect((synced.json as One[])[0]?.error).toContain("not now");
  expect(synced.notes).toContain("2 of 4 pipes failed");
});

test("several names, words for all of them, and nothing by accident", async () => {
  expect(ends((await run("pipe resume web.a web.b")).json)).toEqual(["pipes/web.a true", "pipes/web.b true"]);
  expect(ends((await run('pipe edit --tags "hourly or slow" --timeout 5s')).json)).toHaveLength(2);
  await expect(run("pipe pause")).rejects.toMatchObject({ name: "Misuse" });
  await expect(run("pipe pause web.a --all")).rejects.toMatchObject({ name: "Misuse" });
  await expect(run("pipe copy --all")).rejects.toMatchObject({ name: "Misuse" });
  await expect(run("pipe delete --tags daily")).rejects.toMatchObject({ code: "precondition" });
  for (const dataset of ["web_a", "web_b"]) {
    await results.ensureDataset({ dataset, columns: { time: "timestamp", n: "int64" }, datetime: "time" });
    await results.appendChunk(chunkOf({ dataset, runId: dataset, rows: [{ n: 7 }] }));
    await results.commit(runRecord({ dataset, runId: dataset, fence: RUN.fence }));
  }
  await expect(run("pipe data --tags daily --format csv")).rejects.toMatchObject({ name: "Misuse" });
  const data = await runCli(["pipe", "data", "--tags", "daily"], { MILLRACE_ADDRESS: world.gateway.grpc });
  expect(
    data.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).n),
  ).toEqual(["7", "7"]);
  expect(ends((await run("pipe copy --tags daily kept_{pipe}")).json)).toEqual([
    "pipes/web.a true",
    "pipes/web.b true",
  ]);
  const datasets = (await results.listDatasets()).map(({ dataset }) => dataset);
  expect(datasets).toEqual(expect.arrayContaining(["kept_web_a", "kept_web_b"]));
  expect(ends((await run("pipe delete --tags hourly --yes")).json)).toEqual(["pipes/web.c true"]);
  expect((await run("pipe show --tags nobody")).json).toEqual([]);
  const missed = await runCli(["pipe", "pause"], { MILLRACE_ADDRESS: world.gateway.grpc });
  expect(missed.code).toBe(2);
  expect(missed.stderr).toContain("<pipe> is missing: name a pipe, or pick with --tags or --all");
}, 120_000);

test("every parameter, tags and a note can be set when a pipe is made and when it is edited, on the command line", async () => {
  const made = await run(
    'pipe create web full --columns "time: timestamp, price: decimal(10, 2), n: int64" --datetime time --index time,n ' +
      '--retention 30d --ttl 90d --partition month --codec ZSTD(3) --codecs "n: T64, LZ4; price: Delta, ZSTD" ' +
      '--freshness 2h --attempts 5 --tags "x, y" --paused "not yet" --chunk 7d',
  );
  expect(made.json).toMatchObject({
    tags: ["x", "y"],
    state: "PIPE_STATE_PAUSED",
    stateReason: "not yet",
    parameters: {
      columns: [
        { name: "time", type: "timestamp" },
        { name: "price", type: "decimal(10,2)" },
        { name: "n", type: "int64" },
      ],
      ...{ index: ["time", "n"], retention: "30d", ttl: "90d", partition: "month", codec: "ZSTD(3)", attempts: 5 },
      codecs: { n: "T64, LZ4", price: "Delta, ZSTD" },
    },
  });
  const { etag } = made.json as { etag: string };
  const edited = await run(`pipe edit web.full --freshness "" --codecs "" --set-tags z --etag ${etag}`);
  expect(edited.json).toMatchObject({ tags: ["z"], parameters: { freshness: "", codecs: {}, retention: "30d" } });
  await expect(run(`pipe edit web.full --ttl 1d --etag ${etag}`)).rejects.toMatchObject({ code: "conflict" });
  const rest = await fetch(`${world.url}/v1/pipes/web.full`, {
    method: "PATCH",
    body: JSON.stringify({ etag, parameters: { ttl: "1d" } }),
    headers: { "content-type": "application/json" },
  });
  expect(rest.status).toBe(409);
  await run('pipe create web second --refs "columns: pipes/web.full/parameters/columns; datetime: pipes/web.full"');
  const dropped = run("pipe drop web.full --yes");
  await expect(dropped).rejects.toMatchObject({ code: "precondition", message: expect.stringContaining("web.second") });
  expect((await run('instance configure web --set-tags "front, old"')).json).toMatchObject({ tags: ["front", "old"] });
  expect((await run("instance list --tags front")).json).toHaveLength(1);
  await expect(run('pipe edit web.full --codecs "n"')).rejects.toMatchObject({ code: "invalid" });
});
