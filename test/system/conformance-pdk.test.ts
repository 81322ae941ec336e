/**
 * Modules of Extism's official PDKs for AssemblyScript, Rust and Go, unchanged, through both engines: the same outcome,
 * bytes and host calls, and what the PDK promises.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEngines, published, type Seen } from "../harness/engines.ts";
import { decode, encode } from "../harness/guest-call.ts";
import { buildPdk } from "../harness/pdks.ts";

const LANGUAGES = ["assemblyscript", "rust", "go"] as const;
const BUILD_TIMEOUT_MS = 420_000;
const MANY = Uint8Array.from({ length: 70_001 }, (_, i) => i % 251);
const FOREIGN = "Größe ☃ 💥 \u0000 end";
const URL = "http://example.org/grød";

let engines: Awaited<ReturnType<typeof openEngines>>;
beforeAll(async () => {
  engines = await openEngines();
});
afterAll(() => engines[Symbol.asyncDispose]());

/** What the host answers to a request of HTTP. */
const page = JSON.stringify({ ok: { status: 418, headers: { "x-mood": "glad" }, body: "tést ☃" } });

describe.each(LANGUAGES)(
  "Extism's PDK for %s",
  async (language) => {
    const built = await buildPdk(language);
    if ("missing" in built) {
      test.skip(`${language}: ${built.missing}`, () => {});
      return;
    }
    const module = published(built.wasm);
    const both = async (exported: string, input: string | Uint8Array): Promise<Seen & { readonly text: string }> => {
      const answers = (name: string) => (name === "http" ? page : '{"ok":{}}');
      const bytes = typeof input === "string" ? encode(input) : input;
      const seen = await engines.see({ module, export: exported, input: bytes, answers, cpuMs: 10_000 });
      expect(seen[0]).toEqual(seen[1]);
      const one = seen[0] as Seen;
      return { ...one, text: decode(Buffer.from(one.output, "hex")) };
    };

    test("input and output: every byte, none, and many", async () => {
      for (const input of [Uint8Array.from({ length: 256 }, (_, i) => i), new Uint8Array(0), MANY]) {
        expect(await both("echo", input)).toMatchObject({ outcome: "ok", output: Buffer.from(input).toString("hex") });
      }
    });

    test("text, in and outside ASCII", async () => {
      expect(await both("text", "plain")).toMatchObject({ outcome: "ok", text: "plain" });
      const foreign = await both("text", FOREIGN);
      // as-pdk 1.0.0 writes its text past the end of its own block: a trap on both engines, and nothing comes out.
      if (language === "assemblyscript") expect(foreign).toMatchObject({ outcome: "trap", output: "" });
      else expect(foreign).toMatchObject({ outcome: "ok", text: FOREIGN });
    });

    test("config has nothing in it: a guest's config comes with its input", async () => {
      for (const key of ["", "key", "ключ", "toString", "__proto__"]) {
        expect(await both("config", key)).toMatchObject({ outcome: "ok", text: "none" });
      }
    });

    test("variables: set, read, removed; for this call only", async () => {
      for (const value of ["plain", FOREIGN]) {
        expect(await both("vars", value)).toMatchObject({ outcome: "ok", text: `none|${value}|none` });
      }
    });

    test("log, at every level", async () => {
      const { outcome, hostCalls } = await both("logs", FOREIGN);
      const lines = hostCalls.map((call) => JSON.parse(call.slice("log ".length)));
      expect([outcome, lines]).toEqual([
        "ok",
        ["debug", "info", "warn", "error"].map((level) => ({ level, message: FOREIGN })),
      ]);
    });

    test("http: what is asked, and status, headers and body of the answer", async () => {
      const { text, hostCalls, error } = await both("http", URL);
      expect([error, text]).toEqual([undefined, "418|glad|tést ☃"]);
      const asked = JSON.parse(hostCalls[0]?.slice("http ".length) ?? "{}");
      expect(asked).toMatchObject({ url: URL, method: "POST", headers: { "x-name": "blå" } });
      expect(decode(Buffer.from(asked.body_base64, "base64"))).toBe("grød ☃");
    });

    test("error: text and JSON, with the code of the return", async () => {
      expect(await both("fails", FOREIGN)).toMatchObject({
        outcome: "guest_error",
        error: { code: "guest_error", message: FOREIGN, retryable: false },
      });
      const own = { code: "busy", message: "später ☃", retryable: true };
      expect(await both("fails", JSON.stringify(own))).toMatchObject({ outcome: "guest_error", error: own });
    });
  },
  BUILD_TIMEOUT_MS,
);
