/** Limits: one table in code; the page, the contract and the manifest's schema say the same. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Limits } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { hostFunctions } from "../../services/executor/host/functions.ts";
import {
  CEILINGS,
  callLimits,
  ceilingSettings,
  ceilingsOf,
  HttpBudget,
  LIMITS,
  limitsTable,
  limitsUnder,
} from "../../services/executor/limits.ts";
import { readConfig } from "../../services/kit/config.ts";
import { Fault } from "../../services/kit/fault.ts";
import { parseDuration } from "../../services/kit/time.ts";
import { readManifest } from "../../services/registry/manifest.ts";

const root = new URL("../../", import.meta.url);
const text = (path: string) => readFile(new URL(path, root), "utf8");
const codeOf = (work: () => unknown) => {
  try {
    work();
    return "ok";
  } catch (thrown) {
    return Fault.from(thrown).code;
  }
};

test("LIMITS.md has the table of the code", async () => {
  expect(await text("services/executor/LIMITS.md")).toContain(limitsTable());
});

test("the contract's comments and the manifest's schema say the same figures", async () => {
  const proto = await text("proto/millrace/registry/v1/manifest.proto");
  const message = proto.slice(proto.indexOf("message Limits {"));
  const figure = (said: string) =>
    /^\d[\d,]*$/.test(said) ? Number(said.replaceAll(",", "")) : parseDuration(said, "x");
  const manifest = (field: string, value: unknown) =>
    Buffer.from(
      JSON.stringify({
        ...{ name: "a", version: "1.0.0", abi: 1, interfaces: { discover: {} } },
        limits: { [field]: value },
      }),
    );
  for (const { field, fallback, most, unit } of Object.values(LIMITS)) {
    if (!field) continue;
    const comment = new RegExp(`// ([^\\n]*)\\n\\s+\\w+ ${field} = `).exec(message)?.[1] ?? "";
    const [, byDefault = ""] = /Default `?([\d,]+\w*)`?/.exec(comment) ?? [];
    expect([field, figure(byDefault)]).toEqual([field, fallback]);
    const [, atMost] = /at most `?([\d,]+\w*)`?/.exec(comment) ?? [];
    if (atMost) expect([field, figure(atMost)]).toEqual([field, most]);
    const value = (amount: number) => (unit === "ms" ? `${amount}ms` : amount);
    expect([field, codeOf(() => readManifest(manifest(field, value(most))))]).toEqual([field, "ok"]);
    if (most === Number.MAX_SAFE_INTEGER) continue;
    expect([field, codeOf(() => readManifest(manifest(field, value(most + 1))))]).toEqual([field, "invalid"]);
  }
});

test("a manifest may lower and raise within the operator's ceilings, which hold over the defaults too", () => {
  const given = Limits.fromPartial({ memoryMib: 128, timeout: "2m", hostCalls: 5, httpMib: 2, rows: 7n });
  expect(callLimits(given)).toMatchObject({ memoryMaxPages: 2_048, timeoutMs: 120_000, maxHostCalls: 5, maxRows: 7 });
  expect(callLimits(given)).toMatchObject({ maxHttpBytes: 2 << 20, maxLogLines: 1_000, maxCallDepth: 8 });
  expect(callLimits(given, "1s").timeoutMs).toBe(1_000);
  const config = readConfig(ceilingSettings, {
    ...{ EXECUTOR_MAX_MEMORY_MIB: "32", EXECUTOR_MAX_TIMEOUT_MS: "500", EXECUTOR_MAX_HTTP_CONCURRENCY: "2" },
  });
  const under = limitsUnder(ceilingsOf(config));
  expect(under(given)).toMatchObject({ memoryMaxPages: 512, timeoutMs: 500, maxHttpAtOnce: 2, maxHostCalls: 5 });
  expect(under(undefined, "1h")).toMatchObject({ memoryMaxPages: 512, timeoutMs: 500, cpuMs: 5_000 });
  expect(ceilingsOf(readConfig(ceilingSettings, {}))).toEqual(CEILINGS);
  expect(codeOf(() => readConfig(ceilingSettings, { EXECUTOR_MAX_CPU_MS: "0" }))).toBe("invalid");
});

test("HTTP is counted: requests of a call, bytes of a call, requests of an instance at once", () => {
  const gate = { open: 0 };
  const limits = { maxHttpRequests: 3, maxHttpBytes: 100, maxHttpAtOnce: 2 };
  const [one, two] = [new HttpBudget(limits, gate), new HttpBudget(limits, gate)];
  const first = one.begin();
  const second = two.begin();
  expect(codeOf(() => one.begin())).toBe("exhausted");
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  expect(gate.open).toBe(1);
  one.begin()[Symbol.dispose]();
  one.begin()[Symbol.dispose]();
  expect(codeOf(() => one.begin())).toBe("exhausted");
  second[Symbol.dispose]();
  expect(gate.open).toBe(0);
  one.count(60);
  expect(codeOf(() => one.count(60))).toBe("too_large");
  expect(codeOf(() => two.count(100))).toBe("ok");
});

test("host calls in flight have a bound, and free their place when they end", async () => {
  const gate = Promise.withResolvers<void>();
  const limits = { ...callLimits(undefined), maxHostCallsInFlight: 2 };
  const host = hostFunctions({ wait: () => gate.promise }, limits);
  const { signal } = new AbortController();
  const call = () =>
    host("wait", new Uint8Array(), signal).then(
      () => "ok",
      (thrown) => Fault.from(thrown).code,
    );
  const [first, second, third] = [call(), call(), call()];
  expect(await third).toBe("exhausted");
  gate.resolve();
  expect(await Promise.all([first, second])).toEqual(["ok", "ok"]);
  expect(await call()).toBe("ok");
});
