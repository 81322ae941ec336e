/** The hostile corpus: what each guest tries, and how its call must end. Sources are in test/plugins. */
import { createHash } from "node:crypto";
import type { GuestCall } from "../../services/executor/sandbox.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { encode, forEver } from "./guest-call.ts";
import { compileWat, type WatModule, watModule } from "./wat.ts";

export interface HostileCase {
  readonly name: string;
  /** A file of test/plugins without its ending, or the module itself. Throws when publishing would refuse it. */
  readonly module: string | (() => Uint8Array);
  readonly export: string;
  readonly over?: Partial<GuestCall>;
  /** One of these. `refused`: at publish. `ok denied`: the guest was answered the error `denied`. */
  readonly ends: readonly string[];
  /** Costs its lane: repeated less often. */
  readonly costly?: true;
}

const SHORT = { cpuMs: 40, deadlineMs: 10_000 };
const asking = (name: string, request: string | Uint8Array) => ({
  input: Buffer.concat([Buffer.of(name.length), Buffer.from(name), Buffer.from(request)]),
});

const uleb = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...uleb(value >>> 7)]);
const sleb = (value: number): number[] => (value < 64 ? [value] : [(value & 127) | 128, ...sleb(value >>> 7)]);
const section = (id: number, content: Uint8Array) => Buffer.concat([Buffer.of(id, ...uleb(content.length)), content]);

/** A module with one function `run: () -> i32` of these instructions. */
export function bodyModule(body: Uint8Array, before: readonly Uint8Array[] = []): Uint8Array {
  const code = Buffer.concat([Buffer.of(0), body, Buffer.of(0x41, 0, 0x0b)]);
  return Buffer.concat([
    Buffer.from("\0asm\x01\0\0\0", "latin1"),
    ...before,
    section(1, Buffer.of(1, 0x60, 0, 1, 0x7f)),
    section(3, Buffer.of(1, 0)),
    section(7, Buffer.of(1, 3, ...Buffer.from("run"), 0, 0)),
    section(10, Buffer.concat([Buffer.of(1, ...uleb(code.length)), code])),
  ]);
}

/**
 * A row of `fills` times 64 MiB of `memory.fill`, without a loop: V8 looks for interrupts at loops and calls only, so a
 * thread that runs it does not end before its last one, whatever flags are set. Each takes 2 to 3 ms.
 */
export function unendingModule(fills: number, name = "run"): Uint8Array {
  const one = Buffer.of(0x41, 0, 0x41, 0, 0x20, 0, 0xfc, 0x0b, 0);
  const bytes = Buffer.of(0x41, ...sleb(64 << 20), 0x21, 0);
  const code = Buffer.concat([
    Buffer.of(1, 1, 0x7f),
    bytes,
    Buffer.alloc(fills * one.length, one),
    Buffer.of(0x41, 0, 0x0b),
  ]);
  return Buffer.concat([
    Buffer.from("\0asm\x01\0\0\0", "latin1"),
    section(1, Buffer.of(1, 0x60, 0, 1, 0x7f)),
    section(3, Buffer.of(1, 0)),
    section(5, Buffer.of(1, 1, ...uleb(1_024), ...uleb(1_024))),
    section(7, Buffer.of(1, name.length, ...Buffer.from(name), 0, 0)),
    section(10, Buffer.concat([Buffer.of(1, ...uleb(code.length)), code])),
  ]);
}

const repeated = (times: number, ...bytes: number[]) => Buffer.concat(Array(times).fill(Buffer.of(...bytes)));
const nested = (depth: number) => bodyModule(Buffer.concat([repeated(depth, 0x02, 0x40), repeated(depth, 0x0b)]));
const customSections = (count: number, bytes: number) =>
  bodyModule(Buffer.alloc(0), Array(count).fill(section(0, Buffer.concat([Buffer.of(1, 120), Buffer.alloc(bytes)]))));

