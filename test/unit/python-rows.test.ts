/** Rows of Python guests are written by the runtime itself where it can, and mean what `to_json` means. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Built, buildPlugin } from "../../plugins-sdk/python/build.js";
import type { HostFunction } from "../../services/executor/sandbox.ts";
import { openSandboxed, type SandboxedGuest } from "../harness/sandboxed.ts";

/** The first build of all makes the interpreter, which takes some seconds. */
const BUILD_TIMEOUT_MS = 300_000;
const RANDOM_ROWS = 800;

/** With whole numbers kept as they are written: `1` is not `1.0`, and no digit of a large one is lost. */
const exactly = (text: string) =>
  JSON.parse(text, (_, value, { source } = { source: "" }) => (typeof value === "number" ? numberOf(source) : value));
/** The interpreter writes some of the last digits of a float as it likes. */
const numberOf = (source = "") => (/^-?\d+$/.test(source) ? source : { float: Number(source).toPrecision(15) });

describe("the writer of rows", () => {
  let built: Built;
  let guest: SandboxedGuest;
  beforeAll(async () => {
    built = await buildPlugin(join(import.meta.dirname, "../plugins/rows-python"));
    guest = await openSandboxed(built.wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  const call = async (name: string, input: unknown) => {
    const { outcome, error, asked, json } = await guest.call(name, input);
    expect([outcome, error?.message]).toEqual(["ok", undefined]);
    expect(asked.every((one) => one.name === "emit" && one.request.endsWith("\n"))).toBe(true);
    return { lines: asked.flatMap(({ request }) => request.slice(0, -1).split("\n")), calls: asked.length, json };
  };
  const expectSame = (lines: readonly string[], written: unknown) => {
    const pairs = written as readonly (readonly [string, string])[];
    const named = lines.map((line, i) => [pairs[i]?.[0], exactly(line)]);
    expect(named).toEqual(pairs.map(([name, text]) => [name, exactly(text)]));
  };

  test("means what to_json means, of everything that there is", async () => {
    const { lines, json } = await call("function:named", {});
    expectSame(lines, json);
    expect(lines.length).toBeGreaterThan(40);
    // Python's own writer puts blanks between: this row was not its.
    expect(lines[(json as unknown as string[][]).findIndex(([name]) => name === "plain")]).not.toContain(": ");
  });

  test("means what to_json means, of rows that nobody thought of", async () => {
    const { lines, json } = await call("function:random", RANDOM_ROWS);
    expect(lines).toHaveLength(RANDOM_ROWS);
    expectSame(lines, json);
  });

  test("a generator's rows keep their order, whoever writes them", async () => {
    const { lines, json } = await call("fetch", { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z" });
    expect(lines.map((line) => JSON.parse(line).n ?? JSON.parse(line).count)).toEqual([1, 2, 3, 4, 5]);
    expect(json).toEqual({ watermark: "2012-01-02T00:00:00Z" });
  });

  test("rows that are returned mean what to_json means", async () => {
    const names = ["plain", "nested", "dataclass", "large", "texts", "nothing", "enum", "whole"];
    const all = [[], ["plain"], ["nested"], names, ["plain", "nothing"], names.toReversed()];
    for (const asked of all.flatMap((some) => [{ names: some }, { names: some, tuple: 1, next: [1], status: "ok" }])) {
      const { outcome, text } = await guest.call("function:returned", asked);
      const { text: texts } = await guest.call("function:returned", { ...asked, texts: true });
      const { names: _, tuple: __, ...more } = asked as { names: string[]; tuple?: number };
      const rows = (JSON.parse(texts) as string[]).map(exactly);
      expect([outcome, exactly(text)]).toEqual(["ok", { ...exactly(JSON.stringify(more)), rows }]);
    }
  });

  test("says what is no row, and leaves no half of one", async () => {
    const { lines, json } = await call("function:refused", {});
    const kinds = ["NoneType", "int", "str", "list", "type"];
    const refusals = kinds.map((kind) => `a row is a dict or a dataclass, not ${kind}`);
    expect(json).toEqual([...refusals, "type cannot be written as JSON"]);
    expect(lines).toEqual(['{"after":1}']);
  });

  test("a call that failed leaves no rows to the next one of its instance", async () => {
    await using kept = await openSandboxed(built.wasmPath, 10);
    for (let i = 0; i < 2; i += 1) {
      const failed = await kept.call("function:failing", null);
      expect(failed.error?.message).toMatch(/^TypeError: type cannot be written as JSON/);
      const { asked } = await kept.call("function:many", { count: 2, text: 1 });
      expect(asked.flatMap(({ request }) => request.trimEnd().split("\n")).map((line) => JSON.parse(line).n)).toEqual([
        0, 1,
      ]);
    }
  });

  test("an Arrow stream goes as its bytes, after the rows before it", async () => {
    const every = Buffer.from(Array.from({ length: 256 * 40 }, (_, i) => i & 255));
    const sent: (readonly [string, Buffer])[] = [];
    const host: HostFunction = async (name, request) => {
      sent.push([name, Buffer.from(request)]);
      return Buffer.from(JSON.stringify({ ok: { rows: request.byteLength } }));
    };
    const { json, error } = await guest.call("function:arrow", 40, host);
    expect(error).toBeUndefined();
    const streams = [every, every, every.subarray(1, 4), ""];
    expect(sent).toEqual([
      ["emit", Buffer.from('{"before":1}\n')],
      ...streams.map((stream) => ["emit:arrow", Buffer.from(stream)]),
    ]);
    expect(json).toEqual(streams.map(({ length }) => length));
  });

  test("a batch is sent when 256 KiB are written, however long a row is", async () => {
    const { lines, calls } = await call("function:many", { count: 12_000, text: 1 << 20 });
    expect(lines.map((line) => JSON.parse(line).n)).toEqual([...Array(12_000).keys()]);
    expect(JSON.parse(lines[3] as string).text).toBe("ä".repeat(1 << 20));
    expect(calls).toBeGreaterThanOrEqual(2);
    expect(calls).toBeLessThan(5);
  });
});
