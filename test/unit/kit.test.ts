/** The rules of kit, by tables: settings, faults, times, durations, backoff, mirror, lifecycle. */
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import {
  address,
  choice,
  flag,
  helpOf,
  isLoopback,
  list,
  readConfig,
  secret,
  splitAddress,
  text,
  whole,
} from "../../services/kit/config.ts";
import { Fault, faultCodes } from "../../services/kit/fault.ts";
import { background, pause, Semaphore, within } from "../../services/kit/lifecycle.ts";
import { silentLog } from "../../services/kit/log.ts";
import { type MirrorChange, mirror } from "../../services/kit/mirror.ts";
import { backoffMs, retry } from "../../services/kit/retry.ts";
import { compactTime, formatDuration, formatTime, parseDuration, parseTime } from "../../services/kit/time.ts";
import { until } from "../harness/until.ts";

const settings = {
  port: whole("T_PORT", "port to serve on", [0, 65_535], 7400),
  name: text("T_NAME", "name of the thing"),
  mode: choice("T_MODE", "how it runs", ["fast", "safe"], "safe"),
  listen: address("T_LISTEN", "where it listens", "127.0.0.1:0"),
  verbose: flag("T_VERBOSE", "says more", false),
  peers: list("T_PEERS", "who else"),
  password: secret("T_PASSWORD", "the word"),
};

describe("settings", () => {
  test("defaults, values, and what composition hands in", () => {
    const env = { T_NAME: "x", T_PEERS: "a, b,,c", T_VERBOSE: "yes" };
    expect(readConfig(settings, env, { port: 0 })).toEqual({
      port: 0,
      name: "x",
      mode: "safe",
      listen: "127.0.0.1:0",
      verbose: true,
      peers: ["a", "b", "c"],
      password: "",
    });
  });

  test("every mistake is told at once, and no secret is", () => {
    const env = { T_PORT: "65536", T_MODE: "slow", T_LISTEN: "nowhere", T_VERBOSE: "maybe", T_PASSWORD: "hunter2" };
    const thrown = (() => {
      try {
        readConfig(settings, env);
      } catch (fault) {
        return fault as Fault;
      }
      return undefined;
    })();
    const fields = thrown?.mistakes.map((mistake) => mistake.field);
    expect(fields).toEqual(["T_PORT", "T_NAME", "T_MODE", "T_LISTEN", "T_VERBOSE"]);
    expect(thrown?.message).toContain('T_PORT: "65536" is not a whole number within 0–65535; port to serve on');
    expect(thrown?.message).not.toContain("hunter2");
  });

  test("help is printed from the table", () => {
    expect(helpOf(settings)).toContain("T_NAME      name of the thing (text; required)");
    expect(helpOf(settings)).toContain("default: 7400");
  });

  test.each([
    ["127.0.0.1:80", { host: "127.0.0.1", port: 80 }],
    ["[::1]:7400", { host: "::1", port: 7400 }],
    ["host", undefined],
    ["host:99999", undefined],
    [":80", undefined],
  ])("address %s", (raw, parts) => expect(splitAddress(raw)).toEqual(parts));

  test.each([
    ["127.0.0.1", true],
    ["127.9.9.9", true],
    ["::1", true],
    ["localhost", true],
    ["0.0.0.0", false],
    ["10.0.0.1", false],
    ["127.0.0.1.example.org", false],
  ])("loopback %s: %s", (host, yes) => expect(isLoopback(host)).toBe(yes));
});

describe("faults", () => {
  test("each code has a status on both faces", () => {
    for (const code of faultCodes) {
      const fault = new Fault(code, "x");
      expect([fault.grpcStatus > 0, fault.httpStatus >= 400]).toEqual([true, true]);
    }
  });
  test("what is thrown elsewhere gets a code once", () => {
    const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    expect(Fault.from(refused).code).toBe("unavailable");
    expect(Fault.from(new TypeError("fetch failed", { cause: refused })).code).toBe("unavailable");
    expect(Fault.from(new DOMException("stop", "AbortError")).code).toBe("cancelled");
    expect(Fault.from(new DOMException("late", "TimeoutError")).code).toBe("deadline");
    expect(Fault.from("words")).toMatchObject({ code: "internal", message: "words" });
  });
});

