/** The AssemblyScript SDK by what its guests do: JSON, numbers and text both ways, and the builder's answers. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { BuildError, buildPlugin } from "../../plugins-sdk/assemblyscript/build.js";
import { emittedRows, type Guest, openGuest, runHost } from "../harness/guest.ts";

const JSON_GUEST = join(import.meta.dirname, "../plugins/json");
const KITCHEN = join(import.meta.dirname, "../plugins/kitchen");
/** Compiling takes seconds when nothing is remembered. */
const BUILD_TIMEOUT_MS = 60_000;

let guest: Guest;
let kitchen: Guest;
beforeAll(async () => {
  guest = await openGuest((await buildPlugin(JSON_GUEST)).wasmPath);
  kitchen = await openGuest((await buildPlugin(KITCHEN)).wasmPath, runHost);
}, BUILD_TIMEOUT_MS);

const bytes = (text: string) => new TextEncoder().encode(text);

describe("JSON", () => {
  const good = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1.5e+3",
    "1E5",
    '""',
    "[]",
    "{}",
    " \t\r\n[ 1 , 2 ] ",
    '{"a":{"b":[{}]}}',
    '"\\u00e9\\u2603\\ud834\\udd1e\\/\\b\\f\\n\\r\\t\\"\\\\"',
    '"é☃𝄞\u2028\u2029"',
    '{"":0,"é":1,"a b":2}',
    '"\\u0000\\u001f"',
    `${"[".repeat(128)}${"]".repeat(128)}`,
    `"${"x".repeat(100_000)}"`,
    '"\u007f\u0080\uffff"',
  ];
  test.each(good.map((text) => [text.slice(0, 40), text]))("reads and writes %s", async (_, text) => {
    const { output, error } = await guest.call("roundtrip", bytes(text));
    expect(error).toBeUndefined();
    expect(output).toEqual(JSON.parse(text));
  });

  const bad = [
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "'a'",
    "01",
    "-",
    "+1",
    ".5",
    "1.",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[",
    "]",
    "[1",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    "{a:1}",
    '{"a":1',
    '"',
    '"a',
    '"\\',
    '"\\x"',
    '"\\u12"',
    '"\\u12g4"',
    '"\\u+123"',
    '"\n"',
    '"a\tb"',
    "1 2",
    "{}{}",
    "// no\n1",
    `${"[".repeat(129)}${"]".repeat(129)}`,
    "[".repeat(100_000),
    "\ufeff1",
    "\u00a01",
  ];
  test.each(bad.map((text) => [JSON.stringify(text).slice(0, 40), text]))("refuses %s", async (_, text) => {
    const { error } = await guest.call("roundtrip", bytes(text));
    expect(error?.code).toBe("refused");
    expect(error?.message).toMatch(/ at character \d+$/);
  });

  test("agrees with JavaScript on ten thousand random values in one document", async () => {
    const value = Array.from({ length: 10_000 }, (_, i) => randomValue(i, 4));
    const { output } = await guest.call("roundtrip", bytes(JSON.stringify(value)));
    expect(output).toEqual(value);
  });

  test("agrees with JavaScript on what one damaged character makes of a document", async () => {
    const whole = '{"a":[1,-2.5e3,"x\\u00e9\\n"],"b":{"c":null,"d":true}}';
    for (let i = 0; i < whole.length; i++) {
      for (const damage of ['"', "\\", "0", "}", ",", "é"]) {
        const text = whole.slice(0, i) + damage + whole.slice(i + 1);
        const { output, error } = await guest.call("roundtrip", bytes(text));
        expect([text, error ? "refused" : output]).toEqual([text, parsedOr(text, "refused")]);
      }
    }
  });

  test("keeps the digits of a number that no double holds", async () => {
    const text = '{"id":9223372036854775807,"d":0.1234567890123456789012345}';
    expect((await guest.call("roundtrip", bytes(text))).text).toBe(text);
  });

  test("a lone surrogate is written as U+FFFD", async () => {
    expect((await guest.call("roundtrip", bytes('"a\\ud834b\\udd1e"'))).output).toBe("a\ufffdb\ufffd");
  });

  test("survives a thousand documents' worth of garbage collection", async () => {
    const value = Array.from({ length: 100 }, (_, i) => randomValue(i, 3));
    const { output } = await guest.call("churn", bytes(JSON.stringify(value)));
    expect(output).toEqual(Array.from({ length: 10 }, () => value));
  });

  test("what is not there answers with fallbacks", async () => {
    const expected = { missing: true, null: true, text: "fallback", number: null, integer: -7, written: null };
    expect((await guest.call("missing", {})).output).toEqual(expected);
  });
});

