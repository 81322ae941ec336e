/** `sync` and its hooks in the languages of interpreters: rows that are streamed, and a veto that is text. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import * as lua from "../../plugins-sdk/lua/build.js";
import * as python from "../../plugins-sdk/python/build.js";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const BUILD_TIMEOUT_MS = 120_000;
const WINDOW = { begin: "2012-01-01T00:00:00Z", end: "2012-01-02T00:00:00Z", attempt: 1 };

const PYTHON = `
from millrace import emit, emit_csv

def sync(call):
    emit({"n": 1})
    emit_csv("n\\n2\\n")
    yield {"n": 3, "day": call.window.first_day}

def before_sync(call):
    return "closed" if call.config.get("closed") else None

def after_sync(call):
    emit({"rows": call.rows})
`;
const LUA = `
local millrace = require("millrace")
local function sync(call)
  millrace.emit({ n = 1 })
  millrace.emit_csv("n\\n2\\n")
  millrace.emit({ n = 3, day = call.window.first_day })
end
local function before_sync(call) if call.config.closed then return "closed" end end
local function after_sync(call) millrace.emit({ rows = call.rows }) end
return { sync = sync, before_sync = before_sync, after_sync = after_sync }
`;

test.each([
  ["python", python, "src/plugin.py", PYTHON],
  ["lua", lua, "src/plugin.lua", LUA],
] as const)("in %s", { timeout: BUILD_TIMEOUT_MS }, async (_, { buildPlugin }, path, source) => {
  await using work = await workFolder();
  const interfaces = { sync: {}, before_sync: {}, after_sync: {} };
  await mkdir(dirname(join(work.path, path)), { recursive: true });
  await writeFile(join(work.path, "plugin.json"), JSON.stringify({ name: "made", version: "1.0.0", interfaces }));
  await writeFile(join(work.path, path), source);
  await using guest = await openSandboxed((await buildPlugin(work.path, { outDir: join(work.path, "out") })).wasmPath);
  const rows = (asked: readonly { name: string; request: string }[]) =>
    asked.map(({ name, request }) => [name, name === "emit" ? JSON.parse(request) : request]);

  const one = async () => Buffer.from(JSON.stringify({ ok: { rows: 1 } }));
  const synced = await guest.call("sync", { config: {}, ...WINDOW }, one);
  expect([synced.outcome, synced.json]).toEqual(["ok", {}]);
  expect(rows(synced.asked)).toEqual([
    ["emit", { n: 1 }],
    ["emit:csv", "n\n2\n"],
    ["emit", { n: 3, day: "2012-01-01" }],
  ]);
  expect((await guest.call("before_sync", { config: { closed: true }, ...WINDOW })).json).toEqual({ veto: "closed" });
  expect((await guest.call("before_sync", { config: {}, ...WINDOW })).json).toEqual({});
  const after = await guest.call("after_sync", { config: {}, ...WINDOW, outcome: "ok", rows: 3 });
  expect([after.json, rows(after.asked)]).toEqual([{}, [["emit", { rows: 3 }]]]);
});
