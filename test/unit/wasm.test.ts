/** Judging modules: every reason for a refusal is named, and no bytes whatever bring the judge down. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Fault } from "../../services/kit/fault.ts";
import { inspectModule, normaliseModule, TABLE_MAX_ENTRIES } from "../../services/registry/wasm.ts";
import { MODULE_MAX_BYTES } from "../../services/registry/wasm-sections.ts";
import { bodyModule } from "../harness/hostile-modules.ts";
import { compileWat } from "../harness/wat.ts";

const plugin = (name: string) =>
  compileWat(readFileSync(new URL(`../plugins/${name}.wat`, import.meta.url), "utf8"), `${name}.wat`);

function refusal(work: () => unknown): Fault {
  try {
    work();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(Fault);
    return thrown as Fault;
  }
  throw new Error("was not refused");
}

const VECTORS = `(drop
  (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (v128.const i64x2 1 2) (v128.load (i32.const 0))))`;
const BLOCKS = (row: string) => `(func (param i64) (result i32) (local f32 f64 i32) ${row}
  (block $a (loop $b (br_if $a (i32.const 1)) (br_table $a $b $a (i32.const 70000))))
  (drop (f64.const 1e300)) (drop (f32.const 3)) (drop (i64.const -1000000000000))
  (if (result i32) (i32.const 1) (then (i32.const 2)) (else (select (i32.const 1) (i32.const 2) (i32.const 0)))))`;

const problems = (bytes: Uint8Array, exports: string[] = []) =>
  refusal(() => inspectModule(bytes, { exports })).mistakes.map((m) => `${m.field}: ${m.problem}; ${m.fix}`);

test("the facts of a good module", () => {
  const facts = inspectModule(plugin("echo"), { exports: ["run", "part"] });
  expect(facts.memory).toEqual({ min: 1 });
  expect(facts.start).toBe(false);
  expect(facts.imports[0]).toEqual({ module: "extism:host/env", name: "alloc", type: "(i64)->i64" });
  expect(facts.exports).toContainEqual({ name: "run", kind: "function", type: "()->i32" });
  expect(facts.exports).toContainEqual({ name: "memory", kind: "memory" });
  expect(inspectModule(plugin("start-spin")).start).toBe(true);
  expect(inspectModule(plugin("memory")).tables).toEqual([{ min: 1 }]);
});

test.each([
  ["nothing", "", /is empty/],
  ["text", "fetch('x')", /begins with 66 65 74 63/],
  ["WebAssembly text", "(module)", /text, not binary.*wat2wasm/],
  ["gzip", "\x1f\x8b\x08\x00\x00", /is gzip/],
  ["half a header", "\0asm\x01", /5 bytes are less than a header/],
  ["a component", "\0asm\x0d\0\x01\0", /is a component.*unbundle/],
  ["a version to come", "\0asm\x02\0\0\0", /version 2/],
  ["a section that does not exist", "\0asm\x01\0\0\0\x63\x00", /no section 99/],
  ["a number without end", "\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff", /does not end/],
  ["a count that lies", "\0asm\x01\0\0\0\x01\x05\xff\xff\xff\xff\x0f", /names 4294967295 entries/],
])("%s is named as what it is", (_, bytes, expected) => {
  expect(problems(Uint8Array.from(Buffer.from(bytes, "latin1")))[0]).toMatch(expected);
});

test("a module that is too large is refused unread", () => {
  expect(refusal(() => inspectModule(new Uint8Array(MODULE_MAX_BYTES + 1))).code).toBe("too_large");
});

test("all mistakes come at once, each with its fix", () => {
  const found = problems(
    compileWat(`(module
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
      (import "env" "abort" (func (param i32)))
      (import "extism:host/user" "steal" (func))
      (import "extism:host/env" "toString" (func))
      (import "extism:host/env" "alloc" (func (param i32) (result i32)))
      (import "env" "g" (global i32))
      (func (export "fetch") (param i32) (result i32) (i32.const 0))
      (global (export "poll") i32 (i32.const 1)))`),
    ["fetch", "poll", "route"],
  );
  expect(found).toHaveLength(9);
  const all = found.join("\n");
  expect(all).toMatch(/imports WASI \(fd_write, proc_exit\).*merge the WASI stub/);
  expect(all).toMatch(/import "env" "abort": is not part of guest ABI v1; import only from extism:host\/env/);
  expect(all).toMatch(/"steal": is not part of guest ABI v1; "extism:host\/user" has host_call, now, random/);
  expect(all).toMatch(/"toString": is not part/);
  expect(all).toMatch(/"alloc": has the type \(i32\)->i32; declare it \(i64\)->i64/);
  expect(all).toMatch(/import "env" "g": is a global/);
  expect(all).toMatch(/export "fetch": has the type \(i32\)->i32; export it as a function \(\) -> i32/);
  expect(all).toMatch(/export "poll": is a global/);
  expect(all).toMatch(/export "route": is missing; the module exports fetch/);
});

test.each([
  ["two memories", "(memory 1) (memory 1)", /has 2 memories/],
  ["a shared memory", "(memory 1 2 shared)", /shared memory.*without threads/],
  ["a 64-bit memory", "(memory i64 1)", /64-bit memory.*wasm32/],
  ["an imported memory", '(import "env" "memory" (memory 1))', /is a memory; define the memory inside/],
  ["a huge table", "(table 200000 funcref)", /table of 200000 entries/],
])("%s is refused", (_, text, expected) => {
  expect(problems(compileWat(`(module ${text})`)).join("\n")).toMatch(expected);
});

test("code that does not type-check is refused with the engine's reason", () => {
  const broken = plugin("echo").slice();
  broken.fill(0x6a, broken.length - 6, broken.length - 1);
  expect(problems(broken)[0]).toMatch(/is not valid WebAssembly: .*@\+\d+/);
});

test("the memory cap is written in, once and for all", () => {
  const capped = normaliseModule(plugin("echo"), { maxPages: 16 });
  expect(inspectModule(capped).memory).toEqual({ min: 1, max: 16 });
  expect(normaliseModule(capped, { maxPages: 16 })).toEqual(capped);
  expect(inspectModule(normaliseModule(capped, { maxPages: 300 })).memory).toEqual({ min: 1, max: 16 });
  expect(inspectModule(normaliseModule(plugin("memory"), { maxPages: 16 })).tables).toEqual([
    { min: 1, max: TABLE_MAX_ENTRIES },
  ]);
  const none = compileWat(`(module (func (export "run") (result i32) (i32.const 0)))`);
  expect(normaliseModule(none, { maxPages: 1 })).toEqual(none);
});

/** `loop end`, where V8 looks whether the thread is to end. */
const places = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1").split("\x03\x40\x0b").length - 1;
const row = "(drop (i32.const 1))".repeat(30);

