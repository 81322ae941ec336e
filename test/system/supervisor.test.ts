/** The ladder's last step: a process that a guest keeps from ending, or that hangs, is killed and comes back. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { PluginsService } from "../../proto/gen/millrace/registry/v1/plugin_service.ts";
import { Quarantine } from "../../proto/gen/millrace/registry/v1/quarantine.ts";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { BLOBS, BUCKETS } from "../../proto/names.ts";
import { openNatsBus } from "../../services/bus/nats/bus.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults, type Results } from "../../services/results/results.ts";
import { packed } from "../harness/bundle.ts";
import { runCli, startCli } from "../harness/cli.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { type Executing, openExecuting } from "../harness/executing.ts";
import { unendingAsStored, unendingModule } from "../harness/hostile-modules.ts";
import { startServer } from "../harness/http-guest.ts";
import { startNats } from "../harness/nats.ts";
import { until } from "../harness/until.ts";

/** About five minutes of a thread that does not end. */
const FILLS = 120_000;
/** An ack wait, a lock's life, and a start on a busy machine. */
const PATIENCE_MS = 90_000;

const stack = new AsyncDisposableStack();
let at: Executing;
let bus: Bus;
let results: Results;
let env: Record<string, string>;

beforeAll(async () => {
  const nats = stack.use(await startNats());
  const clickHouse = stack.use(await startTestClickHouse());
  bus = stack.use(await openNatsBus({ url: nats.url, log: silentLog, name: "test" }));
  results = stack.use(await openResults({ url: clickHouse.url, readerUrl: clickHouse.readerUrl, log: silentLog }));
  at = stack.use(await openExecuting(bus, results));
  env = {
    ...{ NATS_URL: nats.url, CLICKHOUSE_URL: clickHouse.url, REGISTRY_ADDRESS: at.registry.address },
    ...{ EXECUTOR_LANES: "1", EXECUTOR_PRIVATE_HOSTS: "127.0.0.1", EXECUTOR_DRAIN_MS: "500" },
    ...{ EXECUTOR_STUCK_MS: "500", EXECUTOR_SILENT_MS: "1000" },
  };
}, 120_000);
afterAll(() => stack.disposeAsync());

/** The process that runs guests: the supervisor's only child. */
const childOf = (pid: number) => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim()) || undefined;
const lives = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** A pipe whose one row comes from a server that answers when it is told to. */
async function innocent(name: string) {
  let open = false;
  const waiting = new Set<() => void>();
  const server = stack.use(
    await startServer((_, response) => {
      const answer = () => response.end("{}");
      if (open) answer();
      else waiting.add(answer);
    }),
  );
  const config = { mode: "slow", url: `${server.url}/` };
  const instance = await at.instance(name, config, { plugin: "plugins/larder" });
  const pipe = await at.pipe(instance);
  const job = await at.fetch(pipe);
  await until(`${name} asks its server`, () => server.seen.length > 0, PATIENCE_MS);
  return {
    async endsOnce() {
      open = true;
      for (const answer of waiting) answer();
      await until(`${name} is done`, async () => (await at.window(pipe))?.state === WindowState.DONE, PATIENCE_MS);
      await until("nothing is queued", async () => (await at.queue.depth()) === 0, PATIENCE_MS);
      const sql = `SELECT count() FROM ${name}_rows`;
      const { rows } = await results.query({ sql, maxRows: 1, maxBytes: 1_000, timeoutMs: 10_000 });
      const runs = await results.getRun(job.runId);
      return { rows: Number(rows[0]?.[0]), committed: runs.filter((run) => run.committed).length };
    },
  };
}

