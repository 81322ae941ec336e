/**
 * What does a crowd of guests cost, and how fast is the lane of a spinner replaced? Workloads: wait.wat 10,000 times at
 * once in one lane, each waiting for its host; cpu.wat spinning with a slice of 200 ms, then echo.wat at once; and
 * echo.wat a million times, the resident memory looked at ten times on the way.
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
const SOAK_LOOKS = 10;
const SOAK_IN_FLIGHT = 32;

const residentKib = () => process.memoryUsage.rss() / 1_024;
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
  const before = residentKib();
  const calls = Array.from({ length: count }, () => sandbox.call(guest));
  await Promise.race([all.promise, Promise.all(calls)]);
  const each = (residentKib() - before) / count;
  gate.resolve();
  const ended = await Promise.all(calls);
  const ok = ended.filter(({ outcome }) => outcome === "ok").length;
  return [
    { name: `${engine}: guests that wait at once and then answer`, value: ok, unit: "" },
    { name: `${engine}: resident memory of one that waits`, value: each, unit: "KiB" },
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
    seen.push(residentKib() / 1_024);
  }
  // The first fifth fills pools and caches.
  const [from, to] = [seen[1] as number, seen.at(-1) as number];
  const bytesEach = ((to - from) * 2 ** 20) / (SOAK[engine] * 0.8);
  return [
    {
      name: `${engine}: resident memory after a fifth of ${SOAK[engine].toLocaleString("en-US")} calls`,
      value: from,
      unit: "MiB",
    },
    { name: `${engine}: and after all of them`, value: to, unit: "MiB" },
    { name: `${engine}: that is, of each call`, value: bytesEach, unit: "bytes" },
  ];
}

const rows: Row[] = [];
for (const engine of ENGINES) rows.push(...(await waiting(engine)), ...(await kills(engine)), ...(await soak(engine)));
report({ question: "What does a crowd of guests cost?", rows });
process.exit(0);
