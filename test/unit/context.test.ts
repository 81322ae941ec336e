/** The rules of documents: what an answer may hold, what a guest is given, who may read, when they go. */
import { describe, expect, test } from "vitest";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { isNamespace, parseContextPattern } from "../../proto/patterns.ts";
import type { Kv } from "../../services/bus/ports.ts";
import { contextFor } from "../../services/executor/context-input.ts";
import { contextsOf, documentsOfResources, type NewDocument } from "../../services/executor/contexts.ts";
import { checkOf } from "../../services/executor/function-schema.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { readDocuments } from "../../services/executor/kinds/enrich.ts";
import { cleanOwnedKeys } from "../../services/executor/owned-keys.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { grantChanges, widens } from "../../services/registry/grants-diff.ts";
import { neededExports, readManifest } from "../../services/registry/manifest.ts";
import { manifestOf } from "../harness/bundle.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { until } from "../harness/until.ts";

const HOUR_MS = 3_600_000;
const NAMESPACES = new Map([
  ["any", { check: checkOf(undefined), ttlMs: HOUR_MS }],
  ["port", { check: checkOf({ type: "object", required: ["a", "b"] }, true), ttlMs: 2_000 }],
]);
const RESOURCES = { own: "me", find: (name: string) => (name === "dev-1" ? "net-dev-1" : undefined) };
const read = (...documents: unknown[]) => {
  const answer = readDocuments({ documents }, NAMESPACES, RESOURCES);
  if (typeof answer === "string") throw new Error(answer);
  return answer;
};
const mistakesOf = (document: unknown) => read(document).mistakes.map((text) => text.replace("documents[0]", ""));

describe("an answer of enrich", () => {
  test.each<[answer: unknown, says: string]>([
    [undefined, "not a JSON object"],
    [[], "not a JSON object"],
    [{ documents: {} }, "documents: is not an array"],
    [{ status: "great" }, '"great" is not one of ok no_data partial'],
    [{ documents: new Array(10_001).fill({}) }, "there are 10001; at most 10000"],
  ])("%# is none", (answer, says) => {
    expect(readDocuments(answer, NAMESPACES, RESOURCES)).toContain(says);
  });
  test("a document is about the resource at hand unless it names another, and lives as its namespace says", () => {
    const { documents, mistakes } = read(
      { namespace: "any", key: "k" },
      { namespace: "port", key: "k", value: { a: 1, b: null }, resource: "dev-1", ttl: "1s" },
    );
    expect(mistakes).toEqual([]);
    expect(documents.map(({ document: { json, ...rest } }) => [rest, Buffer.from(json).toString()])).toEqual([
      [{ resource: "me", namespace: "any", key: "k", ttlMs: HOUR_MS }, "null"],
      [{ resource: "net-dev-1", namespace: "port", key: "k", ttlMs: 1_000 }, '{"a":1,"b":null}'],
    ]);
  });
  test.each<[document: unknown, mistakes: string[]]>([
    [null, [": is not an object"]],
    [{ namespace: "any", key: "x".repeat(129) }, [`.key: "${"x".repeat(99)} is not text of 1 to 128 bytes`]],
    [{ namespace: "any", key: "\ud800" }, ['.key: "\\ud800" is not text of 1 to 128 bytes']],
    [{ namespace: "any", key: "k", resource: 7 }, [".resource: there is no resource 7"]],
    [{ namespace: "any", key: "k", ttl: "999ms" }, ['.ttl: "999ms" is too short: at least 1000 ms']],
    [
      { namespace: "port", key: "k", value: {} },
      [".value: must have required property 'a'", ".value: must have required property 'b'"],
    ],
    [
      { namespace: "__proto__", key: "k" },
      ['.namespace: "__proto__" is not declared in interfaces.enrich.namespaces; there are: any port'],
    ],
  ])("%j is refused with every mistake", (document, mistakes) => {
    expect(mistakesOf(document)).toEqual(mistakes);
  });
  test("checks that take long do not take for ever: what comes after is not checked and not kept", () => {
    let nowMs = 0;
    const slow = new Map([["any", { check: () => [], ttlMs: 1_000 }]]);
    const documents = Array.from({ length: 5 }, (_, i) => ({ namespace: "any", key: `k${i}` }));
    const clock = () => {
      nowMs += 700;
      return nowMs;
    };
    const answer = readDocuments({ documents }, slow, RESOURCES, clock);
    expect(answer).toMatchObject({ documents: { length: 3 }, mistakes: { length: 2 } });
  });
});

