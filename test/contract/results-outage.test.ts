/** ClickHouse goes away while rows are written: what was acknowledged is there, once; what waits is bounded. */
import { describe, expect, test } from "vitest";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { chunkOf, column, NOW_US, ndjson, numbers, plain, RUN, rowsOf } from "../harness/chunks.ts";
import { openTestResults, runRecord, startTestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

describe("when ClickHouse is away", () => {
  test("killed amid appends of several runs, it ends with exactly the rows that were acknowledged", async () => {
    await using own = await startTestClickHouse();
    await using results = await openTestResults(own);
    await results.ensureDataset(plain);
    let acknowledged = 0;
    const writeRun = async (run: number) => {
      const { runId, fence } = { runId: `run-${run}`, fence: BigInt(run + 1) };
      for (let chunk = 0; chunk < 20; chunk += 1) {
        const size = chunk % 2 ? 10 : 12_000;
        const rows = ndjson(numbers(run * 1_000_000 + chunk * 20_000, size));
        const stored = await results.appendChunk(chunkOf({ runId, fence, chunk, rows }));
        acknowledged += stored.rows;
      }
      await results.commit(runRecord({ runId, fence, parts: [{ fence, chunks: 20 }] }));
    };
    const writing = Promise.all([0, 1, 2].map(writeRun));
    for (const third of [1, 2, 3]) {
      await until("some rows are there", () => acknowledged > third * 60_000);
      await own.kill9();
      await own.restart();
    }
    await writing;
    expect(acknowledged).toBe(3 * 10 * 12_010);
    const sql = "SELECT count(), uniqExact(n) FROM weather";
    expect(await rowsOf(results, sql)).toEqual([[String(acknowledged), String(acknowledged)]]);
  });

  test("writers wait, the state says why, and nothing is lost; readers are told at once", async () => {
    await using own = await startTestClickHouse();
    await using results = await openTestResults(own);
    await results.ensureDataset(plain);
    await own.kill9();
    const appended = results.appendChunk(chunkOf({}));
    const stopped = new AbortController();
    const given = results.appendChunk(chunkOf({ chunk: 1 }), stopped.signal);
    await until("the state shows it", () => !results.state().ok);
    expect(results.state()).toMatchObject({ ok: false, problem: expect.stringContaining("cannot be reached") });
    stopped.abort();
    await expect(given).rejects.toMatchObject({ code: "cancelled" });
    await expect(rowsOf(results)).rejects.toMatchObject({ code: "unavailable" });
    await own.restart();
    await appended;
    expect(results.state().ok).toBe(true);
    await results.commit(runRecord(RUN));
    expect(await column(results)).toEqual(["1"]);
  });

  test("callers wait for room when the buffer is full; log lines are dropped, counted, and hold nobody up", async () => {
    await using own = await startTestClickHouse();
    await using results = await openTestResults(own, { maxBufferedBytes: 100_000, closeMs: 200 });
    await results.ensureDataset(plain);
    await own.kill9();
    const rows = ndjson(numbers(0, 4_000));
    const appends = [0, 1, 2, 3].map((chunk) => results.appendChunk(chunkOf({ chunk, rows })));
    const line = {
      runId: "r",
      fence: 1n,
      timeUs: NOW_US,
      level: "info" as const,
      instance: "i",
      message: "x".repeat(8_000),
    };
    results.log(Array.from({ length: 3_000 }, () => line));
    const state = results.state();
    expect(state.bufferedBytes).toBeLessThanOrEqual(100_000);
    expect(state.droppedLogLines).toBeGreaterThan(500);
    await own.restart();
    await Promise.all(appends);
    await results.flush();
    const kept = await rowsOf(results, "SELECT count() FROM logs");
    expect(Number(kept[0]?.[0]) + results.state().droppedLogLines).toBe(3_000);
    expect(results.state().bufferedBytes).toBe(0);
  });

  test("opening waits for a stated time and then names the URL without its password", async () => {
    const opened = openResults({ url: "http://me:geheim@127.0.0.1:9", log: silentLog, waitMs: 300 });
    const fault: Error = await opened.then(
      () => expect.fail("opened"),
      (thrown) => thrown,
    );
    expect(fault).toMatchObject({ code: "unavailable", message: expect.stringContaining("http://127.0.0.1:9") });
    expect(fault.message).not.toContain("geheim");
  });

  test("closing while it is away ends within its time, and whoever waits is told", async () => {
    await using own = await startTestClickHouse();
    const results = await openTestResults(own, { closeMs: 200 });
    await results.ensureDataset(plain);
    await own.kill9();
    const appended = expect(results.appendChunk(chunkOf({}))).rejects.toMatchObject({ code: "unavailable" });
    await results[Symbol.asyncDispose]();
    await appended;
  });
});
