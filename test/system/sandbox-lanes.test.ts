/** Many guests on few lanes: neighbours of a hostile one go on; whoever finds no room waits or is told. */
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type GuestCall, openSandbox } from "../../services/executor/sandbox.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { published } from "../harness/engines.ts";
import { call, decode, encode, forEver, open, redispatch } from "../harness/guest-call.ts";
import { callingModule, unendingModule } from "../harness/hostile-modules.ts";
import { until } from "../harness/until.ts";
import { compileWat } from "../harness/wat.ts";

/** For threads to start on a machine with other work. */
const PATIENCE_MS = 50_000;

describe("many guests", () => {
  test("two hundred wait on one lane at once, and none sees another's data", async () => {
    await using sandbox = await open(1);
    let waiting = 0;
    const all = Promise.withResolvers<void>();
    const host: GuestCall["host"] = async (_, request) => {
      waiting += 1;
      if (waiting === 200) all.resolve();
      await all.promise;
      return request;
    };
    const guests = Array.from({ length: 200 }, async (_, i) =>
      sandbox.call(await call("wait", "marker", { input: Uint8Array.of(i + 1), host })),
    );
    const results = await Promise.all(guests);
    expect(waiting).toBe(200);
    expect(results.map((r) => [...r.output])).toEqual(results.map((_, i) => [0, 0, i + 1]));
  });

  test("the innocent survive the end of a spinner", async () => {
    await using sandbox = await open(2);
    const gate = Promise.withResolvers<void>();
    let waiting = 0;
    const host: GuestCall["host"] = async (_, request) => {
      waiting += 1;
      await gate.promise;
      return request;
    };
    let dispatched = 0;
    const innocents = Array.from({ length: 50 }, async (_, i) => {
      const guest = await call("wait", "run", { input: encode(`guest ${i}`), host });
      return redispatch(sandbox, guest, () => {
        dispatched += 1;
      });
    });
    await until("all wait", () => waiting === 50);
    const spinner = await sandbox.call(await call("cpu", "spin", { cpuMs: 100 }));
    expect(spinner.outcome).toBe("cpu_exceeded");
    gate.resolve();
    const results = await Promise.all(innocents);
    expect(results.map((r) => decode(r.output))).toEqual(results.map((_, i) => `guest ${i}`));
    expect(dispatched).toBeGreaterThan(50);
    expect(sandbox.stats()).toMatchObject({ lanesKilled: 1, running: 0 });
    await until("both lanes are up", () => sandbox.stats().lanes === 2 && sandbox.free() === 512);
  });

  test("a call that was not begun when its lane ended runs elsewhere, unnoticed", async () => {
    await using sandbox = await open(1);
    const spinner = sandbox.call(await call("cpu", "spin", { cpuMs: 200 }));
    const behind = sandbox.call(await call("echo", "run"));
    expect((await spinner).outcome).toBe("cpu_exceeded");
    expect((await behind).outcome).toBe("ok");
  });

  test("hostile guests among good ones: every good one is answered", async () => {
    await using sandbox = await open(2);
    const bad: [string, string][] = [
      ["cpu", "spin"],
      ["cpu", "fill"],
      ["start-spin", "run"],
      ["memory", "grow"],
      ["memory", "blocks"],
      ["memory", "empty_blocks"],
      ["traps", "recurse"],
      ["flood", "host_calls"],
    ];
    const hostile = bad.map(async ([p, n]) =>
      redispatch(sandbox, await call(p, n, { cpuMs: 150, memoryMaxPages: 300 })),
    );
    const good = Array.from({ length: 100 }, async () => redispatch(sandbox, await call("wait", "run")));
    expect((await Promise.all(good)).map((r) => r.outcome)).toEqual(Array(100).fill("ok"));
    expect((await Promise.all(hostile)).map((r) => r.outcome)).not.toContain("ok");
  });

  test("a full heap ends the lane, blames the guest that filled it, and spares the process", async () => {
    // Blocks of the kernel lie outside the heap; those of Extism's SDK do not.
    await using sandbox = await open(1, 256, "sdk");
    const bytes = compileWat(`(module
      (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
      (import "extism:host/user" "host_call" (func $host_call (param i64 i64) (result i64)))
      (func (export "run") (result i32) (local $left i32)
        (local.set $left (i32.const 30000))
        (loop $more
          (drop (call $alloc (i64.const 0)))
          (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (drop (call $host_call (i64.const 0) (i64.const 0)))
        (i32.const 0)))`);
    const module = { digest: "heap", load: async () => bytes };
    const guest = await call("echo", "run", { module, host: forEver, deadlineMs: 60_000, cpuMs: 20_000 });
    const many = Array.from({ length: 100 }, async () => {
      const stop = new AbortController();
      const ended = sandbox.call({ ...guest, signal: stop.signal }).then(
        (result) => result.outcome as string,
        (fault: Fault) => fault.code,
      );
      return Promise.race([ended, until("a lane ended", () => sandbox.stats().lanesKilled > 0, 60_000)]).then(() => {
        stop.abort();
        return ended;
      });
    });
    const outcomes = await Promise.all(many);
    expect(outcomes.filter((outcome) => outcome === "out_of_memory")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "unavailable").length).toBeGreaterThan(0);
    expect((await redispatch(sandbox, await call("echo", "run"))).outcome).toBe("ok");
  }, 90_000);
});

