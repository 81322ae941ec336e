/** `http` for guests on real servers: grants, the screen at dial time, redirects, limits, and how failures are told. */
import { brotliCompressSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { MAX_HTTP_BODY_BYTES } from "../../services/executor/host/http-request.ts";
import { openHttpGuest, type Seen, startServer } from "../harness/http-guest.ts";

test("a request that is granted and may be dialled is sent as asked, without the host's own headers", async () => {
  await using server = await startServer((_, response) => {
    response.writeHead(201, { "x-answer": ["a", "b"], "content-type": "text/plain" }).end("grüße");
  });
  await using g = openHttpGuest([`${server.url}/v1/*`], ["127.0.0.1"]);
  const headers = { Authorization: "Bearer x", Host: "evil", "Content-Length": "999", "Transfer-Encoding": "chunked" };
  const reply = await g.send({ method: "POST", url: `${server.url}/v1/a?b=c`, headers, body: "héllo" });
  expect(reply).toMatchObject({ status: 201, body: "grüße", url: `${server.url}/v1/a?b=c` });
  expect(reply.headers["x-answer"]).toBe("a, b");
  const [seen] = server.seen;
  expect(seen).toMatchObject({ method: "POST", url: "/v1/a?b=c", body: "héllo" });
  expect([seen?.headers.authorization, seen?.headers.host]).toEqual(["Bearer x", `127.0.0.1:${server.port}`]);
});

test("what is not granted, and what is granted but private, is denied and never sent", async () => {
  await using server = await startServer((_, response) => response.end("secret"));
  await using open = openHttpGuest([`${server.url}/v1/*`], ["127.0.0.1"]);
  expect(await open.code({ url: `${server.url}/v2` })).toBe("denied");
  expect(await open.code({ url: `${server.url}/v1/`, method: "DELETE" })).toBe("denied");
  expect(open.denied).toBe(2);
  await using closed = openHttpGuest(["http://*:*/*"], []);
  const { port } = server;
  const hosts = ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"];
  for (const host of hosts)
    expect([host, await closed.code({ url: `http://${host}:${port}/` })]).toEqual([host, "denied"]);
  expect(closed.denied).toBe(hosts.length);
  expect(server.seen).toEqual([]);
});

test("a name that resolves to a private address is denied by its address, and allowed by its name", async () => {
  await using server = await startServer((_, response) => response.end("ok"));
  await using named = openHttpGuest(["http://localhost:*/*"], [`localhost:${server.port}`]);
  expect(await named.code({ url: `http://localhost:${server.port}/` })).toBe("ok");
  await using other = openHttpGuest(["http://localhost:*/*"], ["localhost:1"]);
  expect(await other.code({ url: `http://localhost:${server.port}/` })).toBe("denied");
});

test("redirects are judged hop by hop, lose credentials across origins, and end", async () => {
  await using target = await startServer((_, response) => response.end("there"));
  await using server = await startServer(({ url }, response) => {
    const to: Record<string, [number, string]> = {
      "/same": [302, "/end"],
      "/across": [307, `${target.url}/ok`],
      "/escape": [302, `${target.url}/private`],
      "/loop": [302, "/loop"],
      "/file": [302, "file:///etc/passwd"],
      "/metadata": [302, "http://169.254.169.254/latest/meta-data"],
    };
    const hop = to[url];
    if (hop) response.writeHead(hop[0], { location: hop[1] }).end();
    else response.end("end");
  });
  const urls = [`${server.url}/*`, `${target.url}/ok`, "http://169.254.169.254/*"];
  await using g = openHttpGuest(urls, ["127.0.0.1"]);
  const headers = { authorization: "Bearer x", "x-api-key": "k", "x-plain": "p" };
  const same = await g.send({ method: "POST", url: `${server.url}/same`, headers, body: "b" });
  expect(same).toMatchObject({ status: 200, body: "end", url: `${server.url}/end` });
  expect(server.seen.at(-1)).toMatchObject({ method: "GET", body: "" });
  expect(server.seen.at(-1)?.headers.authorization).toBe("Bearer x");
  expect(await g.code({ method: "POST", url: `${server.url}/across`, headers, body: "b" })).toBe("ok");
  const { method, body, headers: sent } = target.seen[0] as Seen;
  expect([method, body, sent.authorization, sent["x-api-key"], sent["x-plain"]]).toEqual([
    "POST",
    "b",
    undefined,
    undefined,
    "p",
  ]);
  expect(await g.code({ url: `${server.url}/escape` })).toBe("denied");
  expect(await g.code({ url: `${server.url}/file` })).toBe("denied");
  expect(await g.code({ url: `${server.url}/metadata` })).toBe("denied");
  expect(target.seen).toHaveLength(1);
  const before = server.seen.length;
  expect(await g.code({ url: `${server.url}/loop` })).toBe("unavailable");
  expect(server.seen.length - before).toBe(6);
});

test("bodies are decoded, binary comes as base64, and a bomb is cut at the limit", async () => {
  const bomb = gzipSync(Buffer.alloc(MAX_HTTP_BODY_BYTES + 1));
  await using server = await startServer(({ url }, response) => {
    if (url === "/br") response.setHeader("content-encoding", "br").end(brotliCompressSync("ø".repeat(1_000)));
    else if (url === "/bytes") response.end(Buffer.from([0xff, 0x00]));
    else if (url === "/bomb") response.setHeader("content-encoding", "gzip").end(bomb);
    else if (url === "/odd") response.setHeader("content-encoding", "gzip, gzip").end("x");
    else if (url === "/torn") response.setHeader("content-encoding", "gzip").end(bomb.subarray(0, 100));
    else response.end(Buffer.alloc(MAX_HTTP_BODY_BYTES + 1));
  });
  await using g = openHttpGuest([`${server.url}/*`], ["127.0.0.1"]);
  expect((await g.send({ url: `${server.url}/br` })).body).toBe("ø".repeat(1_000));
  expect((await g.send({ url: `${server.url}/bytes` })).body_base64).toBe("/wA=");
  expect(await g.code({ url: `${server.url}/bomb` })).toBe("too_large");
  expect(await g.code({ url: `${server.url}/big` })).toBe("too_large");
  expect(await g.code({ url: `${server.url}/odd` })).toBe("unavailable");
  expect(await g.code({ url: `${server.url}/torn` })).toBe("unavailable");
});

test("no answer in time is a deadline, nobody there is unavailable, nonsense is invalid", async () => {
  await using server = await startServer(() => {});
  await using g = openHttpGuest(["http://127.0.0.1:*/*", "http://no-such-host.invalid/*"], ["127.0.0.1"]);
  expect(await g.code({ url: server.url, timeout_ms: 50 })).toBe("deadline");
  expect(await g.code({ url: "http://127.0.0.1:9/" })).toBe("unavailable");
  expect(await g.code({ url: "http://no-such-host.invalid/" })).toBe("unavailable");
  for (const request of [
    { url: "nonsense" },
    { url: "ftp://127.0.0.1/" },
    { url: server.url, method: "CONNECT" },
    { url: server.url, headers: { "a b": "c" } },
    { url: server.url, headers: { a: "b\r\nc: d" } },
    { url: server.url, body: "with GET" },
    [],
  ]) {
    expect([request, await g.code(request)]).toEqual([request, "invalid"]);
  }
});
