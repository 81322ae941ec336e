/** What an author does with a plugin before anybody else sees it: call, test, judge, pack; and what bad input is told. */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildAside } from "../../services/cli/build-thread.ts";
import { newPlugin } from "../../services/cli/new-plugin.ts";
import { runCli } from "../harness/cli.ts";
import { compileWat } from "../harness/wat.ts";
import { workFolder } from "../harness/work-folder.ts";

/** A plugin from the template, with a source of its own. */
async function project(language = "typescript", source?: string, manifest: object = {}) {
  const work = await workFolder();
  const folder = join(work.path, "first-light");
  await newPlugin(language, folder);
  const at = join(folder, "plugin.json");
  await writeFile(at, JSON.stringify({ ...JSON.parse(await readFile(at, "utf8")), ...manifest }));
  if (source !== undefined) await writeFile(join(folder, "src", FILES[language] ?? ""), source);
  return { path: work.path, folder, [Symbol.asyncDispose]: () => work[Symbol.asyncDispose]() };
}

const FILES: Readonly<Record<string, string>> = { typescript: "plugin.ts", python: "plugin.py" };

/** Prices by page, one host call each. */
const PRICES = `
import { checkpoint, type FetchCall, http, log } from "@millrace/typescript";

export function* fetch({ config, cursor, window }: FetchCall<{ base: string }, { page: number }>) {
  if (window.beginMs === window.endMs) return;
  for (let page = cursor?.page ?? 1; page <= 2; page++) {
    const { prices, name } = http.json<{ prices: number[]; name: string }>(config.base + "/" + page);
    log.info("page " + page);
    yield prices.map((price, i) => ({ time: new Date(window.beginMs + 60_000 * (10 * page + i)), name, price }));
    checkpoint({ page: page + 1 });
  }
}
`;

const pricesManifest = (port: number) => ({
  interfaces: {
    fetch: {
      columns: { time: "timestamp", name: "string", price: "float64" },
      datetime: "time",
      begin: "2026-01-01T00:00:00Z",
    },
  },
  config: { type: "object", properties: { base: { type: "string" } }, required: ["base"] },
  permissions: { http: [{ url: `http://127.0.0.1:${port}/*` }] },
});

async function priceServer() {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    const page = Number(request.url?.slice(1));
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ name: "smør ☃", prices: [page * 1.25, page + 0.1] }));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    port: (server.address() as AddressInfo).port,
    asked: () => asked,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

