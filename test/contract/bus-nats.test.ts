/** What only the NATS bus promises: how it finds a server, what it refuses, and that it comes back. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { openNatsBus } from "../../services/bus/nats/bus.ts";
import { isAtLeast, readUrl } from "../../services/bus/nats/link.ts";
import { findNatsServer } from "../../services/cli/nats-server.ts";
import { silentLog } from "../../services/kit/log.ts";
import { freePort, startNats } from "../harness/nats.ts";
import { until } from "../harness/until.ts";

const open = (url: string, connectTimeoutMs = 2_000) =>
  openNatsBus({ url, log: silentLog, name: "test", connectTimeoutMs });

test("no server: unavailable within the time given, with the place and what to do, without the password", async () => {
  const url = `nats://me:hush@127.0.0.1:${await freePort()}`;
  const beganMs = performance.now();
  const fault = await open(url, 700).catch((thrown) => thrown);
  expect(fault).toMatchObject({ name: "Fault", code: "unavailable" });
  expect(fault.message).toMatch(/127\.0\.0\.1:\d+.*nats-server -js/);
  expect(`${fault.message}${fault.stack}`).not.toContain("hush");
  expect(performance.now() - beganMs).toBeLessThan(2_000);
});

test("a server that comes up while it is looked for is found", async () => {
  await using nats = await startNats();
  await nats.kill9();
  const opened = open(nats.url, 15_000);
  await nats.restart();
  await using bus = await opened;
  await bus.ping();
});

test("a wrong password is denied at once; the right one, with odd characters, is let in", async () => {
  await using nats = await startNats(["--user", "me", "--pass", "p@ss:w/rd"]);
  await expect(open(`nats://me:hush@127.0.0.1:${nats.port}`)).rejects.toMatchObject({ code: "denied" });
  await using bus = await open(`nats://me:${encodeURIComponent("p@ss:w/rd")}@127.0.0.1:${nats.port}`);
  await bus.ping();
});

test("a server that is gone: calls are unavailable and name the URL, and all is well once it is back", async () => {
  await using nats = await startNats();
  await using bus = await open(nats.url);
  const kv = await bus.kv("k");
  await kv.put("a", new Uint8Array([1]));
  await nats.kill9();
  await until("ping tells", () =>
    bus.ping().then(
      () => false,
      (fault) => fault.code === "unavailable",
    ),
  );
  await expect(bus.ping()).rejects.toThrow(`127.0.0.1:${nats.port}`);
  await expect(kv.get("a")).rejects.toMatchObject({ code: "unavailable" });
  await expect(bus.events.publish("e", new Uint8Array())).rejects.toMatchObject({ code: "unavailable" });
  await nats.restart();
  await until("the bus is back", () => bus.ping().then(() => true));
  expect((await kv.get("a"))?.value).toEqual(new Uint8Array([1]));
});

test("two connections share buckets and queues, and other options are a conflict that names both", async () => {
  await using nats = await startNats();
  await using one = await open(nats.url);
  await using two = await open(nats.url);
  await (await one.kv("k", { ttlMs: 60_000 })).put("a", new Uint8Array([1]));
  expect(await (await two.kv("k", { ttlMs: 60_000 })).get("a")).toBeDefined();
  const options = { ackWaitMs: 1_000, maxDeliveries: 2, maxMessages: 10, dedupWindowMs: 1_000 };
  await one.queue("q", options);
  await two.queue("q", options);
  for (const changed of [{ ackWaitMs: 9_000 }, { maxDeliveries: 9 }, { maxMessages: 9 }, { dedupWindowMs: 900 }]) {
    await using third = await open(nats.url);
    await expect(third.queue("q", { ...options, ...changed })).rejects.toMatchObject({ code: "conflict" });
  }
  await using fourth = await open(nats.url);
  await expect(fourth.kv("k", { ttlMs: 30_000 })).rejects.toThrow(/max_age is 60000000000, not 30000000000/);
});

test("a queue that was removed behind its back is an error, not an empty queue", async () => {
  await using nats = await startNats();
  await using bus = await open(nats.url);
  const queue = await bus.queue("q", { ackWaitMs: 1_000, maxDeliveries: 2, maxMessages: 10, dedupWindowMs: 1_000 });
  const nc = await connect({ servers: nats.url });
  await (await jetstreamManager(nc)).streams.delete("millrace_queue_q");
  await nc.close();
  await expect(queue.pull(1, 5_000)).rejects.toMatchObject({ name: "Fault" });
  await expect(queue.send("a", new Uint8Array())).rejects.toMatchObject({ name: "Fault" });
});

test.each([
  ["2.9.9", false],
  ["2.9.10", true],
  ["2.10.0", true],
  ["3.0.0-beta.1", true],
  ["1.99.99", false],
  ["", false],
])("version %j is at least 2.9.10: %s", (version, enough) => {
  expect(isAtLeast(version, [2, 9, 10])).toBe(enough);
});

test("a URL is taken apart, and what is shown of it holds no secret", () => {
  expect(readUrl("nats://u:p%40@a,tls://b:5222,c")).toMatchObject({
    servers: ["a:4222", "b:5222", "c:4222"],
    where: "nats://a:4222,tls://b:5222,nats://c:4222",
    auth: { user: "u", pass: "p@" },
  });
  expect(readUrl("nats://s3cret@a").auth).toEqual({ token: "s3cret" });
  for (const wrong of ["http://a", "nats://", ""]) {
    expect(() => readUrl(wrong)).toThrow(expect.objectContaining({ code: "invalid" }));
  }
});

test("a NATS_SERVER_BIN that is no program is an error, not a fallback", () => {
  expect(() => findNatsServer({ NATS_SERVER_BIN: "/no/such/nats-server" })).toThrow(/NATS_SERVER_BIN/);
  expect(findNatsServer({ PATH: "" }) ?? "none").toMatch(/none|nats-server/);
});
