/** Hostile guests on real lanes: each ends as what it is, and nobody else notices. */
import { getEventListeners } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { GuestCall, Sandbox } from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { call, decode, encode, forEver, open, redispatch } from "../harness/guest-call.ts";
import { until } from "../harness/until.ts";
import { watModule } from "../harness/wat.ts";

/** Long enough to begin within it on a busy machine. */
const DEADLINE_MS = 500;

describe.each(["kernel", "sdk"] as const)("one guest, engine %s", (engine) => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await open(1, 256, engine);
  });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = async (plugin: string, name: string, over: Partial<GuestCall> = {}) =>
    redispatch(sandbox, await call(plugin, name, over));

  test("answers, and what it used is counted", async () => {
    const { outcome, output, usage } = await run("echo", "run");
    expect([outcome, decode(output)]).toEqual(["ok", "input"]);
    expect(usage).toMatchObject({ hostCalls: {}, bytesIn: 5, bytesOut: 5 });
    expect(usage.memoryPeakBytes).toBeGreaterThanOrEqual(65_536);
    expect(usage.cpuMs).toBeGreaterThan(0);
    expect(usage.wallMs).toBeGreaterThanOrEqual(usage.cpuMs);
  });

  test("takes a view of a larger buffer as input, and leaves it to its owner", async () => {
    const large = encode("-input-".repeat(1_000));
    expect(decode((await run("echo", "run", { input: large.subarray(1, 6) })).output)).toBe("input");
    expect(large.byteLength).toBe(7_000);
  });

  test("may answer less than the block it made", async () => {
    expect((await run("echo", "part")).output).toHaveLength(4);
  });

  test.each([
    ["cpu", "spin", "cpu_exceeded"],
    ["cpu", "wait_then_spin", "cpu_exceeded"],
    ["cpu", "fill", "cpu_exceeded"],
    ["start-spin", "run", "cpu_exceeded"],
    ["start-host", "run", "trap"],
    ["memory", "grow", "out_of_memory"],
    ["memory", "blocks", "out_of_memory"],
    ["memory", "empty_blocks", "out_of_memory"],
    ["memory", "huge_block", "out_of_memory"],
    ["memory", "negative_block", "out_of_memory"],
    ["traps", "unreachable", "trap"],
    ["traps", "out_of_bounds", "trap"],
    ["traps", "divide", "trap"],
    ["traps", "recurse", "trap"],
    ["traps", "past_block", "trap"],
    ["traps", "lying_output", "trap"],
    ["flood", "output", "guest_error"],
    ["flood", "host_calls", "guest_error"],
    ["flood", "logs", "guest_error"],
    ["echo", "no_such_export", "guest_error"],
  ])("%s/%s ends as %s, and the next call is answered", async (plugin, name, outcome) => {
    // The slice is no part of how the others end, and must not end them on a busy machine.
    const cpuMs = outcome === "cpu_exceeded" ? 200 : 2_000;
    const hostile = await run(plugin, name, { cpuMs, memoryMaxPages: plugin === "cpu" ? 512 : 256 });
    expect(hostile.outcome).toBe(outcome);
    expect(hostile.error?.message).toBeTruthy();
    expect(hostile.output).toHaveLength(0);
    expect((await run("echo", "run")).outcome).toBe("ok");
  });

  test("a guest gets the memory that it was given and not a page more", async () => {
    const pages = await watModule("memory", 40);
    expect((await run("memory", "pages", { module: pages })).error?.message).toMatch(/returned 40 /);
  });

  test("a table cannot grow over its cap", async () => {
    const { error } = await run("memory", "table");
    expect(Number(/returned (\d+)/.exec(error?.message ?? "")?.[1])).toBeLessThanOrEqual(131_072);
  });

  test("blocks that are freed count no longer", async () => {
    const { outcome, usage } = await run("memory", "freed_blocks", { memoryMaxPages: 256 });
    expect(outcome).toBe("ok");
    expect(usage.memoryPeakBytes).toBeLessThanOrEqual(256 * 65_536);
  });

  test("caps are named in the message", async () => {
    const flooded = await run("flood", "host_calls", { maxHostCalls: 7 });
    expect(flooded.error).toMatchObject({ code: "exhausted", message: "more than 7 host calls in one call" });
    expect(flooded.usage.hostCalls).toEqual({ noise: 7 });
    const output = await run("flood", "output", { maxOutputBytes: 1_000 });
    expect(output.error).toMatchObject({ code: "too_large", message: expect.stringMatching(/8388608 bytes.*1000/) });
  });

  test("Extism's log functions reach the host as `log`", async () => {
    const lines: string[] = [];
    const host: GuestCall["host"] = async (name, request) => {
      lines.push(`${name} ${decode(request)}`);
      return encode("{}");
    };
    await run("flood", "logs", { maxHostCalls: 3, host });
    expect(lines).toEqual(Array(3).fill('log {"level":"info","message":"noise"}'));
  });

  test("Extism's HTTP lands in the host's, and its variables live for one call", async () => {
    const host: GuestCall["host"] = async (name, request) => {
      expect([name, JSON.parse(decode(request))]).toEqual([
        "http",
        { url: "http://example.org/", method: "GET", headers: { a: "b" } },
      ]);
      return encode('{"ok":{"status":200,"body":"page"}}');
    };
    const input = encode('{"url":"http://example.org/","headers":{"a":"b"}}');
    expect(decode((await run("extism", "http", { input, host })).output)).toBe("page");
    for (const _ of [1, 2]) expect(decode((await run("extism", "vars")).output)).toBe("input");
    const denied = await run("extism", "http", {
      input,
      host: async () => {
        throw new Fault("denied", "not granted");
      },
    });
    expect(denied).toMatchObject({ outcome: "denied", error: { code: "denied", message: "not granted" } });
  });

  test.each([
    [
      "JSON",
      '{"code":"x","message":"m","retryable":true,"details":{"a":1}}',
      { code: "x", message: "m", retryable: true },
    ],
    ["text", "it broke", { code: "guest_error", message: "it broke", retryable: false }],
    ["JSON of another kind", "[1]", { code: "guest_error", message: "[1]", retryable: false }],
    ["wrong types", '{"message":5,"code":{}}', { message: '{"message":5,"code":{}}' }],
    ["null", "null", { message: "null" }],
    ["umlauts", "Größe 💥", { message: "Größe 💥" }],
  ])("an error as %s is kept", async (_, input, error) => {
    for (const name of ["say", "say_and_trap"]) {
      expect(await run("errors", name, { input: encode(input) })).toMatchObject({ outcome: "guest_error", error });
    }
  });

  test("an error that is not UTF-8 survives, one without end is cut, and a silent one is named", async () => {
    const latin1 = await run("errors", "say", { input: Uint8Array.from([71, 114, 246, 223, 101, 0, 255]) });
    expect(latin1.error?.message).toBe("Gr\ufffd\ufffde\0\ufffd");
    const long = await run("errors", "say", { input: encode("x".repeat(1_000_000)) });
    expect(long.error?.message).toHaveLength(8_192);
    expect((await run("errors", "silent")).error?.message).toBe('"silent" returned 3 without setting an error');
  });

  test("a fault of the host reaches the guest as a value; failing with its code says whose fault it was", async () => {
    const answer = (code: "denied" | "unavailable") => ({
      host: async () => {
        throw new Fault(code, "because");
      },
      input: encode(`{"code":"${code}","message":"gave up"}`),
    });
    const seen = await run("wait", "run", answer("unavailable"));
    expect(JSON.parse(decode(seen.output))).toEqual({
      error: { code: "unavailable", message: "because", retryable: true },
    });
    expect((await run("errors", "ask_and_say", answer("denied"))).outcome).toBe("denied");
    expect((await run("errors", "ask_and_say", answer("unavailable"))).outcome).toBe("host_error");
    expect((await run("errors", "ask_and_say")).outcome).toBe("guest_error");
  });

  test("a guest that waits for ever times out, and its host function is told", async () => {
    let told: AbortSignal | undefined;
    const host: GuestCall["host"] = (_, __, signal) => {
      told = signal;
      return forEver();
    };
    const { outcome, usage } = await run("wait", "run", { deadlineMs: DEADLINE_MS, host });
    expect([outcome, told?.aborted, usage.hostCalls]).toEqual(["timeout", true, { wait: 1 }]);
    expect(usage.wallMs).toBeGreaterThanOrEqual(DEADLINE_MS - 1);
  });

  test("a guest that spins past its deadline times out", async () => {
    const killed = sandbox.stats().lanesKilled;
    const { outcome, usage } = await run("cpu", "spin", { deadlineMs: DEADLINE_MS, cpuMs: 60_000 });
    expect(outcome).toBe("timeout");
    expect(usage.wallMs).toBeGreaterThanOrEqual(DEADLINE_MS - 1);
    await until("its lane is ended", () => sandbox.stats().lanesKilled === killed + 1);
  });

  test("a guest that catches everything cannot catch its end", async () => {
    const killed = sandbox.stats().lanesKilled;
    expect((await run("wait", "stubborn", { deadlineMs: DEADLINE_MS, host: forEver })).outcome).toBe("timeout");
    await until("the guest is gone", () => sandbox.free() === 256);
    expect(sandbox.stats().lanesKilled).toBe(killed);
  });

  test("cancelling ends a waiting call at once, and leaves no listener behind", async () => {
    const stop = new AbortController();
    const started = Promise.withResolvers<void>();
    const host = () => {
      started.resolve();
      return forEver();
    };
    const running = run("wait", "run", { host, signal: stop.signal });
    await started.promise;
    stop.abort();
    expect((await running).outcome).toBe("cancelled");
    expect((await run("echo", "run", { signal: stop.signal })).outcome).toBe("cancelled");
    expect(getEventListeners(stop.signal, "abort")).toHaveLength(0);
    await until("the guest is gone", () => sandbox.free() === 256);
  });

  test("a module that does not compile is a fault, and loading is tried again", async () => {
    let loads = 0;
    const module = {
      digest: "broken",
      load: async () => {
        loads += 1;
        return encode("no module");
      },
    };
    for (const _ of [1, 2]) {
      await expect(run("echo", "run", { module })).rejects.toMatchObject({ name: "Fault", code: "invalid" });
    }
    expect([loads, sandbox.free()]).toEqual([2, 256]);
  });
});