test("a plugin with a lane of its own harms nobody, and nobody harms it", async () => {
  await using sandbox = await open(1);
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const host: GuestCall["host"] = async (_, request) => {
    waiting += 1;
    await gate.promise;
    return request;
  };
  const shared = sandbox.call(await call("wait", "run", { host }));
  const own = sandbox.call(await call("wait", "run", { host, lane: "a" }));
  await until("both wait", () => waiting === 2);
  const spins = ["b", "b", "c"].map(async (lane) => sandbox.call(await call("cpu", "spin", { cpuMs: 100, lane })));
  for (const { outcome } of await Promise.all(spins)) expect(outcome).toBe("cpu_exceeded");
  gate.resolve();
  expect([(await shared).outcome, (await own).outcome]).toEqual(["ok", "ok"]);
  expect(sandbox.stats()).toMatchObject({ lanes: 1, lanesKilled: 0 });
});

test.each([
  ["bulk operations", unendingModule(20_000)],
  ["calls of one that calls nobody", callingModule(100_000, 20_000)],
])(
  "a thread in a row of %s can be ended, before and after V8 has optimised it",
  async (_, bytes) => {
    const stuck: string[] = [];
    {
      const options = { lanes: 1, callsPerLane: 8, log: silentLog, stuckMs: 4_000, onStuck: () => stuck.push("it") };
      await using sandbox = await openSandbox(options);
      const over = { module: published(bytes), memoryMaxPages: 1_100, deadlineMs: 60_000 };
      // V8 optimises beside the first.
      for (const cpuMs of [2_000, 200, 200]) {
        const { outcome } = await redispatch(sandbox, await call("echo", "run", { ...over, cpuMs }));
        expect(outcome).toBe("cpu_exceeded");
      }
    }
    expect(stuck).toEqual([]);
  },
  120_000,
);

