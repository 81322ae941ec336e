/** What only the embedded bus promises: it outlives kill -9, and the file belongs to one process. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { EmbeddedQueue } from "../../services/bus/embedded/queue.ts";
import { Store } from "../../services/bus/embedded/store.ts";
import { silentLog } from "../../services/kit/log.ts";
import { until } from "../harness/until.ts";

const WRITER = join(import.meta.dirname, "../harness/bus-writer.ts");
const written = { ackWaitMs: 1_000, maxDeliveries: 5, maxMessages: 1_000_000, dedupWindowMs: 60_000 };

async function temporaryFile() {
  const folder = await mkdtemp(join(tmpdir(), "millrace-bus-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  return { file: join(folder, "bus.sqlite"), [Symbol.asyncDispose]: remove };
}

/** A child that writes to the file; `lines` are the ids it was told are stored. */
function startWriter(file: string) {
  const child: ChildProcess = spawn(process.execPath, [WRITER, file], { stdio: ["ignore", "pipe", "inherit"] });
  const lines: string[] = [];
  if (child.stdout) createInterface(child.stdout).on("line", (line) => lines.push(line));
  const kill9 = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await closed;
  };
  return { pid: child.pid, lines, kill9, [Symbol.asyncDispose]: kill9 };
}

test("every write acknowledged before kill -9 is there afterwards, round after round", async () => {
  await using place = await temporaryFile();
  for (let round = 1; round <= 5; round += 1) {
    await using writer = startWriter(place.file);
    const target = 50 * round;
    await until(`${target} lines`, () => writer.lines.length > target);
    await writer.kill9();
    const acknowledged = writer.lines.filter((line) => /^n\d+$/.test(line));
    await using bus = await openEmbeddedBus({ file: place.file, log: silentLog });
    const kept = new Set((await (await bus.kv("written")).list("")).map(({ key }) => key));
    expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
    const queue = await bus.queue("written", written);
    const waiting = new Set((await queue.pull(1_000_000, 0)).map(({ id }) => id));
    expect(acknowledged.filter((id) => !waiting.has(id))).toEqual([]);
    expect(await queue.depth()).toBe(waiting.size);
  }
});

test("a second process is refused by the pid of the first, until the first is gone", async () => {
  await using place = await temporaryFile();
  await using writer = startWriter(place.file);
  await until("the writer is open", () => writer.lines.includes("open"));
  const refused = openEmbeddedBus({ file: place.file, log: silentLog });
  await expect(refused).rejects.toMatchObject({
    code: "precondition",
    message: expect.stringContaining(`locked by process ${writer.pid}`),
  });
  await writer.kill9();
  await using _bus = await openEmbeddedBus({ file: place.file, log: silentLog });
});

test("a second opening in the same process is refused, and the first goes on", async () => {
  await using place = await temporaryFile();
  await using bus = await openEmbeddedBus({ file: place.file, log: silentLog });
  const second = openEmbeddedBus({ file: place.file, log: silentLog });
  await expect(second).rejects.toMatchObject({ code: "precondition" });
  await (await bus.kv("k")).put("a", new Uint8Array([1]));
});

test("a file that is no bus is refused and left as it is", async () => {
  await using place = await temporaryFile();
  await writeFile(place.file, "this is not a database, but it is long enough to look like one.".repeat(20));
  const opened = openEmbeddedBus({ file: place.file, log: silentLog });
  await expect(opened).rejects.toMatchObject({
    code: "precondition",
    message: expect.stringContaining("not a bus file"),
  });
});

test("a message that kills its process is given up in the end, and a delay outlives a restart", async () => {
  await using place = await temporaryFile();
  const options = { ...written, ackWaitMs: 60_000, maxDeliveries: 2 };
  const open = () => openEmbeddedBus({ file: place.file, log: silentLog });
  for (let round = 1; round <= 2; round += 1) {
    await using bus = await open();
    const queue = await bus.queue("q", options);
    await queue.send("poison", new Uint8Array());
    expect((await queue.pull(1, 1_000))[0]?.deliveries).toBe(round);
  }
  await using bus = await open();
  const queue = await bus.queue("q", options);
  expect((await queue.deadLetters(1))[0]).toMatchObject({ id: "poison", reason: "too many deliveries" });
  await queue.send("later", new Uint8Array());
  await (await queue.pull(1, 1_000))[0]?.nak(800);
  const beganMs = performance.now();
  await bus[Symbol.asyncDispose]();
  await using again = await open();
  expect((await (await again.queue("q", options)).pull(1, 5_000))[0]?.deliveries).toBe(2);
  expect(performance.now() - beganMs).toBeGreaterThan(600);
});

test("a message whose release fails is released as soon as the file takes writes again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-release-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  using store = new Store(join(folder, "bus.sqlite"));
  const closing = new AbortController();
  const options = { ackWaitMs: 200, maxDeliveries: 5, maxMessages: 10, dedupWindowMs: 60_000 };
  const queue = new EmbeddedQueue(store, "held", options, closing.signal);
  await queue.send("one", Buffer.from("one"));
  expect((await queue.pull(1, 1_000)).map(({ deliveries }) => deliveries)).toEqual([1]);
  // As when the disk is full or gone: SQLite refuses each write of this connection.
  store.get("PRAGMA query_only = 1");
  const waiting = queue.pull(1, 20_000);
  const heldSql = "SELECT due_ms AS dueMs FROM messages WHERE held = 1";
  await until("its time has passed", () => (store.get<{ dueMs: number }>(heldSql)?.dueMs ?? 0) < Date.now() - 300);
  await expect(queue.send("two", Buffer.from("two"))).rejects.toThrow();
  store.get("PRAGMA query_only = 0");
  expect((await waiting).map(({ id, deliveries }) => [id, deliveries])).toEqual([["one", 2]]);
  closing.abort();
});
