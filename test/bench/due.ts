/** How long does one tick take with a million entries, one in a thousand due, and what do the entries weigh? */
import { execFileSync } from "node:child_process";
import { parseSchedule } from "../../services/kit/schedule.ts";
import { DueHeap, dueAfter, type Timed } from "../../services/scheduler/due.ts";
import { measure, report } from "./report.ts";

const ENTRIES = 1_000_000;
const TICKS = 50;
/** One in a thousand of a million entries of this period is due in each second. */
const PERIOD_S = 1_000;
const STEP_MS = 1_000;
const BYTES_PER_MIB = 2 ** 20;
/** Asks this program for the weight alone. */
const WEIGH = "--weigh";
const START_MS = Date.parse("2026-01-01T00:00:00Z");

const schedule = parseSchedule(`every ${PERIOD_S}s`, "schedule");
const entry = (n: number): Timed => ({ key: `pollers/uptime/resources/host-${n}`, schedule, firstMs: 0 });

function build(): DueHeap<Timed> {
  const heap = new DueHeap<Timed>();
  for (let n = 0; n < ENTRIES; n += 1) {
    const made = entry(n);
    heap.set(made, dueAfter(made, START_MS));
  }
  return heap;
}

/** MiB on the heap and beside it that are there for the entries. */
function weight(): number {
  const used = () => {
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const heap = build();
  const after = used();
  if (heap.size !== ENTRIES) throw new Error(`${heap.size} entries`);
  return (after - before) / BYTES_PER_MIB;
}

const perCall = (work: () => void, calls: number) => {
  const startMs = performance.now();
  work();
  return (performance.now() - startMs) / calls;
};

const arms = [
  {
    name: "one tick, 1,000 of 1,000,000 due",
    unit: "ms",
    run: async () => {
      const heap = build();
      let taken = 0;
      const ms = perCall(() => {
        for (let tick = 1; tick <= TICKS; tick += 1) taken += heap.take(START_MS + tick * STEP_MS, ENTRIES).length;
      }, TICKS);
      const expected = (ENTRIES / PERIOD_S) * TICKS;
      if (Math.abs(taken - expected) > expected * 0.05) throw new Error(`${taken} taken, about ${expected} expected`);
      return ms;
    },
  },
  {
    name: "one tick, nothing due",
    unit: "µs",
    run: async () => {
      const heap = build();
      return (
        1_000 *
        perCall(() => {
          for (let tick = 0; tick < 100_000; tick += 1) heap.take(START_MS, ENTRIES);
        }, 100_000)
      );
    },
  },
  { name: "building all entries", unit: "ms", run: async () => perCall(() => void build(), 1) },
  {
    name: "removing and adding one entry",
    unit: "µs",
    run: async () => {
      const heap = build();
      return (
        1_000 *
        perCall(() => {
          for (let n = 0; n < 100_000; n += 1) {
            const made = entry(n * 7);
            heap.delete(made.key);
            heap.set(made, dueAfter(made, START_MS));
          }
        }, 100_000)
      );
    },
  },
  {
    name: "memory, keys included",
    unit: "MiB",
    // In a process of its own: what other arms leave behind would be collected in the middle of this one.
    run: async () => {
      const args = ["--expose-gc", import.meta.filename, WEIGH];
      return Number(execFileSync(process.execPath, args, { encoding: "utf8" }));
    },
  },
];

if (process.argv.includes(WEIGH)) process.stdout.write(String(weight()));
else {
  report({
    question: "How long does one tick take with a million entries, one in a thousand due?",
    rows: await measure(arms),
  });
}