describe("numbers", () => {
  const corners = [
    "0",
    "0.1",
    "12.8",
    "1e22",
    "1e23",
    "9007199254740993",
    "0.30000000000000004",
    "2.2250738585072011e-308",
    "5e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "1e400",
    "1e-400",
    "1.0510488605977713e46",
    "123456789012345678901234567890",
    `0.${"0".repeat(400)}1e400`,
    `1${"0".repeat(500)}e-500`,
    `${"9".repeat(1000)}e-990`,
  ];

  test("are the nearest double, corner cases and twenty thousand random ones", async () => {
    const random = new Random(7);
    const literals = [...corners];
    while (literals.length < 20_000) {
      const bits = (BigInt(random.next()) << 32n) | BigInt(random.next());
      const value = new Float64Array(new BigUint64Array([bits]).buffer)[0] as number;
      if (Number.isFinite(value)) literals.push(String(value).replace("e+", "e"));
      literals.push(`${random.next()}${random.next()}${random.next()}e${(random.next() % 640) - 340}`);
    }
    const { output } = await guest.call("doubles", bytes(`[${literals.join()}]`));
    const read = output as [string, number | null][];
    const wrong = literals.filter((literal, i) => read[i]?.[0] !== bitsOf(Number(literal)));
    expect(wrong).toEqual([]);
    // Written anew they are the same doubles again; infinities, which JSON lacks, are null.
    const writable = literals.map(Number).map((value) => (Number.isFinite(value) ? value + 0 : null));
    expect(read.map(([, written]) => written)).toEqual(writable);
  });

  test("of 64 bits are exact, and nothing else passes as one", async () => {
    const exact = ["0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808", "1000000000000000000"];
    const others = ["9223372036854775808", "-9223372036854775809", "1.0", "1e3", "99999999999999999999", "-0.5"];
    const { output } = await guest.call("integers", bytes(`[${[...exact, ...others].join()}]`));
    expect(output).toEqual([...exact, ...others.map(() => null)]);
  });
});

describe("text", () => {
  test("every code point survives both ways", async () => {
    const points = Array.from({ length: 0x110000 / 16 }, (_, i) => i * 16 + (i % 16)).filter(
      (c) => c < 0xd800 || c > 0xdfff,
    );
    const all = String.fromCodePoint(...points.slice(0, 30_000)) + String.fromCodePoint(...points.slice(30_000));
    expect((await guest.call("utf8", bytes(all))).text).toBe(all);
  });

  test("malformed bytes become U+FFFD exactly as in browsers", async () => {
    const random = new Random(11);
    const interesting = [
      0x00, 0x41, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
    ];
    const noise = Uint8Array.from({ length: 50_000 }, () => interesting[random.next() % interesting.length] as number);
    expect((await guest.call("utf8", noise)).text).toBe(new TextDecoder().decode(noise));
  });

  test("base64 is read and written as RFC 4648 has it", async () => {
    const good = [
      "",
      "AA==",
      "AAE=",
      "AAEC",
      Buffer.from("é☃𝄞").toString("base64"),
      Buffer.alloc(1000, 251).toString("base64"),
    ];
    const bad = ["A", "AA", "AA=", "A===", "AA*=", "AAEC\n"];
    const { output } = await guest.call("base64", [...good, ...bad]);
    expect((output as unknown[]).slice(0, good.length)).toEqual(good);
    expect((output as unknown[]).slice(good.length)).toEqual(bad.map(() => null));
  });

  test("times are read with offset and fraction, and refused without", async () => {
    const given = {
      "2012-01-31": ["2012-01-31T00:00:00Z", "2012-01-31"],
      "2012-02-29T23:59:59Z": ["2012-02-29T23:59:59Z", "2012-02-29"],
      "2012-03-01T00:30:00+02:00": ["2012-02-29T22:30:00Z", "2012-02-29"],
      "1969-12-31T23:59:59.25Z": ["1969-12-31T23:59:59.250000Z", "1969-12-31"],
      "0001-01-01T00:00:00-05:30": ["0001-01-01T05:30:00Z", "0001-01-01"],
      "2000-02-29T00:00:00.123456789Z": ["2000-02-29T00:00:00.123456Z", "2000-02-29"],
      "2012-01-31T00:00:00": null,
      "2013-02-29": null,
      "1900-02-29": null,
      "2012-13-01": null,
      "2012-01-01T24:00:00Z": null,
      "2012-01-01T00:00:00Zulu": null,
      yesterday: null,
      "": null,
    };
    expect((await guest.call("times", Object.keys(given))).output).toEqual(Object.values(given));
  });
});

