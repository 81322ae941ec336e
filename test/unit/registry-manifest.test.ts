/** Manifests: every mistake at once, each with its path, the value and the fix. */
import { expect, test } from "vitest";
import type { Fault } from "../../services/kit/fault.ts";
import { memoryPages, readManifest } from "../../services/registry/manifest.ts";
import { type ManifestJson, manifestOf } from "../harness/bundle.ts";

const read = (json: unknown) => readManifest(Buffer.from(JSON.stringify(json)));
const mistakes = (json: unknown) => {
  try {
    read(json);
  } catch (thrown) {
    return (thrown as Fault).mistakes;
  }
  return [];
};

test("a whole manifest is read into the message", () => {
  const manifest = read({
    $schema: "https://example.org/plugin.schema.json",
    name: "weather",
    version: "1.2.3-beta.1",
    abi: 1,
    interfaces: {
      fetch: {
        columns: { time: "timestamp", price: "decimal(10,2)" },
        datetime: "time",
        index: ["time"],
        schedule: "every 1h",
      },
      register: {},
      poll: { every: "30s", timeout: "10s", filter: 'resource.type == "http"' },
      discover: { every: "5m" },
      route: {
        routes: [{ method: "GET", path: "/files/{rest...}", auth: "public", timeout: "5s", max_body_bytes: 10 }],
      },
    },
    config: { type: "object", properties: { a: { type: "string" } } },
    permissions: {
      http: [{ url: "https://*.example.org:8443/v1/*", methods: ["GET"] }],
      kv: true,
      query: ["metrics", "weather_daily"],
    },
    limits: { memory_mib: 32, timeout: "60s", output_mib: 8 },
  });
  expect(manifest.interfaces?.fetch?.columns).toEqual([
    { name: "time", type: "timestamp" },
    { name: "price", type: "decimal(10,2)" },
  ]);
  expect(manifest.interfaces?.route?.routes[0]?.maxBodyBytes).toBe(10n);
  expect(manifest.permissions).toMatchObject({ kv: true, query: ["metrics", "weather_daily"] });
  expect(memoryPages(manifest)).toBe(512);
});

test("five mistakes are five mistakes, with path, value and fix", () => {
  const found = mistakes(
    manifestOf({
      version: "1.0",
      descripton: "typo",
      interfaces: {
        fetch: { columns: { time: "timestmp", city: "string" }, datetime: "when", chunk: "10 days" },
        poll: { every: "10ms" },
      },
    }),
  );
  expect(found.map((m) => m.field).sort()).toEqual([
    "descripton",
    "interfaces.fetch.chunk",
    "interfaces.fetch.columns.time",
    "interfaces.fetch.datetime",
    "interfaces.poll.every",
    "version",
  ]);
  const by = Object.fromEntries(found.map((m) => [m.field, m]));
  expect(by.descripton?.fix).toBe('did you mean "description"?');
  expect(by["interfaces.fetch.columns.time"]?.fix).toContain('did you mean "timestamp"?');
  expect(by["interfaces.fetch.chunk"]?.problem).toContain('"10 days"');
  expect(by.version?.fix).toContain("1.0.0");
});