describe("times", () => {
  test.each([
    ["2012-01-01", 1_325_376_000_000_000n],
    ["2012-01-01T00:00:00Z", 1_325_376_000_000_000n],
    ["2012-01-01T02:00:00+02:00", 1_325_376_000_000_000n],
    ["2012-01-01T00:00:00.1234567Z", 1_325_376_000_123_456n],
    ["1969-12-31T23:59:59.999999Z", -1n],
  ])("%s", (raw, us) => expect(parseTime(raw, "begin")).toBe(us));

  test.each([
    ["2012-01-01T00:00:00", "has no time zone"],
    ["2012-02-30T00:00:00Z", "does not exist"],
    ["2012-02-30", "does not exist"],
    ["2012-01-01T25:00:00Z", "does not exist"],
    ["yesterday", "is not a time"],
    ["", "is not a time"],
  ])("refuses %j: %s", (raw, why) => expect(() => parseTime(raw, "begin")).toThrow(why));

  test.each([
    [0n, "1970-01-01T00:00:00Z", "19700101T000000Z"],
    [-1n, "1969-12-31T23:59:59.999999Z", "19691231T235959_999999Z"],
    [1_325_376_000_120_000n, "2012-01-01T00:00:00.12Z", "20120101T000000_12Z"],
  ])("%d writes as %s", (us, shown, compact) => {
    expect(formatTime(us)).toBe(shown);
    expect(compactTime(us)).toBe(compact);
    expect(parseTime(shown, "t")).toBe(us);
  });

  test.each([
    ["250ms", 250],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["30d", 2_592_000_000],
    ["2w", 1_209_600_000],
  ])("duration %s", (raw, ms) => {
    expect(parseDuration(raw, "every")).toBe(ms);
    expect(parseDuration(formatDuration(ms), "every")).toBe(ms);
  });
  test.each(["", "5", "s", "-5s", "1.5h", "5 s"])("no duration: %j", (raw) =>
    expect(() => parseDuration(raw, "every")).toThrow("is not a duration"),
  );
});

describe("retry", () => {
  test("the delay doubles to its cap, between half and all of it", () => {
    const policy = { attempts: 9, firstDelayMs: 100, maxDelayMs: 1_000 };
    expect([1, 2, 3, 4, 5, 40].map((n) => backoffMs(policy, n, 1))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(backoffMs(policy, 3, 0)).toBe(200);
  });
  test("what is not worth it is not tried again; a spent policy throws the last fault", async () => {
    const policy = { attempts: 3, firstDelayMs: 1, maxDelayMs: 1 };
    let calls = 0;
    const failing = (code: "invalid" | "unavailable") => () => {
      calls += 1;
      return Promise.reject(new Fault(code, `try ${calls}`));
    };
    await expect(retry(policy, failing("invalid"))).rejects.toThrow("try 1");
    calls = 0;
    await expect(retry(policy, failing("unavailable"))).rejects.toThrow("try 3");
  });
});

describe("lifecycle", () => {
  test("a deadline names what was late; a pause ends early with its signal", async () => {
    await expect(within(5, "the work", new Promise(() => {}))).rejects.toThrow("the work did not finish within 5 ms");
    const stop = new AbortController();
    const paused = pause(60_000, stop.signal);
    stop.abort();
    expect(await paused).toBe(false);
    expect(await pause(1)).toBe(true);
  });
  test("a background loop ends when disposed, and its error is told", async () => {
    const faults: Fault[] = [];
    {
      await using _ = background(
        async () => {
          throw new Fault("internal", "broke");
        },
        (fault) => faults.push(fault),
      );
      await until("the error is told", () => faults.length === 1);
    }
    let ended = false;
    {
      await using _ = background(
        async (signal) => {
          await pause(60_000, signal);
          ended = true;
        },
        (fault) => faults.push(fault),
      );
    }
    expect([ended, faults.length]).toEqual([true, 1]);
  });
  test("a semaphore lets in no more than its limit, in order", async () => {
    const semaphore = new Semaphore(2);
    let inside = 0;
    let most = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        using _held = await semaphore.acquire();
        inside += 1;
        most = Math.max(most, inside);
        order.push(i);
        await wait(1);
        inside -= 1;
      }),
    );
    expect([most, order.join("")]).toEqual([2, "0123456789"]);
    expect(semaphore.free).toBe(2);
  });
});

test("a mirror follows, heals a missed delete when its stream starts anew, and keeps its copy meanwhile", async () => {
  const scripts: MirrorChange<number>[][] = [
    [
      { type: "put", key: "a", value: 1 },
      { type: "put", key: "b", value: 2 },
      { type: "synced" },
      { type: "put", key: "c", value: 3 },
    ],
    [{ type: "put", key: "a", value: 9 }, { type: "synced" }, { type: "delete", key: "a" }],
  ];
  const seen: (string | undefined)[] = [];
  async function* source(signal: AbortSignal) {
    const script = scripts.shift();
    yield* script ?? [];
    if (scripts.length) throw new Fault("unavailable", "cut");
    await pause(60_000, signal);
  }
  await using copy = mirror("test", source, silentLog);
  copy.onChange((key) => seen.push(key));
  await copy.whenSynced(5_000);
  await until(
    "the second stream is through",
    () => seen.filter((key) => key === undefined).length === 2 && copy.size === 0,
  );
  expect(seen).toEqual(["a", "b", undefined, "c", "a", undefined, "a"]);
});
