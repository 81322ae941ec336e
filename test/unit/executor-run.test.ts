/** The parts of a run by themselves: lease, fenced records, rows on their way, logs, answers, retries. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { checkpointsOf, NO_CHECKPOINT } from "../../services/executor/checkpoints.ts";
import { RowRoom, RowSink } from "../../services/executor/host/emit.ts";
import { guestKv, MAX_KV_KEYS } from "../../services/executor/host/kv.ts";
import { runLog, scrub } from "../../services/executor/host/log.ts";
import { readResources } from "../../services/executor/kinds/discover.ts";
import { readMetrics } from "../../services/executor/kinds/poll.ts";
import { readDefaults } from "../../services/executor/kinds/register.ts";
import { isEarly } from "../../services/executor/last-run.ts";
import { takeLease } from "../../services/executor/lease.ts";
import { HttpBudget } from "../../services/executor/limits.ts";
import { retryDelayMs } from "../../services/executor/retry-policy.ts";
import { returnedRows } from "../../services/executor/returned-rows.ts";
import { readWindow, writeWindow } from "../../services/executor/windows.ts";
import { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { LogLine, Stored } from "../../services/results/results.ts";
import { until } from "../harness/until.ts";

async function openBus() {
  const folder = await mkdtemp(join(tmpdir(), "millrace-run-"));
  const bus = await openEmbeddedBus({ file: join(folder, "bus.sqlite"), log: silentLog });
  return {
    bus,
    async [Symbol.asyncDispose]() {
      await bus[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
const codeOf = (thrown: unknown) => Fault.from(thrown).code;

describe("lease", () => {
  const ttlMs = 300;
  test("one of many gets it; it is renewed past its ttl; the next has a greater fence", async () => {
    await using ground = await openBus();
    const locks = await ground.bus.kv("locks", { ttlMs });
    const take = () => takeLease(locks, "a.b/1", { ttlMs, holder: "x" });
    const answers = await Promise.all(Array.from({ length: 8 }, take));
    const [won, second] = answers.filter((answer) => !answer.held);
    expect(second).toBeUndefined();
    if (!won || won.held) throw new Error("nobody got it");
    const asked = performance.now();
    await until("more than two ttls", () => performance.now() - asked > 2.5 * ttlMs);
    expect(won.lease.lost.aborted).toBe(false);
    const denied = await take();
    expect(denied.held && denied.remainingMs <= ttlMs).toBe(true);
    await won.lease.release();
    const next = await take();
    if (next.held) throw new Error("still held");
    expect(next.lease.fence > won.lease.fence).toBe(true);
    await next.lease.release();
  });

  test("whoever's lock was taken away is told, and does not give back another's", async () => {
    await using ground = await openBus();
    const locks = await ground.bus.kv("locks", { ttlMs });
    const first = await takeLease(locks, "a", { ttlMs, holder: "x" });
    if (first.held) throw new Error("held");
    await locks.delete("run.a");
    const second = await takeLease(locks, "a", { ttlMs, holder: "y" });
    await until("the loss is noticed", () => first.lease.lost.aborted, 2_000);
    await first.lease.release();
    expect(await locks.get("run.a")).toBeDefined();
    if (!second.held) await second.lease.release();
  });

  test("a bus that no longer answers costs the lease before its lock expires", async () => {
    await using ground = await openBus();
    const locks = await ground.bus.kv("locks", { ttlMs });
    const dead = { ...wrap(locks), update: () => new Promise<never>(() => {}) };
    const taken = await takeLease(dead, "a", { ttlMs, holder: "x" });
    if (taken.held) throw new Error("held");
    const began = performance.now();
    await until("the loss is noticed", () => taken.lease.lost.aborted, 2_000);
    expect(performance.now() - began).toBeLessThan(ttlMs + 50);
  });
});

/** A store whose methods can be replaced one by one. */
const wrap = (kv: Awaited<ReturnType<Awaited<ReturnType<typeof openEmbeddedBus>>["kv"]>>) => ({
  get: kv.get.bind(kv),
  put: kv.put.bind(kv),
  create: kv.create.bind(kv),
  update: kv.update.bind(kv),
  delete: kv.delete.bind(kv),
  revision: kv.revision.bind(kv),
  list: kv.list.bind(kv),
  watch: kv.watch.bind(kv),
});

