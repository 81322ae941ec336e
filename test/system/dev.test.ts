/**
 * `millrace dev --demo` as a stranger runs it: data appear, Ctrl-C ends it, a second start goes on, mistakes are told.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runCli, startCli } from "../harness/cli.ts";

const CITY_DAYS = 2_922;

async function folder() {
  const path = await mkdtemp(join(tmpdir(), "millrace-dev-"));
  const [http, grpc] = ["127.0.0.1:0", "127.0.0.1:0"];
  return {
    env: { MILLRACE_FOLDER: path, GATEWAY_HTTP: http, GATEWAY_GRPC: grpc },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

const grpcOf = (said: string) => /gRPC {2}(\S+)/.exec(said)?.[1] ?? "";
const httpOf = (said: string) => /HTTP {2}http:\/\/(\S+)/.exec(said)?.[1] ?? "";

test("the demo fetches, polls and serves; Ctrl-C ends it; a second start finds everything and fetches nothing", async () => {
  await using home = await folder();
  {
    await using dev = startCli(["dev", "--demo"], home.env);
    const said = await dev.saying("Ctrl-C stops it", 120_000);
    expect(said).toContain(`weather.daily: ${CITY_DAYS} city days`);
    const address = { MILLRACE_ADDRESS: grpcOf(said) };
    const sql = "SELECT city, count() AS days FROM weather_daily GROUP BY city ORDER BY city";
    const query = await runCli(["query", sql, "--json"], address);
    expect(query.code).toBe(0);
    expect(JSON.parse(query.stdout).rows).toEqual([
      ["New York", "1461"],
      ["Seattle", "1461"],
    ]);
    const plugins = await runCli(["plugin", "list"], address);
    for (const name of ["weather", "uptime", "board"]) expect(plugins.stdout).toContain(name);
    const runs = await runCli(["run", "list", "--kind", "fetch", "--json"], address);
    expect(JSON.parse(runs.stdout).every((run: { outcome: string }) => /^(ok|no_data)$/.test(run.outcome))).toBe(true);

    const page = await fetch(`http://${httpOf(said)}/plugins/board/`);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const summary = await fetch(`http://${httpOf(said)}/plugins/board/api/summary`);
    expect(summary.status).toBe(200);
    const { cities } = (await summary.json()) as { cities: { days: string }[] };
    expect(cities.reduce((sum, city) => sum + Number(city.days), 0)).toBe(CITY_DAYS);

    const second = await runCli(["dev"], home.env);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(home.env.MILLRACE_FOLDER);
    expect(second.stderr).toMatch(/another process|locked/);

    dev.kill("SIGINT");
    expect((await dev.ended).code).toBe(0);
  }
  await using again = startCli(["dev", "--demo"], home.env);
  const said = await again.saying("Ctrl-C stops it", 120_000);
  expect(said).toContain(`weather.daily: ${CITY_DAYS} city days`);
  expect(said).not.toMatch(/weather\.daily \d+\/[2-9]\d/);
  again.kill("SIGTERM");
  expect((await again.ended).code).toBe(0);
}, 300_000);

test("Ctrl-C twice ends it at once", async () => {
  await using home = await folder();
  await using dev = startCli(["dev"], home.env);
  await dev.saying("Ctrl-C stops it");
  dev.kill("SIGINT");
  dev.kill("SIGINT");
  expect([0, 130]).toContain((await dev.ended).code);
});

describe("what cannot work is told with its reason", () => {
  test.each(["GATEWAY_HTTP", "GATEWAY_GRPC"])("a port that is taken: %s", async (door) => {
    await using home = await folder();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
    const taken = `127.0.0.1:${(squatter.address() as AddressInfo).port}`;
    const ended = await runCli(["dev"], { ...home.env, [door]: taken });
    squatter.close();
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(`cannot listen on ${taken}`);
    expect(ended.stderr).not.toContain("No address added");
  });

  test("no NATS, no ClickHouse", async () => {
    const stores = { NATS_URL: "nats://user:hunter2@127.0.0.1:9", CLICKHOUSE_URL: "http://127.0.0.1:9" };
    const ended = await runCli(["registry"], { ...stores, REGISTRY_LISTEN: "127.0.0.1:0" });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain("127.0.0.1:9");
    expect(ended.stderr).not.toContain("hunter2");
  }, 60_000);

  test.each([
    [["nonsense"], 2, 'no command "nonsense"'],
    [["plugin", "publish"], 2, "<bundle-or-folder> is missing"],
    [["run", "list", "--colour"], 2, "--colour"],
    [["query", "SELECT 1", "more"], 2, "one word too many"],
    [["plugin", "publish", "/nowhere"], 1, "nothing at"],
    [["plugin", "list", "--address", "127.0.0.1:9"], 1, "unavailable"],
  ] as const)("millrace %j ends with %i", async (args, code, words) => {
    const ended = await runCli(args);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(words);
  });

  test("settings that are wrong are told all at once", async () => {
    const ended = await runCli(["dev"], { MILLRACE_LOG: "loud", GATEWAY_HTTP: "nowhere" });
    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain("MILLRACE_LOG");
  });

  test("help is there for all and for one", async () => {
    const all = await runCli(["--help"]);
    expect([all.code, all.stdout.includes("pipe sync")]).toEqual([0, true]);
    const one = await runCli(["gateway", "--help"]);
    expect([one.code, one.stdout.includes("GATEWAY_HTTP")]).toEqual([0, true]);
  });
});