async function publishMule(instance: string) {
  const manifest = {
    ...{
      name: "mule",
      version: "1.0.0",
      abi: 1,
      description: "Does not end.",
      author: "Millrace",
      license: "Apache-2.0",
    },
    interfaces: {
      fetch: { columns: { time: "timestamp" }, datetime: "time", chunk: "1d", begin: "2024-01-01T00:00:00Z" },
    },
    // Time to compile it, too: one that is told to end before its first instruction does.
    limits: { cpu: "2s", memory_mib: 128 },
  };
  const bundle = packed([
    { path: "plugin.json", content: JSON.stringify(manifest) },
    { path: "plugin.wasm", content: unendingModule(1, "fetch") },
  ]);
  await at.registry.call(PluginsService.publishPlugin, { bundle, validateOnly: false }, 30_000);
  // As it lies in the store of an older platform: what is published now can be ended.
  const [kv, blobs] = await Promise.all([bus.kv(BUCKETS.plugins), bus.blobs(BLOBS)]);
  const [entry] = await kv.list("v.mule");
  if (!entry) throw new Error("no version was stored");
  const moduleDigest = await blobs.put(unendingAsStored(FILLS, "fetch"));
  const stored = { ...PluginVersion.decode(entry.value), moduleDigest };
  await kv.update(entry.key, PluginVersion.encode(stored).finish(), entry.revision);
  return at.pipe(await at.instance(instance, {}, { plugin: "plugins/mule" }));
}

test("terminate() does not end a guest, or the main thread hangs: the executor is killed, comes back, and nothing is lost", async () => {
  const mule = await publishMule("mule-one");
  await using executor = startCli(["executor"], { ...env, EXECUTOR_ID: "one" });
  const first = await until("the executor is up", () => executor.said().includes("ready") && childOf(executor.pid));
  const calm = await innocent("calm");

  const { runId } = await at.fetch(mule);
  const [run] = await at.runs(runId, ([newest]) => newest !== undefined);
  expect(run).toMatchObject({ outcome: "cpu_exceeded", committed: false });
  await until("the thread is given up", () => executor.said().includes("a lane cannot be ended"));
  const endsMs = performance.now();
  const second = await until("another process", () => {
    const now = childOf(executor.pid);
    return now !== first && now;
  });
  const goneMs = performance.now() - endsMs;
  expect([lives(first), executor.said()]).toEqual([false, expect.stringContaining("ended by SIGKILL")]);
  expect(await calm.endsOnce()).toEqual({ rows: 1, committed: 1 });
  const [entry] = await (await bus.kv(BUCKETS.quarantine)).list("mule");
  expect(Quarantine.decode(entry?.value ?? new Uint8Array(0))).toMatchObject({
    name: "plugins/mule/versions/1.0.0",
    reason: 'the thread of a call of "fetch" could not be ended',
    expireTime: undefined,
  });

  const patient = await innocent("patient");
  // Its main thread does not look at anything any more, and a job is under way: only its leases tell of it.
  process.kill(second, "SIGSTOP");
  const third = await until("another process", () => {
    const now = childOf(executor.pid);
    return now !== second && now;
  });
  expect([lives(second), executor.said()]).toEqual([false, expect.stringContaining("was silent for 1000 ms")]);
  expect(await patient.endsOnce()).toEqual({ rows: 1, committed: 1 });
  process.stdout.write(`killed and started again ${goneMs.toFixed(0)} ms after its thread was given up\n`);

  executor.kill("SIGTERM");
  expect((await executor.ended).code).toBe(0);
  expect(lives(third)).toBe(false);
}, 240_000);

test("without a supervisor it ends although a thread does not; a start that fails is told and not repeated", async () => {
  const wrong = await runCli(["executor"], { ...env, EXECUTOR_LANES: "0" });
  expect([wrong.code, wrong.stderr.split("EXECUTOR_LANES").length]).toEqual([1, 2]);

  const kv = await bus.kv(BUCKETS.quarantine);
  for (const { key } of await kv.list("")) await kv.delete(key);
  await using alone = startCli(["executor"], { ...env, EXECUTOR_SUPERVISE: "off", EXECUTOR_STUCK_MS: "1000" });
  await alone.saying("ready");
  const { runId } = await at.fetch(await publishMule("mule-two"));
  await at.runs(runId, ([newest]) => newest?.outcome === "cpu_exceeded");
  alone.kill("SIGTERM");
  // By itself, when all else had ended: leaving in order would have waited for the thread.
  expect((await alone.ended).code).toBe(null);
}, 60_000);
