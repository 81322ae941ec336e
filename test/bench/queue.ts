/**
 * How many jobs per second pass through the queue? A job is one send, one pull and one ack of 200 bytes, all confirmed.
 * Sequential: one job at a time. Windowed: 64 sends at once, one pull of 64, 64 acks at once. One process, each arm on
 * a fresh store; NATS is a server on loopback. Run: `node test/bench/queue.ts`
 */
import { randomBytes } from "node:crypto";
import type { Message, QueueOptions } from "../../services/bus/ports.ts";
import { type BusGround, embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { type Arm, measure, report } from "./report.ts";

const WARM_UP_MS = 300;
const MEASURED_MS = 2_000;
const BODY_BYTES = 200;
const PULL_WAIT_MS = 5_000;
const OPTIONS: QueueOptions = { ackWaitMs: 30_000, maxDeliveries: 5, maxMessages: 100_000, dedupWindowMs: 120_000 };

function arm(name: string, openGround: () => Promise<BusGround>, window: number): Arm {
  const run = async () => {
    await using ground = await openGround();
    const queue = await ground.bus.queue("bench", OPTIONS);
    const body = randomBytes(BODY_BYTES);
    let sent = 0;
    const passWindow = async () => {
      await Promise.all(Array.from({ length: window }, (_, n) => queue.send(`job/${sent + n}`, body)));
      sent += window;
      const held: Message[] = [];
      while (held.length < window) held.push(...(await queue.pull(window - held.length, PULL_WAIT_MS)));
      await Promise.all(held.map((message) => message.ack()));
    };
    const passFor = async (ms: number) => {
      const [firstJob, beganMs] = [sent, performance.now()];
      while (performance.now() - beganMs < ms) await passWindow();
      return (sent - firstJob) / ((performance.now() - beganMs) / 1_000);
    };
    await passFor(WARM_UP_MS);
    return await passFor(MEASURED_MS);
  };
  return { name, unit: "jobs/s", run };
}

const rows = await measure([
  arm("embedded, sequential", embeddedGround, 1),
  arm("embedded, window 64", embeddedGround, 64),
  arm("NATS, sequential", natsGround, 1),
  arm("NATS, window 64", natsGround, 64),
]);
report({ question: "How many jobs per second pass through the queue?", rows });
