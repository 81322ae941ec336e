/** Secrets through all faces of a whole platform: command line, REST, the key in its folder; and what an upgrade asks. */
import { spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "../../services/cli/build.ts";
import { startPlatform } from "../../services/cli/platform.ts";
import { secretKeyOf } from "../../services/cli/secret-key.ts";
import { silentLog } from "../../services/kit/log.ts";
import type { Results } from "../../services/results/results.ts";
import { bundleOf } from "../harness/bundle.ts";
import { runCli } from "../harness/cli.ts";
import { openTestResults, startTestClickHouse, type TestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

const VALUE = "a value that nobody sees";

let clickHouse: TestClickHouse;
let results: Results;
let folder: string;
beforeAll(async () => {
  clickHouse = await startTestClickHouse();
  results = await openTestResults(clickHouse);
  folder = await mkdtemp(join(tmpdir(), "millrace-secrets-"));
});
afterAll(async () => {
  await results?.[Symbol.asyncDispose]();
  await clickHouse?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A command with something on stdin. */
function piped(
  args: readonly string[],
  address: string,
  stdin: string,
): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [join(root, "services/cli/millrace.js"), ...args], {
    env: { ...process.env, MILLRACE_ADDRESS: address },
  });
  child.stdin.end(stdin);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, said })));
}

test("a secret is set from stdin or by REST, listed without its value, deleted; the folder keeps only its seal", async () => {
  const options = { folder, http: "127.0.0.1:0", grpc: "127.0.0.1:0", log: silentLog, env: {}, results };
  await using platform = await startPlatform(options);
  const { grpc, http } = platform;
  await until("it is ready", async () => (await fetch(`http://${http}/readyz`)).ok);
  const set = await piped(
    ["secret", "set", "api-key", "--hosts", "api.example.org, *.example.com"],
    grpc,
    `${VALUE}\n`,
  );
  expect(set).toEqual({ code: 0, said: "secrets/api-key is set; for api.example.org, *.example.com\n" });
  const short = await piped(["secret", "set", "short"], grpc, "abc");
  expect(short.code).toBe(1);
  expect(short.said).toContain("value: has 3 bytes");
  // An argument would show in lists of processes.
  expect((await piped(["secret", "set", "api-key", VALUE], grpc, "")).code).toBe(2);

  const put = await fetch(`http://${http}/v1/secrets/by-rest`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ value: VALUE }),
  });
  expect(put.status).toBe(200);
  const answers = [await put.text(), await (await fetch(`http://${http}/v1/secrets`)).text()];
  const listed = await runCli(["secret", "list", "--json"], { MILLRACE_ADDRESS: grpc });
  expect(JSON.parse(listed.stdout).map(({ name }: { name: string }) => name)).toEqual([
    "secrets/api-key",
    "secrets/by-rest",
  ]);
  for (const answer of [...answers, listed.stdout, set.said]) {
    expect(answer).not.toContain("nobody sees");
    expect(answer).not.toContain("sealed");
  }
  expect((await fetch(`http://${http}/v1/secrets/api-key`)).status).toBeGreaterThanOrEqual(404);
  expect((await runCli(["secret", "delete", "by-rest"], { MILLRACE_ADDRESS: grpc })).code).toBe(0);
  expect(JSON.parse(await (await fetch(`http://${http}/v1/secrets`)).text()).secrets).toHaveLength(1);

  expect((await stat(join(folder, "secret.key"))).mode & 0o777).toBe(0o600);
  const key = (await readFile(join(folder, "secret.key"), "utf8")).trim();
  for (const file of (await readdir(folder)).filter((name) => name.startsWith("bus.sqlite"))) {
    const bytes = await readFile(join(folder, file));
    for (const text of [VALUE, Buffer.from(VALUE).toString("base64").slice(0, 20), key]) {
      expect([file, bytes.includes(text)]).toEqual([file, false]);
    }
  }
});

test("what an upgrade asks for is told in words", async () => {
  const options = { folder, http: "127.0.0.1:0", grpc: "127.0.0.1:0", log: silentLog, env: {}, results };
  await using platform = await startPlatform(options);
  const publish = async (version: string, permissions: object) => {
    const path = join(folder, `${version}.tgz`);
    await writeFile(path, bundleOf({ version, permissions }));
    const done = await runCli(["plugin", "publish", path], { MILLRACE_ADDRESS: platform.grpc });
    expect([done.code, done.stderr]).toEqual([0, ""]);
  };
  await publish("1.0.0", { http: [{ url: "https://api.example.org/v1/*" }], kv: true });
  await publish("1.1.0", { http: [{ url: "https://api.example.org/*" }], secrets: ["api-key"] });
  const told = async (...args: string[]) =>
    (await runCli(["plugin", "grants", "weather", ...args], { MILLRACE_ADDRESS: platform.grpc })).stdout;
  expect(await told()).toBe(
    [
      "weather 1.1.0 against 1.0.0",
      "> asks for more http: GET,HEAD https://api.example.org/* instead of GET,HEAD https://api.example.org/v1/*",
      "- no longer asks for kv: own keys",
      "+ asks for secrets: api-key",
      "It would reach more than before.\n",
    ].join("\n"),
  );
  expect(await told("--from", "1.1.0", "--to", "1.0.0")).toContain("+ asks for kv: own keys");
  expect(JSON.parse(await told("--json"))).toMatchObject({ from: "1.0.0", widens: true });
});

test("the key is made once, and not used when others may read it; the environment wins", async () => {
  const own = await mkdtemp(join(tmpdir(), "millrace-key-"));
  try {
    const key = await secretKeyOf(own, {});
    expect(await secretKeyOf(own, {})).toBe(key);
    expect(await secretKeyOf(own, { MILLRACE_SECRET_KEY: "given" })).toBe("given");
    await chmod(join(own, "secret.key"), 0o644);
    await expect(secretKeyOf(own, {})).rejects.toMatchObject({ code: "precondition" });
  } finally {
    await rm(own, { recursive: true, force: true });
  }
});
