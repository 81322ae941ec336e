/** Plugin routes: which route is meant, what a guest may see and say, ranges of files, who may call. */
import { describe, expect, test } from "vitest";
import type { Route } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { gate, hostCheck, refuseCrossSite, requireToken } from "../../services/gateway/auth.ts";
import { guestAnswer, headersToGuest, queryToGuest } from "../../services/gateway/guest-answer.ts";
import { routeTable } from "../../services/gateway/route-table.ts";
import { blobCache, parseRange } from "../../services/gateway/static-files.ts";
import { Fault } from "../../services/kit/fault.ts";

const route = (method: string, path: string, more: Partial<Route> = {}): Route => ({
  ...{ method, path, auth: "", timeout: "", maxBodyBytes: 0n },
  ...more,
});

describe("route table", () => {
  const table = routeTable([
    route("GET", "/api/latest"),
    route("GET", "/api/{name}", { auth: "public", timeout: "5m" }),
    route("POST", "/api/{name}", { maxBodyBytes: 1n << 40n }),
    route("*", "/files/{rest...}"),
    route("GET", "/a.b"),
  ]);
  const cases: [method: string, path: string, found: string | undefined, params: object | undefined][] = [
    ["GET", "/api/latest", "/api/latest", {}],
    ["GET", "/api/a%2Fb%20c", "/api/{name}", { name: "a/b c" }],
    ["GET", "/api/100%", "/api/{name}", { name: "100%" }],
    ["GET", "/api/", undefined, undefined],
    ["GET", "/api/a/b", undefined, undefined],
    ["HEAD", "/api/x", "/api/{name}", { name: "x" }],
    ["DELETE", "/api/x", undefined, undefined],
    ["PATCH", "/files/a/b.txt", "/files/{rest...}", { rest: "a/b.txt" }],
    ["GET", "/files/", "/files/{rest...}", { rest: "" }],
    ["GET", "/aXb", undefined, undefined],
  ];
  test.each(cases)("%s %s", (method, path, found, params) => {
    const match = table.match(method, path);
    expect(match?.route.path).toBe(found);
    expect(match?.params).toEqual(params);
  });
  test("limits are capped, defaults hold, methods are told", () => {
    expect(table.match("GET", "/api/x")?.route).toMatchObject({ timeoutMs: 60_000, isPublic: true });
    expect(table.match("POST", "/api/x")?.route).toMatchObject({ timeoutMs: 10_000, maxBodyBytes: 16 << 20 });
    expect(table.methodsAt("/api/x")).toEqual(["GET", "POST"]);
  });
  test("files are public only where every route is", () => {
    expect(table.allPublic).toBe(false);
    expect(routeTable([]).allPublic).toBe(false);
    expect(routeTable([route("GET", "/a", { auth: "public" })]).allPublic).toBe(true);
  });
});

const answer = (value: unknown) => guestAnswer(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));

describe("what a guest says", () => {
  test("status, headers and text or bytes", () => {
    expect(answer({ status: 201, headers: { "X-A": "1", "x-b": 2 }, body: "é" })).toEqual({
      status: 201,
      headers: { "x-a": "1", "x-b": "2", "content-type": "text/plain; charset=utf-8" },
      body: Buffer.from("é"),
    });
    expect(answer({ body_base64: "AAH/" })).toMatchObject({ status: 200, body: Buffer.from([0, 1, 255]) });
    expect(answer({ status: 204 }).body.length).toBe(0);
  });
  test("it does not speak for the platform or the connection", () => {
    const headers = { "Set-Cookie": "a=b", "Content-Length": "9", Connection: "close", "Transfer-Encoding": "chunked" };
    expect(answer({ headers, body: "x" }).headers).toEqual({ "content-type": "text/plain; charset=utf-8" });
  });
  const bad: [what: string, value: unknown, problem: RegExp][] = [
    ["not JSON", "{", /not JSON/],
    ["a list", [], /not an object/],
    ["a status out of range", { status: 99 }, /status 99/],
    ["a status as text", { status: "200" }, /status "200"/],
    ["a body that is an object", { body: {} }, /body is not text/],
    ["base64 that is none", { body_base64: "*" }, /not base64/],
    ["two bodies", { body: "a", body_base64: "YQ==" }, /both/],
    ["a line break in a header", { headers: { a: "b\r\nset-cookie: x" } }, /header a/],
    ["a header name with a blank", { headers: { "a b": "c" } }, /header name/],
    ["headers as a list", { headers: [] }, /headers is not an object/],
    [
      "too many headers",
      { headers: Object.fromEntries([...Array(101).keys()].map((i) => [`h${i}`, "x"])) },
      /101 headers/,
    ],
  ];
  test.each(bad)("%s is said", (_, value, problem) => {
    expect(() => answer(value)).toThrow(problem);
  });
  test("it sees neither cookies nor the platform's token", () => {
    const headers = { authorization: "Bearer x", cookie: "a=b", accept: "*/*", connection: "close" };
    expect(headersToGuest(headers, true)).toEqual({ accept: "*/*" });
    expect(headersToGuest(headers, false)).toEqual({ accept: "*/*", authorization: "Bearer x" });
    expect({ ...queryToGuest(new URLSearchParams("a=1&b=2&a=3")) }).toEqual({ a: ["1", "3"], b: "2" });
  });
});

