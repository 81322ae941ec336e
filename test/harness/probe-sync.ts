/** `sync`, `before_sync` and `after_sync` of an SDK, by the probe of its language in the real sandbox. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSandboxed, type Ran, type SandboxedGuest } from "./sandboxed.ts";

const BUILD_TIMEOUT_MS = 240_000;
const PIPE = { name: "probe.rows", connector: "probe", metric: "rows", location: "", parameters: {} };
const CALL = { pipe: PIPE, begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z", attempt: 1 };

/** Rows and checkpoints in their order, however they were batched. */
const sent = ({ asked }: Ran) =>
  asked.flatMap(({ name, request }) => {
    if (name === "checkpoint") return [JSON.parse(request)];
    return name === "emit"
      ? request
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line))
      : [];
  });

export function describeSync(language: string, build: () => Promise<{ readonly wasmPath: string }>): void {
  let guest: SandboxedGuest;
  beforeAll(async () => {
    guest = await openSandboxed((await build()).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  describe(`${language}: windows that the plugin writes itself`, () => {
    const sync = (config: object, cursor: unknown = null) => guest.call("sync", { ...CALL, config, cursor });
    const row = (n: number) => ({ n, time: CALL.begin });

    test("sync emits its rows, saves where it is, and begins there again", async () => {
      const whole = await sync({});
      expect(whole.error).toBeUndefined();
      expect(sent(whole)).toEqual([row(1), row(2), { cursor: { n: 2 } }, row(3)]);
      // What it emitted is not in its answer.
      expect({ status: "ok", ...whole.json }).toEqual({ status: "ok" });
      expect(sent(await sync({}, { n: 2 }))).toEqual([row(3)]);
    });

    test("sync says how it ended", async () => {
      for (const status of ["no_data", "not_modified", "partial"]) {
        const { json, error } = await sync({ mode: status });
        expect([error, json]).toEqual([undefined, { status }]);
      }
    });

    test("before_sync goes ahead, or says no with a reason", async () => {
      expect((await guest.call("before_sync", { ...CALL, config: {} })).json).toEqual({});
      const closed = await guest.call("before_sync", { ...CALL, config: { closed: "ferie ☃" } });
      expect(closed.json).toEqual({ veto: "ferie ☃: rows from 2012-01-01" });
      const counted = { ...CALL, begin: "100", end: "200", config: { closed: "ferie ☃" } };
      expect((await guest.call("before_sync", counted)).json).toEqual({ veto: "ferie ☃: rows from 100" });
    });

    test("after_sync is told how it ended", async () => {
      const told = { outcome: "guest_error", rows: 1_234_567, message: "kilden er nede ☃", run: "probe.rows/x" };
      const { json, asked, error } = await guest.call("after_sync", { ...CALL, config: {}, ...told });
      expect([error, json]).toEqual([undefined, {}]);
      const log = asked.filter(({ name }) => name === "log").map(({ request }) => JSON.parse(request).message);
      expect(log).toEqual([`guest_error: ${told.rows} rows of probe.rows/x: kilden er nede ☃`]);
    });
  });
}
