/** The operator's policy: what it lets through, what it refuses to read, and that a changed file counts at once. */
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Entity } from "../../proto/catalog.ts";
import { Instance, InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { PluginVersion } from "../../proto/gen/millrace/registry/v1/plugin.ts";
import { findSubject } from "../../services/executor/catalog.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { ceilingOf, openPolicy, type PolicyRules, parsePolicy } from "../../services/executor/policy.ts";
import { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { until } from "../harness/until.ts";

const ASKED = Permissions.fromPartial({
  http: [{ url: "https://*.example.org/*", methods: ["GET", "POST"] }],
  kv: true,
  query: ["a", "b"],
  secrets: ["key!", "other"],
  sockets: ["tcp://*:*"],
  call: ["*/*"],
  publish: ["*"],
});
const ALL = { allRequested: true, only: undefined };
const RULES = parsePolicy(
  JSON.stringify({
    rules: [
      { plugin: "weather*", allow: { http: [{ url: "https://api.example.org/v1/*" }], kv: true } },
      { instance: "weather-eu", allow: { query: ["b", "c"], secrets: ["key"], sockets: ["tcp://db:5432"] } },
      { plugin: "trusted", instance: "*-one", allow: { secrets: ["key!"], call: ["maths/*"], publish: ["news.*"] } },
    ],
  }),
);
const under = (plugin: string, instance: string) => effectiveGrants(ASKED, ALL, ceilingOf(RULES, { plugin, instance }));

test("rules that fit add up; who fits none gets nothing; nobody gets more than was asked and granted", () => {
  const get = (path: string) => [new URL(`https://api.example.org${path}`), "GET"] as const;
  const plain = under("weather", "weather-us");
  expect([plain.kv, plain.http(...get("/v1/x")), plain.http(...get("/v2/x"))]).toEqual([true, true, false]);
  expect([plain.query, plain.secrets.size, plain.socket("tcp", "db", 5432)]).toEqual([[], 0, false]);
  const both = under("weather2", "weather-eu");
  expect([both.kv, both.query, [...both.secrets]]).toEqual([true, ["b"], [["key", false]]]);
  expect([both.socket("tcp", "db", 5432), both.socket("tcp", "db", 1), both.call("a", "b")]).toEqual([
    true,
    false,
    false,
  ]);
  const trusted = under("trusted", "number-one");
  expect([[...trusted.secrets], trusted.call("maths", "add"), trusted.call("x", "add")]).toEqual([
    [["key", true]],
    true,
    false,
  ]);
  expect([trusted.publish("news.a"), trusted.publish("other"), trusted.kv]).toEqual([true, false, false]);
  const nobody = under("trusted", "two");
  expect([nobody.anyHttp, nobody.kv, nobody.query, nobody.secrets.size, nobody.publish("a")]).toEqual([
    false,
    false,
    [],
    0,
    false,
  ]);
  const notGranted = effectiveGrants(ASKED, undefined, ceilingOf(RULES, { plugin: "weather", instance: "x" }));
  expect([notGranted.kv, notGranted.anyHttp]).toEqual([false, false]);
  const notAsked = effectiveGrants(undefined, ALL, ceilingOf(RULES, { plugin: "weather", instance: "x" }));
  expect([notAsked.kv, notAsked.anyHttp]).toEqual([false, false]);
});

test("a name is matched whole, and only * is special", () => {
  const [rule] = parsePolicy('{"rules": [{"plugin": "a*b", "allow": {}}]}');
  expect(["ab", "axxb", "axb2", "xab", "a"].filter((name) => rule?.plugin.test(name))).toEqual(["ab", "axxb"]);
});

test("every mistake at once, by its place", () => {
  const bad = {
    rules: [
      { plugin: "A b", allow: { http: [{ url: "ftp://x" }, "x"], kv: "yes", queries: [], secrets: ["A"] } },
      { allow: { sockets: ["x"], call: "a/b", publish: ["a b"], query: ["A;"], context: ["*", "A"] }, extra: 1 },
      { instance: "x" },
    ],
    version: 1,
  };
  const fields = (text: string) => {
    try {
      return parsePolicy(text).length;
    } catch (thrown) {
      return Fault.from(thrown)
        .mistakes.map(({ field }) => field)
        .sort();
    }
  };
  expect(fields(JSON.stringify(bad))).toEqual(
    [
      ...["rules[0].allow.http[0]", "rules[0].allow.http[1]", "rules[0].allow.kv", "rules[0].allow.queries"],
      ...["rules[0].allow.secrets[0]", "rules[0].plugin", "rules[1].allow.call", "rules[1].allow.publish[0]"],
      "rules[1].allow.context[1]",
      ...["rules[1].allow.query[0]", "rules[1].allow.sockets[0]", "rules[1].extra", "rules[2]", "version"],
    ].sort(),
  );
  for (const text of ["", "[]", "{}", '{"rules": 1}', "nonsense"]) expect(fields(text)).toHaveLength(1);
  expect(fields('{"rules": []}')).toBe(0);
});

test("a changed file is in force soon; a broken or missing one leaves the policy before", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-policy-"));
  try {
    const path = join(folder, "policy.json");
    await expect(openPolicy(path, silentLog)).rejects.toMatchObject({ code: "unavailable" });
    const put = async (text: string) => {
      await writeFile(`${path}.new`, text);
      await rename(`${path}.new`, path);
    };
    await put("nonsense");
    await expect(openPolicy(path, silentLog)).rejects.toMatchObject({ code: "invalid" });
    await put('{"rules": [{"allow": {"kv": true}}]}');
    await using policy = await openPolicy(path, silentLog);
    const kv = () => effectiveGrants(ASKED, ALL, ceilingOf(policy.rules ?? [], { plugin: "a", instance: "a" })).kv;
    expect(kv()).toBe(true);
    const before = policy.rules;
    await put("nonsense");
    await put('{"rules": []}');
    await until("nothing is allowed any more", () => !kv());
    await rm(path);
    await put('{"rules": [{"allow": {"kv": true}}]}');
    await until("kv is allowed again", kv);
    expect(policy.rules).not.toBe(before);
    await using none = await openPolicy("", silentLog);
    expect(none.rules).toBeUndefined();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("an instance is judged anew when the policy changes", () => {
  const instance = Instance.fromPartial({
    name: "instances/one",
    plugin: "plugins/trusted",
    runningVersion: "1.0.0",
    grants: ALL,
    state: InstanceState.ENABLED,
  });
  const version = PluginVersion.fromPartial({
    name: "plugins/trusted/versions/1.0.0",
    manifest: { permissions: ASKED },
  });
  const entities: Record<string, Entity> = {
    "instances/one": { $case: "instance", value: instance },
    "plugins/trusted/versions/1.0.0": { $case: "version", value: version },
  };
  const grants = (rules: PolicyRules | undefined) => {
    const catalog = {
      get: (name: string) => entities[name],
      values: () => [].values(),
      synced: true,
      policy: { rules },
    };
    const answer = findSubject(catalog, "instances/one");
    return "found" in answer ? answer.found.grants.kv : answer.unknown;
  };
  expect(grants(undefined)).toBe(true);
  expect(grants(RULES)).toBe(false);
  expect(grants(parsePolicy('{"rules": [{"allow": {"kv": true}}]}'))).toBe(true);
});
