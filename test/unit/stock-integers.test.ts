/** The stock plugin for JSON on an axis of integers: what it asks for, and which rows it keeps. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildPlugin } from "../../plugins-sdk/typescript/build.js";
import { openSandboxed } from "../harness/sandboxed.ts";

const HTTP_JSON = join(import.meta.dirname, "../../plugins-sdk/stock/http-json");

test("templates name integers, and rows outside the window are dropped, to the last digit", {
  timeout: 120_000,
}, async () => {
  await using guest = await openSandboxed((await buildPlugin(HTTP_JSON)).wasmPath);
  const source = {
    url: "https://api.example.org/blocks",
    query: { from: "{begin}", to: "{last}" },
    fields: { id: { type: "int64" }, kind: { type: "string" } },
    time: "id",
  };
  const call = {
    pipe: { name: "chain.blocks", connector: "chain", metric: "blocks", location: "", parameters: {} },
    config: { sources: { blocks: source } },
  };
  const registered = await guest.call("register", call);
  expect(registered.json).toEqual({ columns: { id: "int64", kind: "string" }, datetime: "id" });
  const urls: string[] = [];
  const http = ({ url }: Record<string, unknown>) => {
    urls.push(String(url));
    const body = '[{"id":9007199254740992},{"id":9007199254740993,"kind":"a"},{"id":9007199254741093}]';
    return { status: 200, headers: {}, body, url };
  };
  const range = { begin: "9007199254740993", end: "9007199254741093", cursor: null, attempt: 1 };
  const { asked, error } = await guest.call("fetch", { ...call, ...range }, { http });
  expect(error).toBeUndefined();
  expect(urls).toEqual(["https://api.example.org/blocks?from=9007199254740993&to=9007199254741092"]);
  const rows = asked.filter(({ name }) => name === "emit").map(({ request }) => request.trim());
  expect(rows).toEqual(['{"id":9007199254740993,"kind":"a"}']);
});
