/** What a guest leaves behind is seen by nobody; what it keeps by `reuse` is seen by its own calls only. */
import { describe, expect, test } from "vitest";
import type { GuestCall } from "../../services/executor/sandbox.ts";
import { pause } from "../../services/kit/lifecycle.ts";
import { ENGINES } from "../harness/engines.ts";
import { call, encode, forEver, open } from "../harness/guest-call.ts";
import { until } from "../harness/until.ts";
import { slowModule, watModule } from "../harness/wat.ts";

describe.each(ENGINES)("engine %s", (engine) => {
  test("a marker in every byte that a call touched: the next call, of whatever plugin, finds none", async () => {
    await using sandbox = await open(1, 64, engine);
    const other = await watModule("leak", 100);
    for (let i = 0; i < (engine === "kernel" ? 60 : 3); i += 1) {
      const name = ["look", "look_and_trap", "look_and_grow"][i % 3] as string;
      const guests = Array.from({ length: 4 }, async (_, n) =>
        sandbox.call(await call("leak", name, { input: new Uint8Array(5_000 * n).fill(0xee) })),
      );
      await Promise.all(guests);
      const looks = [call("leak", "look", { input: encode("") }), call("leak", "look", { module: other })];
      for (const look of looks) {
        const { outcome, output } = await sandbox.call(await look);
        expect([outcome, ...output]).toEqual(["ok", 0]);
      }
    }
  }, 60_000);
});

test("nor in an instance made ahead while the lane rested, also after the lane was lost and replaced", async () => {
  await using sandbox = await open(1);
  const slow = await slowModule("leak");
  for (let round = 0; round < 3; round += 1) {
    for (let i = 0; i < 40; i += 1) {
      const name = ["look", "look_and_trap", "look_and_grow", "look"][i % 4] as string;
      const looks = Array.from({ length: 1 + (i % 3) }, async () =>
        sandbox.call(await call("leak", name, { module: slow })),
      );
      for (const { outcome, output } of await Promise.all(looks)) {
        if (name !== "look_and_trap") expect([outcome, output[0]]).toEqual(["ok", 0]);
      }
      await pause(2);
    }
    expect((await sandbox.call(await call("cpu", "spin", { cpuMs: 100 }))).outcome).toBe("cpu_exceeded");
  }
}, 60_000);

const reuse = (key: string, calls: number): Partial<GuestCall> => ({ reuse: { key, calls } });

test("an instance serves as many calls as it may, and only those of its key", async () => {
  await using sandbox = await open(1);
  const marks = async (over: Partial<GuestCall>) => {
    const { output } = await sandbox.call(await call("wait", "marker", { input: Uint8Array.of(9), ...over }));
    return [...output];
  };
  expect(await marks(reuse("a", 3))).toEqual([0, 0, 9]);
  expect(await marks(reuse("a", 3))).toEqual([9, 1, 9]);
  expect(await marks(reuse("b", 3))).toEqual([0, 0, 9]);
  expect(await marks({})).toEqual([0, 0, 9]);
  expect(await marks(reuse("a", 3))).toEqual([9, 2, 9]);
  expect(await marks(reuse("a", 3))).toEqual([0, 0, 9]);
});

test("blocks do not outlive their call even where the instance does", async () => {
  await using sandbox = await open(1);
  const over = reuse("leak", 10);
  const first = await sandbox.call(await call("leak", "look", over));
  const second = await sandbox.call(await call("leak", "look", over));
  expect([[...first.output], [...second.output]]).toEqual([[0], [255]]);
  const input = new Uint8Array(30_000).fill(0xee);
  for (const name of ["part", "run"]) await sandbox.call(await call("echo", name, { input, ...reuse("echo", 10) }));
  const { output } = await sandbox.call(await call("echo", "part", { input: encode(""), ...reuse("echo", 10) }));
  expect(output).toHaveLength(4);
});

test("a guest that waits is never entered again: two at once are two instances", async () => {
  await using sandbox = await open(1);
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const host: GuestCall["host"] = async () => {
    waiting += 1;
    await gate.promise;
    return encode("{}");
  };
  const over = { ...reuse("a", 100), host };
  const guests = [1, 2].map(async (n) =>
    sandbox.call(await call("wait", "marker", { input: Uint8Array.of(n), ...over })),
  );
  await until("both wait", () => waiting === 2);
  gate.resolve();
  const outputs = (await Promise.all(guests)).map(({ output }) => [...output]);
  expect(outputs).toEqual([
    [0, 0, 1],
    [0, 0, 2],
  ]);
});

test.each([
  ["traps", async () => call("leak", "look_and_trap", reuse("leak", 100))],
  ["is cut off", async () => call("leak", "look", { ...reuse("leak", 100), deadlineMs: 300, host: forEver })],
])("an instance that %s is dropped", async (_, bad) => {
  await using sandbox = await open(1);
  expect((await sandbox.call(await bad())).outcome).toMatch(/trap|timeout/);
  await until("it is gone", () => sandbox.free() === 256);
  const { output } = await sandbox.call(await call("leak", "look", reuse("leak", 100)));
  expect([...output]).toEqual([0]);
});