test.each([
  ["a short function that calls nobody", `(func ${row.slice(0, 100)})`, 0],
  ["a longer one", `(func ${row})`, 1],
  ["a longer one with locals, blocks, a table of branches and constants of all kinds", BLOCKS(row), 1],
  ["one that calls", `(func $a ${row} (call $a))`, 0],
  ["one that calls by a table", `(table 1 funcref) (func ${row} (call_indirect (i32.const 0)))`, 0],
  [
    "each bulk operation",
    `(func (memory.fill ${"(i32.const 0)".repeat(3)}) (memory.copy ${"(i32.const 0)".repeat(3)}))`,
    2,
  ],
  ["bulk operations of tables", `(table 1 funcref) (func (table.copy ${"(i32.const 0)".repeat(3)}))`, 1],
  ["growing a table", "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))", 1],
  ["what is no bulk operation", "(func (drop (i32.trunc_sat_f32_s (f32.const 1))) (drop (memory.size)))", 0],
  [
    "atomics, vectors",
    `(func ${row} (drop (i32.atomic.rmw.add offset=300 (i32.const 0) (i32.const 1))) ${VECTORS})`,
    1,
  ],
])("where a thread can be ended is written in once: %s", (_, body, expected) => {
  const given = compileWat(`(module (memory 1) ${body})`);
  const once = normaliseModule(given, { maxPages: 4 });
  expect(places(once) - places(given)).toBe(expected);
  inspectModule(once);
  expect(normaliseModule(once, { maxPages: 4 })).toEqual(once);
});

test("code that cannot be followed is refused", () => {
  const fault = refusal(() => normaliseModule(bodyModule(Buffer.of(0xd0, 0x70, 0xd4, 0x1a)), { maxPages: 4 }));
  expect(fault.message).toMatch(/cannot be followed: instruction 0xd4 at byte \d+ is not known; build without/);
});

test("a module that starts over the cap is refused with the limit that would do", () => {
  const fault = refusal(() => normaliseModule(plugin("cpu"), { maxPages: 200 }));
  expect(fault.message).toMatch(/256 pages.*limit is 200.*memory_mib to at least 16/);
});

test.each([false, true])("whatever is cut off or changed, there is an answer; metered: %s", (metered) => {
  const whole = plugin("wait");
  const judge = (bytes: Uint8Array) => {
    try {
      inspectModule(normaliseModule(bytes, { maxPages: 64, metered }));
      return true;
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      expect(thrown.mistakes.length).toBeGreaterThan(0);
      return false;
    }
  };
  for (let length = 0; length < whole.length; length += 1) judge(whole.subarray(0, length));
  // A fixed generator, so that a failure comes again.
  let seed = 42;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % below;
  };
  for (let round = 0; round < 20_000; round += 1) {
    const changed = whole.slice();
    for (let changes = 1 + random(3); changes > 0; changes -= 1) changed[random(changed.length)] = random(256);
    judge(changed);
  }
  expect(judge(whole)).toBe(true);
});
