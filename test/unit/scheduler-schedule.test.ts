/** Schedules by tables: what parses, when it is due, daylight saving time, phases. */
import { expect, test } from "vitest";
import { Fault } from "../../services/kit/fault.ts";
import { parseSchedule } from "../../services/kit/schedule.ts";
import { countDue, lastDue, nextDue, periodAt, phaseOf, preview } from "../../services/scheduler/schedule.ts";
import { seeded } from "../harness/random.ts";

const ms = (iso: string) => Date.parse(iso);
const iso = (at: number | undefined) => (at === undefined ? undefined : new Date(at).toISOString());

test.each([
  ["every 30s", "every"],
  ["  every   1h ", "every"],
  ["cron 15 3 * * *", "cron"],
  ["cron */10 * * * * *", "cron"],
  ["cron 15 3 * * * Europe/Berlin", "cron"],
  ["cron 0 15 3 * * * Europe/Berlin", "cron"],
  ["cron 0 9 * * MON", "cron"],
  ["cron 0 0 9 * * MON-FRI", "cron"],
  ["cron 0 9 * * MON UTC", "cron"],
  ["manual", "manual"],
])("%s is a schedule", (raw, kind) => {
  expect(parseSchedule(raw, "schedule").kind).toBe(kind);
});

test.each([
  ["", "is not a schedule"],
  ["hourly", "is not a schedule"],
  ["manual please", "is not a schedule"],
  ["every", "is not a schedule"],
  ["every hour", "is not a duration"],
  ["every 0s", "too often"],
  ["every 999ms", "too often"],
  ["every 367d", "too rare"],
  ["cron", "0 cron fields"],
  ["cron * * * *", "4 cron fields"],
  ["cron * * * * * * *", "7 cron fields"],
  ["cron 61 * * * *", "61"],
  ["cron 0 9 * * * Mars/Olympus", "not a cron schedule"],
  ["cron 0 9 * * * +02:00", "not a cron schedule"],
  ["cron ? * * * *", "`?`"],
  ["cron 0 0 31 2 *", "never comes"],
])("%j is refused", (raw, why) => {
  const fault = catchFault(() => parseSchedule(raw, "pipe.schedule"));
  expect(fault).toMatchObject({ code: "invalid", mistakes: [{ field: "pipe.schedule" }] });
  expect(fault.message).toContain(why);
});

test.each([
  [
    "an hour that does not exist runs right after the gap",
    "cron 30 2 * * * Europe/Berlin",
    "2026-03-28T12:00:00Z",
    ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"],
  ],
  [
    "an hour that comes twice runs once",
    "cron 30 2 * * * Europe/Berlin",
    "2026-10-24T12:00:00Z",
    ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"],
  ],
  [
    "an interval in cron runs through the hour that comes twice",
    "cron */30 * * * * Europe/Berlin",
    "2026-10-25T00:10:00Z",
    ["2026-10-25T00:30:00.000Z", "2026-10-25T01:00:00.000Z", "2026-10-25T01:30:00.000Z"],
  ],
  [
    "UTC is the default and knows no summer",
    "cron 15 3 * * *",
    "2026-03-28T12:00:00Z",
    ["2026-03-29T03:15:00.000Z", "2026-03-30T03:15:00.000Z"],
  ],
  ["the moment itself is not after itself", "cron 15 3 * * *", "2026-03-28T03:15:00Z", ["2026-03-29T03:15:00.000Z"]],
  ["a millisecond before is", "cron 15 3 * * *", "2026-03-28T03:14:59.999Z", ["2026-03-28T03:15:00.000Z"]],
  ["leap days", "cron 0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00.000Z", "2032-02-29T00:00:00.000Z"]],
  [
    "without a key an interval is due at whole periods",
    "every 1h",
    "2026-01-01T00:00:00Z",
    ["2026-01-01T01:00:00.000Z", "2026-01-01T02:00:00.000Z"],
  ],
])("%s: %s", (_, raw, after, expected) => {
  expect(preview(parseSchedule(raw, "s"), "", ms(after), expected.length).map(iso)).toEqual(expected);
});

test("manual is never due", () => {
  const manual = parseSchedule("manual", "s");
  expect(preview(manual, "x", 0, 5)).toEqual([]);
  expect(lastDue(manual, "x", 1e12)).toBeUndefined();
  expect(periodAt(manual, 0)).toBe(Number.POSITIVE_INFINITY);
});

