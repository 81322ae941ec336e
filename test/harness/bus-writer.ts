/** A process that writes to an embedded bus until it is killed, and prints what was acknowledged, an id a line. */
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { silentLog } from "../../services/kit/log.ts";

const file = process.argv[2] as string;
const bus = await openEmbeddedBus({ file, log: silentLog });
const kv = await bus.kv("written");
const queue = await bus.queue("written", {
  ...{ ackWaitMs: 1_000, maxDeliveries: 5, maxMessages: 1_000_000, dedupWindowMs: 60_000 },
});
process.stdout.write("open\n");
for (let number = 1; ; number += 1) {
  const id = `n${number}`;
  await Promise.all([queue.send(id, Buffer.from(id)), kv.put(id, Buffer.from(id))]);
  process.stdout.write(`${id}\n`);
}
