/** `http` in depth on real servers: retries, cache, bombs, budgets, rebinding, headers, proxy. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { retryAfterMs } from "../../services/executor/host/http.ts";
import { HttpCache } from "../../services/executor/host/http-cache.ts";
import { MAX_HTTP_BODY_BYTES } from "../../services/executor/host/http-request.ts";
import { openHttpGuest, startServer } from "../harness/http-guest.ts";

const PRIVATE = ["127.0.0.1"];

describe("retries", () => {
  test("are made when asked for, after the server's own pause, and told in the timing", async () => {
    await using server = await startServer((_, response) => {
      if (server.seen.length === 1) response.writeHead(429, { "retry-after": "0" }).end("slow down");
      else if (server.seen.length === 2) response.writeHead(503).end();
      else response.end("done");
    });
    await using g = openHttpGuest([`${server.url}/*`], PRIVATE);
    const reply = await g.send({ url: server.url, retry: { attempts: 4 } });
    expect(reply).toMatchObject({ status: 200, body: "done", timing: { attempts: 3, hops: 1 } });
    expect(server.seen).toHaveLength(3);
  });

  test("are not made unasked, for other answers, past the deadline, or for what may not be done twice", async () => {
    await using server = await startServer(({ url }, response) => {
      const status = Number(url.slice(1));
      response.writeHead(status, { "retry-after": "3600" }).end("no");
    });
    await using g = openHttpGuest([`${server.url}/*`], PRIVATE);
    expect((await g.send({ url: `${server.url}/503` })).timing.attempts).toBe(1);
    expect((await g.send({ url: `${server.url}/404`, retry: { attempts: 3 } })).timing.attempts).toBe(1);
    // It would have to wait longer than it has: the answer is given at once, with the pause in it.
    const late = await g.send({ url: `${server.url}/429`, retry: { attempts: 3 } });
    expect(late).toMatchObject({ status: 429, headers: { "retry-after": "3600" }, timing: { attempts: 1 } });
    expect(late.timing.total_ms).toBeLessThan(2_000);
    expect(server.seen).toHaveLength(3);
    for (const request of [
      { url: server.url, method: "POST", retry: { attempts: 2 } },
      { url: server.url, retry: { attempts: 6 } },
      { url: server.url, retry: { attempts: 0 } },
      { url: server.url, retry: 3 },
      { url: server.url, method: "POST", cache: true },
    ]) {
      expect([request, await g.code(request)]).toEqual([request, "invalid"]);
    }
  });

  test("also of a server that is not there yet; denied is denied at once", async () => {
    await using g = openHttpGuest(["http://127.0.0.1:*/*"], PRIVATE);
    const began = performance.now();
    expect(await g.code({ url: "http://127.0.0.1:9/", retry: { attempts: 2 } })).toBe("unavailable");
    expect(performance.now() - began).toBeGreaterThanOrEqual(100);
    expect(await g.code({ url: "http://10.0.0.1/", retry: { attempts: 5 } })).toBe("denied");
    expect(g.denied).toBe(1);
  });

  const now = Date.parse("2024-01-01T00:00:00Z");
  const pauses: [text: string | undefined, ms: number | undefined][] = [
    [undefined, undefined],
    ["0", 0],
    ["7", 7_000],
    ["Mon, 01 Jan 2024 00:00:10 GMT", 10_000],
    ["Sun, 31 Dec 2023 00:00:10 GMT", 0],
    ["soon", undefined],
    ["-1", undefined],
  ];
  test.each(pauses)("Retry-After %j is %j ms", (text, ms) => {
    expect(retryAfterMs(text, now)).toBe(ms);
  });
});

