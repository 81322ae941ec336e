/**
 * What do a million windows of one pipe cost a scheduler? Workload: one in a thousand is missing, one in a thousand
 * failed. First the planner alone; then the windows lie on NATS, as many as the first argument says (100,000), and a
 * scheduler's mirror of them is started, asked for what is due, and for pages.
 */
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { openBus } from "../../services/bus/open.ts";
import { silentLog } from "../../services/kit/log.ts";
import { compactTime, timestampOf } from "../../services/kit/time.ts";
import { WindowIndex } from "../../services/scheduler/window-index.ts";
import { mirrorWindows } from "../../services/scheduler/window-mirror.ts";
import { pageWindows } from "../../services/scheduler/window-pages.ts";
import { toKnown, WindowStore } from "../../services/scheduler/window-store.ts";
import { planWindows } from "../../services/scheduler/windows.ts";
import { startNats } from "../harness/nats.ts";
import { measure, type Row, report } from "./report.ts";

const WINDOWS = 1_000_000;
const STORED = Number(process.argv[2] ?? 100_000);
const PIPE = "old.pipe";
const GAP_EVERY = 1_000;
const ROUNDS = 10;
const PAGE = 1_000;
const WRITES = 512;
const CHUNK_US = 60_000_000n;
const BEGIN_US = 1_325_376_000_000_000n;
const BYTES_PER_MIB = 2 ** 20;

/** Undefined for the gaps. */
function windowOf(n: number): Window | undefined {
  if (n % GAP_EVERY === 7) return undefined;
  const beginUs = BEGIN_US + BigInt(n) * CHUNK_US;
  const [begin, end] = [timestampOf(beginUs), timestampOf(beginUs + CHUNK_US)];
  const state = n % GAP_EVERY === 500 ? WindowState.FAILED : WindowState.DONE;
  return Window.fromPartial({ begin, end, state, rows: 10n, fetchedUntil: end, updateTime: end, fence: 7n });
}

function gapsIn(index: WindowIndex, count: number): number {
  const { queue } = planWindows({
    ...{ beginUs: BEGIN_US, endUs: undefined, chunkUs: CHUNK_US, backtrackUs: 0n },
    ...{ nowUs: BEGIN_US + BigInt(count) * CHUNK_US, refetch: false, lostBeforeUs: 0n },
    ...{ known: [...index.live.values()].map(toKnown), whole: index.whole() },
  });
  return queue.length;
}

const wallMs = () => performance.now();
/** What other work on the machine does not add to. */
const cpuMs = () => process.cpuUsage().user / 1_000;
const heapMib = () => {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / BYTES_PER_MIB;
};

const before = heapMib();
const index = new WindowIndex();
for (let n = 0; n < WINDOWS; n += 1) {
  const window = windowOf(n);
  if (window) index.put({ pipe: PIPE, window, revision: BigInt(n + 1) });
}
index.whole();
const weightMib = heapMib() - before;

async function plan(clock: () => number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const startedMs = clock();
    const gaps = gapsIn(index, WINDOWS);
    times.push(clock() - startedMs);
    if (gaps !== (2 * WINDOWS) / GAP_EVERY) throw new Error(`${gaps} windows planned`);
  }
  return times.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? 0;
}

async function stored(): Promise<Row[]> {
  await using nats = await startNats();
  await using bus = await openBus({ natsUrl: nats.url, name: "bench", log: silentLog });
  const kv = await bus.kv("windows");
  for (let first = 0; first < STORED; first += WRITES) {
    const some = Array.from({ length: Math.min(WRITES, STORED - first) }, (_, i) => first + i);
    await Promise.all(
      some.map(async (n) => {
        const window = windowOf(n);
        const key = `${encodeKeyPart(PIPE)}.${compactTime(BEGIN_US + BigInt(n) * CHUNK_US)}`;
        if (window) await kv.put(key, Window.encode(window).finish());
      }),
    );
  }
  const timed = async (work: () => Promise<unknown>) => {
    const startedMs = performance.now();
    await work();
    return performance.now() - startedMs;
  };
  await using mirror = mirrorWindows(kv, silentLog);
  const store = new WindowStore(kv, mirror);
  const count = STORED.toLocaleString("en-US");
  const first = await timed(() => store.index(PIPE));
  const due = await timed(async () => {
    const gaps = gapsIn(await store.index(PIPE), STORED);
    if (gaps !== (2 * STORED) / GAP_EVERY) throw new Error(`${gaps} windows planned`);
  });
  const page = await timed(async () => {
    const known = await store.index(PIPE);
    const fromUs = BEGIN_US + BigInt(STORED >> 1) * CHUNK_US;
    const grid = { beginUs: BEGIN_US, endUs: undefined, chunkUs: CHUNK_US };
    const nowUs = BEGIN_US + BigInt(STORED) * CHUNK_US;
    const asked = { grid, nowUs, stored: known.from(fromUs), fromUs, state: WindowState.UNSPECIFIED };
    const { windows } = pageWindows({ ...asked, pageSize: PAGE });
    const shown = await store.show(PIPE, "time", windows, CHUNK_US);
    if (shown.length !== PAGE) throw new Error(`${shown.length} windows shown`);
  });
  return [
    { name: `NATS, ${count} windows: a scheduler's start until it knows them`, unit: "ms", value: first },
    { name: `NATS, ${count} windows: a due moment, gaps included`, unit: "ms", value: due },
    { name: `NATS, ${count} windows: a page of 1,000 from the middle`, unit: "ms", value: page },
  ];
}

report({
  question: `What do ${WINDOWS.toLocaleString("en-US")} windows of one pipe cost a scheduler? (median of ${ROUNDS})`,
  rows: [
    ...(await measure([
      { name: "finding the gaps, wall", unit: "ms", run: () => plan(wallMs) },
      { name: "finding the gaps, CPU", unit: "ms", run: () => plan(cpuMs) },
    ])),
    { name: "memory of the index", unit: "MiB", value: weightMib },
    ...(await stored()),
  ],
});