describe("fenced records", () => {
  test("a window and a checkpoint are never written over by an older attempt", async () => {
    await using ground = await openBus();
    const windows = await ground.bus.kv("windows");
    const key = { pipe: "a.b", beginUs: 0n, endUs: 10n };
    await writeWindow(windows, key, { run: "r", fence: 7n, state: WindowState.DONE, rows: 5n });
    const stale = writeWindow(windows, key, { run: "r", fence: 6n, state: WindowState.FAILED });
    expect(await stale.catch(codeOf)).toBe("conflict");
    await writeWindow(windows, key, { run: "r", fence: 8n, state: WindowState.RUNNING });
    expect(await readWindow(windows, key)).toMatchObject({ fence: 8n, rows: 5n, state: WindowState.RUNNING });

    const kv = await ground.bus.kv("checkpoints");
    const mine = checkpointsOf(kv, "a.b/1", "a.b/1@1");
    expect(await mine.read()).toEqual(NO_CHECKPOINT);
    const written = { fence: 7n, cursor: { page: 3 }, parts: [{ fence: 7n, chunks: 3 }], rows: 9, failures: 1 };
    await mine.write(written);
    expect(await mine.read()).toMatchObject(written);
    expect(await mine.write({ ...written, fence: 6n }).catch(codeOf)).toBe("conflict");
    expect(await mine.write({ ...written, cursor: "x".repeat(70_000) }).catch(codeOf)).toBe("too_large");
    // Another message of the same run asks for other rows.
    expect(await checkpointsOf(kv, "a.b/1", "a.b/1@2").read()).toEqual(NO_CHECKPOINT);
  });

  test("of many racers on one window all writes are made, one after the other", async () => {
    await using ground = await openBus();
    const windows = await ground.bus.kv("windows");
    const key = { pipe: "a.b", beginUs: 0n, endUs: 10n };
    const write = () =>
      writeWindow(windows, key, (stored) => ({
        ...{ run: "r", fence: 1n, state: WindowState.RUNNING },
        rows: (stored?.rows ?? 0n) + 1n,
      }));
    await Promise.all(Array.from({ length: 8 }, write));
    expect((await readWindow(windows, key))?.rows).toBe(8n);
  });
});