/** `urls` of servers of this machine; what is granted is in `hostile-host.ts`. */
export function hostileCases(url: string): readonly HostileCase[] {
  const lie = (name: string, ...ends: string[]): HostileCase => ({
    ...{ name: `lies: ${name}`, module: "hostile/lies", export: name, ends },
  });
  const http = (name: string, path: string, ...ends: string[]): HostileCase => ({
    ...{ name: `http: ${name}`, module: "hostile/ask", export: "ask", ends },
    over: asking("http", JSON.stringify({ url: path.startsWith("http") ? path : `${url}${path}` })),
  });
  const wat = (text: string) => () => compileWat(text);
  return [
    { name: "spin", module: "cpu", export: "spin", over: SHORT, ends: ["cpu_exceeded"], costly: true },
    { name: "spin in start", module: "start-spin", export: "run", over: SHORT, ends: ["cpu_exceeded"], costly: true },
    {
      ...{ name: "spin in _initialize", module: "hostile/initialize", export: "run", over: SHORT },
      ...{ ends: ["cpu_exceeded"], costly: true },
    },
    {
      name: "spin after a wait",
      module: "cpu",
      export: "wait_then_spin",
      over: SHORT,
      ends: ["cpu_exceeded"],
      costly: true,
    },
    { name: "memory.fill loop", module: "cpu", export: "fill", over: SHORT, ends: ["cpu_exceeded"], costly: true },
    { name: "br_table maze", module: "hostile/maze", export: "run", over: SHORT, ends: ["cpu_exceeded"], costly: true },
    {
      ...{ name: "spin past the deadline", module: "cpu", export: "spin", over: { deadlineMs: 400 } },
      ...{ ends: ["timeout"], costly: true },
    },
    {
      ...{ name: "atomics wait", export: "run", ends: ["refused"] },
      module: wat(`(module (memory 1 1 shared) (func (export "run") (result i32)
        (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))`),
    },
    {
      ...{ name: "atomics wait on plain memory", export: "run", ends: ["trap", "refused"] },
      module: wat(`(module (memory 1 1) (func (export "run") (result i32)
        (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))`),
    },
    {
      name: "64-bit memory",
      module: wat(`(module (memory i64 1) (func (export "run") (result i32) i32.const 0))`),
      export: "run",
      ends: ["refused"],
    },
    {
      name: "two memories",
      module: wat(`(module (memory 1) (memory 1) (func (export "run") (result i32) i32.const 0))`),
      export: "run",
      ends: ["refused"],
    },
    {
      name: "starts with 4 GiB",
      module: wat(`(module (memory 65536) (func (export "run") (result i32) i32.const 0))`),
      export: "run",
      ends: ["refused"],
    },
    {
      name: "table bomb",
      module: wat(`(module (table 10000000 funcref) (func (export "run") (result i32) i32.const 0))`),
      export: "run",
      ends: ["refused"],
    },
    { name: "table growth", module: "memory", export: "table", ends: ["guest_error"] },
    {
      ...{ name: "grow bomb", module: "memory", export: "grow", ends: ["out_of_memory"] },
      over: { memoryMaxPages: 256 },
    },
    { name: "block bomb", module: "memory", export: "blocks", ends: ["out_of_memory"] },
    { name: "alloc(0) loop", module: "memory", export: "empty_blocks", ends: ["out_of_memory"] },
    { name: "block of 8 EiB", module: "memory", export: "huge_block", ends: ["out_of_memory"] },
    { name: "block of -1", module: "memory", export: "negative_block", ends: ["out_of_memory"] },
    { name: "recursion", module: "traps", export: "recurse", ends: ["trap"] },
    { name: "unreachable", module: "traps", export: "unreachable", ends: ["trap"] },
    { name: "out of bounds", module: "traps", export: "out_of_bounds", ends: ["trap"] },
    { name: "output offset lies", module: "traps", export: "lying_output", ends: ["trap"] },
    { name: "error, then trap", module: "errors", export: "say_and_trap", ends: ["guest_error"] },
    { name: "export of the wrong type", module: "traps", export: "wrong_type", ends: ["guest_error", "trap", "ok"] },
    { name: "export that is a memory", module: "traps", export: "memory", ends: ["guest_error"] },
    { name: "export that is not there", module: "traps", export: "__proto__", ends: ["guest_error"] },
    {
      ...{ name: "imports shadowing", export: "run", ends: ["refused"] },
      module: wat(`(module (import "extism:host/env" "alloc" (func (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (func (export "run") (result i32) i32.const 0))`),
    },
    {
      name: "100,000 custom sections",
      module: () => customSections(100_000, 1),
      export: "run",
      ends: ["ok", "refused"],
    },
    { name: "custom section of 80 MiB", module: () => customSections(1, 80 << 20), export: "run", ends: ["refused"] },
    { name: "function of 5 MB", module: () => bodyModule(Buffer.alloc(5_000_000, 0x01)), export: "run", ends: ["ok"] },
    {
      name: "function of 10 MB",
      module: () => bodyModule(Buffer.alloc(10_000_000, 0x01)),
      export: "run",
      ends: ["refused"],
    },
    { name: "100,000 blocks deep", module: () => nested(100_000), export: "run", ends: ["ok", "refused"] },
    { name: "output over the cap", module: "flood", export: "output", ends: ["guest_error"] },
    { name: "output of 1 GB", module: "hostile/lies", export: "huge_output", ends: ["out_of_memory"] },
    { name: "error of 1 MB, no text", module: "hostile/lies", export: "huge_error", ends: ["guest_error"] },
    { name: "answer of noise", module: "hostile/lies", export: "noise", ends: ["ok"] },
    lie("free_twice", "ok", "trap"),
    lie("far_load", "trap", "ok"),
    lie("far_store", "trap", "ok"),
    lie("past_input", "trap", "ok"),
    lie("negative_output", "trap"),
    lie("far_output", "trap"),
    lie("far_error", "trap", "guest_error"),
    lie("far_names", "trap", "ok"),
    lie("inside_block", "trap", "ok"),
    lie("far_variables", "trap", "ok"),
    lie("far_log", "trap", "ok"),
    lie("huge_random", "trap"),
    lie("negative_random", "trap"),
    {
      ...{ name: "lies: variables", module: "hostile/lies", export: "variables", over: SHORT },
      ...{ ends: ["out_of_memory", "cpu_exceeded"], costly: true },
    },
    {
      ...{ name: "requests of 48 MiB", module: "hostile/lies", export: "huge_requests", ends: ["guest_error"] },
      over: { memoryMaxPages: 1_600, maxHostCalls: 4 },
    },
    { name: "host call flood", module: "flood", export: "host_calls", ends: ["guest_error"] },
    { name: "log flood", module: "flood", export: "logs", ends: ["guest_error"] },
    {
      ...{ name: "log flood by host_call", module: "hostile/ask", export: "nag", ends: ["guest_error"] },
      over: asking("log", '{"level":"info","message":"noise"}'),
    },
    {
      name: "never-ending wait",
      module: "wait",
      export: "run",
      over: { deadlineMs: 40, host: forEver },
      ends: ["timeout"],
    },
    {
      name: "catches its end",
      module: "wait",
      export: "stubborn",
      over: { deadlineMs: 40, host: forEver },
      ends: ["timeout"],
    },
    {
      ...{ name: "no such host function", module: "hostile/ask", export: "ask", ends: ["ok unimplemented"] },
      over: asking("__proto__", "{}"),
    },
    {
      ...{ name: "request not UTF-8", module: "hostile/ask", export: "ask", ends: ["ok invalid"] },
      over: asking("log", Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
    },
    {
      ...{ name: "JSON 20,000 deep", module: "hostile/ask", export: "ask", ends: ["ok invalid", "ok"] },
      over: asking("log", `{"message":${"[".repeat(20_000)}${"]".repeat(20_000)}}`),
    },
    http("not granted", "http://example.org/", "ok denied"),
    http("metadata address", "http://169.254.169.254/latest/meta-data", "ok denied"),
    http("metadata in IPv6", "http://[::ffff:169.254.169.254]/", "ok denied"),
    http("redirect to metadata", "/to-metadata", "ok denied"),
    http("DNS rebinding", "http://rebind.test/", "ok denied"),
    http("compression bomb", "/bomb", "ok too_large"),
    http("endless body", "/endless", "ok too_large"),
    http("secret in the query", "/?q={{secret:canary}}", "ok denied"),
    {
      ...{ name: "http: requests without end", module: "hostile/ask", export: "insist", ends: ["ok exhausted"] },
      over: asking("http", JSON.stringify({ url: `${url}/` })),
    },
    {
      ...{ name: "kv over its quota", module: "hostile/ask", export: "ask", ends: ["ok exhausted"] },
      over: asking("kv", '{"op":"put","key":"one-more","value":"x"}'),
    },
    {
      ...{ name: "kv not granted", module: "hostile/ask", export: "ask", ends: ["ok unimplemented"] },
      over: asking("query", '{"sql":"SELECT 1"}'),
    },
    {
      ...{ name: "emit for ever", module: "hostile/ask", export: "insist", ends: ["ok exhausted"] },
      over: asking("emit", `${'{"id":1}\n'.repeat(2_000)}`),
    },
  ];
}

/** Errors: `invalid`, `too_large` when publishing would refuse it. */
export async function hostileModule({ module }: HostileCase): Promise<WatModule> {
  if (typeof module === "string") return watModule(module);
  const bytes = normaliseModule(module(), { maxPages: 256 });
  return { digest: createHash("sha256").update(bytes).digest("hex"), load: async () => bytes };
}

export const hostileInput = encode("input");
