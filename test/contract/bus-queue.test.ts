/** What the queue promises on both buses: stored once, delivered at least once, given up in order. */
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Message, Queue, QueueOptions } from "../../services/bus/ports.ts";
import { Fault } from "../../services/kit/fault.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { until } from "../harness/until.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const ids = (messages: readonly { readonly id: string }[]) => messages.map(({ id }) => id);

const calm: QueueOptions = { ackWaitMs: 30_000, maxDeliveries: 5, maxMessages: 1_000, dedupWindowMs: 60_000 };
const hasty: QueueOptions = { ...calm, ackWaitMs: 400, maxDeliveries: 3 };

async function one(queue: Queue, waitMs = 5_000): Promise<Message> {
  const [message] = await queue.pull(1, waitMs);
  if (!message) throw new Error(`no message within ${waitMs} ms`);
  return message;
}

describe.each([
  ["embedded", embeddedGround],
  ["NATS", natsGround],
])("the queue, %s", (_, openGround) => {
  test("messages come in the order they were sent, with id, body, time and count", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    const sent = Array.from({ length: 20 }, (_, n) => `pipe/2012010${n}T000000Z`);
    for (const id of sent) expect(await queue.send(id, bytes(`body of ${id}`))).toBe(true);
    const messages = [...(await queue.pull(7, 1_000)), ...(await queue.pull(100, 1_000))];
    expect(ids(messages)).toEqual(sent);
    expect(new TextDecoder().decode(messages[3]?.body)).toBe(`body of ${sent[3]}`);
    expect(messages.every(({ deliveries }) => deliveries === 1)).toBe(true);
    expect(Math.abs((messages[0]?.sentMs ?? 0) - Date.now())).toBeLessThan(5_000);
    expect(await queue.depth()).toBe(20);
    await Promise.all(messages.map((message) => message.ack()));
    expect(await queue.depth()).toBe(0);
    expect(await queue.pull(1, 0)).toEqual([]);
  });

  test("one id is stored once within the window, even after its ack, and again after it", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", { ...calm, dedupWindowMs: 700 });
    const beganMs = performance.now();
    expect(await queue.send("a", bytes("1"))).toBe(true);
    const twice = await Promise.all([queue.send("b", bytes("1")), queue.send("b", bytes("2"))]);
    expect(twice.filter(Boolean)).toHaveLength(1);
    await (await one(queue)).ack();
    expect(await queue.send("a", bytes("2"))).toBe(false);
    expect(await queue.depth()).toBe(1);
    await until("the window has passed", () => queue.send("a", bytes("3")));
    expect(performance.now() - beganMs).toBeGreaterThan(600);
  });

  test("a pull waits for the first message and does not wait for more", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    const pulled = queue.pull(10, 10_000);
    await queue.send("a", bytes("x"));
    const beganMs = performance.now();
    expect(ids(await pulled)).toContain("a");
    expect(performance.now() - beganMs).toBeLessThan(2_000);
    const early = performance.now();
    expect(await queue.pull(1, 300)).toEqual([]);
    expect(performance.now() - early).toBeGreaterThanOrEqual(290);
  });

  test("a pull ends when its signal aborts, and what comes later goes to the next", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    const stop = new AbortController();
    const pulled = queue.pull(1, 20_000, stop.signal);
    await ground.bus.ping();
    stop.abort();
    expect(await pulled).toEqual([]);
    await queue.send("a", bytes("x"));
    expect((await one(queue)).deliveries).toBe(1);
    expect(await queue.pull(1, 1_000, AbortSignal.abort())).toEqual([]);
  });

  test("of many who pull at once, each message reaches one", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    const pulls = Array.from({ length: 8 }, () => queue.pull(5, 2_000));
    const sent = Array.from({ length: 40 }, (_, n) => `m${n}`);
    await Promise.all(sent.map((id) => queue.send(id, bytes(id))));
    const got = (await Promise.all(pulls)).flat();
    for (;;) {
      const more = await queue.pull(40, 0);
      if (more.length === 0) break;
      got.push(...more);
    }
    expect(ids(got).sort()).toEqual(sent.sort());
  });

  test("what is not acked in time comes again; others are not held up", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", hasty);
    await queue.send("slow", bytes("x"));
    const first = await one(queue);
    const beganMs = performance.now();
    await queue.send("quick", bytes("x"));
    await (await one(queue)).ack();
    const again = await one(queue);
    expect(performance.now() - beganMs).toBeGreaterThan(250);
    expect([first.id, again.id, again.deliveries]).toEqual(["slow", "slow", 2]);
    await again.ack();
    expect(await queue.pull(1, 900)).toEqual([]);
  });

  test("progress holds a message beyond its ack wait", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", hasty);
    await queue.send("long", bytes("x"));
    const message = await one(queue);
    const beganMs = performance.now();
    while (performance.now() - beganMs < 3 * hasty.ackWaitMs) {
      await message.progress();
      expect(await queue.pull(1, 100)).toEqual([]);
    }
    await message.ack();
    expect(await queue.depth()).toBe(0);
  });

  test("nak brings a message again after its delay, behind what waits", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    await queue.send("later", bytes("x"));
    const beganMs = performance.now();
    await (await one(queue)).nak(600);
    await queue.send("now", bytes("x"));
    expect((await one(queue)).id).toBe("now");
    const again = await one(queue);
    expect(performance.now() - beganMs).toBeGreaterThan(550);
    expect([again.id, again.deliveries]).toEqual(["later", 2]);
    await again.nak(0);
    expect((await one(queue)).deliveries).toBe(3);
  });

  test("an ack that comes too late counts, though another holds the message by then", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", hasty);
    await queue.send("a", bytes("x"));
    const late = await one(queue);
    const second = await one(queue);
    expect(second.deliveries).toBe(2);
    await late.ack();
    expect(await queue.depth()).toBe(0);
    await second.ack();
    expect(await queue.pull(1, 900)).toEqual([]);
  });

  test("a dead letter leaves the queue with its reason, and redrive brings it back as new", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    await queue.send("pipe/1", bytes("one"));
    await queue.send("pipe/2", bytes("two"));
    await (await one(queue)).deadLetter("no such plugin: Zürich\n☂");
    await (await one(queue)).deadLetter("second");
    expect(await queue.depth()).toBe(0);
    const dead = await queue.deadLetters(10);
    expect(dead.map(({ id, reason }) => [id, reason])).toEqual([
      ["pipe/1", "no such plugin: Zürich\n☂"],
      ["pipe/2", "second"],
    ]);
    expect(Math.abs((dead[0]?.deadMs ?? 0) - Date.now())).toBeLessThan(5_000);
    expect(ids(await queue.deadLetters(1))).toEqual(["pipe/1"]);
    await queue.redrive("pipe/1");
    await expect(queue.redrive("pipe/1")).rejects.toMatchObject({ code: "not_found" });
    expect(ids(await queue.deadLetters(10))).toEqual(["pipe/2"]);
    const back = await one(queue);
    expect([back.id, new TextDecoder().decode(back.body), back.deliveries]).toEqual(["pipe/1", "one", 1]);
    await back.deadLetter("again");
    expect((await queue.deadLetters(10)).map(({ id, reason }) => `${id} ${reason}`)).toContain("pipe/1 again");
  });

  test("what is delivered too often goes to the dead letters by itself", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", hasty);
    await queue.send("poison", bytes("x"));
    await queue.send("naked", bytes("y"));
    const counts = new Map<string, number>();
    await until("both are dead", async () => {
      for (const message of await queue.pull(10, 100)) {
        counts.set(message.id, Math.max(counts.get(message.id) ?? 0, message.deliveries));
        if (message.id === "naked") await message.nak(0);
      }
      return (await queue.deadLetters(10)).length === 2;
    });
    expect([...counts.values()]).toEqual([hasty.maxDeliveries, hasty.maxDeliveries]);
    const dead = await queue.deadLetters(10);
    expect(new Set(dead.map(({ reason }) => reason))).toEqual(new Set(["too many deliveries"]));
    await until("the queue is empty", async () => (await queue.depth()) === 0);
    await queue.redrive("poison");
    expect((await one(queue)).deliveries).toBe(1);
  });

  test("a full queue refuses one more until there is room; a duplicate is no message", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", { ...calm, maxMessages: 3 });
    for (const id of ["a", "b", "c"]) await queue.send(id, bytes(id));
    await expect(queue.send("d", bytes("d"))).rejects.toMatchObject({ code: "exhausted" });
    expect(await queue.send("c", bytes("c"))).toBe(false);
    const [message] = await queue.pull(1, 1_000);
    await expect(queue.send("d", bytes("d"))).rejects.toMatchObject({ code: "exhausted" });
    await message?.deadLetter("to make room");
    expect(await queue.send("d", bytes("d"))).toBe(true);
    await expect(queue.redrive("a")).rejects.toMatchObject({ code: "exhausted" });
    expect(ids(await queue.deadLetters(10))).toEqual(["a"]);
  });

  test("other options are a conflict; bad ids and too large bodies are refused", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", calm);
    await queue.send("a", bytes("x"));
    const again = await ground.bus.queue("jobs", { ...calm });
    expect(await again.depth()).toBe(1);
    await expect(ground.bus.queue("jobs", { ...calm, maxMessages: 1 })).rejects.toMatchObject({ code: "conflict" });
    for (const id of ["", "a b", "a\nb", "ü", "x".repeat(513)]) {
      await expect(queue.send(id, bytes("x"))).rejects.toMatchObject({ code: "invalid" });
    }
    await expect(queue.send("big", new Uint8Array(960 * 1_024 + 1))).rejects.toMatchObject({ code: "too_large" });
    await queue.send("x".repeat(512), new Uint8Array(960 * 1_024));
    const bus = await ground.restart();
    await until("the bus is back", () => bus.ping().then(() => true));
    if (bus !== ground.bus) {
      await expect(bus.queue("jobs", { ...calm, maxMessages: 1 })).rejects.toMatchObject({ code: "conflict" });
    }
  });

  test("a restart in the middle: what was sent comes, in order; what was held comes again; what was acked does not", async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("jobs", { ...calm, ackWaitMs: 1_500 });
    for (let n = 0; n < 10; n += 1) await queue.send(`m${n}`, bytes("x"));
    const [acked, held] = await queue.pull(2, 1_000);
    await acked?.ack();
    await (await one(queue)).deadLetter("before the restart");
    const again = await (await ground.restart()).queue("jobs", { ...calm, ackWaitMs: 1_500 });
    await until("the bus is back", () => again.depth());
    expect(await again.send("m5", bytes("x"))).toBe(false);
    const got: Message[] = [];
    const due = [held?.id, "m3", "m4", "m5", "m6", "m7", "m8", "m9"];
    await until("all have come", async () => {
      for (const message of await again.pull(10, 500)) {
        got.push(message);
        await message.ack();
      }
      return due.every((id) => ids(got).includes(id as string));
    });
    const settled = [acked?.id, "m2"];
    expect(ids(got).filter((id) => id !== held?.id && !settled.includes(id))).toEqual(due.slice(1));
    if (!ground.forgets) {
      expect(ids(got).filter((id) => settled.includes(id))).toEqual([]);
      expect(got.find(({ id }) => id === held?.id)?.deliveries).toBe(2);
    }
    expect(ids(await again.deadLetters(10))).toEqual(["m2"]);
    expect(await again.depth()).toBe(0);
  });

  test("a restart amid sends and pulls: every acknowledged send is delivered, and the queue ends empty", async () => {
    await using ground = await openGround();
    const options = { ...calm, ackWaitMs: 2_000, maxDeliveries: 100, maxMessages: 100_000 };
    let queue = await ground.bus.queue("jobs", options);
    const sent = new Set<string>();
    const delivered = new Set<string>();
    let sending = true;
    const again = async (work: () => Promise<unknown>) => {
      await until("the bus takes it", async () => {
        await work().catch((thrown) => {
          // Retried with the same id: if the lost answer was a yes, this is a no-op.
          if (!(thrown instanceof Fault) || !thrown.retryable) throw new Error("not retryable", { cause: thrown });
          throw thrown;
        });
        return true;
      });
    };
    const senders = [0, 1, 2, 3].map(async (lane) => {
      for (let n = 0; sending; n += 1) {
        const id = `${lane}-${n}`;
        await again(() => queue.send(id, bytes(id)));
        sent.add(id);
      }
    });
    // An ack without an answer may have been taken or not: the message comes again, or the depth goes down without it.
    const isOver = async () => delivered.size >= sent.size && (await queue.depth().catch(() => 1)) === 0;
    const pulling = (async () => {
      for (let idle = 0; sending || idle < 3; ) {
        const messages = await queue.pull(50, 200).catch(() => turn([]));
        for (const { id } of messages) delivered.add(id);
        await Promise.allSettled(messages.map((message) => message.ack()));
        idle = messages.length === 0 && (await isOver()) ? idle + 1 : 0;
      }
    })();
    for (let round = 1; round <= 2; round += 1) {
      const target = sent.size + 200;
      await until("200 more are sent", () => sent.size >= target);
      queue = await (await ground.restart()).queue("jobs", options).catch(() => queue);
    }
    const target = sent.size + 100;
    await until("100 more are sent", () => sent.size >= target);
    sending = false;
    await Promise.all([...senders, pulling]);
    expect([...sent].filter((id) => !delivered.has(id))).toEqual([]);
    expect(await queue.depth()).toBe(0);
    expect(await queue.deadLetters(1)).toEqual([]);
  });
});
