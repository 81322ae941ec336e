/** What crosses between a lane and the main thread arrives as it was said, whatever else is in the batch. */
/// <reference path="../../services/executor/webassembly.d.ts" />
import { expect, test } from "vitest";
import {
  BatchReader,
  BatchWriter,
  type FromLane,
  readFromLane,
  readToLane,
  type ToLane,
  writeFromLane,
  writeToLane,
} from "../../services/executor/lane-messages.ts";
import { seeded } from "../harness/random.ts";

type Start = Extract<ToLane, { type: "start" }>;
const bytes = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const module: WebAssembly.Module = new WebAssembly.Module(bytes);
const used = { cpuMs: 0.25, memoryPeakBytes: 3 * 2 ** 32 };

/** As another thread gets it: cloned, and what was given away is gone here. */
function across(out: BatchWriter): BatchReader {
  const { batch, transfers } = out.take();
  return new BatchReader(structuredClone(batch, { transfer: transfers }));
}

test("every message to a lane, with all that may be absent", () => {
  const start = {
    ...{ type: "start", id: -5, module: 7, export: "run", input: Uint8Array.of(1, 2), startByMs: 1e12 + 0.5 },
    ...{ memoryMaxBytes: 2 ** 32, maxOutputBytes: 0, maxHostCalls: 100, nowMs: 1.7e12, seed: "s" },
  } satisfies Partial<Start>;
  const said: ToLane[] = [
    { type: "module", number: 7, module, spareBytes: 0 },
    { type: "module", number: 8, module, spareBytes: undefined },
    { ...start, reuse: undefined, maxGas: undefined },
    { ...start, module, reuse: { key: "ключ/1", calls: 3 }, maxGas: 0, seed: "" },
    { type: "reply", id: 2 ** 31 - 1, response: new Uint8Array(5_000).fill(9), nowMs: 1 },
    { type: "reply", id: 3, response: new Uint8Array(0), nowMs: 2 },
    { type: "abandon", id: 4 },
    { type: "forget", number: 7 },
  ];
  const out = new BatchWriter();
  for (const message of said) writeToLane(out, message);
  const batch = across(out);
  const heard: ToLane[] = [];
  while (batch.more) heard.push(readToLane(batch));
  expect(heard).toEqual(said);
  expect(out.empty).toBe(true);
});

test("every message of a lane; an end that is not ok crosses whole", () => {
  const error = { code: "trap", message: "unreachable", retryable: false, details: { stack: ["at wasm"] } };
  const said: FromLane[] = [
    { type: "ready" },
    { type: "host", id: 1, name: "http", request: Uint8Array.of(7), used },
    { type: "log", id: 1, level: "warn", message: "été" },
    { type: "done", id: 1, end: { outcome: "ok", output: Uint8Array.of(1), gas: 0 }, used },
    { type: "done", id: 2, end: { outcome: "ok", output: new Uint8Array(0) }, used },
    { type: "done", id: 3, end: { outcome: "trap", output: new Uint8Array(0), error, gas: 12 }, used },
    { type: "done", id: 4, end: "skipped", used },
  ];
  const out = new BatchWriter();
  for (const message of said) writeFromLane(out, message);
  const batch = across(out);
  const heard: FromLane[] = [];
  while (batch.more) heard.push(readFromLane(batch));
  expect(heard).toEqual(said);
});

test("10,000 replies of any size in batches of any length; what was posted may change at once", () => {
  const random = seeded(11);
  const out = new BatchWriter();
  const expected: number[] = [];
  const check = () => {
    const batch = across(out);
    for (const byte of expected.splice(0)) {
      const message = readToLane(batch);
      if (message.type !== "reply") throw new Error(message.type);
      const { id, response } = message;
      if (response.length !== id || response.some((one) => one !== byte)) throw new Error(`reply ${id} is not its own`);
    }
    expect(batch.more).toBe(false);
  };
  for (let i = 0; i < 10_000; i += 1) {
    const size = random() < 0.02 ? Math.floor(random() * 20_000) : Math.floor(random() * 300);
    const response = new Uint8Array(size).fill(i & 0xff);
    writeToLane(out, { type: "reply", id: size, response, nowMs: i });
    response.fill(0xee);
    expected.push(i & 0xff);
    if (random() < 0.05) check();
  }
  check();
});