test.each([
  ["bytes=0-3", { first: 0, last: 3 }],
  ["bytes=5-", { first: 5, last: 9 }],
  ["bytes=-4", { first: 6, last: 9 }],
  ["bytes=-40", { first: 0, last: 9 }],
  ["bytes=8-40", { first: 8, last: 9 }],
  ["bytes=10-", "unsatisfiable"],
  ["bytes=-0", "unsatisfiable"],
  ["bytes=5-2", undefined],
  ["bytes=0-1,3-4", undefined],
  ["lines=0-1", undefined],
  [undefined, undefined],
])("range %s of ten bytes", (header, range) => {
  expect(parseRange(header, 10)).toEqual(range);
});

test("blobs are kept up to a bound, read once for many at a time, and a failure is not kept", async () => {
  const reads: string[] = [];
  let broken = true;
  const get = async (digest: string) => {
    reads.push(digest);
    if (digest === "bad" && broken) throw new Fault("unavailable", "away");
    return new Uint8Array(40);
  };
  const read = blobCache(get, 100);
  await Promise.all([read("a"), read("a"), read("b")]);
  expect(reads).toEqual(["a", "b"]);
  await read("a");
  await read("c");
  await read("b");
  expect(reads).toEqual(["a", "b", "c", "b"]);
  await expect(read("bad")).rejects.toThrow("away");
  broken = false;
  expect((await read("bad")).length).toBe(40);
});

describe("who may call", () => {
  test("the token opens, anything else does not", () => {
    const closed = gate("s3cret");
    expect(closed.opens("Bearer s3cret")).toBe(true);
    expect(closed.opens("bearer s3cret")).toBe(true);
    for (const wrong of [undefined, "", "Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret"]) {
      expect(() => closed.check(wrong)).toThrow(/token/);
    }
    expect(gate("").opens(undefined)).toBe(true);
  });
  test("a door that others can reach needs a token", () => {
    expect(() => requireToken("", { GATEWAY_HTTP: "0.0.0.0:7400" })).toThrow(/GATEWAY_HTTP=0.0.0.0:7400/);
    expect(() => requireToken("", { GATEWAY_HTTP: "127.0.0.1:7400", GATEWAY_GRPC: "[::]:1" })).toThrow(/GATEWAY_GRPC/);
    requireToken("x", { GATEWAY_HTTP: "0.0.0.0:7400" });
    requireToken("", { GATEWAY_HTTP: "localhost:7400", GATEWAY_GRPC: "[::1]:1" });
  });
  test("on loopback only its own names are answered", () => {
    const check = hostCheck("127.0.0.1", ["dev.example"]);
    for (const host of ["localhost:7400", "127.0.0.1", "[::1]:7400", "DEV.example:80"]) check(host);
    for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:7400", "", undefined]) {
      expect(() => check(host)).toThrow(/not a name/);
    }
    hostCheck("0.0.0.0", [])("anything.example");
  });
  test("a page of another site cannot change anything", () => {
    const host = "localhost:7400";
    refuseCrossSite("GET", { host, origin: "http://evil.example" });
    refuseCrossSite("POST", { host });
    refuseCrossSite("POST", { host, origin: "http://localhost:7400", "sec-fetch-site": "same-origin" });
    for (const headers of [{ origin: "http://evil.example" }, { origin: "null" }, { "sec-fetch-site": "cross-site" }]) {
      expect(() => refuseCrossSite("POST", { host, ...headers })).toThrow(/may not/);
    }
  });
});
