/** Secrets in `http`: where a value goes, and all the places where it must not, on real servers. */
import { expect, test } from "vitest";
import { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import { SealedSecret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { BUCKETS } from "../../proto/names.ts";
import { newSecretKey, parseSecretKeys, type SecretKey, seal } from "../../proto/secrets.ts";
import { effectiveGrants } from "../../services/executor/grants.ts";
import { secretCapability } from "../../services/executor/host/secret.ts";
import { callLimits, HttpBudget } from "../../services/executor/limits.ts";
import { type InstanceSecrets, openVault } from "../../services/executor/secrets.ts";
import { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { embeddedGround } from "../harness/bus-ground.ts";
import { openHttpGuest, startServer } from "../harness/http-guest.ts";

const VALUE = 'pass "word" & more';

/** A real vault over a real bus. `secrets` are names as a manifest asks for them; all exist with these hosts. */
async function openSecrets(asked: string[], hosts: string[] = ["127.0.0.1"], names = ["key", "other"]) {
  const stack = new AsyncDisposableStack();
  const { bus } = stack.use(await embeddedGround());
  const key = newSecretKey();
  const [sealing] = parseSecretKeys(key) as [SecretKey];
  const kv = await bus.kv(BUCKETS.secrets);
  for (const id of names) {
    const of = { name: `secrets/${id}`, hosts };
    await kv.put(id, SealedSecret.encode(SealedSecret.fromPartial({ ...of, ...seal(sealing, of, VALUE) })).finish());
  }
  const vault = stack.use(await openVault(kv, key, silentLog));
  const permissions = Permissions.fromPartial({ secrets: asked });
  const secrets = vault.of(effectiveGrants(permissions, { allRequested: true, only: undefined }));
  return { secrets, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
const read = async (secrets: InstanceSecrets, name: string) => {
  let denied = 0;
  const capability = secretCapability(secrets, () => {
    denied += 1;
  });
  const signal = new AbortController().signal;
  const scope = { signal, remainingMs: () => 1_000, http: new HttpBudget(callLimits(undefined)) };
  const answer = await capability(Buffer.from(JSON.stringify({ name })), scope).catch(
    (thrown) => Fault.from(thrown).code,
  );
  return { answer, denied };
};

test("a value is written as its place asks: query, header, JSON, form; the answer comes back without it", async () => {
  await using server = await startServer(({ url, headers, body }, response) => {
    response.setHeader("x-key", String(headers["x-key"] ?? "")).end(`${url} ${body}`);
  });
  await using vault = await openSecrets(["key"]);
  await using g = openHttpGuest([`${server.url}/*`], ["127.0.0.1"], vault);
  const headers = { "x-key": "k {{secret:key}}" };
  const reply = await g.send({ url: `${server.url}/?a={{secret:key}}&b=%7B%7Bsecret%3Akey%7D%7D#x`, headers });
  expect(reply.url).toBe(`${server.url}/?a={{secret:key}}&b=%7B%7Bsecret%3Akey%7D%7D#x`);
  expect([reply.headers["x-key"], reply.body]).toEqual(["k (hidden)", "/?a=(hidden)&b=(hidden) "]);
  expect(server.seen[0]?.headers["x-key"]).toBe(`k ${VALUE}`);
  const asked = new URL(server.seen[0]?.url ?? "", server.url).searchParams;
  expect([asked.get("a"), asked.get("b")]).toEqual([VALUE, VALUE]);
  const post = (type: string, body: string) =>
    g.send({ method: "POST", url: server.url, headers: { "content-type": type }, body });
  await post("application/json; charset=utf-8", '{"k":"{{secret:key}}"}');
  expect(JSON.parse(server.seen.at(-1)?.body ?? "")).toEqual({ k: VALUE });
  await post("application/x-www-form-urlencoded", "k={{secret:key}}&l=1");
  expect(Object.fromEntries(new URLSearchParams(server.seen.at(-1)?.body))).toEqual({ k: VALUE, l: "1" });
  await post("text/plain", "{{secret:key}}");
  expect(server.seen.at(-1)?.body).toBe(VALUE);
});

test("what is not granted, not there, not for this host, or misplaced is refused before anything is sent", async () => {
  await using server = await startServer((_, response) => response.end("ok"));
  await using vault = await openSecrets(["key", "missing"]);
  await using g = openHttpGuest([`${server.url}/*`], ["127.0.0.1"], vault);
  const at = (query: string) => ({ url: `${server.url}/?${query}` });
  expect(await g.code(at("a={{secret:other}}"))).toBe("denied");
  expect(await g.code(at("a={{secret:nobody}}"))).toBe("denied");
  expect(await g.code(at("a={{secret:missing}}"))).toBe("not_found");
  expect(await g.code({ ...at(""), headers: { "x-a": "{{secret:other}}" } })).toBe("denied");
  expect(await g.code({ ...at(""), method: "POST", body: "{{secret:other}}" })).toBe("denied");
  expect(await g.code({ url: `${server.url}/{{secret:key}}` })).toBe("invalid");
  expect(g.denied).toBe(4);
  // The grant of the request is asked for first: no value is looked up for a place that may not be reached.
  await using elsewhere = openHttpGuest(["https://other.example/*"], [], vault);
  expect((await elsewhere.fault(at("a={{secret:key}}")))?.message).toContain("is not granted");
  await using fixed = await openSecrets(["key"], ["api.example.org"]);
  await using bound = openHttpGuest([`${server.url}/*`], ["127.0.0.1"], fixed);
  expect((await bound.fault(at("a={{secret:key}}")))?.message).toContain("may not be sent to 127.0.0.1");
  // Without TLS only to hosts that the secret itself names.
  await using anywhere = await openSecrets(["key"], []);
  await using plain = openHttpGuest([`${server.url}/*`], ["127.0.0.1"], anywhere);
  expect((await plain.fault(at("a={{secret:key}}")))?.message).toContain("without TLS");
  expect(server.seen).toEqual([]);
});

test("a redirect takes no secret to another origin, and cannot ask for one", async () => {
  await using thief = await startServer((_, response) => response.end("thanks"));
  await using server = await startServer(({ url }, response) => {
    const to: Record<string, [number, string]> = {
      "/away": [307, `${thief.url}/`],
      "/ask": [302, `${thief.url}/?q={{secret:key}}&r=%7B%7Bsecret:key%7D%7D`],
      "/near": [307, "/end?q={{secret:key}}"],
    };
    const hop = to[url];
    if (hop) response.writeHead(hop[0], { location: hop[1] }).end();
    else response.end("end");
  });
  await using vault = await openSecrets(["key"]);
  await using g = openHttpGuest(["http://127.0.0.1:*/*"], ["127.0.0.1"], vault);
  const headers = { "x-plain": "{{secret:key}}", "x-other": "kept" };
  const away = await g.send({ url: `${server.url}/away`, headers });
  expect(away.body).toBe("thanks");
  expect([thief.seen[0]?.headers["x-plain"], thief.seen[0]?.headers["x-other"]]).toEqual([undefined, "kept"]);
  expect(await g.code({ method: "POST", url: `${server.url}/away`, body: "{{secret:key}}" })).toBe("denied");
  await g.send({ url: `${server.url}/ask`, headers });
  expect(JSON.stringify(thief.seen)).not.toContain("pass");
  await g.send({ url: `${server.url}/near`, headers });
  expect(server.seen.at(-1)).toMatchObject({ url: "/end?q={{secret:key}}", headers: { "x-plain": VALUE } });
});

test("a guest reads a value only with name! on both sides, and errors never show one", async () => {
  await using vault = await openSecrets(["key!", "other"]);
  expect(await read(vault.secrets, "key")).toEqual({ answer: { value: VALUE }, denied: 0 });
  expect(await read(vault.secrets, "other")).toEqual({ answer: "denied", denied: 1 });
  expect(await read(vault.secrets, "nobody")).toEqual({ answer: "denied", denied: 1 });
  await using none = await openSecrets([]);
  expect(await read(none.secrets, "key")).toEqual({ answer: "denied", denied: 1 });
  await using lines = await openSecrets(["key"], ["127.0.0.1"], []);
  expect(await read(lines.secrets, "key")).toEqual({ answer: "denied", denied: 1 });
});

test("an answer that is kept is kept without the value", async () => {
  await using server = await startServer(({ headers }, response) => {
    response.setHeader("etag", '"1"').end(String(headers["x-key"]));
  });
  await using vault = await openSecrets(["key"]);
  await using g = openHttpGuest([`${server.url}/*`], ["127.0.0.1"], vault);
  const request = { url: server.url, headers: { "x-key": "{{secret:key}}" }, cache: true };
  expect((await g.send(request)).body).toBe("(hidden)");
  expect(g.cache.bytes).toBeGreaterThan(0);
  expect(JSON.stringify(g.cache)).not.toContain("pass");
});