describe("a call", () => {
  test("that breaks an assertion says where", async () => {
    const { error } = await guest.call("broken", {});
    expect(error?.code).toBe("aborted");
    expect(error?.message).toMatch(/^a "broken" promise: é☃ \(at assembly\/index\.ts:\d+:\d+\)$/);
  });

  test("gets other random numbers every time, from the host", async () => {
    const [first, second] = [await guest.call("dice", {}), await guest.call("dice", {})];
    expect(new Set([...(first.output as number[]), ...(second.output as number[])]).size).toBe(4);
  });

  test("that fails gives code, message, retryable and details", async () => {
    const { error } = await kitchen.call("fetch", windowOf({ mode: "fail" }));
    expect(error).toEqual({
      code: "asked_to",
      message: "failed as asked: é☃",
      retryable: false,
      details: { mode: "fail" },
    });
  });

  test("emits in batches, saves a checkpoint after each, and resumes after the last", async () => {
    const config = { mode: "emit", rows: 10, batches: 5, fail_at_batch: 2 };
    const first = await kitchen.call("fetch", windowOf(config));
    expect(first.error).toMatchObject({ code: "asked_to", retryable: true });
    const cursor = JSON.parse(first.calls.findLast((call) => call.name === "checkpoint")?.request ?? "{}").cursor;
    expect(cursor).toEqual({ batches: 2 });
    const second = await kitchen.call("fetch", { ...windowOf(config), cursor, attempt: 2 });
    expect(second.output).toEqual({ status: "ok" });
    expect([...emittedRows(first), ...emittedRows(second)].map((row) => row.id)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
  });

  test("that the host refuses to emit for ends with the host's reason", async () => {
    const refusing = await openGuest((await buildPlugin(KITCHEN)).wasmPath, {
      ...runHost,
      emit: () => ({ error: { code: "cancelled", message: "the run was cancelled", retryable: false } }),
    });
    const { error, calls } = await refusing.call("fetch", windowOf({ mode: "emit", rows: 10, batches: 5 }));
    expect(error?.code).toBe("cancelled");
    expect(calls.filter((call) => call.name === "emit")).toHaveLength(1);
  });

  test("returns ten thousand rows", async () => {
    const { output, ms } = await kitchen.call("fetch", windowOf({ mode: "rows", rows: 10_000 }));
    const { rows } = output as { rows: { id: number; name: string; value: number }[] };
    expect(rows).toHaveLength(10_000);
    expect(rows[9_999]).toMatchObject({ id: 9_999, name: "rød grød ☃ 𝄞 9999", value: 2499.75, flag: true });
    const emitted = await kitchen.call("fetch", windowOf({ mode: "emit", rows: 10_000, batches: 10 }));
    expect(emittedRows(emitted)).toEqual(rows);
    console.log(
      `10,000 rows: returned in ${ms.toFixed(1)} ms, emitted in ${emitted.ms.toFixed(1)} ms (Extism's own host)`,
    );
  });
});

describe("the builder", () => {
  const manifest = { name: "tiny", version: "1.0.0", abi: 1, interfaces: { route: { routes: [] } } };
  const route =
    'import { RouteCall } from "@millrace/assemblyscript";\nexport function route(): i32 {\n  return RouteCall.read().sendText("hi");\n}\n';

  /** A plugin folder far from this package, with its own place for bundles. */
  async function folderWith(files: Record<string, string>) {
    const folder = await mkdtemp(join(tmpdir(), "millrace-plugin-"));
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(folder, name, ".."), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    const build = (out = "out") => buildPlugin(folder, { outDir: join(folder, out) });
    return { folder, build, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
  }

  test("remembers, and gives the same bytes for the same sources", { timeout: BUILD_TIMEOUT_MS }, async () => {
    const files = { "plugin.json": JSON.stringify(manifest), "assembly/index.ts": route, "docs/index.md": "# tiny\n" };
    await using tiny = await folderWith(files);
    const first = await tiny.build();
    expect(first.cached).toBe(false);
    expect(await tiny.build()).toMatchObject({ cached: true, path: first.path, bytes: first.bytes });
    const again = await tiny.build("elsewhere");
    expect(again.cached).toBe(false);
    expect(await readFile(again.path)).toEqual(await readFile(first.path));
    await writeFile(join(tiny.folder, "docs/index.md"), "# tiny, changed\n");
    expect((await tiny.build()).cached).toBe(false);
  });

  test("names the author's file and line", { timeout: BUILD_TIMEOUT_MS }, async () => {
    const wrong = route.replace('"hi"', "42");
    await using tiny = await folderWith({ "plugin.json": JSON.stringify(manifest), "assembly/index.ts": wrong });
    const failure = await tiny.build().catch((thrown) => thrown);
    expect(failure).toBeInstanceOf(BuildError);
    expect(failure.message).toMatch(/assembly\/index\.ts\(3,\d+\)/);
  });

  test("refuses imports outside the ABI and exports that are missing", { timeout: BUILD_TIMEOUT_MS }, async () => {
    const source = "export function poll(): i32 {\n  console.log(Date.now().toString());\n  return 0;\n}\n";
    await using tiny = await folderWith({ "plugin.json": JSON.stringify(manifest), "assembly/index.ts": source });
    const failure = await tiny.build().catch((thrown) => thrown);
    expect(failure.message).toContain('imports env.console.log, which no host offers; use log("info", …) instead');
    expect(failure.message).toContain("imports env.Date.now, which no host offers; use now() instead");
    expect(failure.message).toContain("does not export route");
  });

  test("says what a folder lacks", async () => {
    await using empty = await folderWith({});
    await expect(empty.build()).rejects.toThrow("a plugin folder holds plugin.json and assembly/index.ts");
  });
});

function windowOf(config: object) {
  const pipe = { name: "kitchen.rows", connector: "kitchen", metric: "rows", location: null, parameters: {} };
  return { pipe, config, begin: "2024-01-01T00:00:00Z", end: "2024-01-02T00:00:00Z", cursor: null, attempt: 1 };
}

function bitsOf(value: number): string {
  return new BigUint64Array(new Float64Array([value]).buffer)[0]?.toString(16) ?? "";
}

function parsedOr(text: string, otherwise: unknown): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** The same numbers on every run: xorshift32. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed;
  }
  next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }
}

function randomValue(seed: number, depth: number): unknown {
  const random = new Random(seed * 2_654_435_761 + 1);
  random.next();
  const build = (left: number): unknown => {
    const kind = random.next() % (left > 0 ? 8 : 6);
    if (kind === 0) return null;
    if (kind === 1) return random.next() % 2 === 0;
    if (kind === 2) return (random.next() - 2 ** 31) / 2 ** (random.next() % 40);
    if (kind === 3) return random.next();
    if (kind < 6)
      return String.fromCodePoint(...Array.from({ length: random.next() % 9 }, () => random.next() % 0xd800));
    const items = Array.from({ length: random.next() % 5 }, () => build(left - 1));
    return kind === 6 ? items : Object.fromEntries(items.map((item, i) => [`k${i}"é`, item]));
  };
  return build(depth);
}
