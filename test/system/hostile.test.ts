/** The hostile corpus: every guest is contained, its neighbours go on, and nothing is left behind. */
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { GuestCall, GuestResult, Sandbox } from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { pause } from "../../services/kit/lifecycle.ts";
import { call, encode, open, redispatch } from "../harness/guest-call.ts";
import { type HostileCase, hostileCases, hostileModule } from "../harness/hostile.ts";
import { type HostileHost, openHostileHost } from "../harness/hostile-host.ts";
import { until } from "../harness/until.ts";
import { watModule } from "../harness/wat.ts";

/** Repeats of each guest end at whichever comes first. */
const REPEATS = { cheap: 1_000, costly: 30 };
const REPEAT_MS = { cheap: 500, costly: 1_500 };
const COSTLY_PAUSE_MS = 60;
const LANE_MS = 20_000;
const AT_ONCE = 8;
/** What the allocator keeps and code that was compiled meanwhile; a leak of a kilobyte a call would be more. */
const MAX_GROWTH_BYTES = 160 << 20;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const descriptors = () => readdirSync("/proc/self/fd").length;
const threads = () => readdirSync("/proc/self/task").length;

let sandbox: Sandbox;
let host: HostileHost;
const rows: string[] = [];

beforeAll(async () => {
  sandbox = await open(1, 64);
  host = await openHostileHost();
}, 30_000);
afterAll(async () => {
  await sandbox[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
  process.stdout.write(`${rows.join("\n")}\n`);
});

async function guestOf(one: HostileCase): Promise<GuestCall> {
  const module = await hostileModule(one);
  const base = await call("echo", "run", { memoryMaxPages: 300, maxHostCalls: 500, label: one.name });
  return { ...base, module, export: one.export, host: host.host(), ...one.over };
}

/** What an executor does when there is no lane: the spare is still starting, as the guest before took the last one. */
async function patiently(guest: GuestCall): Promise<GuestResult> {
  const untilMs = performance.now() + LANE_MS;
  for (;;) {
    try {
      return await redispatch(sandbox, guest);
    } catch (thrown) {
      if (Fault.from(thrown).code !== "exhausted" || performance.now() > untilMs) throw thrown;
      await pause(COSTLY_PAUSE_MS);
    }
  }
}

/** The outcome, and the code of the error that the host answered. */
function endOf({ outcome, output }: GuestResult): string {
  const said = outcome === "ok" ? Buffer.from(output).toString() : "";
  const code = said.startsWith('{"error"') ? (JSON.parse(said) as { error: { code: string } }).error.code : "";
  return `${outcome} ${code}`.trim();
}

/** Answers for everybody else, all the while: the number of good calls, and what went wrong with them. */
function neighbours(good: GuestCall) {
  const stop = new AbortController();
  const tookMs: number[] = [];
  const failed: string[] = [];
  const loop = async () => {
    for (let i = 0; !stop.signal.aborted; i += 1) {
      const input = encode(`good ${i}`);
      const startedMs = performance.now();
      try {
        const result = await redispatch(sandbox, { ...good, input });
        if (Buffer.from(result.output).toString() !== `good ${i}`) failed.push(JSON.stringify(result.error));
      } catch (thrown) {
        failed.push(Fault.from(thrown).message);
      }
      tookMs.push(performance.now() - startedMs);
      await pause(2);
    }
  };
  const ended = loop();
  return {
    async end() {
      stop.abort();
      await ended;
      return { tookMs: tookMs.toSorted((a, b) => a - b), failed };
    },
  };
}

const goodGuest = async () =>
  call("wait", "run", { module: await watModule("wait"), host: async (_, request) => request, deadlineMs: 20_000 });
const at = (sorted: readonly number[], part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? 0;

const cases = hostileCases("http://unused");

test("there are at least thirty", () => expect(cases.length).toBeGreaterThanOrEqual(30));

describe("each guest", () => {
  test.each(cases.map((one, i) => [one.name, i] as const))("%s", async (name, i) => {
    const one = hostileCases(host.url)[i] as HostileCase;
    let guest: GuestCall;
    const startedMs = performance.now();
    try {
      guest = await guestOf(one);
    } catch (thrown) {
      const fault = Fault.from(thrown);
      expect(["invalid", "too_large"]).toContain(fault.code);
      expect(one.ends).toContain("refused");
      rows.push(`${name.padEnd(34)} refused          ${(performance.now() - startedMs).toFixed(1).padStart(8)} ms`);
      return;
    }
    const good = neighbours(await goodGuest());
    const run = () => patiently({ ...guest, ...(one.over?.host ? {} : { host: host.host() }) });
    const firstMs = performance.now();
    const first = await run();
    const tookMs = performance.now() - firstMs;
    const end = endOf(first);
    const kind = one.costly ? "costly" : "cheap";
    const ends = new Set([end]);
    let repeats = 1;
    const untilMs = performance.now() + REPEAT_MS[kind];
    while (repeats < REPEATS[kind] && performance.now() < untilMs) {
      // A spinner that comes back at once would leave the lane to nobody: the quarantine is for that.
      if (one.costly) await pause(COSTLY_PAUSE_MS);
      const batch = Array.from({ length: one.costly ? 1 : AT_ONCE }, run);
      for (const result of await Promise.all(batch)) ends.add(endOf(result));
      repeats += batch.length;
    }
    const { failed, tookMs: goodMs } = await good.end();
    rows.push(
      `${name.padEnd(34)} ${end.padEnd(16)} ${tookMs.toFixed(1).padStart(8)} ms  ×${String(repeats).padEnd(5)} ` +
        `good calls ${goodMs.length}, p50 ${at(goodMs, 0.5).toFixed(1)} ms, p99 ${at(goodMs, 0.99).toFixed(1)} ms`,
    );
    expect([...ends].filter((other) => !one.ends.includes(other))).toEqual([]);
    if (first.outcome !== "ok") expect(first.error?.message.length).toBeLessThanOrEqual(40_000);
    expect(failed).toEqual([]);
    expect(goodMs.length).toBeGreaterThan(0);
  });
}, 30_000);

test("good calls are as fast as before, and threads, descriptors and memory are back", async () => {
  const settle = async () => {
    await until("one lane and its spare", () => sandbox.stats().running === 0 && sandbox.free() === 64);
    collect();
    await pause(200);
    collect();
  };
  const measure = async () => {
    const good = await goodGuest();
    const tookMs: number[] = [];
    for (let i = 0; i < 300; i += 1) {
      const startedMs = performance.now();
      await redispatch(sandbox, good);
      tookMs.push(performance.now() - startedMs);
    }
    return tookMs.toSorted((a, b) => a - b);
  };
  // Everything has run by now: this is the level that repetition must not leave.
  await settle();
  const before = { rss: process.memoryUsage.rss(), threads: threads(), descriptors: descriptors() };
  const speedBefore = await measure();
  const all = hostileCases(host.url);
  for (const one of all.filter(({ ends }) => !ends.includes("refused"))) {
    const guest = await guestOf(one);
    for (let i = 0; i < (one.costly ? 3 : 30); i += 1) {
      await patiently({ ...guest, ...(one.over?.host ? {} : { host: host.host() }) });
    }
  }
  await settle();
  const after = { rss: process.memoryUsage.rss(), threads: threads(), descriptors: descriptors() };
  const speedAfter = await measure();
  rows.push(`before ${JSON.stringify(before)}`, `after  ${JSON.stringify(after)}`);
  rows.push(
    `good calls p50/p99 before ${at(speedBefore, 0.5).toFixed(2)}/${at(speedBefore, 0.99).toFixed(2)} ms, ` +
      `after ${at(speedAfter, 0.5).toFixed(2)}/${at(speedAfter, 0.99).toFixed(2)} ms`,
  );
  expect(after.rss - before.rss).toBeLessThan(MAX_GROWTH_BYTES);
  expect(after.threads).toBeLessThanOrEqual(before.threads + 1);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 2);
  expect(at(speedAfter, 0.5)).toBeLessThan(at(speedBefore, 0.5) * 3 + 2);
}, 120_000);