describe("cache", () => {
  test("an answer is shown again when the server says that it stands, by ETag or date", async () => {
    await using server = await startServer(({ url, headers }, response) => {
      const same = headers["if-none-match"] === '"v1"' || headers["if-modified-since"] !== undefined;
      if (url === "/etag") response.setHeader("etag", '"v1"');
      if (url === "/date") response.setHeader("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
      if (url === "/no-store") response.setHeader("cache-control", "no-store").setHeader("etag", '"v1"');
      response.setHeader("x-count", String(server.seen.length));
      if (same) response.writeHead(304).end();
      else response.setHeader("content-type", "text/plain").end(`body of ${url}`);
    });
    await using g = openHttpGuest([`${server.url}/*`], PRIVATE);
    for (const path of ["/etag", "/date"]) {
      expect(await g.send({ url: server.url + path, cache: true })).toMatchObject({ status: 200, cached: false });
      const again = await g.send({ url: server.url + path, cache: true });
      expect(again).toMatchObject({ status: 200, cached: true, body: `body of ${path}` });
      expect(again.headers).toMatchObject({ "content-type": "text/plain", "x-count": String(server.seen.length) });
      // Another header may mean another answer; who asks by itself gets the 304 itself.
      expect(await g.send({ url: server.url + path, cache: true, headers: { accept: "x" } })).toMatchObject({
        cached: false,
      });
      const own = await g.send({ url: server.url + path, cache: true, headers: { "if-none-match": '"v1"' } });
      expect([own.status, own.body]).toEqual([304, ""]);
      expect((await g.send({ url: server.url + path })).cached).toBeUndefined();
    }
    for (const path of ["/no-store", "/plain"]) {
      await g.send({ url: server.url + path, cache: true });
      expect(await g.send({ url: server.url + path, cache: true })).toMatchObject({ status: 200, cached: false });
    }
  });

  test("keeps to its bounds, instance by instance", () => {
    const cache = new HttpCache();
    const request = (n: number) =>
      ({ method: "GET", url: new URL(`http://x/${n}`), headers: {}, body: undefined, own: true }) as const;
    const answer = (bytes: number) => ({ status: 200, headers: { etag: "1" }, body: new Uint8Array(bytes) });
    cache.keep("b", request(0), answer(1_000));
    for (let n = 0; n < 100; n += 1) cache.keep("a", request(n), answer(500_000));
    expect(cache.bytes).toBeLessThanOrEqual((4 << 20) + 4_000);
    expect(cache.find("b", request(0))).toBeDefined();
    expect(cache.find("a", request(0))).toBeUndefined();
    expect(cache.find("a", request(99))).toBeDefined();
    cache.keep("a", request(99), answer(2 << 20));
    expect(cache.find("a", request(99))).toBeUndefined();
    for (let i = 0; i < 40; i += 1) {
      for (let n = 0; n < 8; n += 1) cache.keep(`i${i}`, request(n), answer(500_000));
    }
    expect(cache.bytes).toBeLessThanOrEqual(64 << 20);
  });
});

describe("bombs and budgets", () => {
  const zeros = Buffer.alloc(64 << 20);
  const bombs = {
    gzip: gzipSync(zeros),
    br: brotliCompressSync(zeros),
    deflate: deflateSync(zeros),
    zstd: zstdCompressSync(zeros),
  };
  test.each(Object.keys(bombs) as (keyof typeof bombs)[])("a bomb of %s is cut while it streams", async (encoding) => {
    await using server = await startServer((_, response) => {
      response.setHeader("content-encoding", encoding).end(bombs[encoding]);
    });
    await using g = openHttpGuest([`${server.url}/*`], PRIVATE);
    const before = process.memoryUsage().rss;
    expect(await g.code({ url: server.url })).toBe("too_large");
    expect(process.memoryUsage().rss - before).toBeLessThan(48 << 20);
  });

  test("a stream that never becomes anything is cut by what came over the wire, an endless one by time", async () => {
    const empty = gzipSync("");
    await using server = await startServer(({ url }, response) => {
      if (url === "/slow") {
        response.write("x");
        return;
      }
      response.setHeader("content-encoding", "gzip");
      const member = Buffer.concat(Array.from({ length: 3_000 }, () => empty));
      const push = () => {
        while (!response.destroyed && response.write(member));
        if (!response.destroyed) response.once("drain", push);
      };
      push();
    });
    await using g = openHttpGuest([`${server.url}/*`], PRIVATE);
    expect(await g.code({ url: `${server.url}/empty` })).toBe("too_large");
    expect(await g.code({ url: `${server.url}/slow`, timeout_ms: 100 })).toBe("deadline");
  });

  test("requests, redirects, retries and bytes of a call are counted together", async () => {
    await using server = await startServer(({ url }, response) => {
      if (url === "/hop") response.writeHead(302, { location: "/end" }).end();
      else response.end("x".repeat(1_000));
    });
    await using few = openHttpGuest([`${server.url}/*`], PRIVATE, { limits: { maxHttpRequests: 3 } });
    expect(await few.code({ url: `${server.url}/hop` })).toBe("ok");
    expect(await few.code({ url: `${server.url}/end` })).toBe("ok");
    expect(await few.code({ url: `${server.url}/end` })).toBe("exhausted");
    await using small = openHttpGuest([`${server.url}/*`], PRIVATE, { limits: { maxHttpBytes: 2_500 } });
    expect(await small.code({ url: server.url })).toBe("ok");
    expect(await small.code({ method: "POST", url: server.url, body: "y".repeat(600) })).toBe("too_large");
    await using one = openHttpGuest([`${server.url}/*`], PRIVATE, { limits: { maxHttpAtOnce: 1 } });
    const both = await Promise.all([one.code({ url: server.url }), one.code({ url: server.url })]);
    expect(both.sort()).toEqual(["exhausted", "ok"]);
    expect(MAX_HTTP_BODY_BYTES).toBe(16 << 20);
  });
});

test("the address that was screened is the one that is dialled: a name that rebinds gets nowhere", async () => {
  await using server = await startServer((_, response) => response.end("secret"));
  const { port } = server;
  const answers = [["93.184.216.34"], ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"]];
  const tables: [addresses: string[], code: string][] = [
    [["127.0.0.1"], "denied"],
    [["::1"], "denied"],
    [["::ffff:127.0.0.1"], "denied"],
    [["64:ff9b::7f00:1"], "denied"],
    [["169.254.169.254"], "denied"],
    [["10.0.0.7", "192.168.1.1"], "denied"],
  ];
  for (const [addresses, code] of tables) {
    await using g = openHttpGuest(["http://*:*/*"], [], { dialer: { resolve: async () => addresses } });
    expect([addresses, await g.code({ url: `http://rebind.example:${port}/` })]).toEqual([addresses, code]);
  }
  // A resolver that answers otherwise each time it is asked: it is asked once for a connection.
  let asked = 0;
  const resolve = async () => answers[asked++ % answers.length] as string[];
  await using g = openHttpGuest(["http://*:*/*"], [], { dialer: { resolve } });
  const codes: string[] = [];
  for (let i = 0; i < 3; i += 1) codes.push(await g.code({ url: `http://rebind.example:${port}/`, timeout_ms: 300 }));
  expect(codes).not.toContain("ok");
  expect(codes[1]).toBe("denied");
  expect(asked).toBe(3);
  expect(server.seen).toEqual([]);
});

test("all headers of an answer are told; those that say for whom a request is made are the host's", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(200, [...["Set-Cookie", "a=1, b"], ...["Set-Cookie", "c=2"], ...["X-One", "1"]]);
    response.end();
  });
  await using g = openHttpGuest([`${server.url}/*`], PRIVATE);
  const headers = {
    "X-Forwarded-For": "1.2.3.4",
    Forwarded: "for=1",
    Via: "x",
    "Proxy-Authorization": "x",
    TE: "x",
    "X-Mine": "y",
  };
  const reply = await g.send({ url: server.url, headers });
  expect(reply.headers).toMatchObject({ "set-cookie": "a=1, b, c=2", "x-one": "1" });
  expect(reply.repeated_headers).toEqual({ "set-cookie": ["a=1, b", "c=2"] });
  const sent = server.seen[0]?.headers ?? {};
  for (const name of ["x-forwarded-for", "forwarded", "via", "proxy-authorization", "te"])
    expect(sent[name]).toBeUndefined();
  expect([sent["x-mine"], sent["user-agent"]]).toEqual(["y", "millrace"]);
});

test("a proxy is used only when the operator has set one and the guest asks for it; the screen still holds", async () => {
  await using server = await startServer((_, response) => response.end("behind"));
  const forwarded: string[] = [];
  const proxy = createServer(async (request, response) => {
    forwarded.push(request.url ?? "");
    response.end(await (await fetch(request.url ?? "")).text());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  try {
    const uri = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await using without = openHttpGuest([`${server.url}/*`], PRIVATE);
    expect(await without.code({ url: server.url, proxy: true })).toBe("denied");
    await using g = openHttpGuest(["http://*:*/*"], PRIVATE, { dialer: { proxy: uri } });
    expect((await g.send({ url: server.url })).body).toBe("behind");
    expect(forwarded).toEqual([]);
    expect((await g.send({ url: server.url, proxy: true })).body).toBe("behind");
    expect(forwarded).toEqual([`${server.url}/`]);
    expect(await g.code({ url: "http://169.254.169.254/", proxy: true })).toBe("denied");
    expect(forwarded).toHaveLength(1);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});