test("call, record a case from a live run, play it without the source, see a difference, take it, judge it", async () => {
  await using source = await priceServer();
  await using work = await project("typescript", PRICES, pricesManifest(source.port));
  const config = JSON.stringify({ base: `http://127.0.0.1:${source.port}` });

  const record = join(work.path, "run.gz");
  const called = await runCli([
    "plugin",
    "call",
    work.folder,
    "fetch",
    "--config",
    config,
    "--profile",
    "--record",
    record,
  ]);
  expect([called.code, called.stderr]).toEqual([0, expect.stringContaining("info  page 2")]);
  expect(called.stderr).toContain('checkpoint {"page":3} after 4 rows');
  expect(called.stdout).toMatch(/2026-01-01T00:20:00\.000Z +smør ☃ +2\.5\n/);
  expect(called.stdout).toMatch(
    /CPU: \d+\.\d+ ms\nwall: .*\nmemory at most: .* MiB\nguest calls: 1\nhost calls: .*http 2/,
  );
  expect((await runCli(["run", "replay", record])).stdout).toContain("the same, byte for byte");
  const refused = await runCli(["plugin", "call", work.folder, "fetch", "--config", config, "--grants", "none"]);
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringMatching(/denied: .* is not granted.*\n.*at .*plugin\.ts:7/),
  ]);
  const bare = await runCli(["plugin", "call", work.folder, "fetch"]);
  expect([bare.code, bare.stderr]).toEqual([1, expect.stringContaining("config.base: is not set")]);

  const recorded = ["plugin", "test", work.folder, "--record", "two-pages", "--export", "fetch", "--config", config];
  expect((await runCli(recorded)).code).toBe(0);
  const asked = source.asked();
  // The template's case knows nothing of the new config: it fails by itself, and says which it is.
  const stale = await runCli(["plugin", "test", work.folder]);
  expect(stale.stdout).toMatch(/FAILED {2}three-minutes .*\n {4}config: 1 mistake\n {6}config\.base: is not set/);
  expect(stale.stdout).toMatch(/ok +two-pages/);
  await rm(join(work.folder, "test/three-minutes.json"));
  const path = join(work.folder, "test", "two-pages.json");
  const played = await runCli(["plugin", "test", work.folder, "--case", "two-pages", "--json"]);
  expect(JSON.parse(played.stdout)).toMatchObject({ passed: 1, failed: 0, cases: [{ result: "ok", rows: 4 }] });

  const source2 = await readFile(join(work.folder, "src/plugin.ts"), "utf8");
  await writeFile(join(work.folder, "src/plugin.ts"), source2.replace("name, price }", "name, price: price * 2 }"));
  const differs = await runCli(["plugin", "test", work.folder, "--case", "two-pages"]);
  expect([differs.code, differs.stdout]).toEqual([1, expect.stringContaining("rows[0].price: expected 1.25, got 2.5")]);
  await runCli(["plugin", "test", work.folder, "--case", "two-pages", "--update"]);
  expect(JSON.parse(await readFile(path, "utf8")).expect.rows[0].price).toBe(2.5);
  await writeFile(join(work.folder, "src/plugin.ts"), source2.replace('"/" + page', '"/page/" + page'));
  const strayed = await runCli(["plugin", "test", work.folder, "--case", "two-pages"]);
  expect([strayed.code, strayed.stdout]).toEqual([
    1,
    expect.stringMatching(/host\[0\]: the guest asked for http .*page\/1/),
  ]);
  expect(source.asked()).toBe(asked);

  await writeFile(join(work.folder, "src/plugin.ts"), source2);
  await runCli(["plugin", "test", work.folder, "--case", "two-pages", "--update"]);
  const judged = await runCli(["plugin", "verify", work.folder, "--calls", "200", "--json"]);
  const report = JSON.parse(judged.stdout);
  expect(report.checks.filter(({ verdict }: { verdict: string }) => verdict !== "pass")).toEqual([]);
  expect([report.score, judged.code]).toEqual([100, 0]);

  const clock = source2.replace("name, price }", "name, price: Math.random() }");
  await writeFile(join(work.folder, "src/plugin.ts"), clock);
  const worse = await runCli(["plugin", "verify", work.folder, "--calls", "200"]);
  expect([worse.code, worse.stderr]).toEqual([
    1,
    expect.stringMatching(/FAIL same window twice, same rows: two-pages: row/),
  ]);
}, 240_000);

test("pack: the same sources anywhere give the same bytes; they are what verify takes; what is too large is named", async () => {
  await using one = await project();
  await using other = await project();
  const [a, b] = [join(one.path, "a.tgz"), join(other.path, "b.tgz")];
  const packed = await runCli(["plugin", "pack", one.folder, "-o", a, "--json"]);
  expect((await runCli(["plugin", "pack", other.folder, "--out", b])).code).toBe(0);
  const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  expect(JSON.parse(packed.stdout).sha256).toBe(digest(await readFile(a)));
  expect(digest(await readFile(b))).toBe(digest(await readFile(a)));
  const judged = await runCli(["plugin", "verify", a, "--calls", "100"]);
  expect([judged.code, judged.stdout]).toEqual([0, expect.stringContaining("first-light 0.1.0: 100 of 100")]);

  await mkdir(join(one.folder, "static"));
  await writeFile(join(one.folder, "static/film.bin"), randomBytes(50 << 20));
  const large = await runCli(["plugin", "pack", one.folder, "-o", a]);
  expect([large.code, large.stderr]).toEqual([
    1,
    expect.stringMatching(/too_large: .*\n {2}static\/film\.bin: 50\.0 MiB/),
  ]);
}, 120_000);