test("next and last due agree for every kind: the last moment is the one before the next", () => {
  for (const raw of ["every 1s", "every 37s", "every 1h", "cron */7 * * * *", "cron 30 2 * * * Europe/Berlin"]) {
    const schedule = parseSchedule(raw, "s");
    for (let at = ms("2026-10-24T20:00:00Z") + 123; at < ms("2026-10-26T03:00:00Z"); at += 1_234_567) {
      const next = nextDue(schedule, "pipes/a.b", at) as number;
      const last = lastDue(schedule, "pipes/a.b", at) as number;
      expect(last).toBeLessThanOrEqual(at);
      expect(next).toBeGreaterThan(at);
      expect(iso(nextDue(schedule, "pipes/a.b", last))).toBe(iso(next));
      expect(iso(lastDue(schedule, "pipes/a.b", next))).toBe(iso(next));
      expect(countDue(schedule, "pipes/a.b", last, next, 10)).toBe(1);
    }
  }
});

/** By the clock on the wall, minute by minute: once a day, the first time; a time that is skipped, right after the gap. */
function wallClockDues(walls: readonly { atMs: number; date: string; minute: number }[], minute: number): number[] {
  const days = Map.groupBy(walls, (one) => one.date);
  // The first and the last day are not whole.
  return [...days.values()].slice(1, -1).flatMap((day) => {
    const due = day.find((one) => one.minute === minute) ?? day.find((one) => one.minute > minute);
    return due ? [due.atMs] : [];
  });
}

test.each([
  ["Europe/Berlin", "2026-03-29"],
  ["Europe/Berlin", "2026-10-25"],
  ["America/New_York", "2026-03-08"],
  ["America/New_York", "2026-11-01"],
  // Half an hour, and south of the equator.
  ["Australia/Lord_Howe", "2026-04-05"],
  ["Australia/Lord_Howe", "2026-10-04"],
  ["Asia/Kathmandu", "2026-01-01"],
])("random times of the day in %s around %s agree with the clock on the wall", (zone, date) => {
  const format = new Intl.DateTimeFormat("sv", { timeZone: zone, dateStyle: "short", timeStyle: "short" });
  const [fromMs, toMs] = [ms(`${date}T00:00:00Z`) - 3 * 86_400_000, ms(`${date}T00:00:00Z`) + 4 * 86_400_000];
  const walls: { atMs: number; date: string; minute: number }[] = [];
  for (let atMs = fromMs; atMs < toMs; atMs += 60_000) {
    const [day = "", time = ""] = format.format(atMs).split(" ");
    const [hour = 0, minute = 0] = time.split(":").map(Number);
    walls.push({ atMs, date: day, minute: hour * 60 + minute });
  }
  const random = seeded(9);
  for (let round = 0; round < 120; round += 1) {
    // Two of three in the hours in which clocks are changed.
    const minute = Math.floor(random() * (round % 3 ? 240 : 1_440));
    const schedule = parseSchedule(`cron ${minute % 60} ${Math.floor(minute / 60)} * * * ${zone}`, "s");
    const wanted = wallClockDues(walls, minute);
    const first = wanted[0] as number;
    expect([minute, preview(schedule, "", first - 1_000, wanted.length).map(iso)]).toEqual([minute, wanted.map(iso)]);
    for (const due of wanted) expect(lastDue(schedule, "", due)).toBe(due);
  }
});

test("the phase is the same for ever, within the period, and spread over all of it", () => {
  // Literal values: a change here would move every schedule of every installation.
  expect(phaseOf("pipes/weather.daily", 3_600_000)).toBe(2_189_170);
  expect(phaseOf("", 3_600_000)).toBe(0);
  const buckets = new Array<number>(100).fill(0);
  for (let n = 0; n < 100_000; n += 1) {
    const phase = phaseOf(`pollers/uptime/resources/host-${n}`, 60_000);
    buckets[Math.floor(phase / 600)]! += 1;
  }
  // 1,000 expected in each; four standard deviations are 126.
  expect(Math.max(...buckets)).toBeLessThan(1_150);
  expect(Math.min(...buckets)).toBeGreaterThan(850);
});

function catchFault(work: () => unknown): Fault {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown;
  }
  throw new Error("no fault");
}
