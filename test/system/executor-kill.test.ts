/** An executor is killed -9 between any two steps of a fetch; the next one leaves the same rows, each once. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Step } from "../../services/executor/steps.ts";
import { Semaphore } from "../../services/kit/lifecycle.ts";
import { silentLog } from "../../services/kit/log.ts";
import { openResults } from "../../services/results/results.ts";
import { startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import type { VictimOrder } from "../harness/executor-victim.ts";

const ROWS = 60;
const CHECKPOINTED = { mode: "emit", rows: ROWS, batches: 4 };
const IN_ONE = { mode: "rows", rows: ROWS };
/** Config, step, and the n-th time that it is reached. */
const KILLS: [config: VictimOrder["config"], step: Step, nth: number][] = [
  [CHECKPOINTED, "decoded", 1],
  [CHECKPOINTED, "locked", 1],
  [CHECKPOINTED, "begun", 1],
  [CHECKPOINTED, "chunk_stored", 1],
  [CHECKPOINTED, "chunk_stored", 3],
  [CHECKPOINTED, "checkpointed", 2],
  [CHECKPOINTED, "executed", 1],
  [CHECKPOINTED, "committed", 1],
  [CHECKPOINTED, "finished", 1],
  [CHECKPOINTED, "checkpoint_deleted", 1],
  [CHECKPOINTED, "acked", 1],
  [IN_ONE, "chunk_stored", 1],
  [IN_ONE, "executed", 1],
  [IN_ONE, "committed", 1],
  [IN_ONE, "finished", 1],
];
/** Processes that start at once. Once up they wait for a dead one's lock, and that costs nothing. */
const turns = new Semaphore(2);
const VICTIM = join(import.meta.dirname, "../harness/executor-victim.ts");

/** Resolves with the signal or exit code that ended it. */
async function run(order: VictimOrder): Promise<string> {
  const turn = await turns.acquire();
  const child = spawn(process.execPath, [VICTIM, JSON.stringify(order)], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.once("data", () => turn[Symbol.dispose]());
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  return new Promise((resolve) => {
    child.on("exit", (code, signal) => {
      turn[Symbol.dispose]();
      resolve(signal ?? (code === 0 ? "done" : `exit ${code}: ${said}`));
    });
  });
}

async function killedAt(server: TestClickHouse, [config, step, nth]: (typeof KILLS)[number], i: number) {
  const folder = await mkdtemp(join(tmpdir(), "millrace-victim-"));
  try {
    const { url, readerUrl } = server;
    const clickHouse = { url, readerUrl, database: `victim_${process.pid}_${i}` };
    const order = { busFile: join(folder, "bus.sqlite"), clickHouse, config };
    const first = await run({ ...order, first: true, killAt: { step, nth } });
    await using results = await openResults({ ...clickHouse, log: silentLog });
    const look = async () => {
      const sql = "SELECT count(), uniqExact(id), sum(value) FROM victim_rows";
      const { rows } = await results.query({ sql, maxRows: 1, maxBytes: 1_000, timeoutMs: 10_000 });
      return rows[0]?.map(Number);
    };
    // What was never committed is not even half there; what was is there whole.
    const between = await look().catch(() => [0, 0, 0]);
    const second = await run({ ...order, first: false });
    return {
      what: `${config.mode} ${step} ${nth}`,
      first,
      second,
      between: between?.[0],
      after: await look().catch(String),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test("killed -9 between any two steps, the rows that are seen are the same", async () => {
  await using server = await startTestClickHouse();
  const seen = await Promise.all(KILLS.map((kill, i) => killedAt(server, kill, i)));
  const committed = ["committed", "finished", "checkpoint_deleted", "acked"];
  const sum = (ROWS * (ROWS - 1)) / 2 / 4;
  expect(seen).toEqual(
    KILLS.map(([config, step, nth]) => ({
      what: `${config.mode} ${step} ${nth}`,
      first: "SIGKILL",
      second: "done",
      between: committed.includes(step) ? ROWS : 0,
      after: [ROWS, ROWS, sum],
    })),
  );
}, 240_000);