describe("bad input is told where it is, and what to do", () => {
  test.each<[what: string, language: string, source: string, told: RegExp]>([
    [
      "a syntax error",
      "typescript",
      "export function fetch() {\n  return [;\n}\n",
      /src\/plugin\.ts:2:11: Unexpected ";"/,
    ],
    ["a syntax error", "python", "def fetch(call):\n    return [\n", /src\/plugin\.py.*[23]/s],
    [
      "a wrong export name",
      "typescript",
      "export const fetsh = () => [];\n",
      /does not export fetch.*it exports fetsh.*add: /,
    ],
    [
      "the host called by the top level",
      "typescript",
      'import { kv } from "@millrace/typescript";\nconst seen = kv.get("a");\nexport const fetch = () => [seen];\n',
      /kv is not available at build time; move it into an exported function.*\n.*at src\/plugin\.ts:2/,
    ],
    [
      "a socket of Node's",
      "typescript",
      'import net from "node:net";\nexport const fetch = () => [net];\n',
      /src\/plugin\.ts:1:17: .*host functions/,
    ],
    [
      "a top level without an end",
      "typescript",
      "export const fetch = () => [];\nlet n = 1;\nwhile (n > 0) {\n  n = n + 1;\n}\n",
      /does not come to an end; .*move the loop into an export.*\n.*at or after src\/plugin\.ts:[1-3]\b/,
    ],
  ])(
    "%s in %s",
    async (_, language, source, told) => {
      await using work = await project(language, source);
      await expect(buildAside(work.folder, { outDir: join(work.path, "out") })).rejects.toThrow(told);
    },
    60_000,
  );

  test("a top level that the engine cannot be asked about is ended by the clock", async () => {
    await using work = await project("python", "while True:\n    pass\n\ndef fetch(call):\n    return []\n");
    const built = buildAside(work.folder, { outDir: join(work.path, "out"), evaluateTimeoutMs: 1_500 });
    await expect(built).rejects.toThrow(/top level of src\/plugin\.py still runs after 1500 ms; it runs once/);
  }, 60_000);

  test("a compiler that is not there, in the words of its language", async () => {
    await using work = await project("go");
    const node = join(process.execPath, "..");
    const { code, stderr } = await runCli(["plugin", "build", work.folder], { PATH: node, HOME: work.path });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/no go on the PATH; install Go .*https:\/\/go\.dev\/dl/)]);
  }, 60_000);

  test("a module that needs a system: refused by name, and judged 0", async () => {
    await using work = await workFolder();
    const path = join(work.path, "sockets.wasm");
    const send = '(import "wasi_snapshot_preview1" "sock_send" (func (param i32 i32 i32 i32 i32) (result i32)))';
    await writeFile(path, compileWat(`(module ${send} (memory 1) (func (export "fetch") (result i32) i32.const 0))`));
    const called = await runCli(["plugin", "call", path, "fetch"]);
    expect([called.code, called.stderr]).toEqual([1, expect.stringMatching(/imports WASI \(sock_send\).*no WASI/)]);
    const judged = await runCli(["plugin", "verify", path]);
    expect([judged.code, judged.stdout]).toEqual([1, expect.stringContaining("0 of 100")]);
  }, 60_000);

  test("a case that says nothing, says too much, or is no JSON", async () => {
    await using work = await project();
    const cases = join(work.folder, "test");
    await writeFile(join(cases, "a.json"), '{"export": "fetch", "expected": {}, "expect": {"row": []}}');
    await writeFile(join(cases, "b.json"), "{");
    const { code, stderr } = await runCli(["plugin", "test", work.folder]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/a\.json: expected: is not a field of a test case; one of export, input/);
    expect(stderr).toMatch(/a\.json: expect\.row: is nothing that a run has; one of outcome, rows/);
    expect(stderr).toMatch(/b\.json: is not JSON/);
  }, 60_000);
});
