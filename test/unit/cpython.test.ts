/** Python by CPython: the same probe as MicroPython's, what only CPython has, and what the registry says of its size. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BuildError, type Built, buildPlugin } from "../../plugins-sdk/python/build.js";
import { BUNDLE_LIMITS } from "../../services/registry/bundle.ts";
import { checkBundle } from "../../services/registry/publishing.ts";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers } from "../harness/probe-host.ts";
import { openSandboxed, type SandboxedGuest } from "../harness/sandboxed.ts";

const PROBE = join(import.meta.dirname, "../plugins/probe-python");
/** The first build of all takes the interpreter apart, which takes minutes; afterwards it is remembered. */
const BUILD_TIMEOUT_MS = 900_000;
const SOURCE = `
import contextlib, csv, decimal, enum, io, random, re, time, uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from millrace import emit_arrow

class Colour(enum.Enum):
    RED = "r"
    def shout(self):
        return self.name + "!"

@dataclass(order=True)
class Row:
    time: datetime
    price: decimal.Decimal = decimal.Decimal("1.10")
    tags: list[str] = field(default_factory=list)

def shapes(asked):
    with contextlib.suppress(ZeroDivisionError):
        1 / 0
    match asked:
        case {"text": str(text)}:
            found = re.findall(r"(?P<word>[^\\W\\d_]+)", text)
        case _:
            found = []
    first = Row(datetime(2024, 2, 28, tzinfo=timezone.utc) + timedelta(days=1))
    rows = list(csv.DictReader(io.StringIO("a,b\\n1,å\\n")))
    return {"row": first, "words": found, "less": first < Row(datetime.max.replace(tzinfo=timezone.utc)),
            "csv": rows, "red": Colour.RED, "shout": Colour.RED.shout(), "order": {"z": 1, "a": 2},
            "nan": float("nan"), "bytes": b"\\x00\\xff"}

def dice(_):
    return [random.random(), str(uuid.uuid4()), hash("text") == hash("text"), time.time()]

def chained(_):
    try:
        {}["missing"]
    except KeyError as cause:
        raise RuntimeError("wrapped") from cause

def arrow(_):
    return emit_arrow(bytes(range(256)) * 40)

functions = {"shapes": shapes, "dice": dice, "chained": chained, "arrow": arrow}
`;

const work = await mkdtemp(join(tmpdir(), "millrace-cpython-"));
afterAll(() => rm(work, { recursive: true, force: true }));

/** MicroPython's probe, told to run in CPython. */
let probe: Promise<Built> | undefined;
function buildProbe(): Promise<Built> {
  probe ??= (async () => {
    const folder = join(work, "probe");
    await cp(PROBE, folder, { recursive: true });
    const manifest = JSON.parse(await readFile(join(PROBE, "plugin.json"), "utf8"));
    await writeFile(join(folder, "plugin.json"), JSON.stringify({ ...manifest, runtime: "cpython" }));
    return buildPlugin(folder, { outDir: work });
  })();
  return probe;
}
beforeAll(buildProbe, BUILD_TIMEOUT_MS);

async function buildSource(source: string, runtime: string): Promise<Built> {
  const folder = await mkdtemp(join(work, "plugin-"));
  const functions = Object.fromEntries(["shapes", "dice", "chained", "arrow"].map((name) => [name, {}]));
  const manifest = { name: "only-cpython", version: "1.0.0", abi: 1, runtime, interfaces: { functions } };
  await writeFile(join(folder, "plugin.json"), JSON.stringify(manifest));
  await writeFile(join(folder, "plugin.py"), source);
  return buildPlugin(folder, { outDir: folder });
}

describeProbe("cpython", {
  integers: true,
  build: buildProbe,
  prints: true,
  keepsDigits: false,
  crash: { outcome: "guest_error", code: "exception", message: /^TypeError: .*\(at src\/plugin\.py:\d+\)$/ },
});
describeHelpers("cpython", buildProbe, { emits: true });

describe("what only CPython has", () => {
  let guest: SandboxedGuest;
  beforeAll(async () => {
    guest = await openSandboxed((await buildSource(SOURCE, "cpython")).wasmPath);
  }, BUILD_TIMEOUT_MS);
  afterAll(() => guest?.[Symbol.asyncDispose]());

  test("its library, match, real dataclasses and enums; dicts in their order", async () => {
    const { text, json, error } = await guest.call("function:shapes", { text: "én 2 tre" });
    expect(error).toBeUndefined();
    expect(json).toEqual({
      row: { time: "2024-02-29T00:00:00Z", price: "1.10", tags: [] },
      words: ["én", "tre"],
      less: true,
      csv: [{ a: "1", b: "å" }],
      red: "r",
      shout: "RED!",
      order: { z: 1, a: 2 },
      nan: null,
      bytes: "AP8=",
    });
    expect(text).toMatch(/"z": ?1, ?"a"/);
  });

  test("random numbers, UUIDs and the clock are the host's in every call", async () => {
    const one = (await guest.call("function:dice", null)).json as unknown as unknown[];
    const two = (await guest.call("function:dice", null)).json as unknown as unknown[];
    expect([two[0], two[1]]).not.toContain(one[0]);
    expect(two[1]).not.toBe(one[1]);
    expect(Math.abs(Number(two[3]) - Date.now() / 1_000)).toBeLessThan(60);
  });

  test("an Arrow stream goes as its bytes", async () => {
    let sent: Uint8Array | undefined;
    const { json } = await guest.call("function:arrow", null, async (name, request) => {
      sent = request.slice();
      return Buffer.from(JSON.stringify({ ok: { rows: name === "emit:arrow" ? 7 : 0 } }));
    });
    expect(json).toBe(7);
    expect(Buffer.from(sent ?? [])).toEqual(Buffer.from(Array.from({ length: 256 * 40 }, (_, i) => i & 255)));
  });

  test("an error says its file and line, also one with a cause", async () => {
    const { error } = await guest.call("function:chained", null);
    expect(error).toMatchObject({ code: "exception", details: { at: expect.stringMatching(/^plugin\.py:\d+$/) } });
    expect(error?.message).toMatch(/^RuntimeError: wrapped \(at plugin\.py:\d+\)$/);
  });
});

test("the registry takes it within its usual limits", { timeout: BUILD_TIMEOUT_MS }, async () => {
  const { path, bytes } = await buildProbe();
  const { exports } = await checkBundle(new Uint8Array(await readFile(path)), BUNDLE_LIMITS);
  expect(exports).toContain("fetch");
  expect(bytes).toBeLessThan(BUNDLE_LIMITS.packedBytes);
});

test.each([
  ["a syntax error", "def shapes(:\n", "cpython", /SyntaxError.*plugin\.py/],
  [
    "an error at the top level",
    "\nx = {}['é']\n",
    "cpython",
    /top level of the plugin raised: KeyError: 'é' .*plugin\.py:2/,
  ],
  ["a missing module", "import pandas\n", "cpython", /No module named 'pandas'.*plugin\.py:1/],
  [
    "a host call at the top level",
    "from millrace import http\nhttp.json('http://x/')\n",
    "cpython",
    /host function http is not available at build time.*plugin\.py:2/s,
  ],
  ["another runtime", "x = 1\n", "pypy", /runtime "pypy" is none; write micropython or cpython/],
])("the builder refuses %s", { timeout: BUILD_TIMEOUT_MS }, async (_, source, runtime, message) => {
  const thrown = await buildSource(source, runtime).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(BuildError);
  expect((thrown as Error).message).toMatch(message);
});
