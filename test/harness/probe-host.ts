/**
 * The helpers of an SDK for every host function, each tried once by the probe of its language (`function:helpers`) on
 * the real host; and its `enrich`, and `poll` with a context.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openRealHost, type RealHost, TOKEN } from "./real-host.ts";
import { openSandboxed, type SandboxedGuest } from "./sandboxed.ts";

const BUILD_TIMEOUT_MS = 240_000;

/** `emits`: rows and checkpoints are not only for `fetch`, so that a function shows them here. */
export function describeHelpers(
  language: string,
  build: () => Promise<{ readonly wasmPath: string }>,
  { emits = false }: { readonly emits?: boolean } = {},
): void {
  let guest: SandboxedGuest;
  let real: RealHost;
  beforeAll(async () => {
    real = await openRealHost();
    guest = await openSandboxed((await build()).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(async () => {
    await guest?.[Symbol.asyncDispose]();
    await real?.[Symbol.asyncDispose]();
  });

  describe(`${language}: the helpers of host functions`, () => {
    test("each asks the real host and reads its answer", async () => {
      const { json, error } = await guest.call("function:helpers", real.places, real.host);
      expect(error).toBeUndefined();
      expect(json).toEqual({
        kv: { value: { n: 1 }, lives: true, swapped: { n: 2 }, stale: "conflict", taken: "exists", gone: null },
        pages: ["a:1", "a:2", "a:3"],
        tcp: "HELLO\r\n",
        udp: [0, 255, 1],
        tls: "HI",
        there: true,
        closed: "unavailable",
        certificate: "localhost",
        snmp: "oven ☃",
        below: 8,
        context: { speed: 7 },
        writer: "net",
        keys: ["eth0", "eth1"],
        nothing: null,
        denied: "denied",
        call: { to: 5 },
        http: "got hei",
        plain: TOKEN,
        csv: 2,
      });
      const { left } = real;
      expect(left.sent).toEqual([{ authorization: `Bearer ${TOKEN}`, body: "hei" }]);
      const metric = { name: "probe.size", value: 1.5, type: "counter", time: "2012-01-01T00:00:00Z" };
      expect(left.metrics).toEqual([
        { ...metric, dimensions: { unit: "°C" }, group: "probe", resource: "oven-1" },
        expect.objectContaining({ name: "probe.more", value: 2, type: "gauge", dimensions: {} }),
      ]);
      expect(left.progress).toEqual([{ done: 2, total: 2, message: "ferdig ☃" }]);
      expect(left.log.map(({ level, message, fields }) => [level, message, fields])).toEqual([
        ["warn", "with fields", { count: 3, where: "Ålesund" }],
      ]);
      expect(left.csv).toEqual(["id,name\n1,å\n2,b\n"]);
      expect(left.tally.hostCalls).toEqual({ denied: 1 });
      if (!emits) return;
      expect(left.rows.map((row) => JSON.parse(row) as unknown)).toEqual([{ id: 1 }, { id: 2 }]);
      expect(left.cursors).toEqual([{ page: 2 }]);
    });

    test("enrich: documents about the resource at hand and others", async () => {
      const resource = { name: "oven-1", id: "oven-1", type: "oven", endpoint: "http://ø/", labels: {} };
      const { json, error } = await guest.call("enrich", { resource, config: { speed: 1000 }, attempt: 1 });
      expect(error).toBeUndefined();
      expect(json).toMatchObject({
        documents: [
          { namespace: "port", key: "ø", value: { speed: 1000, of: "oven-1" } },
          { namespace: "note", key: "1", value: "naboen ☃", resource: "oven-2", ttl: "5m" },
        ],
      });
      expect(json.status ?? "ok").toBe("ok");
    });

    test("poll: the context comes with its input", async () => {
      const resource = { name: "oven-1", id: "oven-1", type: "oven", endpoint: "http://ø/", labels: {} };
      const context = { unit: { temperature: "°F" }, empty: {} };
      const { json } = await guest.call("poll", { resource, config: {}, previous: null, context, attempt: 1 });
      expect(json.metrics).toMatchObject([{ dimensions: { unit: "°F" } }, {}]);
    });
  });
}

const REUSED_CALLS = 4_000;

/** An instance that serves thousands of calls needs no more memory for the last ones than for the first. */
export function describeReuse(language: string, build: () => Promise<{ readonly wasmPath: string }>): void {
  test(
    `${language}: ${REUSED_CALLS} calls of one instance leave no memory behind`,
    async () => {
      await using guest = await openSandboxed((await build()).wasmPath, REUSED_CALLS * 2);
      const window = { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z", cursor: null, attempt: 1 };
      const text = JSON.stringify({ list: Array.from({ length: 200 }, (_, i) => `element ${i} ☃`), n: 1.5 });
      const answers = { http: () => ({ status: 200, headers: {}, body: "x".repeat(20_000), url: "" }) };
      const calls = [
        () => guest.call("fetch", { pipe: {}, config: { rows: 100 }, ...window }),
        () => guest.call("fetch", { pipe: {}, config: { mode: "emit", rows: 100, batches: 2 }, ...window }),
        () => guest.call("fetch", { pipe: {}, config: { mode: "http", url: "u" }, ...window }, answers),
        () => guest.call("fetch", { pipe: {}, config: { mode: "fail" }, ...window }),
        () => guest.call("function:roundtrip", text),
      ];
      const peaks: number[] = [];
      for (let i = 0; i < REUSED_CALLS; i += 1) {
        const { outcome, usage } = await (calls[i % calls.length] as (typeof calls)[number])();
        expect(["ok", "guest_error"]).toContain(outcome);
        peaks.push(usage.memoryPeakBytes);
      }
      expect(Math.max(...peaks.slice(-calls.length))).toBe(Math.max(...peaks.slice(0, calls.length * 4)));
    },
    BUILD_TIMEOUT_MS,
  );
}
