/** The registry's pure rules: layers of parameters, names, pages, schemas that try to take for ever, replacements. */
import { expect, test } from "vitest";
import type { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { nameOfFile } from "../../services/registry/autoload.ts";
import { durationMistakes, scheduleMistakes } from "../../services/registry/mistakes.ts";
import { keyOf, nameOfKey, nearest } from "../../services/registry/names.ts";
import { pageOf } from "../../services/registry/paging.ts";
import { FALLBACK, merge } from "../../services/registry/parameters.ts";
import { discoveredName, expired, replacement } from "../../services/registry/replacement.ts";
import { compileSchema } from "../../services/registry/schema.ts";
import { newestFirst } from "../../services/registry/settling.ts";
import { toTimestamp } from "../../services/registry/store.ts";

test("of the layers of parameters the first that says something holds, field by field", () => {
  const user = { ...merge(), chunk: "7d" };
  const registered = { ...merge(), chunk: "30d", datetime: "time", columns: [{ name: "time", type: "timestamp" }] };
  expect(merge(user, registered, undefined, FALLBACK)).toEqual({
    ...FALLBACK,
    chunk: "7d",
    datetime: "time",
    columns: [{ name: "time", type: "timestamp" }],
  });
});

test("names become keys and come back", () => {
  for (const [kind, name] of [
    ["plugins", "plugins/weather"],
    ["versions", "plugins/weather/versions/1.0.0-beta.1+x"],
    ["pipes", "pipes/weather.daily.new_york"],
    ["resources", "resources/0-a"],
  ] as const) {
    expect(keyOf(kind, name)).toMatch(/^[A-Za-z0-9_=.-]+$/);
    expect(nameOfKey(kind, keyOf(kind, name))).toBe(name);
  }
  expect(() => keyOf("pipes", "pipes/")).toThrow("not a name of pipes");
  expect(() => keyOf("plugins", "instances/a")).toThrow("not a name of plugins");
});

test("the nearest known word is offered, a far one is not", () => {
  expect(nearest("descripton", ["name", "description"])).toBe("description");
  expect(nearest("zzz", ["name", "description"])).toBe("");
});

test("a file that tells no name gets one", () => {
  expect(nameOfFile("Weather v1.0.tgz")).toBe("weather-v1-0");
  expect(nameOfFile("1.tgz")).toBe("plugin-1");
  expect(nameOfFile(".tgz")).toBe("plugin");
});

test("releases come before pre-releases, newest first", () => {
  const sorted = ["1.0.0", "2.0.0-beta.1", "1.10.0", "1.2.0", "2.0.0-beta.2"].sort(newestFirst);
  expect(sorted).toEqual(["1.10.0", "1.2.0", "1.0.0", "2.0.0-beta.2", "2.0.0-beta.1"]);
});

test("pages go on where the last one ended, whatever came or went", () => {
  const items = ["a", "b", "c", "d"].map((name) => ({ name }));
  const first = pageOf(items, { pageSize: 2, pageToken: "" });
  expect(first.items.map((i) => i.name)).toEqual(["a", "b"]);
  const gone = items.filter(({ name }) => name !== "b");
  const second = pageOf(gone, { pageSize: 2, pageToken: first.nextPageToken });
  expect(second).toEqual({ items: [{ name: "c" }, { name: "d" }], nextPageToken: "" });
  for (const pageToken of ["x", "!!", Buffer.from("2 a").toString("base64url")]) {
    expect(() => pageOf(items, { pageSize: 0, pageToken })).toThrow("not one of ours");
  }
  expect(() => pageOf(items, { pageSize: -1, pageToken: "" })).toThrow("below 0");
});

test("schedules and durations: the good and the bad", () => {
  const ok = (schedule: string) => scheduleMistakes(schedule, "s", { manual: true }).length === 0;
  for (const schedule of [
    "manual",
    "every 1h",
    "cron 15 3 * * *",
    "cron 15 3 * * * Europe/Berlin",
    "cron 0 15 3 * * MON",
    "cron 0 3 * * * UTC",
  ])
    expect([schedule, ok(schedule)]).toEqual([schedule, true]);
  for (const schedule of [
    "",
    "1h",
    "every",
    "every 1 h",
    "every 10ms",
    "cron",
    "cron @daily",
    "cron ? 3 * * *",
    "cron x",
    "cron 15 3 * * * Mars/Base",
    "EVERY 1h",
  ])
    expect([schedule, ok(schedule)]).toEqual([schedule, false]);
  expect(scheduleMistakes("manual", "s", { manual: false })).toHaveLength(1);
  expect(durationMistakes("20m", "d", 1, 900_000)[0]?.problem).toContain("too long");
});

test("a schema that would take for ever is cut off, and the process goes on", () => {
  const check = compileSchema({ type: "object", properties: { a: { type: "string", pattern: "^(a+)+$" } } }, "config");
  const began = performance.now();
  const { mistakes } = check({ a: `${"a".repeat(60)}b` }, "config");
  expect(mistakes[0]?.problem).toContain("to check");
  expect(performance.now() - began).toBeLessThan(5_000);
});

test("config mistakes name the path, the value and the fix, and defaults are filled in", () => {
  const check = compileSchema(
    {
      type: "object",
      properties: {
        endpoints: {
          type: "array",
          items: {
            type: "object",
            properties: { url: { type: "string", format: "uri" } },
            required: ["url"],
            additionalProperties: false,
          },
        },
        mode: { enum: ["fast", "slow"], default: "fast" },
        "a b": { type: "integer", minimum: 1, description: "a positive whole number" },
      },
      additionalProperties: false,
    },
    "config",
  );
  const { mistakes } = check(
    { endpoints: [{ url: "https://a.b" }, { ur: 1 }], mode: "medium", "a b": 0, x: 1 },
    "config",
  );
  expect(mistakes.map((m) => m.field).sort()).toEqual(
    ['config["a b"]', "config.endpoints[1].ur", "config.endpoints[1].url", "config.mode", "config.x"].sort(),
  );
  expect(mistakes.find((m) => m.field === "config.endpoints[1].ur")?.fix).toBe('did you mean "url"?');
  expect(mistakes.find((m) => m.field === "config.mode")).toMatchObject({ fix: 'one of "fast", "slow"' });
  expect(check({}, "config").value).toEqual({ mode: "fast" });
});

const resource = (id: string, more: Partial<Resource> = {}): Resource => ({
  managedBy: "",
  name: "",
  id,
  site: "",
  class: "",
  subclass: "",
  type: "http",
  endpoint: `https://${id}/`,
  labels: {},
  ttl: "",
  origin: "",
  createTime: undefined,
  updateTime: undefined,
  etag: "",
  ...more,
});
const ORIGIN = "instances/uptime";
const stored = (ids: readonly string[], more: Partial<Resource> = {}) =>
  ids.map((id) =>
    resource(id, { name: discoveredName(ORIGIN, id), origin: ORIGIN, updateTime: toTimestamp(0), ...more }),
  );

test("a discovery creates, changes and removes its own; others' resources are not touched", () => {
  const before = [...stored(["a", "b", "c"]), resource("d", { name: "resources/d" })];
  const found = [resource("a"), resource("b", { endpoint: "https://new/" }), resource("e")];
  const all = replacement(before, ORIGIN, found, true, 0);
  expect(all.create.map((r) => r.id)).toEqual(["e"]);
  expect(all.update.map((r) => r.id)).toEqual(["b"]);
  expect(all.remove).toEqual([discoveredName(ORIGIN, "c")]);
  expect(replacement(before, ORIGIN, found, false, 0).remove).toEqual([]);
});

test("a mass removal is refused with the counts; a small set may go", () => {
  const six = stored(["a", "b", "c", "d", "e", "f"]);
  expect(() => replacement(six, ORIGIN, [resource("a"), resource("b")], true, 0)).toThrow("4 of 6");
  expect(
    replacement(
      six,
      ORIGIN,
      ["a", "b", "c"].map((id) => resource(id)),
      true,
      0,
    ).remove,
  ).toHaveLength(3);
  expect(replacement(stored(["a", "b"]), ORIGIN, [], true, 0).remove).toHaveLength(2);
});

test("bad resources are told all at once, before anything is written", () => {
  const found = [resource("a", { type: "" }), resource("b", { ttl: "soon" }), resource("b"), resource("")];
  try {
    replacement([], ORIGIN, found, true, 0);
    expect.unreachable();
  } catch (thrown) {
    const fields = (thrown as Fault).mistakes.map((m) => m.field);
    expect(fields).toEqual(["resources[0].type", "resources[1].ttl", "resources[2].id", "resources[3].id"]);
  }
});

test("a ttl counts from the last sign of life, which is written down once a quarter of it has passed", () => {
  const seen = stored(["a"], { ttl: "8s" });
  expect(replacement(seen, ORIGIN, [resource("a", { ttl: "8s" })], true, 1_000).update).toEqual([]);
  const later = replacement(seen, ORIGIN, [resource("a", { ttl: "8s" })], true, 2_000);
  expect([later.update.length, later.changed]).toEqual([1, 0]);
  expect(expired(seen, 8_000)).toEqual([]);
  expect(expired(seen, 8_001)).toHaveLength(1);
  expect(expired(stored(["a"]), 1e12)).toEqual([]);
});

test("names of discovered resources are names, and differ where ids or origins do", () => {
  const ids = ["https://example.org/a", "https://example.org/a/", "é", "x".repeat(400), "A", "a"];
  const names = ids.flatMap((id) => [discoveredName("instances/a", id), discoveredName("instances/a-b", id)]);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^resources\/[a-z0-9][a-z0-9-]{0,62}$/);
});
