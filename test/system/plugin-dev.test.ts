/** `plugin dev` on a real `millrace dev`: swaps on a change, keeps the old version when a build fails, leaves no trace. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { newPlugin } from "../../services/cli/new-plugin.ts";
import { runCli, startCli } from "../harness/cli.ts";

async function workshop() {
  const path = await mkdtemp(join(tmpdir(), "millrace-dev-"));
  const env = { MILLRACE_FOLDER: join(path, "platform"), GATEWAY_HTTP: "127.0.0.1:0", GATEWAY_GRPC: "127.0.0.1:0" };
  const folder = join(path, "first-light");
  await newPlugin("typescript", folder);
  const source = join(folder, "src/plugin.ts");
  const edit = async (from: string, to: string) => {
    const text = await readFile(source, "utf8");
    expect(text).toContain(from);
    await writeFile(source, text.replace(from, to));
  };
  return { env, folder, edit, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

test("a change is swapped in and run; a build that fails leaves the old one; Ctrl-C leaves things as they were", async () => {
  await using work = await workshop();
  await using platform = startCli(["dev"], work.env);
  const said = await platform.saying("Ctrl-C stops it", 120_000);
  const env = { MILLRACE_ADDRESS: /gRPC {2}(\S+)/.exec(said)?.[1] ?? "" };

  await using dev = startCli(["plugin", "dev", work.folder], env);
  await dev.saying("first-light 0.1.0-dev.1 runs");
  await dev.saying(/fetch first-light\.dev\/\S+ by 0\.1\.0-dev\.1: ok, \d+ rows/);

  await work.edit("yield { time, greeting,", "yield { time, greeting: [greeting, 1].join(), ");
  await dev.saying("first-light 0.1.0-dev.2 runs");
  await dev.saying(/fetch first-light\.dev\/\S+ by 0\.1\.0-dev\.2: ok/);
  const sql = "SELECT greeting FROM first_light_dev WHERE time < now() ORDER BY time DESC LIMIT 1";
  const rows = await runCli(["query", sql, "--json"], env);
  expect(JSON.parse(rows.stdout).rows).toEqual([["hello,1"]]);

  await work.edit("yield { time", "yield {{ time");
  await dev.saying("src/plugin.ts:");
  await dev.saying("first-light 0.1.0-dev.2 goes on");
  await work.edit("yield {{ time", 'throw new Error("no sun today"); yield { time');
  await dev.saying("first-light 0.1.0-dev.3 runs");
  await dev.saying(/by 0\.1\.0-dev\.3: guest_error.*no sun today \(at src\/plugin\.ts:\d+\)/);

  dev.kill("SIGINT");
  const ended = await dev.ended;
  expect([ended.code, ended.stderr]).toEqual([0, expect.stringContaining("first-light is gone again")]);
  expect(JSON.parse((await runCli(["plugin", "list", "--json"], env)).stdout)).toEqual([]);

  // What was there before is there again. A packed file is published as it is.
  const packed = join(work.folder, "..", "packed.tgz");
  expect((await runCli(["plugin", "pack", work.folder, "-o", packed])).code).toBe(0);
  expect((await runCli(["plugin", "publish", packed], env)).code).toBe(0);
  const shown = (await runCli(["plugin", "show", "first-light"], env)).stdout;
  for (const part of ["name: time, type: timestamp", "type: object", "first-light  0.1.0    ENABLED", "exports fetch"])
    expect(shown).toContain(part);
  const twin = join(work.folder, "../twin/first-light");
  await mkdir(join(work.folder, "../twin"));
  await newPlugin("python", twin);
  const refused = await runCli(["plugin", "publish", twin], env);
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringMatching(/exists with other bytes; raise .* another "name"/),
  ]);
  await work.edit('throw new Error("no sun today"); ', "");
  await using again = startCli(["plugin", "dev", work.folder], env);
  await again.saying("first-light 0.1.0-dev.1 runs");
  again.kill("SIGTERM");
  expect((await again.ended).stderr).toContain("instances/first-light runs 0.1.0 again");

  // What the session published is gone; what an instance runs does not go.
  const { versions } = JSON.parse((await runCli(["plugin", "show", "first-light", "--json"], env)).stdout);
  expect(versions.map(({ name }: { name: string }) => name)).toEqual(["plugins/first-light/versions/0.1.0"]);
  const inUse = await runCli(["plugin", "delete-version", "first-light", "0.1.0"], env);
  expect([inUse.code, inUse.stderr]).toEqual([1, expect.stringContaining("used by instances/first-light")]);
  const http = /HTTP {2}(http:\/\/\S+)/.exec(said)?.[1];
  const byRest = await fetch(`${http}/v1/plugins/first-light/versions/9.9.9`, { method: "DELETE" });
  expect([byRest.status, await byRest.json()]).toMatchObject([404, { error: { code: "not_found" } }]);
}, 240_000);

test("no platform to develop on", async () => {
  await using work = await workshop();
  const { code, stderr } = await runCli(["plugin", "dev", work.folder], { MILLRACE_ADDRESS: "127.0.0.1:9" });
  expect([code, stderr]).toEqual([1, expect.stringContaining("start one beside this: millrace dev")]);
}, 60_000);
