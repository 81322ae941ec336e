/** What a call used is what it did: CPU apart from waiting, memory, host calls by name, bytes both ways. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { GuestCall, Sandbox } from "../../services/executor/sandbox.ts";
import { pause } from "../../services/kit/lifecycle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { openExecuting } from "../harness/executing.ts";
import { call, encode, open } from "../harness/guest-call.ts";

const PAGE_BYTES = 65_536;

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await open(1);
});
afterAll(() => sandbox[Symbol.asyncDispose]());
const usageOf = async (plugin: string, name: string, over: Partial<GuestCall> = {}) =>
  (await sandbox.call(await call(plugin, name, over))).usage;

test("CPU time is that of computing, wall time that of all; who waits uses none", async () => {
  const spun = await usageOf("cpu", "spin", { cpuMs: 150 });
  expect(spun.cpuMs).toBeGreaterThanOrEqual(150);
  expect(spun.wallMs).toBeGreaterThanOrEqual(spun.cpuMs);
  const host = async (_: string, request: Uint8Array) => {
    await pause(300);
    return request;
  };
  const waited = await usageOf("wait", "run", { host });
  expect(waited.wallMs).toBeGreaterThanOrEqual(299);
  expect(waited.cpuMs).toBeLessThan(waited.wallMs / 2);
});

test("memory is the most that was held at once, blocks that were freed not counted again", async () => {
  const grown = await usageOf("memory", "pages", { memoryMaxPages: 256 });
  expect(grown.memoryPeakBytes).toBeGreaterThanOrEqual(250 * PAGE_BYTES);
  expect(grown.memoryPeakBytes).toBeLessThanOrEqual(257 * PAGE_BYTES);
  const freed = await usageOf("memory", "freed_blocks");
  expect(freed.memoryPeakBytes).toBeLessThan(32 << 20);
  const small = await usageOf("echo", "run");
  expect(small.memoryPeakBytes).toBeLessThan(4 * PAGE_BYTES);
});

test("host calls are counted by name, and every byte once in each direction", async () => {
  const answer = encode("x".repeat(1_000));
  const over = { maxHostCalls: 10, host: async () => answer };
  const noisy = await usageOf("flood", "host_calls", over);
  expect(noisy).toMatchObject({ hostCalls: { noise: 10 }, bytesOut: 10 * 5, bytesIn: 5 + 10 * 1_000 });
  const waited = await usageOf("wait", "run", { host: async () => answer, input: encode("y".repeat(300)) });
  expect(waited).toMatchObject({ hostCalls: { wait: 1 }, bytesIn: 1_300, bytesOut: 1_300 });
});

test("the query on the page tells usage by plugin, version and kind", async () => {
  const page = await readFile(new URL("../../services/executor/LIMITS.md", import.meta.url), "utf8");
  const sql = /```sql\n([^`]+)```/.exec(page)?.[1] ?? "";
  await using server = await startTestClickHouse();
  await using ground = await embeddedGround();
  await using results = await openTestResults(server);
  await using at = await openExecuting(ground.bus, results);
  await at.executor();
  const config = { mode: "emit", rows: 100, batches: 4 };
  const { runId } = await at.fetch(await at.pipe(await at.instance("used", config, { plugin: "plugins/larder" })));
  const [run] = await at.runs(runId, ([first]) => first?.outcome === "ok");
  expect(run?.hostCalls).toMatchObject({ emit: 4 });
  const { columns, rows } = await results.query({ sql, maxRows: 10, maxBytes: 1 << 20, timeoutMs: 10_000 });
  // A metered plugin's instructions are in its record: the same work, the same count.
  const weighed = async (name: string) => {
    const { runId } = await at.fetch(await at.pipe(await at.instance(name, config, { plugin: "plugins/scales" })));
    return (await at.runs(runId, ([first]) => first?.outcome === "ok"))[0]?.gas ?? 0;
  };
  const gas = await weighed("scale-a");
  expect(gas).toBeGreaterThan(100_000);
  expect([await weighed("scale-b"), run?.gas]).toEqual([gas, 0]);
  const rowsByName = rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, row[i]])));
  const found = rowsByName.find(({ plugin, kind }) => plugin === "larder" && kind === "fetch");
  expect(found).toMatchObject({ version: "1.0.0", runs: "1", failed: "0", bytes_out: String(run?.bytesOut) });
  expect(JSON.stringify(found?.host_calls)).toContain("emit");
}, 120_000);
