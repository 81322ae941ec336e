/** Permissions for sockets, calls and events: what each pattern takes and refuses, and that both sides must agree. */
import { describe, expect, test } from "vitest";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import {
  isSubject,
  parseCallPattern,
  parsePublishPattern,
  parseSocketPattern,
  plainHost,
  type SocketScheme,
} from "../../proto/patterns.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { permissionMistakes } from "../../services/registry/permissions.ts";

describe("sockets", () => {
  const table: [pattern: string, scheme: SocketScheme, host: string, port: number, fits: boolean][] = [
    ["tcp://db.example.org:5432", "tcp", "db.example.org", 5432, true],
    ["tcp://DB.example.org.:5432", "tcp", "db.example.org", 5432, true],
    ["tcp://db.example.org:5432", "tcp", "db.example.org", 5433, false],
    ["tcp://db.example.org:5432", "tls", "db.example.org", 5432, false],
    ["tcp://db.example.org:5432", "tcp", "db.example.org.evil.com", 5432, false],
    ["udp://*:161", "udp", "10.0.0.1", 161, true],
    ["udp://*:161", "udp", "10.0.0.1", 162, false],
    ["tls://*.example.org:*", "tls", "a.b.example.org", 443, true],
    ["tls://*.example.org:*", "tls", "example.org", 443, false],
    ["tls://*.example.org:*", "tls", "badexample.org", 443, false],
    ["udp://10.0.0.0/8:161", "udp", "10.255.0.1", 161, true],
    ["udp://10.0.0.0/8:161", "udp", "11.0.0.1", 161, false],
    ["udp://10.0.0.0/8:161", "udp", "ten.example.org", 161, false],
    ["udp://[2001:db8::/32]:161", "udp", "2001:db8::5", 161, true],
    ["udp://[2001:db8::/32]:161", "udp", "2001:db9::5", 161, false],
    ["tcp://127.0.0.1:80", "tcp", plainHost("0x7f.1") ?? "", 80, true],
    ["tcp://[::1]:80", "tcp", plainHost("0:0::1") ?? "", 80, true],
    ["tcp://bücher.example:80", "tcp", plainHost("BÜCHER.example") ?? "", 80, true],
    ["ping://*.example.org", "ping", "a.example.org", 0, true],
    ["ping://*", "tcp", "a.example.org", 7, false],
  ];
  test.each(table)("%s for %s://%s:%i: %s", (pattern, scheme, host, port, fits) => {
    expect(parseSocketPattern(pattern)?.matches(scheme, host, port)).toBe(fits);
  });
  const wrong = ["tcp://a.org", "ping://a.org:1", "http://a.org:80", "tcp://a.org:0", "tcp://a.org:65536", "tcp://:80"];
  const odd = [
    "tcp://a.*.org:80",
    "tcp://*a.org:80",
    "tcp://10.0.0.0/33:1",
    "tcp://u@a.org:1",
    "tcp://a.org:80/x",
    "*",
    "",
  ];
  test.each([...wrong, ...odd])("%s is not a pattern", (text) => expect(parseSocketPattern(text)).toBeUndefined());
  test.each(["", " ", "a b", "a/b", "a@b", "a:80", "*", "a%2eb", "[::1", "fe80::1%eth0"])("%j is not a host", (text) =>
    expect(plainHost(text)).toBeUndefined(),
  );
});

describe("calls", () => {
  const table: [pattern: string, instance: string, fn: string, fits: boolean][] = [
    ["weather/convert", "weather", "convert", true],
    ["weather/convert", "weather", "converts", false],
    ["weather/convert", "weather-2", "convert", false],
    ["weather/*", "weather", "anything", true],
    ["*/convert", "other", "convert", true],
    ["*/*", "other", "else", true],
  ];
  test.each(table)("%s for %s/%s: %s", (pattern, instance, fn, fits) => {
    expect(parseCallPattern(pattern)?.matches(instance, fn)).toBe(fits);
  });
  test.each(["weather", "weather/", "/convert", "Weather/x", "a/b/c", "a/b*", "*"])("%s is not a pattern", (text) =>
    expect(parseCallPattern(text)).toBeUndefined(),
  );
});

describe("events", () => {
  const table: [pattern: string, subject: string, fits: boolean][] = [
    ["orders.created", "orders.created", true],
    ["orders.created", "orders.created.eu", false],
    ["orders.*", "orders.created.eu", true],
    ["orders.*", "orders", false],
    ["orders.*", "ordersx.created", false],
    ["*", "any.thing", true],
    ["*", "a..b", false],
    ["*", "a.>", false],
  ];
  test.each(table)("%s for %s: %s", (pattern, subject, fits) => {
    expect(parsePublishPattern(pattern)?.matches(subject)).toBe(fits);
  });
  test.each(["", ".", "a.", ".a", "a.*.b", "a.>", "a b", "a*"])("%j is not a pattern", (text) =>
    expect(parsePublishPattern(text)).toBeUndefined(),
  );
  test("a subject has at most 8 parts", () => {
    expect([isSubject("a.b.c.d.e.f.g.h"), isSubject("a.b.c.d.e.f.g.h.i")]).toEqual([true, false]);
  });
});

test("both the manifest and the operator must allow it, and nothing is the default", () => {
  const asked = Permissions.fromPartial({ sockets: ["tcp://*:80"], call: ["a/*"], publish: ["x.*"] });
  const only = Permissions.fromPartial({ sockets: ["tcp://b.org:*"], call: ["*/f"], publish: ["x.y", "z"] });
  const some = effectiveGrants(asked, { allRequested: false, only });
  expect([some.socket("tcp", "b.org", 80), some.socket("tcp", "b.org", 81), some.socket("tcp", "c.org", 80)]).toEqual([
    true,
    false,
    false,
  ]);
  expect([some.call("a", "f"), some.call("a", "g"), some.call("b", "f")]).toEqual([true, false, false]);
  expect([some.publish("x.y"), some.publish("x.z"), some.publish("z")]).toEqual([true, false, false]);
  const none = effectiveGrants(asked, undefined);
  expect([none.socket("tcp", "b.org", 80), none.call("a", "f"), none.publish("x.y")]).toEqual([false, false, false]);
  const all = effectiveGrants(asked, { allRequested: true, only: undefined });
  expect([all.socket("tcp", "c.org", 80), all.call("a", "g"), all.publish("x.z")]).toEqual([true, true, true]);
});

test("the registry names every entry that is not a pattern", () => {
  const permissions = Permissions.fromPartial({ sockets: ["tcp://a"], call: ["a"], publish: ["ok", "a..b"] });
  expect(permissionMistakes(permissions, "permissions").map((m) => m.field)).toEqual([
    "permissions.sockets[0]",
    "permissions.call[0]",
    "permissions.publish[1]",
  ]);
});
