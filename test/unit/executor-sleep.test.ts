/** `sleep`, the host function: what is waited for, and what is refused. */
import { expect, test } from "vitest";
import { sleep } from "../../services/executor/host/sleep.ts";
import { HttpBudget } from "../../services/executor/limits.ts";

const ask = (request: unknown) => Buffer.from(JSON.stringify(request));
const http = new HttpBudget({ maxHttpRequests: 1, maxHttpBytes: 1, maxHttpAtOnce: 1 });
const scope = { signal: new AbortController().signal, remainingMs: () => 1_000, http };

test("waits as long as it was told", async () => {
  const began = performance.now();
  await sleep(ask({ ms: 20 }), scope);
  expect(performance.now() - began).toBeGreaterThanOrEqual(19);
});

test.each([[{ ms: -1 }], [{ ms: "5" }], [{}], [[]]])("refuses %j", async (request) => {
  await expect(sleep(ask(request), scope)).rejects.toMatchObject({ code: "invalid" });
});

test("a wait that the call would not outlive fails at once", async () => {
  await expect(sleep(ask({ ms: 1_000 }), scope)).rejects.toMatchObject({ code: "deadline" });
});

test("ends with the call", async () => {
  const call = new AbortController();
  const waiting = sleep(ask({ ms: 900 }), { ...scope, signal: call.signal });
  call.abort();
  await expect(waiting).rejects.toThrow();
});
