/** Selectors of pipes, instances and pollers: what they pick, and what is told about what cannot be read. */
import { describe, expect, test } from "vitest";
import type { Fault } from "../../services/kit/fault.ts";
import { parseSelector } from "../../services/registry/selector.ts";

const KEYS = ["name", "state"];
const THINGS = {
  a: { tags: ["daily", "env:prod"], facts: { name: "weather.daily", state: "enabled" } },
  b: { tags: ["daily", "slow"], facts: { name: "weather.daily.bern", state: "paused" } },
  c: { tags: ["hourly", "not"], facts: { name: "prices.eur", state: "enabled" } },
  d: { tags: [], facts: { name: "bare", state: "error" } },
};

describe("picks", () => {
  test.each([
    ["", "abcd"],
    ["  ", "abcd"],
    ["daily", "ab"],
    ["daily and not slow", "a"],
    ["not daily", "cd"],
    ["daily or hourly", "abc"],
    ["hourly or daily and slow", "bc"],
    ["(hourly or daily) and slow", "b"],
    ["not (daily or hourly)", "d"],
    ["not not daily", "ab"],
    ["DAILY", ""],
    ["daily AND NOT slow", "a"],
    ["d*", "ab"],
    ["*", "abc"],
    ["state:paused or hourly", "bc"],
    ["name:weather.*", "ab"],
    ["name:*.daily*n", "b"],
    ["name:w*w", ""],
    ["'env:prod'", "a"],
    ['"not"', "c"],
    ['"d*"', ""],
    ['name:"weather.daily"', "a"],
  ])("%s", (text, wanted) => {
    const picks = parseSelector(text, KEYS, "filter");
    const found = Object.entries(THINGS).filter(([, thing]) => picks(thing));
    expect(found.map(([id]) => id).join("")).toBe(wanted);
  });
});

describe("refuses", () => {
  test.each([
    ["daily slow", "goes on at character 7"],
    ["daily and", "lacks a tag at its end"],
    ["and daily", "lacks a tag at character 1"],
    ["(daily", 'lacks a ")" at its end'],
    ["daily)", "goes on at character 6"],
    ['"daily', "is not readable at character 1"],
    ["stat:x", 'asks for "stat:"'],
    ["(".repeat(60), "is nested deeper than 50 levels"],
    ["not ".repeat(60), "is nested deeper than 50 levels"],
    ["x".repeat(2_001), "has 2001 characters"],
  ])("%s", (text, problem) => {
    const refusal = (() => {
      try {
        parseSelector(text, KEYS, "filter");
      } catch (thrown) {
        return thrown as Fault;
      }
      return undefined;
    })();
    expect(refusal?.mistakes).toHaveLength(1);
    expect(refusal?.mistakes[0]).toMatchObject({ field: "filter" });
    expect(refusal?.mistakes[0]?.problem).toContain(problem);
  });
});