describe("rows on their way", () => {
  const row = Buffer.from(`${JSON.stringify({ text: "x".repeat(1_000) })}\n`);
  const batch = Buffer.concat(Array.from({ length: 1_000 }, () => row));

  test("a store that does not answer holds the guest up with a bounded number of bytes in memory", async () => {
    let taken = 0;
    const gates: (() => void)[] = [];
    const sink = new RowSink({
      maxRows: 1_000_000,
      append: (rows) =>
        new Promise((resolve) => {
          taken += rows.byteLength;
          gates.push(() => resolve({ rows: 1, rejected: 0, bytes: 1 }));
        }),
    });
    let accepted = 0;
    const guest = (async () => {
      for (let i = 0; i < 50; i += 1) accepted += await sink.add(batch);
    })();
    await until("two chunks are on their way", () => gates.length === 2);
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBeLessThan(20 << 20);
    expect(accepted).toBeLessThan(20_000);
    const open = setInterval(() => gates.splice(0).forEach((go) => void go()), 1);
    await guest;
    await sink.flush();
    clearInterval(open);
    expect([sink.rows, sink.chunks]).toEqual([50_000, 8]);
  });

  test("many guests together hold no more than their room: each sends what it has, and waits until it is stored", async () => {
    const room = new RowRoom(2 << 20);
    const gates: (() => void)[] = [];
    const append = () =>
      new Promise<Stored>((resolve) => gates.push(() => resolve({ rows: 1, rejected: 0, bytes: 1 })));
    const sinks = Array.from({ length: 5 }, () => new RowSink({ maxRows: 1_000_000, append, room }));
    const adding = sinks.map((sink) => sink.add(batch));
    await adding[0];
    await until("all five have sent theirs", () => gates.length === 5);
    expect(room.full).toBe(true);
    const more = Promise.race([...adding.slice(2), new Promise((resolve) => setImmediate(() => resolve("waits")))]);
    expect(await more).toBe("waits");
    for (const go of gates.splice(0)) go();
    await Promise.all(adding);
    for (const sink of sinks) await sink.flush();
    expect(room.heldBytes).toBe(0);
    // What a guest leaves behind that failed is given back, too.
    const left = sinks[0] as RowSink;
    await left.add(row);
    expect(room.heldBytes).toBe(row.byteLength + 1);
    left[Symbol.dispose]();
    expect(room.heldBytes).toBe(0);
  });

  test("a chunk's memory is used again once it is stored, never while an INSERT that was given up may read it", async () => {
    const room = new RowRoom(96 << 20);
    const memory: ArrayBufferLike[] = [];
    const good = Buffer.concat(Array.from({ length: 3 }, () => batch));
    const sinkThat = (ends: () => Promise<Stored>) =>
      new RowSink({
        ...{ maxRows: 1_000_000, room },
        append: (rows) => {
          memory.push(rows.buffer);
          expect(Buffer.compare(rows, good)).toBe(0);
          return ends();
        },
      });
    const stored = async () => ({ rows: 1, rejected: 0, bytes: 1 });
    // While somebody has rows there is a next chunk to come.
    await sinkThat(stored).add(row);
    const send = async (sink: RowSink) => {
      const pieces = Array.from({ length: 3 }, () => new Uint8Array(batch));
      for (const piece of pieces) await sink.add(piece, true);
      await sink.flush().catch(codeOf);
      expect(pieces.map((piece) => piece.byteLength)).toEqual([0, 0, 0]);
    };
    await send(sinkThat(stored));
    await send(sinkThat(() => Promise.reject(new Fault("cancelled", "gave up waiting"))));
    await send(sinkThat(stored));
    const [first, second, third] = memory;
    expect([second === first, third === first, memory.length]).toEqual([true, false, 3]);
  });

  test("the first failure is kept, the limit of rows holds, blank lines are no rows", async () => {
    const sink = new RowSink({ maxRows: 3, append: async () => ({ rows: 1, rejected: 0, bytes: 1 }) });
    expect(await sink.add(Buffer.from("{}\n\n  \n{}"))).toBe(2);
    expect(await sink.add(Buffer.from("{}\n{}")).catch(codeOf)).toBe("exhausted");
    expect(await sink.add(Buffer.from("{}")).catch(codeOf)).toBe("exhausted");
    const refusing = new RowSink({
      maxRows: 3,
      append: async () => {
        throw new Fault("invalid", "column a, row 1");
      },
    });
    await refusing.add(Buffer.from("{}"));
    expect(await refusing.flush().catch(codeOf)).toBe("invalid");
    expect(refusing.fault?.message).toBe("column a, row 1");
  });

  test.each([
    ['{"rows":[{"a":1},{"a":2}]}', '{"a":1}\n{"a":2}\n'],
    ['{ "status" : "ok" , "rows" : [ { "a" : 9007199254740993 } ] , "next": null}', '{ "a" : 9007199254740993 }\n'],
    ['{"x":{"rows":[1]},"rows":[{"s":"]},\\"[\\\\"}]}', '{"s":"]},\\"[\\\\"}\n'],
    ['{"rows":[\n{\n"a": 1\n},\n{}\n]}', '{ "a": 1 }\n{}\n'],
    ['{"\\u0072ows":[{}]}', "{}\n"],
    ['{"rows":[]}', ""],
    ['{"rows":null,"status":"ok"}', undefined],
    ['{"status":"ok","rows":[{}],"rows":null}', undefined],
    ["{}", undefined],
  ])("rows of %s", (json, lines) => {
    JSON.parse(json);
    const rows = returnedRows(Buffer.from(json));
    expect(rows && Buffer.from(rows).toString()).toBe(lines);
  });
});

test("a flood of log lines is cut, and the last line says by how much", async () => {
  const written: LogLine[] = [];
  const of = { runId: "r", fence: 1n, instance: "i" };
  const log = runLog(
    of,
    (lines) => written.push(...lines),
    () => 5n,
    { maxLogLines: 1_000, maxLogBytes: 1 << 20 },
  );
  const http = new HttpBudget({ maxHttpRequests: 1, maxHttpBytes: 1, maxHttpAtOnce: 1 });
  const scope = { signal: new AbortController().signal, remainingMs: () => 1, http };
  const say = (line: object) => log.log(Buffer.from(JSON.stringify(line)), scope);
  await say({ level: "error", message: "a\u001b[31mb\nc", fields: { n: 1 } });
  for (let i = 0; i < 1_000 + 499; i += 1) await say({ level: "loud", message: "x" });
  log.end();
  expect(written).toHaveLength(1_000 + 1);
  expect(written[0]).toMatchObject({ level: "error", message: "a\ufffd[31mb\nc", fields: { n: 1 }, timeUs: 5n });
  expect(written[1]?.level).toBe("info");
  expect(written.at(-1)?.message).toMatch(/^500 more log lines were dropped/);
  expect(Buffer.byteLength(scrub("☃".repeat(10_000)))).toBeLessThanOrEqual(8_192);
});

