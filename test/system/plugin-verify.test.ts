/** Every language's template and example, and each plugin of ours, judged by the kit: `plugin verify --all`. */
import { beforeAll, expect, test } from "vitest";
import { everyRow, type Row } from "../../services/cli/verify-table.ts";
import { runCli } from "../harness/cli.ts";

/** By hand it is 10,000: most memory that does not stay flat shows sooner. */
const CALLS = "300";
/** Compilers of every language. */
const TIMEOUT_MS = 900_000;

const names = (await everyRow()).map(({ name }) => name);
let rows: ReadonlyMap<string, Row>;

beforeAll(async () => {
  const { stdout } = await runCli(["plugin", "verify", "--all", "--calls", CALLS, "--json"]);
  rows = new Map((JSON.parse(stdout) as Row[]).map((row) => [row.name, row]));
}, TIMEOUT_MS);

for (const name of names) {
  test(`${name}: full score`, (context) => {
    const row = rows.get(name);
    // By name, with what is missing here and the command that brings it.
    if (row?.skipped !== undefined) context.skip(`${name}: ${row.skipped}`);
    expect([row?.failed, row?.reasons]).toEqual([undefined, []]);
    const scores = Object.values(row?.scores ?? {});
    expect(scores.length).toBeGreaterThan(0);
    expect(scores.every((score) => score === 100)).toBe(true);
    const kib = Math.round((row?.bytes ?? 0) / 1_024);
    const warm = row?.warmUs === undefined ? "" : `, warm call ${Math.round(row.warmUs)} µs`;
    const rate = row?.fetchMs === undefined ? "" : `, 10,000 rows ${row.fetchMs.toFixed(1)} ms`;
    console.log(`${name}: ${kib} KiB, built in ${row?.buildMs} ms${warm}${rate}`);
  });
}
