/** What both buses promise: keys and values, blobs, events, and an orderly end. The queue has its own file. */
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { decodeKeyPart, encodeKeyPart } from "../../services/bus/keys.ts";
import { openBus } from "../../services/bus/open.ts";
import type { Bus, Kv, KvChange } from "../../services/bus/ports.ts";
import { silentLog } from "../../services/kit/log.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { until } from "../harness/until.ts";

const MIB = 1_024 * 1_024;
const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);

/** Collects what a watch delivers until the signal aborts. */
function follow(kv: Kv, prefix: string, signal: AbortSignal) {
  const changes: KvChange[] = [];
  const read = async () => {
    for await (const change of kv.watch(prefix, signal)) changes.push(change);
  };
  return { changes, ended: read() };
}

const shown = (change: KvChange) =>
  change.type === "put"
    ? `${change.key}=${textOf(change.value)}`
    : change.type === "delete"
      ? `-${change.key}`
      : "synced";

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("the bus, %s", (_, openGround) => {
  test("of 32 who create one key, one wins, and the others learn that it exists", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("race");
    const ends = await Promise.allSettled(Array.from({ length: 32 }, (_, n) => kv.create("lock", bytes(`${n}`))));
    expect(ends.filter((end) => end.status === "fulfilled")).toHaveLength(1);
    const lost = ends.filter((end) => end.status === "rejected");
    for (const { reason } of lost) expect(reason).toMatchObject({ name: "Fault", code: "exists" });
  });

  test("of 32 who update one revision, one wins, and the others get a conflict", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("race");
    const revision = await kv.put("a.b", bytes("0"));
    const ends = await Promise.allSettled(
      Array.from({ length: 32 }, (_, n) => kv.update("a.b", bytes(`${n}`), revision)),
    );
    const won = ends.filter((end) => end.status === "fulfilled");
    expect(won).toHaveLength(1);
    expect((await kv.get("a.b"))?.revision).toBe(won[0]?.value);
    for (const end of ends) if (end.status === "rejected") expect(end.reason).toMatchObject({ code: "conflict" });
  });

  test("a key is created again after its delete, with a greater revision, also across a restart", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("locks");
    const first = await kv.create("k", bytes("1"));
    await expect(kv.delete("k", first + 7n)).rejects.toMatchObject({ code: "conflict" });
    await kv.delete("k", first);
    expect(await kv.get("k")).toBeUndefined();
    const second = await kv.create("k", bytes("2"));
    expect(second).toBeGreaterThan(first);
    await kv.delete("k");
    await kv.delete("k");
    await kv.delete("never-there");
    await expect(kv.update("k", bytes("x"), first)).rejects.toMatchObject({ code: "conflict" });
    const after = await (await ground.restart()).kv("locks");
    expect(await until("the bus is back", () => after.create("k", bytes("3")))).toBeGreaterThan(second);
  });

  test("values come back as they were, with the time of the bus, and an empty value is a value", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("values");
    const value = randomBytes(960 * 1_024);
    const revision = await kv.put("big", value);
    await kv.put("empty", new Uint8Array());
    const entry = await kv.get("big");
    expect(entry && Buffer.compare(entry.value, value)).toBe(0);
    expect(entry?.revision).toBe(revision);
    expect(Math.abs((entry?.createdMs ?? 0) - Date.now())).toBeLessThan(5_000);
    expect((await kv.get("empty"))?.value).toHaveLength(0);
    await expect(kv.put("big", new Uint8Array(960 * 1_024 + 1))).rejects.toMatchObject({ code: "too_large" });
  });

  test("list takes a prefix by whole parts, sorted, without what is deleted", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("list");
    for (const key of ["b", "a.2", "a.1", "ab", "a", "a-b", "a.1.x"]) await kv.put(key, bytes(key));
    await kv.put("a.gone", bytes("x"));
    await kv.delete("a.gone");
    expect((await kv.list("a")).map(({ key }) => key)).toEqual(["a", "a.1", "a.1.x", "a.2"]);
    expect((await kv.list("")).map(({ key }) => key)).toEqual(["a", "a-b", "a.1", "a.1.x", "a.2", "ab", "b"]);
    expect(await kv.list("nothing")).toEqual([]);
    expect(textOf((await kv.list("a.2"))[0]?.value)).toBe("a.2");
  });

  test("list and watch cope with more entries than one batch", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("many");
    const keys = Array.from({ length: 1_000 }, (_, n) => `k.${`${n}`.padStart(4, "0")}`);
    await Promise.all(keys.map((key) => kv.put(key, bytes(key))));
    expect((await kv.list("k")).map(({ key }) => key)).toEqual(keys);
    const stop = new AbortController();
    const { changes, ended } = follow(kv, "", stop.signal);
    await until("synced", () => changes.at(-1)?.type === "synced");
    expect(changes).toHaveLength(keys.length + 1);
    stop.abort();
    await ended;
  });

  test("a watch gives what is stored, then synced, then changes, and only those below its prefix", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("watch");
    await kv.put("p.a", bytes("0"));
    await kv.put("p.a", bytes("1"));
    await kv.put("p.b", bytes("2"));
    await kv.delete("p.b");
    await kv.put("q", bytes("3"));
    const stop = new AbortController();
    const { changes, ended } = follow(kv, "p", stop.signal);
    await until("synced", () => changes.at(-1)?.type === "synced");
    const revision = await kv.put("p.c", bytes("4"));
    await kv.put("pp", bytes("5"));
    await kv.delete("p.a");
    await until("the delete", () => changes.length >= 4);
    expect(changes.map(shown)).toEqual(["p.a=1", "synced", "p.c=4", "-p.a"]);
    expect(changes[2]).toMatchObject({ revision });
    stop.abort();
    await ended;
  });

  test("the bucket's revision tells whether a watch has brought everything, deletes included", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("revision");
    await kv.put("a", bytes("1"));
    const newest = await kv.put("b", bytes("2"));
    expect(await kv.revision()).toBe(newest);
    await kv.delete("b");
    const deleted = await kv.revision();
    expect(deleted).toBeGreaterThan(newest);
    const stop = new AbortController();
    const { changes, ended } = follow(kv, "", stop.signal);
    await until("synced", () => changes.at(-1)?.type === "synced");
    expect(changes.at(-1)).toEqual({ type: "synced", revision: deleted });
    await kv.delete("a");
    await until("the delete", () => changes.at(-1)?.type === "delete");
    expect(changes.at(-1)).toEqual({ type: "delete", key: "a", revision: await kv.revision() });
    stop.abort();
    await ended;
  });

  test("what is below a prefix is listed with the prefix itself, and nothing beside it", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("below");
    for (const key of ["p", "p.b", "p.a.c", "pp", "pp.a", "o"]) await kv.put(key, bytes(key));
    expect((await kv.list("p")).map(({ key }) => key)).toEqual(["p", "p.a.c", "p.b"]);
    await kv.delete("p");
    expect((await kv.list("p")).map(({ key }) => key)).toEqual(["p.a.c", "p.b"]);
    expect(await kv.list("none")).toEqual([]);
  });

  test("what is stored when a watch begins comes before synced, though it changes meanwhile", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("watch");
    for (const key of ["a", "b", "c"]) await kv.put(key, bytes("old"));
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const change of kv.watch("", stop.signal)) {
      seen.push(shown(change));
      if (seen.length === 1) await kv.put("b", bytes("new"));
      if (seen.includes("synced") && seen.includes("b=new")) break;
    }
    stop.abort();
    const early = seen.slice(0, seen.indexOf("synced")).map((line) => line[0]);
    expect(new Set(early)).toEqual(new Set(["a", "b", "c"]));
  });

  test("a watch of an empty bucket is synced at once", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("empty");
    const stop = new AbortController();
    const { changes, ended } = follow(kv, "", stop.signal);
    await until("synced", () => changes.length === 1);
    expect(changes).toEqual([{ type: "synced", revision: 0n }]);
    expect(await kv.revision()).toBe(0n);
    stop.abort();
    await ended;
  });

  test("a restart below a watch loses no change", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("watch");
    await kv.put("a", bytes("before"));
    await kv.put("b", bytes("before"));
    const stop = new AbortController();
    const first = follow(kv, "", stop.signal);
    await until("synced", () => first.changes.at(-1)?.type === "synced");
    const bus = await ground.restart();
    const again = await bus.kv("watch");
    await until("the bus is back", () => again.put("a", bytes("after")));
    await again.delete("b");
    await again.put("c", bytes("new"));
    // On NATS the same watch goes on; an embedded bus that was opened anew is watched anew.
    const second = bus === ground.bus ? first : follow(again, "", stop.signal);
    await until("the last change", () => second.changes.some((change) => shown(change) === "c=new"), 25_000);
    const newest = new Map<string, string>();
    for (const change of second.changes) if (change.type !== "synced") newest.set(change.key, shown(change));
    expect(newest.get("a")).toBe("a=after");
    if (bus === ground.bus) expect(newest.get("b")).toBe("-b");
    expect(second.changes.filter(({ type }) => type === "synced")).toHaveLength(1);
    stop.abort();
    await Promise.all([first.ended, second.ended]);
  });

  test("entries vanish after the ttl of their bucket; a write begins it anew", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("ttl", { ttlMs: 600 });
    const fence = await kv.create("gone", bytes("1"));
    const revision = await kv.create("kept", bytes("1"));
    const beganMs = performance.now();
    let newest = revision;
    await until("the entry vanishes", async () => {
      newest = await kv.update("kept", bytes("again"), newest);
      return (await kv.get("gone")) === undefined;
    });
    expect(performance.now() - beganMs).toBeGreaterThan(500);
    expect((await kv.list("")).map(({ key }) => key)).toEqual(["kept"]);
    expect(await kv.create("gone", bytes("2"))).toBeGreaterThan(fence);
  });

  test("opening a bucket twice gives the same store; another ttl is a conflict, also after a restart", async () => {
    await using ground = await openGround();
    await (await ground.bus.kv("same", { ttlMs: 60_000 })).put("k", bytes("v"));
    expect(textOf((await (await ground.bus.kv("same", { ttlMs: 60_000 })).get("k"))?.value)).toBe("v");
    await expect(ground.bus.kv("same")).rejects.toMatchObject({ code: "conflict" });
    const bus: Bus = await ground.restart();
    await until("the bus is back", () => bus.ping().then(() => true));
    await expect(bus.kv("same", { ttlMs: 30_000 })).rejects.toMatchObject({ code: "conflict" });
  });

  test("bad keys, names and options are refused by name", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("keys");
    const long = "k".repeat(513);
    for (const key of ["", ".", "a.", ".a", "a..b", "a b", "a*", ">", "a/b", "ü", "a\nb", long]) {
      await expect(kv.get(key), key).rejects.toMatchObject({ code: "invalid" });
      await expect(kv.put(key, bytes("x")), key).rejects.toMatchObject({ code: "invalid" });
      await expect(ground.bus.events.publish(key, bytes("x")), key).rejects.toMatchObject({ code: "invalid" });
    }
    await kv.put("k".repeat(512), bytes("x"));
    await kv.put("A-z_0=9.b", bytes("x"));
    await expect(ground.bus.kv("a.b")).rejects.toMatchObject({ code: "invalid" });
    await expect(ground.bus.kv("x", { ttlMs: 5 })).rejects.toMatchObject({ code: "invalid" });
    const options = { ackWaitMs: 0, maxDeliveries: 0, maxMessages: -1, dedupWindowMs: 0.5 };
    const refused = await ground.bus.queue("q", options).catch((fault) => fault);
    expect(refused.mistakes.map(({ field }: { field: string }) => field)).toEqual(Object.keys(options));
  });

  test("a 50 MiB blob comes back as it was, once stored and once again", async () => {
    await using ground = await openGround();
    const blobs = await ground.bus.blobs("large");
    const body = randomBytes(50 * MIB);
    const digest = await blobs.put(body);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await blobs.put(body)).toBe(digest);
    expect(Buffer.compare(await blobs.get(digest), body)).toBe(0);
    const again = await (await ground.restart()).blobs("large");
    expect(await until("the bus is back", () => again.has(digest))).toBe(true);
    expect(Buffer.compare(await again.get(digest), body)).toBe(0);
  });

  test("an empty blob, one deleted, one never there", async () => {
    await using ground = await openGround();
    const blobs = await ground.bus.blobs("small");
    const empty = await blobs.put(new Uint8Array());
    expect(await blobs.get(empty)).toHaveLength(0);
    const digest = await blobs.put(bytes("x"));
    await blobs.delete(digest);
    await blobs.delete(digest);
    expect(await blobs.has(digest)).toBe(false);
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: "not_found" });
    await expect(blobs.get("nonsense")).rejects.toMatchObject({ code: "invalid" });
    expect(await blobs.put(bytes("x"))).toBe(digest);
    expect(textOf(await blobs.get(digest))).toBe("x");
  });

  test("a blob whose stored bytes changed is refused, not returned", async () => {
    await using ground = await openGround();
    const digest = await (await ground.bus.blobs("b")).put(bytes("the truth"));
    const blobs = await (await ground.damage("b", digest)).blobs("b");
    await expect(blobs.get(digest)).rejects.toMatchObject({ code: "internal" });
    await blobs.delete(digest);
    await blobs.put(bytes("the truth"));
    expect(textOf(await blobs.get(digest))).toBe("the truth");
  });

  test("an event reaches every listener of its subject and above, in order, and no other", async () => {
    await using ground = await openGround();
    const { events } = ground.bus;
    const stop = new AbortController();
    const heard: string[] = [];
    const listen = async (name: string, subject: string) => {
      for await (const event of events.subscribe(subject, stop.signal)) heard.push(`${name}:${event.subject}`);
    };
    const ended = Promise.all([listen("all", "runs"), listen("one", "runs.a"), listen("other", "run")]);
    await ground.bus.ping();
    for (const subject of ["runs", "runs.a", "runs.ab"]) await events.publish(subject, bytes("x"));
    await until("all heard", () => heard.length === 4);
    expect(heard.filter((line) => line.startsWith("all"))).toEqual(["all:runs", "all:runs.a", "all:runs.ab"]);
    expect(heard).toContain("one:runs.a");
    stop.abort();
    await ended;
  });

  test("a slow listener loses the oldest events beyond 1,024, and hears again after a restart", async () => {
    await using ground = await openGround();
    const stop = new AbortController();
    const slow = ground.bus.events.subscribe("flood", stop.signal)[Symbol.asyncIterator]();
    await ground.bus.ping();
    for (let n = 0; n < 1_500; n += 1) await ground.bus.events.publish("flood", bytes(`${n}`));
    await ground.bus.ping();
    await until("the flood has arrived", () => ground.bus.ping().then(() => true));
    expect(textOf((await slow.next()).value?.body)).toBe("476");
    stop.abort();
    const bus = await ground.restart();
    await until("the bus is back", () => bus.ping().then(() => true));
    const again = new AbortController();
    const heard = bus.events.subscribe("flood", again.signal)[Symbol.asyncIterator]();
    await bus.ping();
    await until("published", () => bus.events.publish("flood", bytes("late")).then(() => true));
    expect(textOf((await heard.next()).value?.body)).toBe("late");
    again.abort();
  });

  test("a closed bus says so, ends its watches and does not hang", async () => {
    await using ground = await openGround();
    const kv = await ground.bus.kv("k");
    const { changes, ended } = follow(kv, "", new AbortController().signal);
    await until("synced", () => changes.length === 1);
    await ground.bus[Symbol.asyncDispose]();
    await ended;
    await expect(kv.put("k", bytes("v"))).rejects.toMatchObject({ code: "unavailable" });
    await expect(ground.bus.ping()).rejects.toMatchObject({ code: "unavailable" });
    await ground.bus[Symbol.asyncDispose]();
  });
});

test.each(["", "eth0/1", "Zürich ☂", "a.b*>", "=", "=41", "plain-1_x", "\n"])(
  "key part %j survives both ways",
  (text) => {
    const part = encodeKeyPart(text);
    expect(part).toMatch(/^[A-Za-z0-9_=-]+$/);
    expect(decodeKeyPart(part)).toBe(text);
  },
);

test.each(["a.b", "=4", "=41", "=zz", "ü", "=FF", ""])("%j was never written by encodeKeyPart", (part) => {
  expect(() => decodeKeyPart(part)).toThrow(expect.objectContaining({ code: "invalid" }));
});

test("openBus without a URL or a file says what to set", async () => {
  await expect(openBus({ log: silentLog, natsUrl: "" })).rejects.toMatchObject({ code: "invalid" });
});
