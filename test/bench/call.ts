/**
 * What does a guest call cost, on our engine and on Extism's SDK? Workloads: test/plugins/echo.wat with 100 bytes and
 * words.wat with 1 KiB (its instance kept; also 64 at a time, so that the lane never sleeps) and 1 MiB, one at a time in
 * one lane; wait.wat, which asks the host once, 64 at a time in one lane and in two. "In the lane" is the time that the
 * guest held the CPU, instantiation included; "round trip" is what the main thread waits. CPU is that of the process, all
 * threads. The last table asks how fast a lane ends that is held by bulk operations.
 */
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { type EngineName, type GuestCall, openSandbox } from "../../services/executor/sandbox.ts";
import { silentLog } from "../../services/kit/log.ts";
import { encode } from "../harness/guest-call.ts";
import { compileWat, watModule } from "../harness/wat.ts";
import { type Row, report } from "./report.ts";

const ENGINES: readonly EngineName[] = ["kernel", "sdk"];

interface Workload {
  readonly name: string;
  readonly call: GuestCall;
  readonly lanes: number;
  readonly inFlight: number;
  readonly calls: number;
}

interface Figures {
  readonly laneMs: number[];
  readonly tripMs: number[];
  readonly ratePerS: number;
  readonly cpuUs: number;
}

const answer = encode('{"ok":{}}');
async function guest(plugin: string, bytes: number, over: Partial<GuestCall> = {}): Promise<GuestCall> {
  return {
    ...{ module: await watModule(plugin), export: "run", input: new Uint8Array(bytes).fill(97), label: plugin },
    ...{ deadlineMs: 20_000, memoryMaxPages: 256, maxOutputBytes: 2 << 20, maxHostCalls: 100 },
    host: async () => answer,
    ...over,
  };
}

const WORKLOADS: readonly Workload[] = [
  { name: "fresh, 100 B", call: await guest("echo", 100), lanes: 1, inFlight: 1, calls: 10_000 },
  {
    ...{ name: "kept, 1 KiB", lanes: 1, inFlight: 1, calls: 10_000 },
    call: await guest("words", 1_024, { reuse: { key: "words", calls: 100_000 } }),
  },
  {
    ...{ name: "kept, 1 KiB, 64 at a time", lanes: 1, inFlight: 64, calls: 80_000 },
    call: await guest("words", 1_024, { reuse: { key: "words", calls: 100_000 } }),
  },
  { name: "fresh, 1 MiB", call: await guest("words", 1 << 20), lanes: 1, inFlight: 1, calls: 200 },
  { name: "fresh, one host call", call: await guest("wait", 100), lanes: 1, inFlight: 64, calls: 40_000 },
  { name: "the same, two lanes", call: await guest("wait", 100), lanes: 2, inFlight: 64, calls: 40_000 },
];

async function drive(engine: EngineName, { call, lanes, inFlight, calls }: Workload): Promise<Figures> {
  await using sandbox = await openSandbox({ engine, lanes, callsPerLane: 64, log: silentLog });
  const laneMs: number[] = [];
  const tripMs: number[] = [];
  const loop = async (count: number, keep: boolean) => {
    for (let left = count / inFlight; left > 0; left -= 1) {
      const began = performance.now();
      const { outcome, usage, error } = await sandbox.call(call);
      if (outcome !== "ok") throw new Error(`the guest ended as ${outcome}: ${error?.message}`);
      if (!keep) continue;
      tripMs.push(performance.now() - began);
      laneMs.push(usage.cpuMs);
    }
  };
  const all = (count: number, keep: boolean) => Promise.all(Array.from({ length: inFlight }, () => loop(count, keep)));
  await all(calls / 10, false);
  const before = process.cpuUsage();
  const began = performance.now();
  await all(calls, true);
  const { user, system } = process.cpuUsage(before);
  const ratePerS = (tripMs.length / (performance.now() - began)) * 1_000;
  return { laneMs, tripMs, ratePerS, cpuUs: (user + system) / tripMs.length };
}

const percentile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length * share)] as number;

function row(name: string, unit: string, a: number, b: number): Row {
  const value = (a + b) / 2;
  return { name, unit, value, aa: Math.abs(a - b) / value };
}

function rowsOf(name: string, a: Figures, b: Figures): Row[] {
  const us = (what: string, values: (f: Figures) => number[], share: number) =>
    row(`${name}: ${what}`, "µs", percentile(values(a), share) * 1e3, percentile(values(b), share) * 1e3);
  return [
    us("in the lane p50", (f) => f.laneMs, 0.5),
    us("in the lane p99", (f) => f.laneMs, 0.99),
    us("round trip p50", (f) => f.tripMs, 0.5),
    us("round trip p99", (f) => f.tripMs, 0.99),
    row(`${name}: calls`, "/s", a.ratePerS, b.ratePerS),
    row(`${name}: CPU a call`, "µs", a.cpuUs, b.cpuUs),
  ];
}

/** How long `terminate()` takes while a guest fills `mib` MiB in a loop; at most 3 s. */
async function endOfFill(mib: number, byte: number): Promise<number> {
  // V8 keeps compiled code by its bytes: another `byte` is another module, compiled under the flags of that moment.
  const fill = `(memory.fill (i32.const 0) (i32.const ${byte}) (i32.const ${mib << 20}))`;
  const bytes = compileWat(`(module (memory 1100) (func (export "run") (loop $for_ever ${fill} (br $for_ever))))`);
  const code =
    "const { workerData, parentPort } = require('node:worker_threads');" +
    "const instance = new WebAssembly.Instance(new WebAssembly.Module(workerData));" +
    "parentPort.postMessage(0); instance.exports.run();";
  const worker = new Worker(code, { eval: true, workerData: bytes });
  await new Promise((resolve) => worker.once("message", resolve));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const began = performance.now();
  const late = new Promise((resolve) => setTimeout(resolve, 3_000));
  await Promise.race([worker.terminate(), late]);
  return performance.now() - began;
}

const rows: Row[] = [];
for (const workload of WORKLOADS) {
  // A B A B, so that drift of the machine shows as noise and not as a difference.
  const seen: Figures[] = [];
  for (const engine of [...ENGINES, ...ENGINES]) seen.push(await drive(engine, workload));
  for (const [i, engine] of ENGINES.entries()) {
    rows.push(...rowsOf(`${workload.name}, ${engine}`, seen[i] as Figures, seen[i + ENGINES.length] as Figures));
  }
}
report({ question: "What does a guest call cost?", rows });

const ends: Row[] = [];
for (const mib of [1, 16, 64]) {
  ends.push(row(`fill of ${mib} MiB, as we run`, "ms", await endOfFill(mib, 1), await endOfFill(mib, 2)));
}
// Last, because what hangs here hangs until the process ends.
setFlagsFromString("--wasm-dynamic-tiering");
const hung = "fill of 16 MiB, dynamic tiering on (3,000: given up)";
ends.push({ name: hung, value: await endOfFill(16, 3), unit: "ms" });
report({ question: "How long does a lane take to end while its guest is in a loop of memory.fill?", rows: ends });
process.exit(0);