describe("who may read", () => {
  const grants = (asked: string[], only: string[], policy?: string[]) =>
    effectiveGrants(
      Permissions.fromPartial({ context: asked }),
      { allRequested: false, only: Permissions.fromPartial({ context: only }) },
      policy && Permissions.fromPartial({ context: policy }),
    );
  test.each<[asked: string[], only: string[], policy: string[] | undefined, own: boolean, other: boolean]>([
    [["port"], ["port"], undefined, true, false],
    [["port/*"], ["port"], undefined, true, false],
    [["port/*"], ["*/*"], undefined, true, true],
    [["port/*"], ["*/*"], ["*"], true, false],
    [["port"], ["*"], [], false, false],
    [["*"], [], undefined, false, false],
    [["ports"], ["port"], undefined, false, false],
  ])("asked %j, granted %j, policy %j", (asked, only, policy, own, other) => {
    const { context } = grants(asked, only, policy);
    expect([context("port", true), context("port", false)]).toEqual([own, other]);
  });
  test.each([["Port"], ["port/dev-1"], [""], ["/*"], ["a*"], ["p/*/*"], ["_marks"]])("%j is no pattern", (text) => {
    expect(parseContextPattern(text)).toBeUndefined();
    expect(isNamespace(text)).toBe(false);
  });
  test.each<[before: string[], after: string[], wider: boolean]>([
    [["port"], ["port/*"], true],
    [["port/*"], ["port"], false],
    [["*"], ["port"], false],
    [["*"], ["port/*"], true],
    [["*/*"], ["port/*", "*"], false],
    [[], ["port"], true],
  ])("from %j to %j widens: %s", (before, after, wider) => {
    const [from, to] = [before, after].map((context) => Permissions.fromPartial({ context }));
    expect(widens(grantChanges(from, to))).toBe(wider);
  });
  test("a guest is given what is granted and fits; the rest is named", async () => {
    const large = { key: "k", value: "x".repeat(3 << 20), instance: "i", writtenMs: 0, ttlMs: 1 };
    const list = async (_: string, namespace: string) => (namespace === "none" ? [] : [large]);
    let denied = 0;
    const { context, leftOut } = await contextFor(
      { list },
      { context: (namespace) => namespace !== "secret" },
      ["none", "secret", "first", "second"],
      { resource: "me", onDenied: () => (denied += 1) },
    );
    expect([Object.keys(context), context.none, denied]).toEqual([["none", "first"], {}, 1]);
    expect(leftOut.map((text) => text.split(" ")[0])).toEqual(["secret", "second"]);
  });
});

