/** Functions and events through a real gateway, executor and guest: who may call what, and what comes back. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FunctionsService } from "../../proto/gen/millrace/executor/v1/function_service.ts";
import { ask, connect } from "../../services/kit/grpc.ts";
import type { Results } from "../../services/results/results.ts";
import { type Capable, openCapable } from "../harness/capable.ts";
import { startCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { slowServer } from "../harness/slow-server.ts";
import { until } from "../harness/until.ts";

let stack: AsyncDisposableStack;
let results: Results;
let at: Capable;
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  results = stack.use(await openTestResults(stack.use(await startTestClickHouse())));
  // Two places in all: nested calls must not need one.
  at = stack.use(await openCapable(results, { lanes: 1, callsPerLane: 2 }));
  for (const id of ["two", "three", "four", "five", "six"]) await at.instance(id);
}, 60_000);
afterAll(() => stack.disposeAsync());

describe("from outside", () => {
  test("a function is called by REST and gRPC, and its run is recorded", async () => {
    const { status, body } = await at.call("convert", { celsius: 100 });
    expect([status, body.output]).toEqual([200, { fahrenheit: 212 }]);
    using channel = connect(at.grpc);
    const request = { name: "instances/capable", function: "convert", input: { celsius: 0 } };
    const { output, run } = await ask(channel, FunctionsService.callFunction, request, { deadlineMs: 5_000 });
    expect(output).toEqual({ fahrenheit: 32 });
    const [record] = await until("the run", async () => {
      const runs = await results.getRun(run.replace("runs/", "")).catch(() => []);
      return runs.length > 0 && runs;
    });
    expect(record).toMatchObject({ kind: "function", outcome: "ok", target: "function:convert", instance: "capable" });
  });
  test.each([[null], [true], [0.5], ["é☃"], [[1, [2]]], [{ a: { b: null } }]])(
    "any JSON goes in and out: %j",
    async (value) => {
      expect((await at.call("echo", value)).body.output).toEqual(value);
    },
  );
  test("they are listed with their schemas", async () => {
    const listed = async (instance: string) => {
      const answer = await fetch(`${at.url}/v1/instances/${instance}/functions`);
      const { functions } = (await answer.json()) as { functions: { name: string }[] };
      return functions.map(({ name }) => name);
    };
    const own = await listed("capable");
    expect(own).toContain("instances/capable/functions/convert");
    expect((await listed("-")).length).toBe(own.length * 6);
  });
  const refused: [fn: string, input: unknown, status: number, says: RegExp][] = [
    ["convert", {}, 400, /celsius/],
    ["convert", { celsius: "hot" }, 400, /input\.celsius: must be number/],
    ["convert", { celsius: 1, extra: 1 }, 400, /extra/],
    ["convert", { celsius: 1, note: `${"a".repeat(40)}!` }, 400, /took over/],
    ["convert", { celsius: 1e6 }, 502, /output\.fahrenheit/],
    ["nothing", {}, 404, /convert/],
    ["refuse", {}, 502, /not_today.*closed on Sundays/],
    ["trap", {}, 502, /trap/],
  ];
  test.each(refused)("%s(%o) is %i", async (fn, input, status, says) => {
    const answer = await at.call(fn, input);
    expect([answer.status, JSON.stringify(answer.body)]).toEqual([status, expect.stringMatching(says)]);
  });
});

describe("from the command line", () => {
  const run = async (...args: string[]) => {
    await using cli = startCli(args, { MILLRACE_ADDRESS: at.grpc });
    return await cli.ended;
  };
  test("functions are listed and called", async () => {
    const [list, call, wrong, none] = await Promise.all([
      run("function", "list", "capable"),
      run("function", "call", "capable", "convert", '{"celsius": 20}', "--json"),
      run("function", "call", "capable", "convert", "{celsius}"),
      run("function", "call", "capable", "nothing"),
    ]);
    expect(list.stdout).toContain("Celsius to Fahrenheit");
    expect(JSON.parse(call.stdout)).toEqual({ fahrenheit: 68 });
    expect([wrong.code, wrong.stderr]).not.toEqual([0, ""]);
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining("convert")]);
  }, 30_000);
});

describe("from a guest", () => {
  const request = (instance: string, fn: string, input: unknown = null) => ({ instance, function: fn, input });
  const through = (names: readonly string[], last: unknown): unknown =>
    names.reduceRight((inner, name) => ({ name: "call", request: request(name, "ask", inner) }), last);

  test("gets what the other answered, and the nested run is one of its own", async () => {
    const { ok } = await at.ask("call", request("two", "convert", { celsius: 10 }));
    expect(ok?.output).toEqual({ fahrenheit: 50 });
    await until("the nested run", async () => {
      const runs = await results.getRun(String(ok?.run_id)).catch(() => []);
      return runs[0]?.instance === "two" && runs[0].kind === "function";
    });
  });
  const failures: [fn: string, input: unknown, code: string, says: RegExp][] = [
    ["convert", {}, "invalid", /celsius/],
    ["nothing", {}, "not_found", /has no function/],
    ["refuse", {}, "internal", /two\/refuse: not_today: closed/],
    ["trap", {}, "internal", /trap/],
  ];
  test.each(failures)("%s(%j) is the error %s", async (fn, input, code, says) => {
    const { error } = await at.ask("call", request("two", fn, input));
    expect([error?.code, error?.message]).toEqual([code, expect.stringMatching(says)]);
  });
  test("an unknown instance is not_found, a request that is none is invalid", async () => {
    expect((await at.ask("call", request("none", "echo"))).error?.code).toBe("not_found");
    expect((await at.ask("call", { instance: 1, timeout_ms: -1 })).error?.message).toMatch(
      /instance.*\n.*function.*\n.*timeout_ms/,
    );
  });
  test("what is not granted is denied, and counted", async () => {
    await at.instance("narrow", { call: ["two/echo", "three/*"] });
    const of = async (instance: string, fn: string) =>
      (await at.ask("call", request(instance, fn, 1), { instance: "narrow" })).error?.code;
    expect([await of("two", "echo"), await of("three", "echo")]).toEqual([undefined, undefined]);
    expect([await of("two", "refuse"), await of("four", "echo")]).toEqual(["denied", "denied"]);
    await until("it is counted", async () => {
      const { runs } = await results.listRuns({ instance: "narrow" }, { size: 100 });
      return runs.some((run) => run.hostCalls.denied === 1 && run.hostCalls.call === 1);
    });
  });
  test("a cycle is refused with its chain", async () => {
    const { body } = await at.call("ask", through(["two", "three", "two"], { name: "now", request: {} }));
    expect(JSON.stringify(body)).toContain("capable/ask → two/ask → three/ask → two/ask");
    expect(JSON.stringify(body)).toContain("conflict");
  });
  test("calls nest as deep as limits.call_depth says", async () => {
    const deep = (names: readonly string[]) =>
      at.call(
        "ask",
        through(names, { name: "call", request: request(names.at(-1) === "five" ? "six" : "five", "echo", 7) }),
      );
    expect(JSON.stringify((await deep(["two", "three", "four"])).body)).toContain('"output":7');
    expect(JSON.stringify((await deep(["two", "three", "four", "five"])).body)).toContain("nested too deep");
  });
  test("guests that call each other do not wait for places", async () => {
    const many = Array.from({ length: 20 }, () => at.ask("call", request("two", "echo", 1)));
    for (const { ok } of await Promise.all(many)) expect(ok?.output).toBe(1);
  });
  test("the called one never has more time than the caller, and ends with it", async () => {
    await using slow = await slowServer();
    const { error } = await at.ask("call", { ...request("two", "slow", slow.url), timeout_ms: 200 });
    expect(error?.code).toBe("deadline");
    const hangUp = new AbortController();
    const input = JSON.stringify({ name: "call", request: request("two", "slow", slow.url) });
    const going = fetch(`${at.url}/v1/instances/capable/functions/ask:call`, {
      ...{ method: "POST", body: input, headers: { "content-type": "application/json" }, signal: hangUp.signal },
    }).catch(() => {});
    await until("the nested call waits", () => slow.asked() === 2);
    hangUp.abort();
    await going;
    await until("both runs are cancelled", async () => {
      const { runs } = await results.listRuns({ kind: "function", outcome: "cancelled" }, { size: 100 });
      return new Set(runs.map((run) => run.instance)).size === 2;
    });
  });
});

describe("events", () => {
  async function watch(subject: string) {
    const stop = new AbortController();
    const response = await fetch(`${at.url}/v1/events:watch?subject=${subject}`, {
      headers: { accept: "text/event-stream" },
      signal: stop.signal,
    });
    const seen: { subject: string; body: unknown }[] = [];
    const reading = (async () => {
      const decoder = new TextDecoder();
      let text = "";
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk as Uint8Array, { stream: true });
        const lines = text.split("\n\n");
        text = lines.pop() ?? "";
        for (const line of lines) if (line.startsWith("data: ")) seen.push(JSON.parse(line.slice(6)));
      }
    })().catch(() => {});
    return {
      seen,
      async [Symbol.asyncDispose]() {
        stop.abort();
        await reading;
      },
    };
  }

  test("who watches hears what is published, and how runs end", async () => {
    await using guest = await watch("guest.capable.news");
    await using all = await watch("");
    expect((await at.ask("publish", { subject: "news.today", body: { n: 1 } })).ok).toEqual({});
    expect((await at.ask("publish", { subject: "status", body: "up" })).ok).toEqual({});
    await until("the event", () => guest.seen.length > 0);
    await until("all events", () => all.seen.some(({ subject }) => subject === "runs.function"));
    expect(guest.seen).toMatchObject([{ subject: "guest.capable.news.today", body: { n: 1 } }]);
    expect(all.seen).toContainEqual(expect.objectContaining({ subject: "guest.capable.status", body: "up" }));
  });
  const refused: [request: unknown, code: string][] = [
    [{ subject: "weather", body: 1 }, "denied"],
    [{ subject: "news", body: 1 }, "denied"],
    [{ subject: "news.>", body: 1 }, "invalid"],
    [{ subject: "", body: 1 }, "invalid"],
    [{ body: 1 }, "invalid"],
  ];
  test.each(refused)("%j is %s", async (request, code) => {
    expect((await at.ask("publish", request)).error?.code).toBe(code);
  });
  test("the size is bounded", async () => {
    const { error } = await at.ask("publish", { subject: "news.big", body: "x".repeat(70_000) });
    expect(error?.code).toBe("too_large");
  });
  test("the rate is bounded", async () => {
    const { error } = await at.ask("publish", { subject: "status", body: 1 }, { times: 2_000, instance: "six" });
    expect(error).toMatchObject({ code: "exhausted", retryable: true });
  });
  test("only known subjects can be watched", async () => {
    const answer = await fetch(`${at.url}/v1/events:watch?subject=secrets`);
    expect(answer.status).toBe(400);
  });
});
