/** The hostile corpus: every guest is contained, its neighbours go on, and nothing is left behind. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { GuestCall, GuestResult, Sandbox } from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { pause } from "../../services/kit/lifecycle.ts";
import { call, open, redispatch } from "../harness/guest-call.ts";
import { type HostileCase, hostileCases, hostileModule } from "../harness/hostile.ts";
import { type HostileHost, openHostileHost } from "../harness/hostile-host.ts";
import { type Level, level, neighbours, percentile, type Speed, speedOf } from "../harness/hostile-watch.ts";
import { until } from "../harness/until.ts";
import { watModule } from "../harness/wat.ts";

/** Of each guest: one that costs its lane costs a new thread each time. */
const REPEATS = { cheap: 1_000, costly: 30 };
/** Before what repetition must not raise is noted: code is compiled, pools and heaps have their size. */
const WARM = { cheap: 16, costly: 1 };
const PLACES = 64;
const AT_ONCE = 8;
/** While there is no lane: the spare is still starting. */
const LANELESS_PAUSE_MS = 20;
const LANE_MS = 20_000;
/** Only a hang takes so long, on however busy a machine. */
const CASE_MS = 180_000;
/**
 * Good calls right after a guest ended, against those before all of them: so much slower at most, and so much on top for
 * a machine that does other things, too. A lane that was left ill answers in 20 ms and more (the watchdog's look), or
 * not at all.
 */
const SLOWER = 4;
const SLACK_MS = { p50: 3, p99: 30 };
const RECOVERY_MS = 10_000;
/** What this thread still reaches after about 70,000 calls: 200 bytes of each would be more. */
const MAX_HELD_MIB = 12;
/**
 * Native allocators and heaps keep what the largest burst took (1 MB messages and 26 MiB requests, eight at a time): 130
 * MiB after everything was done once, though 4 MiB are held. So the process is measured while all is done again, when
 * that has its size (-39 and +40 MiB were seen): 17 KB a call more would show.
 */
const MAX_GROWTH_MIB = 80;
const AGAIN = 64;

let sandbox: Sandbox;
let host: HostileHost;
let good: GuestCall;
let before: { readonly level: Level; readonly speed: Speed };
const guests = new Map<string, GuestCall | undefined>();
const say = (row: string) => process.stdout.write(`${row}\n`);

const cases = hostileCases("http://unused");

