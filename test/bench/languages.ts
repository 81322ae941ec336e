/**
 * What does a warm call cost in each language? Workload: the probe of each SDK (test/plugins/probe-*), `fetch` of one row,
 * in a fresh instance in one lane, 1,000 times after a quarter as many that warm up. First one after the other as fast as
 * they go, so that every start is paid for; then with a pause of a millisecond between them, in which the lane makes
 * instances ahead. Languages whose compiler is missing are left out.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { languages } from "../../plugins-sdk/languages.js";
import { type EngineName, type GuestCall, openSandbox } from "../../services/executor/sandbox.ts";
import { pause } from "../../services/kit/lifecycle.ts";
import { silentLog } from "../../services/kit/log.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { encode } from "../harness/guest-call.ts";
import { type Row, report } from "./report.ts";

const CALLS = 1_000;
/** Of those that take milliseconds. */
const SLOW_CALLS = 50;
const PAUSE_MS = 1;
const MAX_PAGES = 1_024;
const DAY = { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z" };
const PIPE = { name: "probe.rows", connector: "probe", metric: "rows", location: "Ålesund", parameters: {} };
const input = encode(JSON.stringify({ pipe: PIPE, config: { rows: 1 }, ...DAY, cursor: null, attempt: 1 }));

async function callOf(wasmPath: string): Promise<GuestCall> {
  const bytes = normaliseModule(new Uint8Array(await readFile(wasmPath)), { maxPages: MAX_PAGES });
  return {
    module: { digest: createHash("sha256").update(bytes).digest("hex"), load: async () => bytes },
    ...{ export: "fetch", input, label: wasmPath, deadlineMs: 20_000, memoryMaxPages: MAX_PAGES },
    ...{ maxOutputBytes: 1 << 20, maxHostCalls: 100 },
    host: async () => encode('{"ok":{}}'),
  };
}

/** The median of the time on the lane's CPU, in microseconds. */
async function medianUs(engine: EngineName, call: GuestCall, pauseMs: number): Promise<number> {
  await using sandbox = await openSandbox({ engine, lanes: 1, callsPerLane: 8, log: silentLog });
  const run = async () => {
    const { outcome, usage, error } = await sandbox.call(call);
    if (outcome !== "ok") throw new Error(`${call.label} ended as ${outcome}: ${error?.message}`);
    return usage.cpuMs;
  };
  await run();
  const count = (await run()) > 2 ? SLOW_CALLS : CALLS;
  const seen: number[] = [];
  for (let i = 0; i < count * 1.25; i += 1) {
    const tookMs = await run();
    if (i >= count / 4) seen.push(tookMs);
    if (pauseMs > 0) await pause(pauseMs);
  }
  return (seen.sort((a, b) => a - b)[seen.length >> 1] as number) * 1_000;
}

const rows: Row[] = [];
for (const { name, doctor, buildPlugin } of languages) {
  const folder = join(import.meta.dirname, `../plugins/probe-${name}`);
  if ((await doctor()).some(({ ok }) => !ok)) continue;
  const built = await buildPlugin(folder).catch((thrown: Error) => {
    process.stderr.write(`${name} is left out: ${thrown.message.split("\n")[0]}\n`);
  });
  if (!built) continue;
  const call = await callOf(built.wasmPath);
  for (const [what, engine, pauseMs] of [
    ["one after the other", "kernel", 0],
    ["with pauses", "kernel", PAUSE_MS],
    ["one after the other", "sdk", 0],
  ] as const) {
    const [a, b] = [await medianUs(engine, call, pauseMs), await medianUs(engine, call, pauseMs)];
    const value = (a + b) / 2;
    rows.push({ name: `${name}, ${engine}, ${what}`, value, unit: "µs", aa: Math.abs(a - b) / value });
  }
}
report({ question: "What does a warm call cost in each language?", rows });
process.exit(0);
