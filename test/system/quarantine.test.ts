/** A version that breaks down too often is stopped everywhere, with a reason, until somebody releases it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { Quarantine } from "../../proto/gen/millrace/registry/v1/quarantine.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BUCKETS } from "../../proto/names.ts";
import { RING_TTL_MS } from "../../services/executor/breakdowns.ts";
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
  const shown = await runCli(["plugin", "show", "kitchen", ...address]);
  expect(shown.stdout).toMatch(
    /versions\/1\.0\.0 is in quarantine since \d{4}-\S+Z, until it is released: 4 of its last \d+ calls/,
  );
  const all = await runCli(["plugin", "list", ...address]);
  expect(all.stdout).toMatch(/kitchen +1\.0\.0 +ACTIVE +1\.0\.0 /i);
  const { body } = await json(await fetch(`${world.url}/v1/plugins/kitchen`));
  expect(body.plugin.quarantines).toEqual([
    expect.objectContaining({ name: "plugins/kitchen/versions/1.0.0", reason: expect.stringContaining("broke down") }),
  ]);
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

test.each(BOTH)("on %s all executors count together; what was released is forgotten", async (_, make) => {
  await using ground = await make();
  const kv = await ground.bus.kv(BUCKETS.quarantine);
  const counts = await ground.bus.kv(BUCKETS.breakdowns, { ttlMs: RING_TTL_MS });
  const open = () => {
    const rule = { failures: 3, of: 5, minutes: 0 };
    return openQuarantines({ kv, counts, rule, executor: "e", log: silentLog });
  };
  await using one = await open();
  await using two = await open();
  const version = (name: string) => ({ name: `plugins/p/versions/${name}` }) as never;
  const usage = { wallMs: 100, cpuMs: 90, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: 0 };
  const note = (by: typeof one, name: string, ...outcomes: GuestOutcome[]) => {
    for (const outcome of outcomes) by.note(version(name), { outcome, output: new Uint8Array(0), usage });
  };
  const ring = async () => Buffer.from((await counts.list(""))[0]?.value ?? []).toString();
  // Never three among five.
  note(one, "1.0.0", "trap", "ok", "ok", "out_of_memory", "ok", "trap", "ok", "ok", "cpu_exceeded", "ok");
  await until("they are counted", async () => (await ring()) === "!..!.");
  note(two, "1.0.0", "guest_error");
  await until("the other's too", async () => (await ring()) === "..!..");
  note(two, "1.0.0", "trap");
  await until("the other's too", async () => (await ring()) === ".!..!");
  expect(one.reason(version("1.0.0"))).toBeUndefined();
  note(one, "1.0.0", "timeout");
  await until("both know", () => [one, two].every((q) => q.reason(version("1.0.0")) !== undefined));
  const why = "3 of its last 5 calls broke down, the last one: timeout: ; until it is released";
  expect(two.reason(version("1.0.0"))).toBe(why);
  expect(await ring()).toBe("");

  note(one, "1.1.0-rc.1+x", "ok", "guest_error", "denied", "host_error", "cancelled", "ok");
  const [entry] = await kv.list("");
  await kv.delete(entry?.key ?? "");
  await until("both know", () => [one, two].every((q) => q.reason(version("1.0.0")) === undefined));
  note(one, "1.0.0", "trap", "trap");
  await until("a new ring", async () => (await ring()) === "!!");
  expect([await kv.list(""), (await counts.list("")).length]).toEqual([[], 1]);
  // Enough good ones, and it is as if it had never been.
  note(two, "1.0.0", "ok", "ok", "ok", "ok", "ok");
  await until("no ring", async () => (await ring()) === "");
  // A guest that waited for others did not break down.
  expect(isBreakdown({ outcome: "timeout", usage: { ...usage, cpuMs: 5 } })).toBe(false);
});

test("a quarantine with an end says when, and ends then; one for a thread that could not be ended does not", async () => {
  await using ground = await embeddedGround();
  const kv = await ground.bus.kv(BUCKETS.quarantine);
  const counts = await ground.bus.kv(BUCKETS.breakdowns, { ttlMs: RING_TTL_MS });
  const rule = { failures: 1, of: 1, minutes: 60 };
  await using one = await openQuarantines({ kv, counts, rule, executor: "e", log: silentLog });
  const version = { name: "plugins/p/versions/1.0.0" } as never;
  const usage = { wallMs: 1, cpuMs: 1, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: 0 };
  one.note(version, { outcome: "trap", output: new Uint8Array(0), usage });
  const why = await until("it stands", () => one.reason(version));
  expect(why).toMatch(/^1 of its last 1 calls broke down, the last one: trap: ; until 20\d\d-\S+Z$/);
  const [entry] = await kv.list("");
  const stored = Quarantine.decode(entry?.value ?? new Uint8Array(0));
  const lasts = Number(stored.expireTime?.seconds) - Number(stored.createTime?.seconds);
  expect(lasts).toBe(3_600);
  const over = { ...stored, expireTime: stored.createTime };
  await kv.put(entry?.key ?? "", Quarantine.encode(over).finish());
  await until("it runs again", () => one.reason(version) === undefined);
  await until("it is cleared away", async () => (await kv.list("")).length === 0);

  await until("it is forgotten here", () => one.reason(version) === undefined);
  one.stop(version, "the thread of a call could not be ended");
  expect(await until("it stands", () => one.reason(version))).toMatch(/could not be ended; until it is released$/);
});

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
