/** Instances made ahead: only of modules that start slowly, within the budget, each for one call, and as new. */
/// <reference path="../../services/executor/webassembly.d.ts" />
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { EngineCall } from "../../services/executor/engine.ts";
import { openKernelEngine } from "../../services/executor/kernel-engine.ts";
import { spareBytes } from "../../services/executor/spare-weight.ts";
import { Spares } from "../../services/executor/spares.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { encode } from "../harness/guest-call.ts";
import { compileWat, slowed } from "../harness/wat.ts";

const EMPTY_MODULE = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const MIB = 1 << 20;
const anyModule = () => new WebAssembly.Module(EMPTY_MODULE);

/** A shelf of a slow module, with as many spares as fit. */
function stocked(spares: Spares<string>, name: string, bytesEach: number) {
  const module = anyModule();
  let made = 0;
  const make = () => {
    made += 1;
    return `${name} ${made}`;
  };
  for (let i = 0; i < 8; i += 1) spares.started(module, 1, bytesEach, make);
  while (spares.prepare());
  return module;
}

test("each spare is handed out once, and one that is not needed is dropped once", () => {
  const dropped: string[] = [];
  const spares = new Spares<string>((spare) => dropped.push(spare));
  const module = stocked(spares, "a", MIB);
  expect(spares.count).toBe(4);
  expect([spares.take(module), spares.take(module)]).toEqual(["a 4", "a 3"]);
  expect(spares.take(anyModule())).toBeUndefined();
  while (spares.prepare());
  expect(spares.count).toBe(4);
  spares.forget(module);
  expect([spares.count, spares.take(module), dropped.toSorted()]).toEqual([0, undefined, ["a 1", "a 2", "a 5", "a 6"]]);
});

test("a module is slow when the fastest of eight starts is; what cannot be made is not tried for ever", () => {
  const spares = new Spares<string>(() => {});
  const [slow, quick, large, broken] = [anyModule(), anyModule(), anyModule(), anyModule()];
  for (let i = 0; i < 8; i += 1) {
    spares.started(slow, 5, MIB, () => "slow");
    spares.started(quick, i === 3 ? 0.01 : 5, MIB, () => "quick");
    spares.started(large, 5, 33 * MIB, () => "large");
    spares.started(broken, 5, MIB, () => undefined);
  }
  while (spares.prepare());
  expect([slow, quick, large, broken].map((module) => spares.take(module))).toEqual([
    "slow",
    ...Array(3).fill(undefined),
  ]);
});

test("the budget holds, at the cost of modules that were called less lately", () => {
  const spares = new Spares<string>(() => {});
  const modules = Array.from({ length: 20 }, (_, i) => {
    const module = stocked(spares, `small ${i}`, 1_024);
    expect(spares.count).toBeLessThanOrEqual(32);
    return module;
  });
  expect(spares.take(modules.at(-1) as WebAssembly.Module)).toBe("small 19 4");
  expect(spares.take(modules[0] as WebAssembly.Module)).toBeUndefined();
  const large = Array.from({ length: 4 }, (_, i) => stocked(spares, `large ${i}`, 7 * MIB));
  const left = large.flatMap((module) => [spares.take(module), spares.take(module)]).filter(Boolean);
  // Four of 7 MiB fill 32 MiB.
  expect(left.length + spares.count).toBeLessThanOrEqual(4);
});

function callOf(text: string, over: Partial<EngineCall> = {}): EngineCall {
  const bytes = normaliseModule(compileWat(text), { maxPages: 16 });
  return {
    ...{ module: new WebAssembly.Module(bytes), spareBytes: spareBytes(bytes), export: "look", input: encode("in") },
    ...{ memoryMaxBytes: 16 * 65_536, maxOutputBytes: MIB, onMemory() {}, now: () => 0 },
    host: async () => encode("answer"),
    log() {},
    random: (bytes) => new Uint8Array(bytes),
    ...over,
  };
}

test("a guest on a spare finds nothing of the calls before, whatever they marked", async () => {
  const engine = openKernelEngine();
  const source = await readFile(new URL("../plugins/leak.wat", import.meta.url), "utf8");
  const call = callOf(slowed(source));
  let ahead = 0;
  for (let i = 0; i < 100; i += 1) {
    const { outcome, output, error } = await engine.run(call);
    expect([i, outcome, error, output[0]]).toEqual([i, "ok", undefined, 0]);
    if (i % 7 === 0) while (engine.prepare()) ahead += 1;
  }
  expect(ahead).toBeGreaterThan(20);
  engine.forget(call.module);
  expect((await engine.run(call)).output[0]).toBe(0);
});

test("what runs code by itself is never made ahead", async () => {
  const log = '(import "extism:host/env" "log_info" (func $log (param i64)))';
  const say = "(func $say (call $log (i64.const 0)))";
  const run = '(func (export "look") (result i32) (i32.const 0))';
  const starts = `(module ${log} (memory 1) ${say} (start $say) ${run})`;
  const initialises = `(module ${log} (memory 1) ${say} (export "_initialize" (func $say)) ${run})`;
  expect([spareBytes(compileWat(starts)), spareBytes(compileWat(initialises))]).toEqual([undefined, 2 * 512]);
  for (const text of [starts, initialises]) {
    const engine = openKernelEngine();
    let said = 0;
    const call = callOf(slowed(text), {
      log() {
        said += 1;
      },
    });
    for (let i = 0; i < 30; i += 1) {
      expect((await engine.run(call)).outcome).toBe("ok");
      expect([engine.prepare(), said]).toEqual([false, i + 1]);
    }
  }
});

test("what lies on the heap of the lane counts: exports, globals, tables", async () => {
  const weigh = (text: string) => spareBytes(compileWat(text)) as number;
  expect(weigh("(module)")).toBe(0);
  expect(weigh("(module (table 1000 funcref) (table 300 2000 externref))")).toBe(1_300 * 32);
  expect(weigh("(module (global i32 (i32.const 1)) (global i64 (i64.const 1)) (memory 1))")).toBe(2 * 32);
  const engine = openKernelEngine();
  // Two of them are over the budget.
  const call = callOf(
    '(module (memory 1) (table 131072 funcref) (table 131072 funcref) (table 131072 funcref) (table 131072 funcref) (func (export "look") (result i32) (i32.const 0)))',
  );
  expect(call.spareBytes).toBeGreaterThan(16 * MIB);
  let ahead = 0;
  for (let i = 0; i < 20; i += 1) {
    expect((await engine.run(call)).outcome).toBe("ok");
    for (let turn = 0; turn < 10 && engine.prepare(); turn += 1) ahead += 1;
  }
  // One at a time, from the eighth call on: a second never fits.
  expect(ahead).toBe(13);
});
