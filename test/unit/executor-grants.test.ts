/** What a guest may reach: URL patterns, manifest with grant, and the screen of addresses. Pure tables. */
import { describe, expect, test } from "vitest";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { parseUrlPattern } from "../../proto/url-pattern.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { closedReason, parsePrivateHosts } from "../../services/executor/host/address.ts";

describe("URL patterns", () => {
  const yes: [pattern: string, url: string][] = [
    ["https://api.example.org/v1/*", "https://api.example.org/v1/data?q=1"],
    ["https://api.example.org/v1/*", "https://API.example.org:443/v1/"],
    ["https://api.example.org/v1/*", "https://api.example.org./v1/x"],
    ["https://api.example.org/v1/*", "https://api.example.org/v2/../v1/x"],
    ["http://*:*/*", "http://10.0.0.1:8080/any/where"],
    ["https://*.example.org/*", "https://a.b.example.org/"],
    ["http://127.0.0.1:*/v1/*", "http://127.0.0.1:4711/v1/archive"],
    ["http://127.0.0.1/", "http://0x7f.1/"],
    ["http://[::1]:8080/*", "http://[0:0::1]:8080/x"],
    ["https://bücher.example/*", "https://xn--bcher-kva.example/a"],
    ["https://a.org/a*/c", "https://a.org/ab/x/c"],
    ["https://a.org", "https://a.org/"],
    ["https://a.org/*", "https://a.org/x%2fy"],
  ];
  const no: [pattern: string, url: string][] = [
    ["https://api.example.org/v1/*", "http://api.example.org/v1/x"],
    ["https://api.example.org/v1/*", "https://api.example.org:8443/v1/x"],
    ["https://api.example.org/v1/*", "https://api.example.org.evil.com/v1/x"],
    ["https://api.example.org/v1/*", "https://evil.com/https://api.example.org/v1/x"],
    ["https://api.example.org/v1/*", "https://api.example.org/v1/../admin"],
    ["https://api.example.org/v1/*", "https://api.example.org/v1/%2e%2e/admin"],
    ["https://api.example.org/v1/*", "https://api.example.org/v1/..%2fadmin"],
    ["https://api.example.org/v1/*", "https://api.example.org/v1/..%5Cadmin"],
    ["https://api.example.org/v1/*", "https://api.example.org@evil.com/v1/x"],
    ["https://api.example.org/v1/*", "https://user:pw@api.example.org/v1/x"],
    ["https://*.example.org/*", "https://example.org/"],
    ["https://*.example.org/*", "https://badexample.org/"],
    ["https://a.org", "https://a.org/x"],
    ["https://a.org/x.y", "https://a.org/xzy"],
    ["http://127.0.0.1/*", "http://127.0.0.1:81/"],
  ];
  test.each(yes)("%s takes %s", (pattern, url) => {
    expect(parseUrlPattern(pattern, [])?.matches(new URL(url), "GET")).toBe(true);
  });
  test.each(no)("%s does not take %s", (pattern, url) => {
    expect(parseUrlPattern(pattern, [])?.matches(new URL(url), "GET")).toBe(false);
  });
  test.each(["ftp://a.org/*", "https://*a.org/", "https://a.*.org/", "//a.org", "https://a.org:x/", "https:///x", "*"])(
    "%s is not a pattern",
    (pattern) => expect(parseUrlPattern(pattern, [])).toBeUndefined(),
  );
  test("without methods only GET and HEAD", () => {
    const url = new URL("https://a.org/");
    const methods = (given: string[]) =>
      ["GET", "HEAD", "POST", "DELETE"].filter((m) => parseUrlPattern("https://a.org/", given)?.matches(url, m));
    expect(methods([])).toEqual(["GET", "HEAD"]);
    expect(methods(["POST"])).toEqual(["POST"]);
  });
});

describe("effective grants", () => {
  const asked = Permissions.fromPartial({
    http: [{ url: "https://*.example.org/*", methods: ["GET", "POST"] }],
    kv: true,
    query: ["a", "b"],
  });
  const url = new URL("https://x.example.org/y");
  test("nothing granted is nothing", () => {
    for (const grants of [undefined, { allRequested: false, only: undefined }]) {
      const effective = effectiveGrants(asked, grants);
      expect([effective.http(url, "GET"), effective.anyHttp, effective.kv, effective.query]).toEqual([
        false,
        false,
        false,
        [],
      ]);
    }
  });
  test("all requested is what the manifest asks, no more", () => {
    const effective = effectiveGrants(asked, { allRequested: true, only: undefined });
    expect([effective.http(url, "POST"), effective.kv, effective.query]).toEqual([true, true, ["a", "b"]]);
    expect(effective.http(url, "DELETE")).toBe(false);
    expect(effectiveGrants(undefined, { allRequested: true, only: undefined }).kv).toBe(false);
  });
  test("a grant wider than the manifest gives no more than the manifest, a narrower one less", () => {
    const only = Permissions.fromPartial({
      http: [
        { url: "https://x.example.org/y", methods: [] },
        { url: "http://*:*/*", methods: ["GET"] },
      ],
      kv: false,
      query: ["b", "c"],
    });
    const effective = effectiveGrants(asked, { allRequested: false, only });
    expect(effective.http(url, "GET")).toBe(true);
    expect(effective.http(url, "POST")).toBe(false);
    expect(effective.http(new URL("https://x.example.org/z"), "GET")).toBe(false);
    expect(effective.http(new URL("http://10.0.0.1/"), "GET")).toBe(false);
    expect([effective.kv, effective.query]).toEqual([false, ["b"]]);
  });
});

describe("address screen", () => {
  const closed = [
    ..."0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1".split(" "),
    ..."172.31.255.255 192.0.0.192 192.168.1.1 198.18.0.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255".split(" "),
    ...":: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2002:7f00:1::1 2001::1".split(" "),
    ..."::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 0:0:0:0:0:ffff:a9fe:a9fe ::127.0.0.1 64:ff9b::7f00:1".split(" "),
    ..."64:ff9b:1::1 100::1 5f00::1 168.63.129.16 not-an-address".split(" "),
  ];
  const open = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 2606:4700::1111 ::ffff:8.8.8.8".split(
    " ",
  );
  test.each(closed)("%s is closed", (address) => expect(closedReason(address)).toBeTruthy());
  test.each(open)("%s is open", (address) => expect(closedReason(address)).toBeUndefined());

  test("the operator's exceptions are by host, host:port, address and range", () => {
    const hosts = parsePrivateHosts(["localhost:8080", "intra.example", "10.1.0.0/16", "::1", "127.0.0.1:81"], "X");
    expect(hosts.hasName("localhost", 8080)).toBe(true);
    expect(hosts.hasName("localhost", 8081)).toBe(false);
    expect(hosts.hasName("intra.example", 1)).toBe(true);
    expect(hosts.hasAddress("10.1.2.3", 1)).toBe(true);
    expect(hosts.hasAddress("::ffff:10.1.2.3", 1)).toBe(true);
    expect(hosts.hasAddress("10.2.0.1", 1)).toBe(false);
    expect(hosts.hasAddress("::1", 1)).toBe(true);
    expect(hosts.hasAddress("127.0.0.1", 81)).toBe(true);
    expect(hosts.hasAddress("127.0.0.1", 82)).toBe(false);
  });
  test("every bad exception is named", () => {
    expect(() => parsePrivateHosts(["10.0.0.0/33", "a b", "x:99999", "ok"], "X")).toThrow(/3 mistakes/);
  });
});