test("a plugin's keys are its own, compared and set, and counted", async () => {
  await using ground = await openBus();
  const kv = guestKv(await ground.bus.kv("guest"));
  const scope = {
    signal: new AbortController().signal,
    remainingMs: () => 1,
    http: new HttpBudget({ maxHttpRequests: 1, maxHttpBytes: 1, maxHttpAtOnce: 1 }),
  };
  const of = (instance: string, granted = true) => {
    const run = kv.of(instance, granted, () => {});
    return (request: object) => run(Buffer.from(JSON.stringify(request)), scope).catch(codeOf) as Promise<unknown>;
  };
  const [a, b] = [of("a"), of("b")];
  const { revision } = (await a({ op: "create", key: "k.é☃", value: { n: 1 } })) as { revision: number };
  expect(await a({ op: "get", key: "k.é☃" })).toEqual({ value: { n: 1 }, revision });
  expect(await b({ op: "get", key: "k.é☃" })).toEqual({});
  expect(await a({ op: "create", key: "k.é☃", value: 2 })).toBe("exists");
  expect(await a({ op: "update", key: "k.é☃", value: 2, revision: revision + 5 })).toBe("conflict");
  await a({ op: "update", key: "k.é☃", value: 2, revision });
  expect(await a({ op: "list", key: "k" })).toMatchObject({ entries: [{ key: "k.é☃", value: 2 }] });
  expect(await a({ op: "put", key: "big", value: "x".repeat(70_000) })).toBe("too_large");
  expect(await a({ op: "sing", key: "x" })).toBe("invalid");
  expect(await of("a", false)({ op: "get", key: "k" })).toBe("denied");
  await Promise.all(Array.from({ length: MAX_KV_KEYS }, (_, i) => a({ op: "put", key: `n${i}`, value: i })));
  expect(await a({ op: "put", key: "one-more", value: 1 })).toBe("exhausted");
  expect(await a({ op: "put", key: "n1", value: 2 })).toMatchObject({});
  expect(await b({ op: "put", key: "mine", value: 1 })).toMatchObject({});
});

test("a plugin's keys: a time to live, pages, and a quota of bytes", async () => {
  await using ground = await openBus();
  const bucket = await ground.bus.kv("guest");
  const run = guestKv(bucket).of("a", true, () => {});
  const http = new HttpBudget({ maxHttpRequests: 1, maxHttpBytes: 1, maxHttpAtOnce: 1 });
  const scope = { signal: new AbortController().signal, remainingMs: () => 1, http };
  const ask = (request: object) => run(Buffer.from(JSON.stringify(request)), scope).catch(codeOf) as Promise<unknown>;

  const first = (await ask({ op: "create", key: "short", value: "~1\n", ttl_ms: 150 })) as { revision: number };
  expect(await ask({ op: "get", key: "short" })).toMatchObject({ value: "~1\n", ttl_ms: expect.any(Number) });
  expect(await ask({ op: "create", key: "short", value: 2 })).toBe("exists");
  await until("it has expired", async () => !("value" in ((await ask({ op: "get", key: "short" })) as object)));
  expect(await ask({ op: "list", key: "" })).toEqual({ entries: [] });
  expect(await ask({ op: "update", key: "short", value: 2, revision: first.revision })).toBe("conflict");
  expect(await ask({ op: "create", key: "short", value: 3 })).toMatchObject({});
  expect(await ask({ op: "get", key: "short" })).toMatchObject({ value: 3 });
  await ask({ op: "delete", key: "short" });
  expect(await ask({ op: "put", key: "x", value: 1, ttl_ms: 1 })).toBe("invalid");
  expect(await ask({ op: "update", key: "x", value: 1 })).toBe("invalid");

  for (const key of ["b", "a", "c", "ä"]) await ask({ op: "put", key, value: key });
  const page = (await ask({ op: "list", key: "", limit: 3 })) as { entries: { key: string }[]; next: string };
  expect([page.entries.map(({ key }) => key), page.next]).toEqual([["a", "b", "c"], "c"]);
  expect(await ask({ op: "list", key: "", limit: 3, after: page.next })).toMatchObject({ entries: [{ key: "ä" }] });

  const value = "x".repeat(60_000);
  for (let i = 0; i < 80; i += 1) await ask({ op: "put", key: `n${i}`, value });
  expect(await ask({ op: "list", key: "n" })).toBe("too_large");
  expect(await ask({ op: "list", key: "n", limit: 1_000 })).toMatchObject({ next: expect.any(String) });
  let answer: unknown;
  for (let i = 80; i < 300 && answer !== "exhausted"; i += 1) answer = await ask({ op: "put", key: `n${i}`, value });
  expect(answer).toBe("exhausted");
  expect(await ask({ op: "put", key: "n1", value: 1 })).toMatchObject({});
}, 30_000);

