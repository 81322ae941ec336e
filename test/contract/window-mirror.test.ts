/** The mirror of windows knows at once what was stored before it was asked, on both buses, also after a restart. */
import { expect, test } from "vitest";
import { Window, WindowState } from "../../proto/gen/millrace/scheduler/v1/window.ts";
import { encodeKeyPart } from "../../services/bus/keys.ts";
import type { Kv } from "../../services/bus/ports.ts";
import { silentLog } from "../../services/kit/log.ts";
import { compactTime, timestampOf } from "../../services/kit/time.ts";
import { mirrorWindows, type WindowMirror } from "../../services/scheduler/window-mirror.ts";
import { embeddedGround, natsGround } from "../harness/bus-ground.ts";
import { seeded } from "../harness/random.ts";
import { until } from "../harness/until.ts";

const HOUR_US = 3_600_000_000n;
const PIPES = ["weather.daily", "weather.hourly"];
const STATES = [WindowState.RUNNING, WindowState.DONE, WindowState.FAILED, WindowState.STALE];

/** Writes at random, and after each write asks the mirror for what it must know by now. */
async function writeAndLook(kv: Kv, mirror: WindowMirror, known: Map<string, WindowState>, seed: number) {
  const random = seeded(seed);
  const pick = <T>(all: readonly T[]) => all[Math.floor(random() * all.length)] as T;
  for (let round = 0; round < 120; round += 1) {
    const pipe = pick(PIPES);
    // Half an hour off now and then: fractions of a second and odd begins are windows, too.
    const beginUs = BigInt(Math.floor(random() * 30)) * HOUR_US + (random() < 0.2 ? 500_000n : 0n);
    const key = `${encodeKeyPart(pipe)}.${compactTime(beginUs)}`;
    if (random() < 0.25) {
      await kv.delete(key);
      known.delete(`${pipe} ${beginUs}`);
    } else {
      const [begin, end, state] = [timestampOf(beginUs), timestampOf(beginUs + HOUR_US), pick(STATES)];
      const window = Window.fromPartial({ begin, end, state, fetchedUntil: end, updateTime: end });
      await kv.put(key, Window.encode(window).finish());
      known.set(`${pipe} ${beginUs}`, state);
    }
    const seen = [...(await mirror.pipe(pipe)).from(undefined)].map((one) => [`${pipe} ${one.beginUs}`, one.state]);
    const wanted = [...known].filter(([name]) => name.startsWith(`${pipe} `));
    expect(new Map(seen as [string, WindowState][])).toEqual(new Map(wanted));
    expect(seen.length).toBe(wanted.length);
  }
  const live = (await mirror.live()).map(({ pipe, window }) => `${pipe} ${window.state}`).sort();
  const unfinished = [...known].filter(([, state]) => state !== WindowState.DONE);
  expect(live).toEqual(unfinished.map(([name, state]) => `${name.split(" ")[0]} ${state}`).sort());
}

test.each([
  ["embedded", embeddedGround],
  ["nats", natsGround],
])(
  "%s",
  async (where, openGround) => {
    await using ground = await openGround();
    const known = new Map<string, WindowState>();
    const kv = await ground.bus.kv("windows");
    await using mirror = mirrorWindows(kv, silentLog);
    await writeAndLook(kv, mirror, known, 1);
    const bus = await ground.restart();
    await until("the bus answers", () => bus.ping().then(() => true));
    if (where === "nats") return await writeAndLook(kv, mirror, known, 2);
    // The file was opened anew, and so is the mirror: it begins with what is there.
    const again = await bus.kv("windows");
    await using fresh = mirrorWindows(again, silentLog);
    await writeAndLook(again, fresh, known, 2);
  },
  60_000,
);
