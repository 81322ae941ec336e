/** Compiled modules: once for all who ask, the least recently used dropped first, and what nobody asks for. */
import { expect, test } from "vitest";
import { ModuleCache } from "../../services/executor/module-cache.ts";
import { until } from "../harness/until.ts";
import { compileWat } from "../harness/wat.ts";

const WASM = compileWat(`(module (func (export "run")) (data "${"x".repeat(1_000)}") (memory 1))`);

function open(maxBytes: number, idleMs = 1e9) {
  const dropped: number[] = [];
  const loads: string[] = [];
  const cache = new ModuleCache((number) => dropped.push(number), { maxBytes, idleMs });
  const get = (digest: string, bytes: Uint8Array | Promise<Uint8Array> = WASM) =>
    cache.get({
      digest,
      load: async () => {
        loads.push(digest);
        return await bytes;
      },
    });
  return { cache, dropped, loads, get };
}

test("a module is loaded and compiled once, for all who ask at once and later", async () => {
  const { cache, loads, get } = open(1e9);
  const [one, two] = await Promise.all([get("a"), get("a")]);
  expect([two, await get("a"), loads, cache.keeps(one.number)]).toEqual([one, one, ["a"], true]);
  const other = await get("b");
  expect([other.number === one.number, cache.size]).toEqual([false, 2]);
});

test("over the budget the least recently used go, and whoever holds their code is told", async () => {
  const { cache, dropped, loads, get } = open(3 * WASM.byteLength);
  const [a, b] = [await get("a"), await get("b")];
  await get("c");
  await get("a");
  const d = await get("d");
  expect([dropped, cache.size, cache.keeps(b.number), cache.keeps(a.number)]).toEqual([[b.number], 3, false, true]);
  const again = await get("b");
  expect([again.number > d.number, loads]).toEqual([true, ["a", "b", "c", "d", "b"]]);
});

test("one that is larger than the budget is kept while it is the newest", async () => {
  const { cache, get } = open(10);
  await get("a");
  await get("b");
  expect(cache.size).toBe(1);
});

test("what is dropped while it is read takes none of the budget", async () => {
  const { cache, get } = open(2 * WASM.byteLength);
  const slow = Promise.withResolvers<Uint8Array>();
  const late = get("late", slow.promise);
  for (const digest of ["a", "b", "c"]) await get(digest);
  slow.resolve(WASM);
  await late;
  for (const digest of ["b", "c"]) await get(digest);
  expect(cache.size).toBe(2);
});

test("what nobody asked for lately goes; a failure is not kept", async () => {
  const { cache, dropped, get } = open(1e9, 20);
  const { number } = await get("a");
  cache.dropIdle();
  await until("it is dropped", () => {
    cache.dropIdle();
    return cache.size === 0;
  });
  expect(dropped).toEqual([number]);
  await expect(get("broken", new Uint8Array(8))).rejects.toMatchObject({ code: "invalid" });
  expect(cache.size).toBe(0);
});