test("answers are read strictly, with every mistake", () => {
  const at = "2024-01-01T00:00:00Z";
  const group = { group: "g", dimensions: { unit: 1 }, values: { v: { value: 1.5, type: "counter" } } };
  expect(readMetrics({ metrics: [group] }, at, "r")).toEqual({
    rows: [{ time: at, resource: "r", group: "g", dimensions: { unit: "1" }, name: "v", type: "counter", value: 1.5 }],
    status: "ok",
  });
  const bad = {
    metrics: [{ ...group, time: "2024-01-01 00:00", values: { a: { value: "1" }, b: { value: 1, type: "x" } } }, 5],
  };
  expect(String(readMetrics({ ...bad, status: "fine" }, at, "r")).split("\n")).toHaveLength(5);
  expect(readResources({ resources: [{ id: 5 }, "x"], complete: "yes" })).toMatch(/id.*\n.*not an object/);
  expect(readResources({ resources: [{ id: "a", labels: { x: 1 } }] })).toMatchObject({
    resources: [{ id: "a", labels: { x: "1" } }],
    complete: false,
  });
  expect(readDefaults({ columns: { a: "int64" }, index: ["a"], chunk: "1d" })).toMatchObject({
    columns: [{ name: "a", type: "int64" }],
    index: ["a"],
    chunk: "1d",
  });
  const storage = { retention: "30d", partition: "day", codec: "ZSTD(3)", codecs: { a: "T64, LZ4" }, freshness: "1h" };
  expect(readDefaults(storage)).toMatchObject(storage);
  expect(readDefaults({ codecs: { a: 1 } })).toContain("codecs");
  expect(String(readDefaults({ colums: {}, chunk: 5, index: "a" })).split("\n")).toHaveLength(3);
});

test("what is tried again, when, and what is too early", () => {
  const error = (retryable: boolean, details?: unknown) => ({ retryable, details });
  const delay = (failure: Parameters<typeof retryDelayMs>[0], failures = 1) => retryDelayMs(failure, failures, 3, 0.5);
  expect(delay({ outcome: "guest_error", error: error(true) })).toBe(750);
  expect(delay({ outcome: "guest_error", error: error(true) }, 2)).toBe(1_500);
  expect(delay({ outcome: "guest_error", error: error(true) }, 3)).toBeUndefined();
  expect(delay({ outcome: "guest_error", error: error(true, { retry_after_ms: 50 }) })).toBe(50);
  expect(delay({ outcome: "guest_error", error: error(true, { retry_after_ms: 1e12 }) })).toBe(3_600_000);
  expect(delay({ outcome: "timeout", error: error(false) })).toBe(750);
  for (const outcome of ["trap", "out_of_memory", "cpu_exceeded", "denied"] as const) {
    expect(delay({ outcome, error: error(true) })).toBeUndefined();
  }
  expect(isEarly({ startedMs: 1_000 }, 1_499, 1_000)).toBe(true);
  expect(isEarly({ startedMs: 1_000 }, 1_500, 1_000)).toBe(false);
  expect(isEarly(undefined, 0, 1_000)).toBe(false);
});
