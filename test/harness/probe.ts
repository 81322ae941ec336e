/**
 * What every SDK of a compiled language must be able to do, shown in the real sandbox by a probe: a guest that behaves
 * as its config says, written in each language by the same list (test/plugins/probe-*).
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Built } from "../../plugins-sdk/bundle/bundle.js";
import { Fault } from "../../services/kit/fault.ts";
import { type Answers, openSandboxed, type SandboxedGuest } from "./sandboxed.ts";

/** A first build may compile a language's own library. */
const BUILD_TIMEOUT_MS = 240_000;
const DAY = { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z" };
const PIPE = { name: "probe.rows", connector: "probe", metric: "rows", location: "Ålesund", parameters: {} };

export interface ProbeOptions {
  build(): Promise<Built>;
  /** The error of a guest that breaks an invariant of its own; a language that cannot say so traps. */
  readonly crash: { readonly outcome: string; readonly code: string; readonly message: RegExp };
  /** What goes out of a JSON library that rounds numbers is not asked to keep all digits. */
  readonly keepsDigits?: boolean;
  /** What comes from the platform is JSON; a library that also takes what is not quite JSON is not asked to refuse it. */
  readonly refusesBadJson?: boolean;
  /** How the probe writes random bytes. Default: base64. */
  readonly randomIn?: "base64" | "hex";
  /** Its calls have the windows of an axis of integers in a type of its own. */
  readonly integers?: boolean;
  /** Text that the language prints lands in the log. */
  readonly prints?: boolean;
}

/** Runs the list on what `build` gives. */
export function describeProbe(language: string, options: ProbeOptions): void {
  let guest: SandboxedGuest;
  beforeAll(async () => {
    guest = await openSandboxed((await options.build()).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  const run = (name: string, input: unknown, answers?: Answers) => guest.call(name, input, answers);
  const fetch = (config: unknown, over: object = {}, answers?: Answers) =>
    run("fetch", { pipe: PIPE, config, ...DAY, cursor: null, attempt: 1, ...over }, answers);

  describe(`${language} in the sandbox`, () => {
    test("rows: text outside ASCII, 64-bit integers, fractions, times", async () => {
      const { outcome, json, error } = await fetch({ rows: 4 });
      expect(error).toBeUndefined();
      expect(outcome).toBe("ok");
      expect(json.status).toBe("ok");
      expect(json.rows?.[1]).toEqual({
        time: "2012-01-01T06:00:00Z",
        id: 9007199254740994,
        name: 'rød grød ☃ 𝄞 "1"\n',
        value: 0.25,
        flag: true,
      });
    });

    test("64-bit integers leave with every digit", async () => {
      const { text } = await fetch({ rows: 2 });
      expect(text).toMatch(/"id":\s*9007199254740993\b/);
    });

    test("ten thousand rows, returned and emitted in batches", async () => {
      const { json, error } = await fetch({ rows: 10_000 });
      expect(error).toBeUndefined();
      expect(json.rows).toHaveLength(10_000);
      expect(json.rows?.at(-1)).toMatchObject({ value: 2499.75, flag: true });
      const emitted = await fetch({ mode: "emit", rows: 10_000 });
      const lines = emitted.asked.filter((a) => a.name === "emit").flatMap((a) => a.request.trimEnd().split("\n"));
      expect(lines).toHaveLength(10_000);
      expect(lines.map((line) => JSON.parse(line))).toEqual(json.rows);
      expect(emitted.asked.filter((a) => a.name === "emit").length).toBeGreaterThan(1);
    });

    test.runIf(options.integers)("windows on an axis of integers, to the last digit", async () => {
      for (const [begin, end, watermark] of [
        ["9007199254740993", "9223372036854775806", "9223372036854775807"],
        ["-5", "5", "6"],
      ]) {
        const { json, error, text } = await fetch({ mode: "integers" }, { begin, end });
        expect(error).toBeUndefined();
        expect(json.rows).toEqual([{ begin, end, has: [true, false] }]);
        expect(text).toMatch(new RegExp(`"watermark": ?"?${watermark}\\b`));
      }
    });

    test("checkpoints, and what comes after one", async () => {
      const first = await fetch({ mode: "emit", rows: 6, batches: 3 });
      const cursors = first.asked.filter((a) => a.name === "checkpoint").map((a) => JSON.parse(a.request));
      expect(cursors).toEqual([1, 2, 3].map((batches) => ({ cursor: { batches } })));
      const said = first.asked.filter((a) => a.name === "progress").map((a) => JSON.parse(a.request));
      expect(said[2]).toEqual({ done: 3, total: 3, message: "halvveis ☃" });
      const resumed = await fetch({ mode: "emit", rows: 6, batches: 3 }, { cursor: { batches: 2 } });
      expect(resumed.asked.filter((a) => a.name === "emit").flatMap((a) => a.request.trim().split("\n"))).toHaveLength(
        2,
      );
    });

    test("pages by `next`, until there is none", async () => {
      const first = await fetch({ mode: "page" });
      expect(first.json.next).toBe(1);
      const last = await fetch({ mode: "page" }, { cursor: 2 });
      expect(last.json.next ?? null).toBeNull();
      expect(last.json.rows?.[0]).toMatchObject({ value: 0.5 });
    });

    test("no data, refusals of its own, and crashes", async () => {
      expect((await fetch({ mode: "empty" })).json).toMatchObject({ status: "no_data" });
      const failed = await fetch({ mode: "fail" });
      expect(failed.error).toMatchObject({ code: "asked_to", message: "failed as asked: é☃", retryable: false });
      const later = await fetch({ mode: "retry" });
      expect(later.error).toMatchObject({ code: "busy", retryable: true, details: { retry_after_ms: 50 } });
      const { outcome, error } = await fetch({ mode: "crash" });
      expect({ outcome, code: error?.code }).toEqual({ outcome: options.crash.outcome, code: options.crash.code });
      expect(error?.message).toMatch(options.crash.message);
    });

    test("host functions: requests and answers", async () => {
      const { json, asked, error } = await fetch(
        { mode: "host" },
        {},
        {
          kv: ({ op }) => (op === "get" ? { value: { n: "større" }, revision: 7 } : { revision: 7 }),
          query: () => ({ columns: [{ name: "c", type: "String" }], rows: [["Tromsø"]] }),
          secret: () => ({ value: "hemmelig" }),
          call: () => ({ output: { to: 2.5 }, run_id: "units/1" }),
          publish: () => ({}),
        },
      );
      expect(error).toBeUndefined();
      const requests = asked.filter((a) => a.name !== "log").map((a) => [a.name, JSON.parse(a.request)]);
      expect(requests).toEqual([
        ["kv", { op: "put", key: "größe", value: expect.anything() }],
        ["kv", { op: "get", key: "größe" }],
        ["query", { sql: "SELECT {city:String}", params: { city: "Tromsø" }, max_rows: 10 }],
        ["secret", { name: "token" }],
        ["call", { instance: "units", function: "convert", input: { from: 1 } }],
        ["publish", { subject: "alarm.high", body: { "°C": 41.5 } }],
      ]);
      expect(asked.find((a) => a.name === "kv")?.request).toContain("18446744073709551615");
      const log = asked.filter((a) => a.name === "log").map((a) => JSON.parse(a.request));
      expect(log[0]).toMatchObject({ level: "warn", message: "logged: é☃" });
      if (options.prints) expect(log[1]).toMatchObject({ level: "info", message: "printed: é☃" });
      const oks = json.rows?.map((row) => row.ok);
      expect(oks?.[1]).toEqual({ value: { n: "større" }, revision: 7 });
      expect(oks?.[2]).toEqual({ columns: [{ name: "c", type: "String" }], rows: [["Tromsø"]] });
      expect(oks?.[3]).toEqual({ value: "hemmelig" });
      const { now, clock, random } = (json.rows?.at(-1) ?? {}) as { now: number; clock: number; random: string };
      expect(Math.abs(now - Date.now())).toBeLessThan(60_000);
      expect(Math.abs(clock - Date.now() / 1_000)).toBeLessThan(60);
      expect(Buffer.from(random, options.randomIn ?? "base64")).toHaveLength(16);
      const again = await fetch({ mode: "host" });
      expect(again.json.rows?.at(-1)?.random).not.toBe(random);
    });

    test("http: a request with headers, body and time-out, and its answer", async () => {
      const config = { mode: "http", url: "https://example.org/ø" };
      const { json, asked } = await fetch(
        config,
        {},
        {
          http: () => ({ status: 203, headers: { "content-type": "text/x" }, body: "små ☃", url: "", elapsed_ms: 1 }),
        },
      );
      expect(JSON.parse(asked[0]?.request ?? "null")).toEqual({
        url: "https://example.org/ø",
        method: "POST",
        headers: { "x-probe": "é" },
        body: "hei",
        timeout_ms: 1_500,
      });
      expect(json.rows).toEqual([{ status: 203, body: "små ☃", type: "text/x" }]);
      const binary = await fetch(
        config,
        {},
        {
          http: () => ({ status: 200, headers: {}, body_base64: Buffer.from("små ☃").toString("base64") }),
        },
      );
      expect(binary.json.rows?.[0]).toMatchObject({ body: "små ☃" });
    });

    test("a host's refusal is an error value, and passes through", async () => {
      const { outcome, error } = await fetch(
        { mode: "http", url: "x" },
        {},
        {
          http: () => {
            throw new Fault("denied", "POST x is not granted");
          },
        },
      );
      expect(error).toMatchObject({ code: "denied", message: "POST x is not granted" });
      expect(outcome).toBe("denied");
    });

    test("register, poll, discover", async () => {
      const registered = await run("register", { pipe: PIPE, config: {} });
      expect(registered.json).toEqual({
        columns: { time: "timestamp", id: "int64" },
        index: ["time", "id"],
        datetime: "time",
      });
      const resource = { name: "oven-1", id: "oven-1", type: "oven", endpoint: "http://ø/", labels: {} };
      const polled = await run("poll", { resource, config: {}, previous: { polls: 4 }, attempt: 1 });
      expect(polled.json).toEqual({
        metrics: [
          {
            group: "oven",
            dimensions: { resource: "oven-1", unit: "°C" },
            values: { temperature: { value: 21.5, type: "gauge" }, polls: { value: 5, type: "counter" } },
          },
          {
            group: "door",
            time: "2012-01-01T00:00:00Z",
            dimensions: {},
            values: { open: { value: 1, type: "gauge" } },
          },
        ],
        status: "ok",
      });
      const found = await run("discover", { config: {}, site: "sør" });
      const oven = { type: "oven", endpoint: "http://127.0.0.1/", site: "sør", labels: { shelf: "øverst" } };
      const resources = [0, 1].map((i) => ({ id: `oven-${i}`, ...oven }));
      expect(found.json).toEqual({ resources, complete: true });
    });

    test("route: parameters, queries, headers, text and bytes", async () => {
      const request = { method: "PUT", path: "/echo/å", params: { name: "å" }, query: { q: ["1", "2"], r: "ø" } };
      const { json } = await run("route", { ...request, headers: {}, body: "kropp ☃" });
      expect(json).toMatchObject({ status: 201, headers: { "x-probe": "yes" } });
      expect((json.headers as Record<string, string>)["content-type"]).toMatch(/^application\/json/);
      expect(JSON.parse(json.body as string)).toEqual({ name: "å", q: "1", r: "ø", body: "kropp ☃" });
      const bytes = Buffer.from([0, 1, 128, 255, 10]).toString("base64");
      const binary = await run("route", { ...request, path: "/binary", headers: {}, body_base64: bytes });
      expect(binary.json).toMatchObject({ status: 200, body_base64: bytes });
      const missing = await run("route", { ...request, path: "/nei", headers: {} });
      expect(missing.json.status).toBe(404);
      expect(JSON.parse(missing.json.body as string)).toEqual({ error: { code: "not_found", message: "/nei" } });
    });

    test("an input that is not JSON ends as an error that says where", async () => {
      const { outcome, error } = await run("poll", '{"resource": {"id": "oven-1"}, "config": oops}');
      expect([outcome, error?.code]).toEqual(["guest_error", "refused"]);
      // The place, or what stands there; MicroPython's parser tells neither.
      expect(error?.message).toMatch(/^the input is not JSON\b.*(\d|oops|syntax error)/s);
    });

    test("JSON in and out again", async () => {
      const values = ["null", "true", "-0.5e-3", '""', "[]", "{}", '[[[1]],{"a":{"é":[null,false]}}]'];
      const texts = [
        '"\\u00e9\\u2603\\ud834\\udd1e\\/\\b\\f\\n\\r\\t\\"\\\\"',
        '"é☃𝄞\u2028\u0085"',
        '"\\u0000\\u001f"',
      ];
      for (const text of [...values, ...texts]) {
        const { text: written, error } = await run("function:roundtrip", text);
        expect([text, error, JSON.parse(written)]).toEqual([text, undefined, JSON.parse(text)]);
      }
      const wrong = ["", "nul", "[1,]", '{"a":1,}', '"\\x"', "01", "1 2", "'a'", '{"a" 1}', "[".repeat(100_000)];
      for (const text of options.refusesBadJson === false ? [] : wrong) {
        const { error } = await run("function:roundtrip", text);
        expect([text.slice(0, 10), error?.code]).toEqual([text.slice(0, 10), "refused"]);
      }
      if (options.keepsDigits === false) return;
      const digits = '{"id":9223372036854775807,"more":0.1234567890123456789012345}';
      expect((await run("function:roundtrip", digits)).text.replace(/\s/g, "")).toBe(digits);
    });

    test("doubles and times in their own forms", async () => {
      const numbers = [0, 1, -1, 0.1, 0.3, 1e21, 1.5e-9, 5e-324, 1.7976931348623157e308, 123456.789, 2 ** 53, -98.6];
      const written = await run("function:rewrite", numbers);
      expect(written.json).toEqual(numbers);
      const times = ["2012-02-29", "2012-01-01T01:30:00+01:30", "1969-12-31T23:59:59.5Z", "2012-02-30", "nei"];
      expect((await run("function:rewrite", times)).json).toEqual([
        "2012-02-29T00:00:00Z",
        "2012-01-01T00:00:00Z",
        "1969-12-31T23:59:59.500000Z",
        null,
        null,
      ]);
    });

    test("figures, for the record", async () => {
      const small = { pipe: PIPE, config: { rows: 1 }, ...DAY };
      const timed: number[] = [];
      for (let i = 0; i < 200; i++) timed.push((await run("fetch", small)).usage.cpuMs);
      const rows: number[] = [];
      for (let i = 0; i < 5; i++) rows.push((await fetch({ rows: 10_000 })).usage.cpuMs);
      const { usage } = await run("fetch", small);
      const middle = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
      const kib = Math.round(guest.bytes / 1_024);
      const figures = `call ${Math.round(middle(timed) * 1_000)} µs, 10,000 rows ${middle(rows).toFixed(1)} ms`;
      const peakKib = Math.round(usage.memoryPeakBytes / 1_024);
      console.log(`${language}: ${kib} KiB, ${figures}, memory ${peakKib} KiB`);
      // Some hundred milliseconds; a full machine takes several times as much.
      expect(middle(rows)).toBeLessThan(8_000);
    });
  });
}