describe("lanes wear", () => {
  const worn = (calls: number, ageMs: number) =>
    openSandbox({ lanes: 2, callsPerLane: 64, log: silentLog, wear: { calls, ageMs } });

  test("after so many calls another takes over; nobody notices, and who waits in it ends in it", async () => {
    await using sandbox = await worn(40, 1e9);
    const gate = Promise.withResolvers<void>();
    let waiting = 0;
    const host: GuestCall["host"] = async (_, request) => {
      waiting += 1;
      await gate.promise;
      return request;
    };
    const patient = ["a", "b", "c"].map(async (text) =>
      sandbox.call(await call("wait", "run", { input: encode(text), host, deadlineMs: 60_000 })),
    );
    const stubborn = sandbox.call(await call("cpu", "wait_then_spin", { host, cpuMs: 100, deadlineMs: 60_000 }));
    await until("they wait", () => waiting === 4);
    const threeWorn = async () => {
      const answers = await Promise.all(
        Array.from({ length: 32 }, async () => (await sandbox.call(await call("echo", "run"))).outcome),
      );
      expect(new Set(answers)).toEqual(new Set(["ok"]));
      return sandbox.stats().lanesRecycled >= 3;
    };
    await until("three lanes are worn", threeWorn, PATIENCE_MS);
    expect(sandbox.stats()).toMatchObject({ lanesKilled: 0, running: 4 });
    expect(waiting).toBe(4);
    gate.resolve();
    // The watchdog looks at lanes that get no more calls, too, and another has its place already.
    expect((await stubborn).outcome).toBe("cpu_exceeded");
    // Who waited in the same lane is told to come again.
    for (const end of await Promise.allSettled(patient)) {
      if (end.status === "rejected") expect(end.reason).toMatchObject({ code: "unavailable" });
      else expect(end.value.outcome).toBe("ok");
    }
    const calm = () => sandbox.stats().lanes === 2 && sandbox.free() === 128;
    await until("two lanes and nobody in them", calm, PATIENCE_MS);
    expect((await redispatch(sandbox, await call("echo", "run"))).outcome).toBe("ok");
  }, 120_000);

  test("at an age another takes over", async () => {
    await using sandbox = await worn(1e9, 50);
    const threads = () => readdirSync("/proc/self/task").length;
    const most = threads();
    await until("four are replaced", () => sandbox.stats().lanesRecycled >= 4, PATIENCE_MS);
    await until("their threads are gone", () => threads() <= most, PATIENCE_MS);
    expect((await sandbox.call(await call("echo", "run"))).outcome).toBe("ok");
    expect(sandbox.stats()).toMatchObject({ lanes: 2, lanesKilled: 0 });
  }, 120_000);
});

describe("admission", () => {
  const held = async (host: GuestCall["host"], over: Partial<GuestCall> = {}) => call("wait", "run", { host, ...over });

  test("over capacity calls wait in order, up to a bound, then are refused", async () => {
    await using sandbox = await openSandbox({ lanes: 1, callsPerLane: 2, maxQueued: 1, log: silentLog });
    expect(sandbox.free()).toBe(2);
    const gate = Promise.withResolvers<Uint8Array>();
    const running = [sandbox.call(await held(() => gate.promise)), sandbox.call(await held(() => gate.promise))];
    const queued = sandbox.call(await call("echo", "run"));
    await until("one is queued", () => sandbox.stats().queued === 1);
    expect([sandbox.free(), sandbox.stats().running]).toEqual([0, 2]);
    await expect(sandbox.call(await call("echo", "run"))).rejects.toMatchObject({ code: "exhausted" });
    gate.resolve(encode("{}"));
    expect((await Promise.all([...running, queued])).map((r) => r.outcome)).toEqual(["ok", "ok", "ok"]);
    expect(sandbox.free()).toBe(2);
  });

  test("waiting for a lane is bounded by the deadline, and can be cancelled", async () => {
    await using sandbox = await openSandbox({ lanes: 1, callsPerLane: 1, closeGraceMs: 0, log: silentLog });
    const running = sandbox.call(await held(forEver)).catch((fault: Fault) => fault.code);
    const late = sandbox.call(await call("echo", "run", { deadlineMs: 50 }));
    await expect(late).rejects.toMatchObject({ code: "exhausted" });
    const stop = new AbortController();
    const cancelled = sandbox.call(await call("echo", "run", { signal: stop.signal }));
    stop.abort();
    expect((await cancelled).outcome).toBe("cancelled");
    await sandbox[Symbol.asyncDispose]();
    expect(await running).toBe("unavailable");
  });

  test("closing lets running calls finish and takes no new ones", async () => {
    const sandbox = await open(1);
    const gate = Promise.withResolvers<Uint8Array>();
    const started = Promise.withResolvers<void>();
    const running = sandbox.call(
      await held(() => {
        started.resolve();
        return gate.promise;
      }),
    );
    await started.promise;
    const closed = sandbox[Symbol.asyncDispose]();
    await expect(sandbox.call(await call("echo", "run"))).rejects.toMatchObject({ code: "unavailable" });
    gate.resolve(encode("done"));
    expect(decode((await running).output)).toBe("done");
    await closed;
    expect(sandbox.stats().lanes).toBe(0);
  });
});
