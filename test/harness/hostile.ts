/** The hostile corpus: what each guest tries, and how its call must end. Sources are in test/plugins. */
import { createHash } from "node:crypto";
import type { GuestCall } from "../../services/executor/sandbox.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { encode, forEver } from "./guest-call.ts";
import { bodyModule, callingModule, customSections, nested, unendingModule } from "./hostile-modules.ts";
import { compileWat, type WatModule, watBytes } from "./wat.ts";

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
  /** Memory that publishing allows, in pages of 64 KiB. Default: 256. */
  readonly pages?: number;
  readonly metered?: true;
  /** Its host function `call` is that of an executor, and knows the functions of `hostile/ring`. */
  readonly calls?: true;
}

const SHORT = { cpuMs: 20, deadlineMs: 10_000 };
const FEW_CALLS = { maxHostCalls: 100 };
const asking = (name: string, request: string | Uint8Array) => ({
  input: Buffer.concat([Buffer.of(name.length), Buffer.from(name), Buffer.from(request)]),
});

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
    ...["fill", "copy"].map(
      (name): HostileCase => ({
        ...{ name: `bulk loop: ${name}`, module: "hostile/bulk", export: name, ends: ["cpu_exceeded"], costly: true },
        ...{ over: { ...SHORT, memoryMaxPages: 1_100 }, pages: 1_024 },
      }),
    ),
    {
      ...{ name: "row of bulk operations", module: () => unendingModule(2_000), export: "run", ends: ["cpu_exceeded"] },
      ...{ over: { ...SHORT, memoryMaxPages: 1_100 }, pages: 1_024, costly: true },
    },
    {
      ...{ name: "row of calls of one that calls nobody", module: () => callingModule(20_000, 20_000), export: "run" },
      ...{ over: SHORT, ends: ["cpu_exceeded"], costly: true },
    },
    {
      ...{ name: "row of bulk operations, metered", module: () => unendingModule(20_000), export: "run", pages: 1_024 },
      ...{ over: { maxGas: 50_000, memoryMaxPages: 1_100 }, metered: true, ends: ["cpu_exceeded"] },
    },
    {
      ...{ name: "spin, metered", module: "cpu", export: "spin", metered: true, ends: ["cpu_exceeded"] },
      over: { maxGas: 1e6 },
    },
    { name: "br_table maze", module: "hostile/maze", export: "run", over: SHORT, ends: ["cpu_exceeded"], costly: true },
    {
      ...{ name: "spin past the deadline", module: "cpu", export: "spin", over: { deadlineMs: 50 } },
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
    {
      ...{ name: "block bomb", module: "memory", export: "blocks", ends: ["out_of_memory"] },
      over: { memoryMaxPages: 64 },
    },
    {
      ...{ name: "alloc(0) loop", module: "memory", export: "empty_blocks", ends: ["out_of_memory"] },
      over: { memoryMaxPages: 64 },
    },
    {
      ...{ name: "heap: lines of 8 KB", module: "hostile/heap", export: "long_lines", ends: ["cpu_exceeded"] },
      ...{ over: { ...SHORT, cpuMs: 60, maxHostCalls: 1e9 }, costly: true },
    },
    {
      ...{ name: "heap: variables", module: "hostile/heap", export: "names", costly: true },
      ...{ over: { ...SHORT, memoryMaxPages: 64 }, ends: ["out_of_memory", "cpu_exceeded"] },
    },
    { name: "block of 8 EiB", module: "memory", export: "huge_block", ends: ["out_of_memory"] },
    { name: "block of -1", module: "memory", export: "negative_block", ends: ["out_of_memory"] },
    { name: "host call in start", module: "start-host", export: "run", ends: ["trap"] },
    { name: "recursion", module: "traps", export: "recurse", ends: ["trap"] },
    { name: "unreachable", module: "traps", export: "unreachable", ends: ["trap"] },
    { name: "out of bounds", module: "traps", export: "out_of_bounds", ends: ["trap"] },
    { name: "output offset lies", module: "traps", export: "lying_output", ends: ["trap"] },
    { name: "error, then trap", module: "errors", export: "say_and_trap", ends: ["guest_error"] },
    ...[
      "(param i32) (result i32) i32.const 0",
      "(result f64) f64.const 0",
      "(result i64) i64.const 0",
      "",
      "(result i32 i32) i32.const 1 i32.const 2",
    ].map(
      (type, i): HostileCase => ({
        ...{ name: `export of type ${i + 1}`, export: "run", ends: ["guest_error", "trap", "ok", "refused"] },
        module: wat(`(module (func (export "run") ${type}))`),
      }),
    ),
    {
      name: "export that is a global",
      export: "run",
      ends: ["guest_error"],
      module: wat(`(module (global (export "run") i32 (i32.const 0)))`),
    },
    {
      ...{ name: "shadows the memory import", export: "run", ends: ["guest_error"] },
      module: wat(`(module (import "millrace:host/memory" "1:65536" (memory 1 65536))
        (func (export "run") (result i32) (memory.grow (i32.const 60000))))`),
    },
    {
      ...{ name: "shadows the meter", export: "run", ends: ["refused"], metered: true },
      module: wat(`(module (global (export "__gas") (mut i64) (i64.const 9)) (func (export "run") (result i32)
        (loop $for_ever (br $for_ever)) (i32.const 0)))`),
    },
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
    { name: "error of 1 MB, not UTF-8", module: "hostile/lies", export: "huge_error", ends: ["guest_error"] },
    {
      name: "error of 1 MB",
      module: "errors",
      export: "say",
      over: { input: encode("x".repeat(1 << 20)) },
      ends: ["guest_error"],
    },
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
      ...{ name: "requests of 26 MiB", module: "hostile/lies", export: "huge_requests", ends: ["guest_error"] },
      over: { memoryMaxPages: 600, maxHostCalls: 4 },
    },
    { name: "host call flood", module: "flood", export: "host_calls", over: FEW_CALLS, ends: ["guest_error"] },
    { name: "log flood", module: "flood", export: "logs", over: FEW_CALLS, ends: ["guest_error"] },
    {
      ...{ name: "log flood by host_call", module: "hostile/ask", export: "nag", ends: ["guest_error"] },
      over: { ...FEW_CALLS, ...asking("log", '{"level":"info","message":"noise"}') },
    },
    {
      name: "never-ending wait",
      module: "wait",
      export: "run",
      over: { deadlineMs: 20, host: forEver },
      ends: ["timeout"],
    },
    {
      name: "catches its end",
      module: "wait",
      export: "stubborn",
      over: { deadlineMs: 20, host: forEver },
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
      ...{ name: "JSON 100 deep", module: "hostile/ask", export: "ask", ends: ["ok"] },
      over: asking("log", `{"message":${"[".repeat(100)}${"]".repeat(100)}}`),
    },
    {
      ...{ name: "JSON of 20,000 lists", module: "hostile/ask", export: "ask", ends: ["ok too_large"] },
      over: asking("log", `{"message":[${"[],".repeat(20_001)}0]}`),
    },
    {
      ...{ name: "Extism's HTTP with a head of 1 MB", module: "extism", export: "http", ends: ["guest_error"] },
      over: { input: encode(`{"url":"http://a/","headers":${"[".repeat(1 << 20)}`) },
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
    http("secret of another host in the query", "/?q={{secret:canary}}", "ok denied"),
    http("secret that is not granted", "/?q={{secret:other}}", "ok denied"),
    {
      ...{ name: "call cycle", module: "hostile/ring", export: "function:ping", ends: ["ok conflict"], calls: true },
    },
    {
      ...{ name: "http: requests without end", module: "hostile/ask", export: "insist", ends: ["ok exhausted"] },
      over: asking("http", JSON.stringify({ url: `${url}/` })),
    },
    {
      ...{ name: "kv over its quota", module: "hostile/ask", export: "ask", ends: ["ok exhausted"] },
      over: asking("kv", '{"op":"put","key":"one-more","value":"x"}'),
    },
    {
      ...{ name: "kv value over its size", module: "hostile/ask", export: "ask", ends: ["ok too_large"] },
      over: asking("kv", `{"op":"put","key":"0","value":"${"x".repeat(70_000)}"}`),
    },
    {
      ...{
        name: "host function that is not offered",
        module: "hostile/ask",
        export: "ask",
        ends: ["ok unimplemented"],
      },
      over: asking("query", '{"sql":"SELECT 1"}'),
    },
    {
      ...{ name: "emit for ever", module: "hostile/ask", export: "insist", ends: ["ok exhausted"] },
      over: asking("emit", `${'{"id":1}\n'.repeat(2_000)}`),
    },
  ];
}

/** Errors: `invalid`, `too_large` when publishing would refuse it. */
export async function hostileModule({ module, pages = 256, metered }: HostileCase): Promise<WatModule> {
  const made = typeof module === "string" ? await watBytes(module) : module();
  const bytes = normaliseModule(made, { maxPages: pages, metered: metered === true });
  return { digest: createHash("sha256").update(bytes).digest("hex"), load: async () => bytes };
}
