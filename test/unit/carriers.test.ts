/** Stacks that carry one guest after the other: each gets its own guest's end, and a lost one costs its guest only. */
/// <reference path="../../services/executor/webassembly.d.ts" />
import { expect, test } from "vitest";
import { Carriers, type GuestExport } from "../../services/executor/carriers.ts";
import { until } from "../harness/until.ts";
import { compileWat } from "../harness/wat.ts";

/** Waits for `ask(n)` and returns what it answered; -1 traps after it, -2 overflows the stack. */
const guests = new WebAssembly.Module(
  compileWat(`(module
    (import "test" "ask" (func $ask (param i32) (result i32)))
    (global $n (mut i32) (i32.const 0))
    (func (export "set") (param i32) (global.set $n (local.get 0)))
    (func $deeper (call $deeper))
    (func (export "run") (result i32)
      (local $answer i32)
      (local.set $answer (call $ask (global.get $n)))
      (if (i32.eq (local.get $answer) (i32.const -1)) (then (unreachable)))
      (if (i32.eq (local.get $answer) (i32.const -2)) (then (call $deeper)))
      (local.get $answer)))`),
);

function guest(n: number, ask: (n: number) => Promise<number>): GuestExport {
  const { exports } = new WebAssembly.Instance(guests, { test: { ask: new WebAssembly.Suspending(ask) } });
  (exports.set as (n: number) => void)(n);
  return exports.run as GuestExport;
}

test("2,000 guests, 200 of them waiting at once, some lost: everyone has its own end", async () => {
  const carriers = new Carriers();
  const one = async (n: number) => {
    const answer = n % 10 === 0 ? -1 : n % 37 === 0 ? -2 : n;
    const ended = carriers.run(
      guest(n, async (asked) => {
        await new Promise((resolve) => setImmediate(resolve));
        return asked === n ? answer : -3;
      }),
    );
    if (answer === -1) return expect(ended).rejects.toBeInstanceOf(WebAssembly.RuntimeError);
    if (answer === -2) return expect(ended).rejects.toBeInstanceOf(RangeError);
    return expect(await ended).toBe(n);
  };
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 200 }, (_, i) => one(round * 200 + i + 1)));
  }
  // At most 64 are kept, and those that nobody needs go.
  expect(carriers.idle).toBeGreaterThan(0);
  expect(carriers.idle).toBeLessThanOrEqual(64);
  carriers.trim();
  carriers.trim();
  await until("they are gone", async () => carriers.idle === 0, 5_000);
  expect(await carriers.run(guest(7, async (n) => n))).toBe(7);
});

test("a guest that does not wait, and one whose host fails", async () => {
  const carriers = new Carriers();
  expect(await carriers.run(guest(5, ((n: number) => n) as never))).toBe(5);
  const refused = carriers.run(guest(6, () => Promise.reject(new Error("no"))));
  await expect(refused).rejects.toThrow("no");
  expect(await carriers.run(guest(8, async (n) => n + 1))).toBe(9);
});
