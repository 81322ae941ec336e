/** Records of real runs, played back: the same bytes, or a difference that says where. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { PollerKind } from "../../proto/gen/millrace/registry/v1/poller.ts";
import { Recording } from "../../proto/gen/millrace/results/v1/recording.ts";
import { JobKind } from "../../proto/gen/millrace/scheduler/v1/job.ts";
import { BLOBS, BUCKETS, RECORDS, recordKey, runIds } from "../../proto/names.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { settings as executorSettings, start as startRealExecutor } from "../../services/executor/main.ts";
import {
  compressLines,
  type RunRecording,
  readRecording,
  withModule,
} from "../../services/executor/recording/format.ts";
import { openRecorder } from "../../services/executor/recording/recorder.ts";
import { replayRun } from "../../services/executor/recording/replay.ts";
import { openSandbox, type Sandbox } from "../../services/executor/sandbox.ts";
import { readConfig } from "../../services/kit/config.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { startWorld } from "../harness/gateway.ts";
import { slowServer } from "../harness/slow-server.ts";
import { until } from "../harness/until.ts";

let clickHouse: TestClickHouse;
let results: Results;
let sandbox: Sandbox;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  results = await openTestResults(clickHouse);
  sandbox = await openSandbox({ lanes: 1, callsPerLane: 4, log: silentLog });
}, 120_000);
afterAll(async () => {
  await sandbox[Symbol.asyncDispose]();
  await results[Symbol.asyncDispose]();
  await clickHouse[Symbol.asyncDispose]();
});

async function kept(
  bus: Bus,
  runId: string,
): Promise<{ readonly recording: RunRecording; readonly module: Uint8Array }> {
  const index = await bus.kv(BUCKETS.records);
  const entry = await until(`a record of ${runId}`, () => index.get(recordKey(runId)));
  const { digest, moduleDigest } = Recording.decode(entry.value);
  const file = await (await bus.blobs(RECORDS)).get(digest);
  return { recording: readRecording(file), module: await (await bus.blobs(BLOBS)).get(moduleDigest) };
}

test("fetches by emit and by pages, polls with a clock, kv, failures and traps replay to the byte", async () => {
  await using ground = await embeddedGround();
  await using at = await openExecuting(ground.bus, results);
  await using server = await slowServer();
  await at.executor({ record: "all" });
  const plugin = "plugins/larder";
  const configs: Record<string, Record<string, string | number>> = {
    emitting: { mode: "emit", rows: 5_000, batches: 5 },
    paging: { mode: "page", rows: 40, batches: 4 },
    failing: { mode: "fail" },
    trapping: { mode: "trap" },
    hogging: { mode: "hog" },
    asking: { mode: "kv" },
  };
  const seen: Record<string, readonly [string | undefined, number]> = {};
  for (const [name, config] of Object.entries(configs)) {
    const { runId } = await at.fetch(await at.pipe(await at.instance(name, config, { plugin }), 1));
    const { recording, module } = await kept(ground.bus, runId);
    const replayed = await replayRun(recording, module, sandbox);
    expect([name, replayed.differences]).toEqual([name, []]);
    expect(replayed.hostCalls).toBe(recording.calls.reduce((sum, { host }) => sum + host.length, 0));
    seen[name] = [recording.end?.outcome, replayed.calls];
  }
  expect(seen).toMatchObject({
    emitting: ["ok", 1],
    paging: ["ok", 4],
    failing: ["guest_error", 1],
    trapping: ["trap", 1],
  });

  const oven = await at.resource("oven-1", `${server.url}/`);
  const poller = await at.poller("ovens", await at.instance("polled", {}), PollerKind.POLL);
  const runId = runIds.poll("ovens", "oven-1", "20260101T000000Z");
  await at.send({ kind: JobKind.POLL, runId, instance: "instances/polled", poller: poller.name, resource: oven.name });
  const { recording, module } = await kept(ground.bus, runId);
  // The guest reads its clock: the answer has it in it.
  expect(JSON.stringify(recording.calls[0]?.end?.output)).toContain("now_ms");
  expect((await replayRun(recording, module, sandbox)).differences).toEqual([]);
}, 120_000);

test("a run that computes too long replays to the same end; what is not the same shows as a difference", async () => {
  await using ground = await embeddedGround();
  await using at = await openExecuting(ground.bus, results);
  await at.executor({ record: "failed", cpuMsCeiling: 200 });
  const plugin = "plugins/larder";
  const spinning = await at.pipe(await at.instance("spinning", { mode: "spin" }, { plugin }), 1);
  const spun = await kept(ground.bus, (await at.fetch(spinning)).runId);
  expect(spun.recording.end?.outcome).toBe("cpu_exceeded");
  expect((await replayRun(spun.recording, spun.module, sandbox)).differences).toEqual([]);

  const config = { mode: "emit", rows: 100, batches: 5, fail_at_batch: 3 };
  const failing = await at.pipe(await at.instance("halfway", config, { plugin }), 1);
  const { recording, module } = await kept(ground.bus, (await at.fetch(failing)).runId);
  expect(recording.end).toMatchObject({ outcome: "guest_error", emitted: { calls: 3 } });
  expect((await replayRun(recording, module, sandbox)).differences).toEqual([]);

  const [first] = recording.calls;
  if (!first) throw new Error("no call in the record");
  const host = first.host.map((entry, i) =>
    i === 1 ? { name: entry.name, request: { ...entry.request, sha256: "0" } } : entry,
  );
  const other = await replayRun({ ...recording, calls: [{ ...first, host }] }, module, sandbox);
  expect(other.differences).toHaveLength(1);
  expect(other.differences[0]).toMatchObject({ where: "call 1, host call 2" });
  const early = await replayRun({ ...recording, calls: [{ ...first, host: first.host.slice(0, 1) }] }, module, sandbox);
  expect(early.differences[0]?.recorded).toBe("no more host calls");
  const end = first.end && { ...first.end, error: { code: "other", message: "x", retryable: false } };
  const ended = await replayRun({ ...recording, calls: [{ ...first, end }] }, module, sandbox);
  expect(ended.differences.map(({ where }) => where)).toEqual(["call 1, error"]);
}, 120_000);

const BOTH = [
  ["SQLite", embeddedGround],
  ["NATS", natsGround],
] as const;

test.each(BOTH)("on %s records go by age, bytes and number; a run that was told too much has none", async (_, make) => {
  await using ground = await make();
  const index = await ground.bus.kv("records-test");
  const blobs = await ground.bus.blobs("records-test");
  const options = { mode: "all", index, blobs, log: silentLog } as const;
  await using recorder = openRecorder({ ...options, maxRunBytes: 10_000, maxKeptBytes: 1 << 20, keepMs: 60_000 });
  const record = async (runId: string, inputBytes: number) => {
    const tape = recorder.tape();
    const usage = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, hostCalls: {}, bytesIn: 0, bytesOut: 0 };
    const given = { input: Buffer.alloc(inputBytes), export: "fetch", deadlineMs: 1 };
    tape?.record(given as never).end({ outcome: "trap", output: new Uint8Array(0), usage });
    recorder.end(tape, { runId, fence: 1n, outcome: "trap", startedUs: 0n, finishedUs: 0n } as never, { config: {} });
  };
  await record("a", 100);
  await record("b", 100);
  await record("large", 20_000);
  await until("two records", async () => (await index.list("")).length === 2);
  await recorder.sweep();
  expect(await index.list("")).toHaveLength(2);
  await using strict = openRecorder({ ...options, maxRunBytes: 1, maxKeptBytes: 1, keepMs: 60_000 });
  const digests = (await index.list("")).map(({ value }) => Recording.decode(value).digest);
  await strict.sweep();
  expect(await index.list("")).toEqual([]);
  expect(await Promise.all(digests.map((digest) => blobs.has(digest)))).toEqual([false, false]);
});

test("the CLI saves the record of a failed call and replays it offline; what differs is exit 1", async () => {
  await using world = await startWorld(results);
  const built = await buildPlugin(new URL("../plugins/kitchen", import.meta.url).pathname);
  await world.publish(await readFile(built.path));
  const config = readConfig(executorSettings, {}, { listen: "127.0.0.1:0", registry: world.registry, lanes: 1 });
  await using _ = await startRealExecutor(config, { bus: world.bus, results, log: silentLog });
  const at = `${world.url}/plugins/kitchen`;
  await until("the guest answers", async () => (await fetch(`${at}/hello`)).ok);
  const failed = await fetch(`${at}/fail`);
  const run = failed.headers.get("x-millrace-run") ?? "";
  expect([failed.status, run]).toEqual([502, expect.stringMatching(/^kitchen\//)]);
  const index = await world.bus.kv(BUCKETS.records);
  await until("its record", () => index.get(recordKey(run)));

  const folder = await mkdtemp(join(tmpdir(), "millrace-replay-"));
  try {
    const file = join(folder, "failed.record.gz");
    const saved = await runCli(["run", "record", run, "--out", file, "--address", world.gateway.grpc]);
    expect([saved.code, saved.stderr]).toEqual([0, ""]);
    const same = await runCli(["run", "replay", file]);
    expect([same.code, same.stdout]).toEqual([0, expect.stringContaining("the same, byte for byte")]);
    const missing = await runCli([
      "run",
      "replay",
      file,
      "--wasm",
      join(new URL("..", import.meta.url).pathname, "none.wasm"),
    ]);
    expect(missing.code).toBe(1);

    const { run: header, calls, end, module } = readRecording(await readFile(file));
    const lines: object[] = [{ run: header }];
    for (const { call, host, end: ended } of calls) {
      lines.push({ call }, ...host.map((entry) => ({ host: entry })), {
        end: { ...ended, outcome: "ok", error: undefined },
      });
    }
    const other = withModule(compressLines([...lines, { run_end: end }]), module ?? new Uint8Array());
    await writeFile(file, other);
    const differs = await runCli(["run", "replay", file]);
    expect([differs.code, differs.stdout]).toEqual([1, expect.stringContaining("- ok\n+ guest_error")]);
    const none = await runCli(["run", "record", "kitchen/none", "--out", file, "--address", world.gateway.grpc]);
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining("there is no record")]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