const one: readonly (readonly [string, ManifestJson, string, string])[] = [
  ["no interface", { interfaces: {} }, "interfaces", "fewer than 1"],
  ["an unknown interface", { interfaces: { fetsh: {} } }, "interfaces.fetsh", "not known"],
  ["another abi", { abi: 2 }, "abi", "2"],
  ["a name with capitals", { name: "Weather" }, "name", "Weather"],
  ["register without fetch", { interfaces: { register: {} } }, "interfaces.register", "without fetch"],
  [
    "a route without /",
    { interfaces: { route: { routes: [{ method: "GET", path: "api" }] } } },
    "interfaces.route.routes[0].path",
    "start with /",
  ],
  [
    "a rest in the middle",
    { interfaces: { route: { routes: [{ method: "GET", path: "/{a...}/b" }] } } },
    "interfaces.route.routes[0].path",
    "after the rest",
  ],
  [
    "a route twice",
    {
      interfaces: {
        route: {
          routes: [
            { method: "GET", path: "/{a}" },
            { method: "GET", path: "/{b}" },
          ],
        },
      },
    },
    "interfaces.route.routes[1]",
    "twice",
  ],
  [
    "a filter over nothing known",
    { interfaces: { poll: { filter: "resource.typ == 'x'" } } },
    "interfaces.poll.filter",
    "character 10",
  ],
  [
    "a filter that is no question",
    { interfaces: { poll: { filter: "resource.type" } } },
    "interfaces.poll.filter",
    "of type string",
  ],
  [
    "an index that is no column",
    { interfaces: { fetch: { columns: { a: "string" }, index: ["b"] } } },
    "interfaces.fetch.index[0]",
    "not among",
  ],
  [
    "an index twice",
    { interfaces: { fetch: { columns: { a: "string" }, index: ["a", "a"] } } },
    "interfaces.fetch.index",
    "twice",
  ],
  [
    "end before begin",
    { interfaces: { fetch: { begin: "2020-01-01T00:00:00Z", end: "2019-01-01T00:00:00Z" } } },
    "interfaces.fetch.end",
    "not after begin",
  ],
  [
    "a naive time",
    { interfaces: { fetch: { begin: "2020-01-01T00:00:00" } } },
    "interfaces.fetch.begin",
    "no time zone",
  ],
  [
    "a cron that never comes",
    { interfaces: { fetch: { schedule: "cron 0 0 30 2 *" } } },
    "interfaces.fetch.schedule",
    "never",
  ],
  [
    "a cron that is none",
    { interfaces: { fetch: { schedule: "cron 61 * * * *" } } },
    "interfaces.fetch.schedule",
    "minute",
  ],
  [
    "a host without scheme",
    { permissions: { http: [{ url: "example.org/*" }] } },
    "permissions.http[0].url",
    "not a pattern",
  ],
  [
    "a URL with a password",
    { permissions: { http: [{ url: "https://a:b@example.org/" }] } },
    "permissions.http[0].url",
    "not a pattern",
  ],
  [
    "a method that is none",
    { permissions: { http: [{ url: "https://a.b/", methods: ["get"] }] } },
    "permissions.http[0].methods[0]",
    "get",
  ],
  ["a reserved target", { interfaces: { fetch: { target: "runs" } } }, "interfaces.fetch.target", "kept for Millrace"],
  ["too much memory", { limits: { memory_mib: 4_096 } }, "limits.memory_mib", "4096"],
  [
    "a config schema that is none",
    { config: { type: "object", properties: { a: { type: "strin" } } } },
    "config.properties.a.type",
    "strin",
  ],
  ["a config schema of another kind", { config: { type: "string" } }, "config.type", "object"],
  [
    "a config schema of elsewhere",
    { config: { type: "object", $ref: "https://example.org/x" } },
    "config",
    "not a usable JSON Schema",
  ],
  ["a config keyword that is none", { config: { type: "object", propertis: {} } }, "config", "propertis"],
];
test.each(one)("%s", (_, more, field, problem) => {
  const found = mistakes(manifestOf(more));
  expect(found.map((m) => m.field)).toContain(field);
  const all = found.filter((m) => m.field === field).map((m) => `${m.problem}; ${m.fix}`);
  expect(all.join("\n")).toContain(problem);
});

test("what is not an object of JSON is told apart", () => {
  const says = (text: string) => {
    try {
      readManifest(Buffer.from(text));
    } catch (thrown) {
      return (thrown as Fault).mistakes[0]?.problem;
    }
    return undefined;
  };
  expect(says("{")).toContain("not JSON");
  expect(says("[]")).toContain("is []");
  expect(says(`${"[".repeat(100_000)}`)).toContain("not JSON");
  expect(says(JSON.stringify(manifestOf({ config: JSON.parse(`${'{"a":'.repeat(60)}1${"}".repeat(60)}`) })))).toContain(
    "nested deeper",
  );
});

test("functions: their schemas and times are judged", () => {
  const functions = {
    good: { input: { type: "array", items: { type: "number" } }, output: { type: "string" }, timeout: "60s" },
    bad: { input: { type: "nonsense" }, output: { $ref: "https://example.org/schema" }, timeout: "2m" },
    "Not-A-Name": {},
  };
  const found = mistakes(manifestOf({ interfaces: { functions } })).map(({ field }) => field);
  expect(found).toEqual(
    expect.arrayContaining(["interfaces.functions.bad.output", "interfaces.functions.bad.timeout"]),
  );
  expect(found.some((field) => field.startsWith("interfaces.functions.bad.input"))).toBe(true);
  expect(found.some((field) => field.includes("Not-A-Name"))).toBe(true);
  expect(found.some((field) => field.includes("good"))).toBe(false);
});
