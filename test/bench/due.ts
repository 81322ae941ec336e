/** How long does one tick take with a million entries, one in a thousand due? `node --expose-gc test/bench/due.ts` */

import { parseSchedule } from "../../services/kit/schedule.ts";
import { DueHeap, dueAfter, type Timed } from "../../services/scheduler/due.ts";
import { measure, report } from "./report.ts";

const ENTRIES = 1_000_000;
const TICKS = 50;
/** One in a thousand of a million entries of this period is due in each second. */
const PERIOD_S = 1_000;
const STEP_MS = 1_000;
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
    run: async () => {
      globalThis.gc?.();
      const before = process.memoryUsage().heapUsed;
      const heap = build();
      globalThis.gc?.();
      return (process.memoryUsage().heapUsed - before) / 2 ** 20 + heap.size * 0;
    },
  },
];

report({
  question: "How long does one tick take with a million entries, one in a thousand due?",
  rows: await measure(arms),
});
