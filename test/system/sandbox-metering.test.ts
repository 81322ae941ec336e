/** Metered guests: the same count in every run, an end without the loss of the lane, nothing changed in what they do. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import type { Sandbox } from "../../services/executor/sandbox.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { ENGINES, published } from "../harness/engines.ts";
import { call, decode, encode, open } from "../harness/guest-call.ts";
import { bodyModule } from "../harness/hostile-modules.ts";
import { compileWat } from "../harness/wat.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const source = await readFile(join(PLUGINS, "metered.wat"), "utf8");
const module = published(compileWat(source), 64, true);

describe.each(ENGINES)("engine %s", (engine) => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await open(1, 16, engine);
  });
  afterAll(() => sandbox[Symbol.asyncDispose]());
  const run = async (name: string, maxGas: number) =>
    sandbox.call(await call("echo", name, { module, maxGas, label: name }));

  test("work is counted, to the instruction, in every run", async () => {
    const first = await run("work", 1e9);
    expect([first.outcome, first.error]).toEqual(["ok", undefined]);
    expect(first.usage.gas).toBeGreaterThan(10_000);
    for (let i = 0; i < 5; i += 1) expect((await run("work", 1e9)).usage.gas).toBe(first.usage.gas);
    const gas = first.usage.gas as number;
    expect((await run("work", gas)).outcome).toBe("ok");
    expect((await run("work", gas - 1)).outcome).toBe("cpu_exceeded");
  });

  test.each(["spin", "fill", "recurse_by_two", "stubborn"])("%s ends without costing its lane", async (name) => {
    const { outcome, usage, error } = await run(name, 1_000_000);
    expect([outcome, usage.gas, error?.message]).toEqual([
      "cpu_exceeded",
      1_000_000,
      "ran more than 1000000 instructions",
    ]);
    expect(sandbox.stats().lanesKilled).toBe(0);
  });

  test("bulk operations are charged by their length", async () => {
    expect((await run("copy", 1e6)).usage.gas).toBeGreaterThan((2 * 65_536) / 32);
  });
});

test("a whole plugin does metered what it does unmetered", async () => {
  const { wasmPath } = await buildPlugin(join(PLUGINS, "json"));
  const bytes = await readFile(wasmPath);
  await using sandbox = await open(1);
  const input = encode(JSON.stringify({ a: [1, 2.5, "é💥"], b: "x".repeat(2_000) }));
  const plain = await sandbox.call(await call("echo", "roundtrip", { module: published(bytes), input }));
  const over = { module: published(bytes, 1_024, true), input, maxGas: 1e9 };
  const metered = await sandbox.call(await call("echo", "roundtrip", over));
  expect([metered.outcome, decode(metered.output)]).toEqual(["ok", decode(plain.output)]);
  expect(metered.usage.gas).toBeGreaterThan(1_000);
}, 60_000);

test("a module that cannot be metered is refused with the reason", () => {
  const named = compileWat(`(module (global (export "__gas") i64 (i64.const 1)) (func (export "run")))`);
  const refusal = (bytes: Uint8Array) => {
    try {
      normaliseModule(bytes, { maxPages: 16, metered: true });
      return undefined;
    } catch (thrown) {
      return (thrown as Fault).mistakes[0];
    }
  };
  expect(refusal(named)).toMatchObject({ problem: "is the name of the meter" });
  // ref.null func, ref.as_non_null, drop
  const typed = bodyModule(Buffer.of(0xd0, 0x70, 0xd4, 0x1a));
  expect(refusal(typed)?.problem).toMatch(/cannot be metered: instruction 0xd4 at byte \d+ is not known/);
});
