/** A version that breaks down too often is stopped everywhere, with a reason, until somebody releases it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { settings as executorSettings, start as startRealExecutor } from "../../services/executor/main.ts";
import { isBreakdown, openQuarantines } from "../../services/executor/quarantine.ts";
import type { GuestOutcome } from "../../services/executor/sandbox.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { connected, json, startWorld } from "../harness/gateway.ts";
import { until } from "../harness/until.ts";

const FAILURES = 4;

let clickHouse: TestClickHouse;
let results: Results;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  results = await openTestResults(clickHouse);
}, 120_000);
afterAll(async () => {
  await results[Symbol.asyncDispose]();
  await clickHouse[Symbol.asyncDispose]();
});

test("after too many traps every executor refuses with the reason; the CLI lists and releases", async () => {
  await using world = await startWorld(results);
  await world.publish(await readFile((await buildPlugin(join(import.meta.dirname, "../plugins/kitchen"))).path));
  const rule = { quarantineFailures: FAILURES, quarantineOf: 10 };
  const over = { listen: "127.0.0.1:0", registry: world.registry, lanes: 1, ...rule };
  const ports = { bus: world.bus, results, log: silentLog };
  await using _ = await startRealExecutor(readConfig(executorSettings, {}, { ...over, id: "one" }), ports);
  await using __ = await startRealExecutor(readConfig(executorSettings, {}, { ...over, id: "two" }), ports);
  await connected(world.url, 2);
  const at = `${world.url}/plugins/kitchen`;
  const status = async (path: string) => (await fetch(`${at}${path}`)).status;
  await until("both answer", async () =>
    (await Promise.all(Array.from({ length: 8 }, () => status("/hello")))).every((s) => s === 200),
  );
  // Failing by its own word is no breakdown.
  for (let i = 0; i < 4 * FAILURES; i += 1) expect(await status("/fail")).toBe(502);

  const kv = await world.bus.kv(BUCKETS.quarantine);
  await until("the quarantine", async () => {
    await status("/trap");
    return (await kv.list("")).length === 1;
  });
  const refused = await until("every call is refused", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(`${at}/hello`)));
    return answers.every((answer) => answer.status === 503) && (answers[0] as Response);
  });
  const { message } = (await json(refused)).body.error;
  expect(message).toMatch(/quarantined: 4 of its last \d+ calls broke down, the last one: trap: /);
  const run = refused.headers.get("x-millrace-run") ?? "";
  const [recorded] = await until("the run", async () => {
    const runs = await results.getRun(run);
    return runs.length > 0 && runs;
  });
  expect(recorded).toMatchObject({ outcome: "quarantined", plugin: "kitchen", version: "1.0.0" });

  const address = ["--address", world.gateway.grpc];
  const listed = await runCli(["plugin", "quarantine", ...address]);
  expect([listed.code, listed.stdout]).toEqual([0, expect.stringContaining("plugins/kitchen/versions/1.0.0")]);
  const released = await runCli(["plugin", "release", "kitchen", "1.0.0", ...address]);
  expect([released.code, released.stderr]).toEqual([0, ""]);
  await until("both answer again", async () =>
    (await Promise.all(Array.from({ length: 8 }, () => status("/hello")))).every((s) => s === 200),
  );
  const again = await runCli(["plugin", "release", "kitchen", "1.0.0", ...address]);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("is not in quarantine")]);
}, 120_000);

/** What holds however many processes share the bus is shown on both. */
const BOTH = [
  ["SQLite", embeddedGround],
  ["NATS", natsGround],
] as const;

test.each(BOTH)(
  "on %s the last calls of each version count, and are forgotten when it is released",
  async (_, make) => {
    await using ground = await make();
    const kv = await ground.bus.kv(BUCKETS.quarantine);
    const open = () => openQuarantines({ kv, rule: { failures: 3, of: 5 }, executor: "e", log: silentLog });
    await using one = await open();
    await using two = await open();
    const version = (name: string) => ({ name: `plugins/p/versions/${name}` }) as never;
    const usage = { wallMs: 100, cpuMs: 90, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: 0 };
    const note = (name: string, ...outcomes: GuestOutcome[]) => {
      for (const outcome of outcomes) one.note(version(name), { outcome, output: new Uint8Array(0), usage });
    };
    // Never three among five.
    note("1.0.0", "trap", "ok", "ok", "out_of_memory", "ok", "trap", "ok", "ok", "cpu_exceeded", "ok");
    expect(one.reason(version("1.0.0"))).toBeUndefined();
    note("1.0.0", "trap", "timeout");
    note("1.1.0-rc.1+x", "ok", "guest_error", "denied", "host_error", "cancelled");
    await until("both know", () => [one, two].every((q) => q.reason(version("1.0.0")) !== undefined));
    expect(two.reason(version("1.0.0"))).toContain("3 of its last 5 calls broke down, the last one: timeout");
    expect(two.reason(version("1.1.0-rc.1+x"))).toBeUndefined();
    const [entry] = await kv.list("");
    await kv.delete(entry?.key ?? "");
    await until("both know", () => [one, two].every((q) => q.reason(version("1.0.0")) === undefined));
    note("1.0.0", "trap", "trap");
    await until("nothing is written", async () => (await kv.list("")).length === 0);
    // A guest that waited for others did not break down.
    expect(isBreakdown({ outcome: "timeout", usage: { ...usage, cpuMs: 5 } })).toBe(false);
  },
);

test("a job of a stopped version is recorded and dropped; its window waits until it is released", async () => {
  await using ground = await embeddedGround();
  await using at = await openExecuting(ground.bus, results);
  await at.executor({ quarantineFailures: 1, quarantineOf: 1 });
  const plugin = "plugins/larder";
  const good = await at.pipe(await at.instance("good", { mode: "rows", rows: 3 }, { plugin }));
  const bad = await at.pipe(await at.instance("bad", { mode: "trap" }, { plugin }), 1);
  const trapped = await at.fetch(bad);
  await at.runs(trapped.runId, ([run]) => run?.outcome === "trap");
  const kv = await ground.bus.kv(BUCKETS.quarantine);
  const [entry] = await until("the quarantine", async () => {
    const entries = await kv.list("");
    return entries.length === 1 && entries;
  });
  const { runId } = await at.fetch(good);
  const [stopped] = await at.runs(runId, ([run]) => run?.outcome === "quarantined");
  expect(stopped).toMatchObject({ committed: false, message: expect.stringContaining("1 of its last 1 calls") });
  expect((await at.window(good))?.state).not.toBe(WindowState.FAILED);
  await kv.delete(entry?.key ?? "");
  await at.fetch(good, { dueUs: BigInt(Date.now() + 1_000) * 1_000n });
  const [fetched] = await at.runs(runId, ([run]) => run?.outcome === "ok");
  expect(fetched?.rows).toBe(3);
}, 120_000);