beforeAll(async () => {
  sandbox = await open(1, PLACES);
  host = await openHostileHost(sandbox);
  good = await call("wait", "run", {
    ...{ module: await watModule("wait"), host: async (_, request) => request, deadlineMs: 20_000 },
  });
  for (const one of hostileCases(host.url)) {
    const guest = await guestOf(one);
    guests.set(one.name, guest);
    for (let i = 0; guest && i < (one.costly ? WARM.costly : WARM.cheap); i += 1) await run(one, guest);
  }
  await newLanes();
  before = { level: await level(), speed: await speedOf(sandbox, good) };
}, 240_000);
afterAll(async () => {
  await sandbox[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

/** Undefined when publishing refuses it. */
async function guestOf(one: HostileCase): Promise<GuestCall | undefined> {
  try {
    const module = await hostileModule(one);
    const base = await call("echo", "run", { memoryMaxPages: 300, maxHostCalls: 500, label: one.name });
    return { ...base, module, export: one.export, ...one.over };
  } catch (thrown) {
    expect(["invalid", "too_large"]).toContain(Fault.from(thrown).code);
    return undefined;
  }
}

/** What an executor does when there is no lane: the spare is still starting, as the guest before took the last one. */
async function patiently(guest: GuestCall): Promise<GuestResult> {
  const untilMs = performance.now() + LANE_MS;
  for (;;) {
    try {
      return await redispatch(sandbox, guest);
    } catch (thrown) {
      if (Fault.from(thrown).code !== "exhausted" || performance.now() > untilMs) throw thrown;
      await pause(LANELESS_PAUSE_MS);
    }
  }
}

/** Threads that nothing has run in: what a heap keeps until it is next collected is not a question of repetition. */
async function newLanes(): Promise<void> {
  const spin = await call("cpu", "spin", { cpuMs: 1, memoryMaxPages: 300 });
  for (let lane = 0; lane < 2; lane += 1) expect((await patiently(spin)).outcome).toBe("cpu_exceeded");
  await idle();
}

async function run(one: HostileCase, guest: GuestCall): Promise<GuestResult> {
  if (one.over?.host) return patiently(guest);
  using given = one.calls ? host.ring() : host.host();
  return await patiently({ ...guest, host: given });
}

const idle = () => until("nobody is in a lane", () => sandbox.stats().running === 0 && sandbox.free() === PLACES);

/** The outcome, and the code of the error that the host answered. */
function endOf({ outcome, output }: GuestResult): string {
  const said = outcome === "ok" ? Buffer.from(output).toString() : "";
  return `${outcome} ${/"error":\{"code":"(\w+)"/.exec(said)?.[1] ?? ""}`.trim();
}

test("there are at least thirty, each with a name of its own", () => {
  expect(cases.length).toBeGreaterThanOrEqual(30);
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});

describe(
  "each guest",
  () => {
    test.each(cases.map((one, i) => [one.name, i] as const))("%s", async (name, i) => {
      const one = hostileCases(host.url)[i] as HostileCase;
      const guest = guests.get(name);
      if (!guest) {
        expect(one.ends).toContain("refused");
        say(`${name.padEnd(42)} refused`);
        return;
      }
      const others = neighbours(sandbox, good);
      const ends = new Set<string>();
      const repeats = one.costly ? REPEATS.costly : REPEATS.cheap;
      const startedMs = performance.now();
      for (let done = 0; done < repeats; ) {
        const batch = Array.from({ length: one.costly ? 1 : Math.min(AT_ONCE, repeats - done) }, async () => {
          const result = await run(one, guest);
          ends.add(endOf(result));
          // A message is for people and for a table of runs.
          if (result.outcome !== "ok") expect(result.error?.message.length).toBeLessThanOrEqual(8_192);
        });
        await Promise.all(batch);
        done += batch.length;
        // Else a busy machine could let one good call lose its lane again and again, and nobody would be answered.
        const answered = others.answered;
        if (one.costly) await until("a neighbour is answered", () => others.answered > answered);
      }
      const tookMs = performance.now() - startedMs;
      const { failed, tookMs: goodMs } = await others.end();
      await idle();
      const recovered = await until(
        "good calls are as fast as before",
        async () => {
          const now = await speedOf(sandbox, good);
          const p50 = now.p50Ms <= before.speed.p50Ms * SLOWER + SLACK_MS.p50;
          return p50 && now.p99Ms <= before.speed.p99Ms * SLOWER + SLACK_MS.p99 && now;
        },
        RECOVERY_MS,
      );
      const now = await until("threads and descriptors are as before", async () => {
        const found = await level();
        const { threads, descriptors } = before.level;
        return found.threads <= threads && found.descriptors <= descriptors + 2 && found;
      });
      say(
        `${name.padEnd(42)} ${[...ends].join(", ").padEnd(20)} ×${String(repeats).padEnd(5)} ${tookMs.toFixed(0).padStart(6)} ms  ` +
          `good ${String(goodMs.length).padStart(5)}, p99 ${percentile(goodMs, 0.99).toFixed(1).padStart(6)} ms, ` +
          `then ${recovered.p99Ms.toFixed(1)} ms; ${(now.rssMib - before.level.rssMib).toFixed(0)} MiB, held ${(now.heldMib - before.level.heldMib).toFixed(1)} MiB`,
      );
      expect([...ends].filter((end) => !one.ends.includes(end))).toEqual([]);
      expect(failed).toEqual([]);
      expect(goodMs.length).toBeGreaterThan(0);
    });
  },
  CASE_MS,
);

test(
  "nothing is held, and doing it all again takes no more memory",
  async () => {
    await newLanes();
    const once = await level();
    expect(once.heldMib - before.level.heldMib).toBeLessThan(MAX_HELD_MIB);
    for (const one of hostileCases(host.url).filter(({ costly }) => !costly)) {
      const guest = guests.get(one.name);
      for (let i = 0; guest && i < AGAIN; i += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, () => run(one, guest)));
      }
    }
    await newLanes();
    let again = await level();
    const back = async () => {
      again = await level();
      return again.rssMib - once.rssMib < MAX_GROWTH_MIB;
    };
    const settled = await until("the allocators give back what is free", back, RECOVERY_MS).catch(() => false);
    say([before.level, once, again].map((one) => JSON.stringify(one)).join("\n"));
    expect([settled, once.rssMib, again.rssMib]).toEqual([true, expect.any(Number), expect.any(Number)]);
  },
  CASE_MS,
);
