/**
 * What does a crowd of guests cost, and how fast is the lane of a spinner replaced? Workloads: wait.wat 10,000 times at
 * once in one lane, each waiting for its host; cpu.wat spinning with a slice of 200 ms, then echo.wat at once; and
 * echo.wat a million times, the resident memory looked at forty times on the way: a line through the last four fifths,
 * with its 95 % confidence, and one through each half of these, which would agree if memory grew steadily.
 */
import { type EngineName, openSandbox } from "../../services/executor/sandbox.ts";
import { silentLog } from "../../services/kit/log.ts";
import { call, encode } from "../harness/guest-call.ts";
import { type Row, report } from "./report.ts";

const ENGINES: readonly EngineName[] = ["kernel", "sdk"];
/** Each guest on the SDK has one memory, ours too; about 12,900 of them fit into a process. */
const WAITING: Readonly<Record<EngineName, number>> = { kernel: 10_000, sdk: 5_000 };
const KILLS = 10;
const SLICE_MS = 200;
const SOAK: Readonly<Record<EngineName, number>> = { kernel: 1_000_000, sdk: 100_000 };
const SOAK_LOOKS = 40;
const SOAK_IN_FLIGHT = 32;

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] as number;

async function waiting(engine: EngineName): Promise<Row[]> {
  const count = WAITING[engine];
  await using sandbox = await openSandbox({ engine, lanes: 1, callsPerLane: count, log: silentLog });
  const gate = Promise.withResolvers<void>();
  const all = Promise.withResolvers<void>();
  let waits = 0;
  const answer = encode('{"ok":{}}');
  const guest = await call("wait", "run", {
    deadlineMs: 120_000,
    host: async () => {
      waits += 1;
      if (waits === count) all.resolve();
      await gate.promise;
      return answer;
    },
  });
  const before = process.memoryUsage.rss();
  const calls = Array.from({ length: count }, () => sandbox.call(guest));
  await Promise.race([all.promise, Promise.all(calls)]);
  const each = (process.memoryUsage.rss() - before) / count;
  gate.resolve();
  const ended = await Promise.all(calls);
  const ok = ended.filter(({ outcome }) => outcome === "ok").length;
  return [
    { name: `${engine}: guests that wait at once and then answer`, value: ok, unit: "" },
    { name: `${engine}: resident memory of one that waits`, value: each, unit: "bytes" },
  ];
}

async function kills(engine: EngineName): Promise<Row[]> {
  await using sandbox = await openSandbox({ engine, lanes: 1, callsPerLane: 16, log: silentLog });
  const overMs: number[] = [];
  const nextMs: number[] = [];
  for (let i = 0; i < KILLS; i += 1) {
    const began = performance.now();
    await sandbox.call(await call("cpu", "spin", { cpuMs: SLICE_MS }));
    const ended = performance.now();
    overMs.push(ended - began - SLICE_MS);
    await sandbox.call(await call("echo", "run"));
    nextMs.push(performance.now() - ended);
    // The next spinner meets a spare that is up, as it would a second later.
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return [
    { name: `${engine}: end of a spinner after its slice`, value: median(overMs), unit: "ms" },
    { name: `${engine}: answer to the next good call after that`, value: median(nextMs), unit: "ms" },
    { name: `${engine}: the slowest of ${KILLS}`, value: Math.max(...nextMs), unit: "ms" },
  ];
}

async function soak(engine: EngineName): Promise<Row[]> {
  await using sandbox = await openSandbox({ engine, lanes: 1, callsPerLane: 64, log: silentLog });
  const guest = await call("echo", "run", { input: new Uint8Array(100) });
  const seen: number[] = [];
  for (let look = 0; look < SOAK_LOOKS; look += 1) {
    const each = SOAK[engine] / SOAK_LOOKS / SOAK_IN_FLIGHT;
    const loop = async () => {
      for (let i = 0; i < each; i += 1) await sandbox.call(guest);
    };
    await Promise.all(Array.from({ length: SOAK_IN_FLIGHT }, loop));
    seen.push(process.memoryUsage.rss() / 2 ** 20);
  }
  // The first fifth fills pools and caches.
  const steady = seen.slice(SOAK_LOOKS / 5);
  const [from, to] = [steady[0] as number, steady.at(-1) as number];
  const whole = slopeOf(steady, SOAK[engine] / SOAK_LOOKS);
  const halves = [steady.slice(0, steady.length / 2), steady.slice(steady.length / 2)];
  const [first, second] = halves.map((half) => slopeOf(half, SOAK[engine] / SOAK_LOOKS).bytesEach);
  return [
    {
      name: `${engine}: resident memory after a fifth of ${SOAK[engine].toLocaleString("en-US")} calls`,
      value: from,
      unit: "MiB",
    },
    { name: `${engine}: and after all of them`, value: to, unit: "MiB" },
    { name: `${engine}: slope`, value: whole.bytesEach, unit: "bytes a call" },
    { name: `${engine}: 95 % confidence of the slope, ±`, value: whole.confidence, unit: "bytes a call" },
    { name: `${engine}: slope of the first half`, value: first as number, unit: "bytes a call" },
    { name: `${engine}: slope of the second half`, value: second as number, unit: "bytes a call" },
  ];
}

/** Least squares. Looks lean on the one before, so the true confidence is wider: the halves tell. */
function slopeOf(mib: readonly number[], callsApart: number): { bytesEach: number; confidence: number } {
  const count = mib.length;
  const [middle, mean] = [(count - 1) / 2, mib.reduce((sum, y) => sum + y, 0) / count];
  const spread = mib.reduce((sum, _, x) => sum + (x - middle) ** 2, 0);
  const slope = mib.reduce((sum, y, x) => sum + (x - middle) * (y - mean), 0) / spread;
  const error = mib.reduce((sum, y, x) => sum + (y - mean - slope * (x - middle)) ** 2, 0) / (count - 2);
  const bytes = 2 ** 20 / callsApart;
  return { bytesEach: slope * bytes, confidence: 1.96 * Math.sqrt(error / spread) * bytes };
}

const rows: Row[] = [];
for (const engine of ENGINES) rows.push(...(await waiting(engine)), ...(await kills(engine)), ...(await soak(engine)));
report({ question: "What does a crowd of guests cost?", rows });
process.exit(0);
