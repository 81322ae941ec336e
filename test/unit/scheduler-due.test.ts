/** The heap of what is due: each moment once, the newest only, the same as a slow and obvious scan. */
import { expect, test } from "vitest";
import { parseSchedule } from "../../services/kit/schedule.ts";
import { DueHeap, dueAfter, dueUpTo, type Timed } from "../../services/scheduler/due.ts";
import { nextDue } from "../../services/scheduler/schedule.ts";
import { seeded } from "../harness/random.ts";

const LONG_AGO = 0;
const at = (key: string, schedule: string, firstMs = LONG_AGO): Timed => ({
  key,
  firstMs,
  schedule: parseSchedule(schedule, "s"),
});
const T0 = Date.parse("2026-01-01T00:00:00Z");

test("each moment is taken once, and the time between two takes is the period", () => {
  const heap = new DueHeap<Timed>();
  const entry = at("a", "every 10s");
  heap.set(entry, dueAfter(entry, T0));
  const moments: number[] = [];
  for (let now = T0; now <= T0 + 60_000; now += 100) moments.push(...heap.take(now, 10).map((d) => d.dueMs));
  expect(moments.length).toBe(6);
  expect(moments.slice(1).map((m, n) => m - (moments[n] as number))).toEqual([10_000, 10_000, 10_000, 10_000, 10_000]);
});

test("after a gap only the newest moment is due, and the missed ones are counted", () => {
  for (const schedule of ["every 10s", "cron */10 * * * * *"]) {
    const heap = new DueHeap<Timed>();
    const entry = at("a", schedule);
    heap.set(entry, dueAfter(entry, T0));
    const first = dueAfter(entry, T0) as number;
    const [due, ...more] = heap.take(first + 65_000, 10);
    expect(due).toMatchObject({ dueMs: first + 60_000, missed: 6 });
    expect(more).toEqual([]);
    expect(heap.take(first + 65_000, 10)).toEqual([]);
    expect(heap.nextMs).toBe(first + 70_000);
  }
});

test("what is put back stays due, with the newest moment by then; what is gone is not", () => {
  const heap = new DueHeap<Timed>();
  const entry = at("a", "every 10s");
  const first = dueAfter(entry, T0) as number;
  heap.set(entry, first);
  const [due] = heap.take(first, 1);
  if (!due) throw new Error("nothing was due");
  heap.putBack(due);
  expect(heap.take(first, 1)).toEqual([due]);
  heap.putBack(due);
  expect(heap.take(first + 10_000, 1)).toMatchObject([{ dueMs: first + 10_000, missed: 1 }]);
  heap.delete("a");
  heap.putBack(due);
  expect(heap.size).toBe(0);
  expect(heap.take(first + 20_000, 1)).toEqual([]);
});

test("a new entry is due at its first moment, then by phase, with half a period's rest between", () => {
  for (let n = 0; n < 200; n += 1) {
    const entry = at(`k${n}`, "every 1m", T0 + 7);
    const heap = new DueHeap<Timed>();
    heap.set(entry, dueAfter(entry, T0));
    const moments: number[] = [];
    for (let now = T0; now < T0 + 300_000; now += 500) moments.push(...heap.take(now, 5).map((d) => d.dueMs));
    expect(moments[0]).toBe(T0 + 7);
    const second = moments[1] as number;
    expect(second - T0).toBeGreaterThan(30_000);
    expect(second - T0).toBeLessThanOrEqual(90_007);
    expect(nextDue(entry.schedule, entry.key, second - 1)).toBe(second);
    // Another scheduler that joins later sees the same moments.
    for (const moment of moments) expect(dueUpTo(entry, moment)).toBe(moment);
  }
});

test("a limited take leaves the rest due, the longest due first", () => {
  const heap = new DueHeap<Timed>();
  for (let n = 0; n < 100; n += 1) heap.set(at(`k${n}`, "every 1h"), T0 + ((n * 37) % 100));
  const taken = [...heap.take(T0 + 50, 20), ...heap.take(T0 + 50, 100)].map((d) => d.entry.key);
  expect(taken.length).toBe(51);
  expect(taken.slice(0, 3)).toEqual(["k0", "k73", "k46"]);
});

test("random adding, replacing, removing and taking agree with a scan of all entries", () => {
  const random = seeded(20_260_101);
  const pick = (n: number) => Math.floor(random() * n);
  const schedules = ["every 1s", "every 3s", "every 17s", "every 5m", "cron */5 * * * * *", "manual"];
  const heap = new DueHeap<Timed>();
  const model = new Map<string, { entry: Timed; nextMs: number | undefined }>();
  let now = T0;
  for (let step = 0; step < 8_000; step += 1) {
    const key = `k${pick(300)}`;
    const dice = random();
    if (dice < 0.3) {
      const entry = at(key, schedules[pick(schedules.length)] as string, random() < 0.5 ? now + pick(3_000) : LONG_AGO);
      const nextMs = entry.schedule.kind === "manual" ? undefined : dueAfter(entry, now);
      heap.set(entry, nextMs);
      model.set(key, { entry, nextMs });
    } else if (dice < 0.5) {
      heap.delete(key);
      model.delete(key);
    } else {
      now += pick(200);
      const expected: string[] = [];
      for (const known of model.values()) {
        if (known.nextMs === undefined || known.nextMs > now) continue;
        let dueMs = known.nextMs;
        let missed = 0;
        for (let m = dueAfter(known.entry, dueMs); m !== undefined && m <= now; m = dueAfter(known.entry, m)) {
          dueMs = m;
          missed += 1;
        }
        expected.push(`${known.entry.key}@${dueMs}:${missed}`);
        known.nextMs = dueAfter(known.entry, now);
      }
      const taken = heap.take(now, 1_000).map((d) => `${d.entry.key}@${d.dueMs}:${d.missed}`);
      expect(taken.sort()).toEqual(expected.sort());
    }
    expect(heap.size).toBe(model.size);
  }
});
