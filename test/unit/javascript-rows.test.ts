/** Rows of JavaScript guests are written by the runtime itself: byte for byte what JSON.stringify writes. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Built, buildPlugin } from "../../plugins-sdk/typescript/build.js";
import type { HostFunction } from "../../services/executor/sandbox.ts";
import { openSandboxed, type SandboxedGuest } from "../harness/sandboxed.ts";

/** The first build of all makes the engine, which takes some seconds. */
const BUILD_TIMEOUT_MS = 300_000;
const RANDOM_ROWS = 1_500;
const PATCHES = [
  "Date.prototype.toJSON",
  "Date.prototype.toISOString",
  "Date.prototype.valueOf",
  "Date.prototype[Symbol.toPrimitive]",
  "Object.prototype.toJSON",
  "BigInt.prototype.toJSON",
  "BigInt.prototype.toString",
  "String.prototype.toJSON",
  "Array.prototype.toJSON",
  "a toJSON that is no function",
];
const WITHIN = "a row is emitted while another is written, by a toJSON or a getter of that one";

interface Written {
  readonly name: string;
  readonly text: string;
}

describe("the writer of rows", () => {
  let built: Built;
  let guest: SandboxedGuest;
  beforeAll(async () => {
    built = await buildPlugin(join(import.meta.dirname, "../plugins/rows"));
    guest = await openSandboxed(built.wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  const call = async (name: string, input: unknown) => {
    const { outcome, error, asked, text } = await guest.call(`function:${name}`, input);
    expect([outcome, error?.message]).toEqual(["ok", undefined]);
    expect(asked.every((one) => one.name === "emit" && one.request.endsWith("\n"))).toBe(true);
    const lines = asked.flatMap(({ request }) => request.slice(0, -1).split("\n"));
    return { lines, calls: asked.length, answer: JSON.parse(text), text };
  };
  const withName = (written: readonly Written[], lines: readonly string[]) =>
    lines.map((text, i) => ({ name: written[i]?.name, text }));

  test("writes what JSON.stringify writes, of everything that there is", async () => {
    const { lines, answer } = await call("named", {});
    expect(withName(answer, lines)).toEqual(answer);
    expect(answer.length).toBeGreaterThan(50);
  });

  test("writes what JSON.stringify writes, of rows that nobody thought of", async () => {
    const { lines, answer } = await call("random", { seed: 7, count: RANDOM_ROWS });
    expect(withName(answer, lines)).toEqual(answer);
  });

  test.each(PATCHES)("minds that %s was changed", async (what) => {
    const { lines, answer } = await call("patched", { what });
    const texts = (answer as string).split("\n").map((line) => line.slice(line.indexOf(" ") + 1));
    expect(lines).toEqual(texts);
  });

  test("throws what JSON.stringify throws, and leaves no half of a row", async () => {
    const { lines, answer } = await call("refused", {});
    for (const { name, engine, writer } of answer) expect({ name, ...writer }).toEqual({ name, ...engine });
    expect(answer[0].engine.message).toMatch(/circular/);
    expect(lines).toEqual(answer.map(({ name }: Written) => JSON.stringify({ before: name })));
  });

  test("says what is no row; lists and proxies are rows or lists of them", async () => {
    const { lines, answer } = await call("nested", {});
    const kinds = ["null", "undefined", "number", "string", "boolean", "bigint", "symbol", "function", "a list"];
    const refusals = [...kinds, "what its toJSON returns"];
    expect(answer.refusals).toEqual(refusals.map((kind) => `PluginError: a row is an object, not ${kind}`));
    expect(answer.inner).toEqual({ code: "invalid", message: `PluginError: ${WITHIN}` });
    expect(lines).toEqual(['{"n":1}', '{"n":2}', '{"n":3}', '{"n":4}']);
  });

  test("answers are written the same way", async () => {
    const { answer: written } = await call("named", {});
    for (const name of ["plain", "texts", "numbers", "lists", "proxies", "others", "deep", "date", "toText"]) {
      const { text } = await call("answered", { name });
      expect(text).toBe(written.find((one: Written) => one.name === name).text);
    }
  });

  test("a call that failed leaves no rows to the next one of its instance", async () => {
    await using kept = await openSandboxed(built.wasmPath, 10);
    for (let i = 0; i < 2; i += 1) {
      expect((await kept.call("function:failing", {})).error?.message).toMatch(/^half a row/);
      const { asked } = await kept.call("function:many", { count: 2, text: 1 });
      expect(asked.map(({ request }) => request)).toEqual(['{"n":0,"text":"t"}\n{"n":1,"text":"t"}\n']);
    }
  });

  test("an Arrow stream goes as its bytes, after the rows before it", async () => {
    const every = Buffer.from(Array.from({ length: 256 * 40 }, (_, i) => i & 255));
    const sent: (readonly [string, Buffer])[] = [];
    const host: HostFunction = async (name, request) => {
      sent.push([name, Buffer.from(request)]);
      return Buffer.from(JSON.stringify({ ok: { rows: request.byteLength } }));
    };
    const { json, error } = await guest.call("function:arrow", { count: 40 }, host);
    expect(error).toBeUndefined();
    const streams = [every, every, every.subarray(1, 4), every.subarray(254, 256), ""];
    expect(sent).toEqual([
      ["emit", Buffer.from('{"before":1}\n')],
      ...streams.map((stream) => ["emit:arrow", Buffer.from(stream)]),
    ]);
    expect(json.rows).toEqual(streams.map(({ length }) => length));
    const wrong = "PluginError: an Arrow stream is bytes (ArrayBuffer, Uint8Array), not string";
    expect(json.wrong).toEqual({ code: "invalid", message: wrong });
  });

  test("a batch is sent when 256 KiB are written, however long a row is", async () => {
    const { lines, calls } = await call("many", { count: 20_000, text: 1 << 20 });
    expect(lines).toHaveLength(20_000);
    expect(lines.map((line) => JSON.parse(line).n)).toEqual([...lines.keys()]);
    expect(JSON.parse(lines[3] as string).text).toBe("ä".repeat(1 << 20));
    expect(calls).toBeGreaterThanOrEqual(3);
    expect(calls).toBeLessThan(6);
  });
});
