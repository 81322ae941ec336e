/** What the author's commands compute by themselves: differences, digits, cases in folders, versions, watched changes. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readCases, writeExpectation } from "../../services/cli/case-file.ts";
import { nextDevVersion } from "../../services/cli/dev-version.ts";
import { differences, includes } from "../../services/cli/differences.ts";
import { parseExact, writeExact } from "../../services/cli/exact-json.ts";
import { watchFolder } from "../../services/cli/folder-watch.ts";
import { framesOf } from "../../services/cli/plugin-call.ts";
import { workFolder } from "../harness/work-folder.ts";

test("differences say where: changed, missing, not expected; equal numbers are equal", () => {
  const expected = [{ a: 1, b: ["x", "y"] }, { a: 0 }];
  expect(differences(expected, [{ a: 1, b: ["x", "y"] }, { a: -0 }], "rows")).toEqual([]);
  expect(differences(expected, [{ a: "1", b: ["x"], c: null }], "rows")).toEqual([
    'rows[0].a: expected 1, got "1"',
    'rows[0].b[1]: missing: "y"',
    "rows[0].c: expected nothing, got null",
    'rows[1]: missing: {"a":0}',
  ]);
  const many = differences(Array.from({ length: 50 }).fill(1), [], "rows", 3);
  expect([many.length, many.at(-1)]).toEqual([4, "… 47 more differences"]);
});

test("a request fits what a case says of it; the parameters of its URL in any order", () => {
  const asked = { url: "https://a.example/x?b=2&a=1", method: "GET", headers: { accept: "*/*" } };
  expect(includes(asked, { url: "https://a.example/x?a=1&b=2", headers: { accept: "*/*" } })).toBe(true);
  expect(includes(asked, { url: "https://a.example/x?a=1&b=3" })).toBe(false);
  expect(includes(asked, { method: "POST" })).toBe(false);
});

test("every digit comes in and goes out", () => {
  const text = '{"id":9007199254740993,"n":0.1,"big":-170141183460469231731687303715884105728}';
  expect(parseExact(text)).toMatchObject({ id: 9007199254740993n, n: 0.1 });
  expect(writeExact(parseExact(text))).toBe(text);
});

test("a case may be a folder, its rows in a file of their own; what came is written where it was", async () => {
  await using work = await workFolder();
  const folder = join(work.path, "test/large");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "case.json"), '{"export": "fetch", "expect": {"outcome": "ok"}}');
  await writeFile(join(folder, "host.json"), '[{"name": "http", "answer": {"json": [1]}}]');
  await writeFile(join(folder, "rows.ndjson"), '{"id":9007199254740993}\n\n{"id":2}\n');
  const [read] = await readCases(work.path);
  expect(read).toMatchObject({ name: "large", export: "fetch", host: [{ name: "http" }] });
  expect(read?.expect).toEqual({ outcome: "ok", rows: [{ id: 9007199254740993n }, { id: 2 }] });
  await writeExpectation(read?.path ?? "", { outcome: "ok", rows: [{ id: 7n }] });
  expect((await readCases(work.path))[0]?.expect).toEqual({ outcome: "ok", rows: [{ id: 7 }] });
});

test("a failure shows the author's own frames", () => {
  expect(framesOf({ at: "src/plugin.ts:3", stack: ["fetch (src/plugin.ts:3)"] })).toEqual(["fetch (src/plugin.ts:3)"]);
  expect(framesOf({ at: "src/plugin.py:7" })).toEqual(["src/plugin.py:7"]);
  const go =
    "goroutine 1 [running]:\npanic({0x2a, 0x2e})\n\truntime/panic.go:860 +0x1c\nmain.minutes(0x29)\n\tmy-plugin/plugin.go:28 +0xe\n";
  expect(framesOf({ stack: go })).toEqual(["main.minutes (my-plugin/plugin.go:28)"]);
  expect(framesOf(undefined)).toEqual([]);
});

test("versions of dev go on from what is published", () => {
  expect(nextDevVersion("1.0.0", [])).toBe("1.0.0-dev.1");
  expect(nextDevVersion("1.0.0", ["1.0.0-dev.9", "1.0.0-dev.10", "1.0.0", "1.1.0-dev.40"])).toBe("1.0.0-dev.11");
  expect(nextDevVersion("1.0.0-beta.1", ["1.0.0-beta.1"])).toBe("1.0.0-beta.1.dev.1");
});

test("changes of sources are told once, those of build folders and tests are not", async () => {
  await using work = await workFolder();
  for (const name of ["src", "target", "test"]) await mkdir(join(work.path, name));
  const stop = new AbortController();
  using watched = watchFolder(work.path, stop.signal);
  await writeFile(join(work.path, "target/out.o"), "x");
  await writeFile(join(work.path, "test/case.json"), "{}");
  await writeFile(join(work.path, "src/plugin.ts"), "1");
  expect(await watched.next()).toBe(join("src", "plugin.ts"));
  const waiting = watched.next();
  stop.abort();
  expect(await waiting).toBeUndefined();
});
