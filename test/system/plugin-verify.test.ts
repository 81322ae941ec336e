/** Every language's template and example, built and judged by the conformance kit: `plugin verify --all`. */
import { beforeAll, expect, test } from "vitest";
import { everyLanguage, type Row } from "../../services/cli/verify-table.ts";
import { runCli } from "../harness/cli.ts";

/** By hand it is 10,000: most memory that does not stay flat shows sooner. */
const CALLS = "300";
/** Compilers of every language. */
const TIMEOUT_MS = 600_000;

const languages = (await everyLanguage()).map(({ language }) => language);
let rows: ReadonlyMap<string, Row>;

beforeAll(async () => {
  const { stdout } = await runCli(["plugin", "verify", "--all", "--calls", CALLS, "--json"]);
  rows = new Map((JSON.parse(stdout) as Row[]).map((row) => [row.language, row]));
}, TIMEOUT_MS);

for (const language of languages) {
  test(`${language}: full score`, (context) => {
    const row = rows.get(language);
    // By name, with what is missing here and the command that brings it.
    if (row?.skipped !== undefined) context.skip(`${language}: ${row.skipped}`);
    expect([row?.failed, row?.reasons]).toEqual([undefined, []]);
    const scores = Object.values(row?.scores ?? {});
    expect(scores.length).toBeGreaterThan(0);
    expect(scores.every((score) => score === 100)).toBe(true);
    const kib = Math.round((row?.bytes ?? 0) / 1_024);
    const warm = row?.warmUs === undefined ? "" : `, warm call ${Math.round(row.warmUs)} µs`;
    console.log(
      `${language}: ${kib} KiB, built in ${row?.buildMs} ms${warm}, 10,000 rows ${row?.fetchMs?.toFixed(1)} ms`,
    );
  });
}
