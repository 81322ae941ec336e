/** The conformance kit against guests of whom it is known what is wrong with them: each check finds its own kind. */
import { describe, expect, test } from "vitest";
import type { CallGuest, HostReply, KitCall, KitResult, Report, Subject } from "../../plugins-sdk/conformance/kit.js";
import { judge } from "../../plugins-sdk/conformance/kit.js";

type Json = Record<string, unknown>;
/** Asks the host; throws what it answers as an error. */
type Ask = (name: string, request: unknown) => Promise<Json>;

class Told extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Moment {
  readonly nowMs: number;
  readonly seed: string;
  /** Calls so far. */
  readonly count: number;
}

interface Guest {
  readonly fetch: (input: Json, ask: Ask, moment: Moment) => Promise<unknown>;
  readonly memory?: (count: number) => number;
}

/** A platform that grants nothing. */
const closed = async (name: string): Promise<HostReply> =>
  ["emit", "checkpoint", "log"].includes(name)
    ? { ok: {} }
    : { error: { code: "denied", message: `${name} is not granted` } };

function callOf(guest: Guest): CallGuest {
  let count = 0;
  return async ({ input, host = closed, deadlineMs = 5_000, nowMs, seed }: KitCall): Promise<KitResult> => {
    count += 1;
    const hostCalls: Record<string, number> = {};
    const startedMs = performance.now();
    const signal = AbortSignal.timeout(deadlineMs);
    const ask: Ask = async (name, request) => {
      hostCalls[name] = (hostCalls[name] ?? 0) + 1;
      const text = typeof request === "string" ? request : JSON.stringify(request);
      const reply = await host(name, Buffer.from(text), signal);
      if ("error" in reply) throw new Told(reply.error.code, reply.error.message);
      return reply.ok as Json;
    };
    const end = (outcome: string, output: string, error?: KitResult["error"]): KitResult => {
      const wallMs = performance.now() - startedMs;
      const memoryPeakBytes = guest.memory?.(count) ?? 65_536;
      return { outcome, output, wallMs, cpuMs: wallMs, memoryPeakBytes, hostCalls, ...(error && { error }) };
    };
    try {
      return end("ok", JSON.stringify(await guest.fetch(JSON.parse(input) as Json, ask, { nowMs, seed, count })));
    } catch (thrown) {
      if (signal.aborted) return end("timeout", "", { code: "timeout", message: "too late" });
      if (thrown instanceof Told) return end("guest_error", "", { code: thrown.code, message: thrown.message });
      return end("trap", "", { code: "trap", message: "unreachable" });
    }
  };
}

const PAGES = 3;
const url = (page: number) => `https://source.example/v1?page=${page}`;
const scenario = {
  ...{ name: "three pages", export: "fetch", nowMs: 1_767_225_600_000, recorded: true },
  input: {
    ...{ pipe: { name: "p" }, config: { tag: "steady" }, cursor: null, attempt: 1 },
    ...{ begin: "2026-01-01T00:00:00Z", end: "2026-01-02T00:00:00Z" },
  },
  host: Array.from({ length: PAGES }, (_, page) => ({
    name: "http",
    request: { url: url(page) },
    answer: { json: { id: 1_000 + page, place: `place ${page}`, time: `2026-01-01T0${page}:00:00Z` } },
  })),
};

const subject = (over: Partial<Subject> = {}): Subject => ({
  manifest: {
    interfaces: { fetch: { columns: { time: "timestamp", id: "int64", place: "string", tag: "string" } } },
    permissions: { http: [{ url: "https://source.example/*" }] },
  },
  facts: {
    imports: [{ module: "extism:host/env", name: "alloc" }],
    exports: [{ name: "fetch", kind: "function", type: "()->i32" }],
  },
  scenarios: [scenario],
  ...over,
});

/** What a good guest does, one page after the other. */
const good: Guest = {
  async fetch(input, ask) {
    const { config, cursor, begin, end } = input ?? {};
    if (typeof begin !== "string" || typeof config !== "object") throw new Told("bad_input", "not what the ABI says");
    if (begin === end) return { status: "no_data" };
    for (let page = Number((cursor as Json | null)?.page ?? 0); page < PAGES; page += 1) {
      const { body } = await ask("http", { url: url(page) });
      await ask("emit", `${JSON.stringify({ ...JSON.parse(String(body)), tag: (config as Json).tag })}\n`);
      await ask("checkpoint", { cursor: { page: page + 1 } });
    }
    return {};
  },
};

const failed = ({ checks }: Report) => checks.filter((c) => c.verdict === "fail").map((c) => c.name);
const OPTIONS = { calls: 300 };

test("a plugin that does all of it has 100 of 100", async () => {
  const report = await judge(subject(), callOf(good), OPTIONS);
  expect(report.checks.filter(({ verdict }) => verdict !== "pass")).toEqual([]);
  expect(report).toMatchObject({ score: 100, passed: 11, applicable: 11 });
});

