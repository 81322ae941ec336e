/** The embedded server: it comes back when it dies, goes when its owner goes, and says what is in its way. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { silentLog } from "../../services/kit/log.ts";
import { startClickHouse } from "../../services/results/results.ts";
import { startTestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

const ask = async (url: string, sql: string) => (await fetch(url, { method: "POST", body: sql })).text();
const answers = (url: string) =>
  fetch(`${url}/ping`).then(
    (answer) => answer.ok,
    () => false,
  );

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), "millrace-server-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

test("it keeps its memory cap and its port over a death", async () => {
  await using folder = await temporaryFolder();
  await using server = await startClickHouse({ folder: folder.path, port: 0, memoryMib: 700, log: silentLog });
  const cap = "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'";
  expect((await ask(server.url, cap)).trim()).toBe(String(700 * 1_048_576));
  const before = server.pid;
  process.kill(before, "SIGKILL");
  await until("ClickHouse is back", async () => server.pid !== before && (await answers(server.url)));
  expect((await ask(server.url, cap)).trim()).toBe(String(700 * 1_048_576));
});

test("a second server on the same folder is told that the folder is locked", async () => {
  await using server = await startTestClickHouse();
  const second = startClickHouse({ folder: server.folder, port: 0, memoryMib: 512, log: silentLog });
  await expect(second).rejects.toMatchObject({
    code: "precondition",
    message: `folder ${server.folder} is locked: another ClickHouse process is using it`,
  });
  expect(await answers(server.url)).toBe(true);
});

test("a port that is taken is named", async () => {
  await using folder = await temporaryFolder();
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const port = (other.address() as { port: number }).port;
  const started = startClickHouse({ folder: folder.path, port, memoryMib: 512, log: silentLog });
  await expect(started).rejects.toMatchObject({ code: "precondition", message: expect.stringContaining(String(port)) });
  other.close();
});

test("it dies with an owner that is killed without warning", async () => {
  await using folder = await temporaryFolder();
  const script = new URL("../harness/clickhouse-owner.ts", import.meta.url).pathname;
  const owner = spawn(process.execPath, [script, folder.path], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(owner.stdout, "data")) as [Buffer];
  const url = line.toString().trim();
  expect(await answers(url)).toBe(true);
  owner.kill("SIGKILL");
  await until("ClickHouse is gone", async () => !(await answers(url)), 5_000);
  // The lock went with it: the folder can be used again.
  await using again = await startClickHouse({ folder: folder.path, port: 0, memoryMib: 512, log: silentLog });
  expect(await answers(again.url)).toBe(true);
});

test("its reader can neither write nor look around", async () => {
  await using server = await startTestClickHouse();
  const as = (sql: string) => ask(`${server.url}/?user=reader`, sql);
  expect(await as("SELECT * FROM system.users")).toContain("ACCESS_DENIED");
  expect(await as("CREATE DATABASE mine")).toContain("ACCESS_DENIED");
  expect(await as("SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')")).toContain("ACCESS_DENIED");
});
