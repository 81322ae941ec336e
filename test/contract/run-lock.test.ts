/** The lock that work on stored rows holds: renewed while it lasts, and its loss is not taken for success. */
import { expect, test } from "vitest";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import { withRunLock } from "../../services/gateway/run-lock.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { until } from "../harness/until.ts";

const TTL_MS = 600;
const RUN = "weather.daily/20120101T000000Z";
const KEY = `run.${encodeKeyPart(RUN)}`;

test.each([
  { where: "embedded", open: embeddedGround },
  { where: "nats", open: natsGround },
])("on $where: held past its ttl, given back, and lost aloud", async ({ open }) => {
  await using ground = await open();
  const locks = await ground.bus.kv("locks-of-test", { ttlMs: TTL_MS });
  const startedMs = performance.now();
  const fence = await withRunLock(
    locks,
    RUN,
    async (held, lost) => {
      await until("three ttls have passed", () => performance.now() - startedMs > 3 * TTL_MS);
      expect(lost.aborted).toBe(false);
      await expect(withRunLock(locks, RUN, async () => 0, TTL_MS)).rejects.toMatchObject({ code: "conflict" });
      return held;
    },
    TTL_MS,
  );
  expect(await locks.get(KEY)).toBeUndefined();
  const stolen = withRunLock(
    locks,
    RUN,
    async (held, lost) => {
      expect(held > fence).toBe(true);
      await locks.delete(KEY);
      await locks.create(KEY, Buffer.of(1));
      await until("the loss is noticed", () => lost.aborted);
      return "done";
    },
    TTL_MS,
  );
  await expect(stolen).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("was lost") });
});