describe("stored", () => {
  const document = (over: Partial<NewDocument> = {}): NewDocument => ({
    ...{ resource: "me", namespace: "any", key: "k", json: Buffer.from("1"), ttlMs: HOUR_MS },
    ...over,
  });
  const by = (fence: bigint, instance = "i") => ({ instance, runId: `run-${fence}`, fence });
  const signal = new AbortController().signal;

  test("a newer attempt writes over an older one, never the other way; another instance only when it is over", async () => {
    await using ground = await embeddedGround();
    const contexts = contextsOf(await ground.bus.kv("contexts"), (name) => name !== "gone");
    expect(await contexts.store([document()], by(5n), signal)).toEqual([undefined]);
    expect(await contexts.store([document({ json: Buffer.from("2") })], by(6n), signal)).toEqual([undefined]);
    await expect(contexts.store([document()], by(5n), signal)).rejects.toMatchObject({ code: "conflict" });
    expect((await contexts.get("me", "any", "k"))?.value).toBe(2);
    const brief = document({ key: "brief", ttlMs: 200 });
    expect(await contexts.store([brief, document()], by(7n, "j"), signal)).toEqual([
      undefined,
      expect.stringMatching(/^belongs to instances\/i /),
    ]);
    const left = document({ key: "left" });
    expect(await contexts.store([left], by(8n, "gone"), signal)).toEqual([undefined]);
    expect(await contexts.store([left], by(7n, "j"), signal)).toEqual([undefined]);
    await until("it is over", async () => (await contexts.get("me", "any", "brief")) === undefined);
    expect(await contexts.store([brief], by(8n), signal)).toEqual([undefined]);
    expect((await contexts.list("me", "any")).map(({ key, instance }) => [key, instance])).toEqual([
      ["brief", "i"],
      ["k", "i"],
      ["left", "j"],
    ]);
  });

  test("what is over goes though nobody reads it; so does what a resource leaves; the rest stays", async () => {
    await using ground = await embeddedGround();
    const [kv, locks] = [await ground.bus.kv("contexts"), await ground.bus.kv("locks", { ttlMs: 15_000 })];
    const contexts = contextsOf(kv, () => true);
    const [brief, gone] = [document({ resource: "brief", ttlMs: 100 }), document({ resource: "gone" })];
    await contexts.store([brief, gone, document()], by(1n), signal);
    const keys = async (bucket: Kv) => (await bucket.list("")).map(({ key }) => key);
    expect(await keys(kv)).toEqual(["_.brief", "_.gone", "_.me", "brief.any.k", "gone.any.k", "me.any.k"]);
    const storedMs = Date.now();
    await until("the brief one is over", () => Date.now() > storedMs + brief.ttlMs);
    const alive = new Set(["resources/brief", "resources/me"]);
    const catalog = {
      ...{ synced: true, values: () => [].values(), onChange: () => () => {} },
      get: (name: string) => (alive.has(name) ? ({ $case: "resource" } as never) : undefined),
    };
    const buckets = [documentsOfResources(kv)];
    await using _ = cleanOwnedKeys({ catalog, buckets, locks, executor: "e", log: silentLog }) as AsyncDisposable;
    await until("one is left", async () => (await keys(kv)).length === 2);
    expect(await keys(kv)).toEqual(["_.me", "me.any.k"]);
  });
});

describe("in a manifest", () => {
  const enrich = { every: "1m", namespaces: { port: { schema: { type: "object" }, ttl: "1h" }, any: {} } };
  const manifest = (more: object) => {
    const json = { ...manifestOf({}), interfaces: { enrich }, ...more };
    return readManifest(Buffer.from(JSON.stringify(json)));
  };
  test("it is read, and asks for its export", () => {
    const read = manifest({ interfaces: { enrich, poll: { context: ["port"] } }, permissions: { context: ["*"] } });
    expect(neededExports(read)).toEqual(["poll", "enrich"]);
    expect(read.interfaces?.enrich?.namespaces).toMatchObject({ port: { ttl: "1h" }, any: { schema: undefined } });
    expect([read.interfaces?.poll?.context, read.permissions?.context]).toEqual([["port"], ["*"]]);
  });
  test("every mistake is told at once", () => {
    const namespaces = { Port: {}, a: { schema: { type: "thing" }, ttl: "1ms" }, b: { every: "1s" } };
    const interfaces = { enrich: { every: "10ms", filter: "resource.nothing", namespaces }, poll: { context: ["a"] } };
    const told = () => manifest({ interfaces, permissions: { context: ["Nope!"] } });
    expect(mistakesIn(told).sort()).toEqual([
      "interfaces.enrich.every",
      "interfaces.enrich.filter",
      "interfaces.enrich.namespaces.Port",
      "interfaces.enrich.namespaces.a.schema.type",
      "interfaces.enrich.namespaces.a.ttl",
      "interfaces.enrich.namespaces.b.every",
      "interfaces.poll.context[0]",
      "permissions.context[0]",
    ]);
  });
  test("without namespaces there is nothing to write", () => {
    expect(mistakesIn(() => manifest({ interfaces: { enrich: {} } }))).toEqual(["interfaces.enrich.namespaces"]);
    const none = { interfaces: { enrich: { namespaces: {} } } };
    expect(mistakesIn(() => manifest(none))).toEqual(["interfaces.enrich.namespaces"]);
  });
  const mistakesIn = (work: () => unknown) => {
    try {
      work();
    } catch (thrown) {
      return [...new Set((thrown as Fault).mistakes.map(({ field }) => field))];
    }
    return [];
  };
});