/** The same with one thing changed on its way out. */
const spoilt = (spoil: (row: string, moment: Moment) => string): Guest => ({
  fetch: (input, ask, moment) =>
    good.fetch(input, (name, asked) => ask(name, name === "emit" ? spoil(String(asked), moment) : asked), moment),
});

describe("each fault is found by its check, and by no other", () => {
  test.each<[check: string, fault: string, guest: Guest]>([
    [
      "same window twice, same rows",
      "a row has a random id",
      spoilt((row, { seed }) => row.replace('"place 1"', seed.length === 5 ? '"place 1"' : '"place x"')),
    ],
    [
      "resume from every checkpoint",
      "the cursor is one too far",
      {
        async fetch(input, ask, moment) {
          const page = (input?.cursor as Json | null)?.page;
          return good.fetch(page === 1 ? { ...input, cursor: { page: 2 } } : input, ask, moment);
        },
      },
    ],
    [
      "empty and huge windows",
      "an empty window has rows",
      { fetch: (input, ask, moment) => good.fetch(input?.end ? { ...input, end: "later" } : input, ask, moment) },
    ],
    [
      "denied egress stays denied",
      "it asks again and again",
      {
        async fetch(input, ask, moment) {
          const insisting: Ask = async (name, asked) => {
            for (let i = 0; ; i += 1) {
              try {
                return await ask(name, asked);
              } catch (thrown) {
                if ((thrown as Told).code !== "denied" || i > 2_000) throw thrown;
              }
            }
          };
          return good.fetch(input, insisting, moment);
        },
      },
    ],
    [
      "errors are structured",
      "it traps on what is not an object",
      {
        async fetch(input, ask, moment) {
          if (!input || Array.isArray(input)) throw new Error("null pointer");
          return good.fetch(input, ask, moment);
        },
      },
    ],
    ["text outside ASCII", "it writes Latin-1", spoilt((row) => row.replace(/[^\0-\xff]/g, "?"))],
    [
      "big numbers",
      "numbers are 32-bit floats",
      spoilt((row) => row.replaceAll("9007199254740991", "9007199254740992")),
    ],
    ["memory stays flat", "it leaks", { ...good, memory: (count) => 65_536 * (1 + Math.floor(count / 100)) }],
  ])("%s: %s", async (check, _, guest) => {
    expect(failed(await judge(subject(), callOf(guest), OPTIONS))).toEqual([check]);
  });

  test("deadlines are honoured: it ends long after", async () => {
    const call = callOf(good);
    const late: CallGuest = async (asked) => {
      const result = await call(asked);
      return result.outcome === "timeout" ? { ...result, wallMs: 60_000 } : result;
    };
    expect(failed(await judge(subject(), late, OPTIONS))).toEqual(["deadlines are honoured"]);
  });

  test.each<[check: string, fault: string, over: Partial<Subject>]>([
    [
      "exports and their types",
      "another type",
      { facts: { imports: [], exports: [{ name: "fetch", kind: "function", type: "(i32)->i32" }] } },
    ],
    [
      "exports and their types",
      "an import of WASI",
      {
        facts: {
          imports: [{ module: "wasi_snapshot_preview1", name: "sock_send" }],
          exports: [{ name: "fetch", kind: "function", type: "()->i32" }],
        },
      },
    ],
    [
      "manifest against module",
      "an export that is not declared",
      {
        facts: {
          imports: [],
          exports: [
            { name: "fetch", kind: "function", type: "()->i32" },
            { name: "poll", kind: "function", type: "()->i32" },
          ],
        },
      },
    ],
    [
      "manifest against module",
      "a column that is not declared, and http without permission",
      { manifest: { interfaces: { fetch: { columns: { time: "timestamp", id: "int64", place: "string" } } } } },
    ],
  ])("%s: %s", async (check, _, over) => {
    expect(failed(await judge(subject(over), callOf(good), OPTIONS))).toEqual([check]);
  });
});

test("what does not apply says why, and does not count", async () => {
  const still: Guest = {
    async fetch(input) {
      if (!input || Array.isArray(input) || typeof input.begin !== "string") throw new Told("bad_input", "no window");
      return { rows: input.begin === input.end ? [] : [{ time: input.begin }] };
    },
  };
  const { checks, score, applicable } = await judge(subject(), callOf(still), OPTIONS);
  const skipped = checks.filter(({ verdict }) => verdict === "skip");
  expect([score, applicable]).toEqual([100, 7]);
  expect(skipped.map(({ name }) => name)).toEqual([
    "resume from every checkpoint",
    "denied egress stays denied",
    "text outside ASCII",
    "big numbers",
  ]);
  for (const { reason } of skipped) expect(reason.length).toBeGreaterThan(20);
});

test("a plugin that needs its source is told how to record it", async () => {
  const unrecorded = { ...scenario, host: [], recorded: false };
  const { checks } = await judge(subject({ scenarios: [unrecorded] }), callOf(good), OPTIONS);
  const repeated = checks.find(({ name }) => name === "same window twice, same rows");
  expect(repeated).toMatchObject({ verdict: "skip", reason: expect.stringContaining("plugin test FOLDER --record") });
});
