/**
 * What does a fresh instance and a call cost in a lane? Workload: test/plugins/echo.wat with 100 bytes, one lane, a
 * fresh instance for every call. "In the lane" is the time its guest held the CPU, instantiation included; "round
 * trip" is what the main thread waits. The second table asks how fast a lane ends that is held by bulk operations.
 */
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { type GuestCall, openSandbox } from "../../services/executor/sandbox.ts";
import { silentLog } from "../../services/kit/log.ts";
import { compileWat, watModule } from "../harness/wat.ts";
import { type Row, report } from "./report.ts";

const CALLS = 20_000;
const WARM_UP = 2_000;

interface Figures {
  readonly laneMs: number[];
  readonly tripMs: number[];
  readonly ratePerS: number;
}

const echo: GuestCall = {
  module: await watModule("echo"),
  export: "run",
  input: new Uint8Array(100).fill(97),
  deadlineMs: 10_000,
  memoryMaxPages: 256,
  maxOutputBytes: 1 << 20,
  maxHostCalls: 100,
  host: async () => new Uint8Array(0),
  label: "echo/run",
};

async function drive(inFlight: number, calls: number): Promise<Figures> {
  await using sandbox = await openSandbox({ lanes: 1, callsPerLane: 64, log: silentLog });
  const laneMs: number[] = [];
  const tripMs: number[] = [];
  const loop = async (count: number, keep: boolean) => {
    for (let left = count / inFlight; left > 0; left -= 1) {
      const began = performance.now();
      const { outcome, usage } = await sandbox.call(echo);
      if (outcome !== "ok") throw new Error(`the guest ended as ${outcome}`);
      if (keep) {
        tripMs.push(performance.now() - began);
        laneMs.push(usage.cpuMs);
      }
    }
  };
  const all = (count: number, keep: boolean) => Promise.all(Array.from({ length: inFlight }, () => loop(count, keep)));
  await all(WARM_UP, false);
  const began = performance.now();
  await all(calls, true);
  return { laneMs, tripMs, ratePerS: (tripMs.length / (performance.now() - began)) * 1_000 };
}

const percentile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length * share)] as number;

function row(name: string, unit: string, a: number, b: number): Row {
  const value = (a + b) / 2;
  return { name, unit, value, aa: Math.abs(a - b) / value };
}

function rowsOf(inFlight: number, a: Figures, b: Figures): Row[] {
  const us = (name: string, values: (f: Figures) => number[], share: number) =>
    row(`${name}, ${inFlight} in flight`, "µs", percentile(values(a), share) * 1e3, percentile(values(b), share) * 1e3);
  return [
    us("in the lane p50", (f) => f.laneMs, 0.5),
    us("in the lane p99", (f) => f.laneMs, 0.99),
    us("round trip p50", (f) => f.tripMs, 0.5),
    us("round trip p99", (f) => f.tripMs, 0.99),
    row(`calls a second, ${inFlight} in flight`, "/s", a.ratePerS, b.ratePerS),
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
for (const inFlight of [1, 16]) {
  rows.push(...rowsOf(inFlight, await drive(inFlight, CALLS), await drive(inFlight, CALLS)));
}
report({ question: "What does a fresh instance and a call cost in a lane?", rows });

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
