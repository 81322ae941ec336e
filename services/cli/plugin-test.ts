/** `plugin test`: the cases of a plugin's folder, played; recorded from a live run; brought up to date. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { nowUs } from "../executor/run-record.ts";
import { Fault } from "../kit/fault.ts";
import { building } from "./build-progress.ts";
import { CASES, DEFAULT_SEED, readCases, type TestCase, writeCase, writeExpectation } from "./case-file.ts";
import { caseFields, expectationOf, type Played, playCase, runOf, told } from "./case-run.ts";
import { type Invocation, Misuse } from "./command.ts";
import { jsonFlag } from "./json-flag.ts";
import { type LocalPlugin, openPlugin } from "./local-plugin.ts";
import { type LocalEnd, runLocally } from "./local-run.ts";
import { GOOD, grantsOf, newTape, recordOf, secretsOf } from "./plugin-call.ts";
import type { Terminal } from "./terminal.ts";
import { openWorkbench, type Workbench } from "./workbench.ts";

const CASE_NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/;

export async function testPlugin(invocation: Invocation): Promise<void> {
  const { args, flags, terminal, env } = invocation;
  const [folder = ""] = args;
  if (typeof flags.record === "string") return recordCase(invocation, folder, flags.record);
  const only = typeof flags.case === "string" ? flags.case : undefined;
  const all = await readCases(folder);
  const cases = all.filter(({ name }) => only === undefined || name === only);
  if (!cases.length) {
    const fix = all.length
      ? `one of ${all.map(({ name }) => name).join(", ")}`
      : `record one: plugin test ${folder} --record NAME --export fetch`;
    const problem = only === undefined ? `${join(folder, CASES)} has no cases` : `there is no case "${only}"`;
    throw Fault.invalid("plugin test", [{ field: "folder", problem, fix }]);
  }
  const plugin = await openPlugin(folder, building(terminal));
  await using bench = await openWorkbench({ env });
  const results: Result[] = [];
  for (const test of cases) {
    const startedMs = performance.now();
    const played = await playCase(bench, plugin, test).catch((thrown) => unplayed(Fault.from(thrown)));
    const changed = flags.update === true && played.differences.length > 0 && played.end !== undefined;
    if (changed && played.end) await update(test, played.end);
    results.push({ test, played, changed, ms: performance.now() - startedMs });
  }
  tell(results, terminal);
}

/** The case itself is not one of this plugin: another config, an export that is gone. */
function unplayed(fault: Fault): Played {
  if (fault.code !== "invalid") throw fault;
  return { end: undefined, differences: [fault.message] };
}

interface Result {
  readonly test: TestCase;
  readonly played: Played;
  readonly changed: boolean;
  readonly ms: number;
}

function tell(results: readonly Result[], terminal: Terminal): void {
  const failed = results.filter(({ played, changed }) => played.differences.length > 0 && !changed);
  const word = ({ played, changed }: Result) => (changed ? "updated" : played.differences.length ? "FAILED" : "ok");
  terminal.result(
    () => ({
      passed: results.length - failed.length,
      failed: failed.length,
      cases: results.map((one) => ({
        ...{ name: one.test.name, result: word(one), ms: Math.round(one.ms), rows: one.played.end?.rows.length ?? 0 },
        differences: one.played.differences,
      })),
    }),
    () =>
      results
        .map((one) => {
          const lines = one.changed
            ? []
            : one.played.differences.map((line) => `    ${line.replaceAll("\n", "\n    ")}`);
          const rows = one.played.end?.rows.length ?? 0;
          const what = rows ? `, ${rows} rows` : "";
          return [`${word(one).padEnd(7)} ${one.test.name} (${one.ms.toFixed(0)} ms${what})`, ...lines].join("\n");
        })
        .join("\n"),
  );
  if (failed.length) terminal.fail(`${failed.length} of ${results.length} cases failed; --update takes what came`);
}

/** Only what a case expects; that it expects nothing more stays so. */
async function update({ path, expect }: TestCase, end: LocalEnd): Promise<void> {
  const before = Object.keys(expect);
  const came = expectationOf(end);
  const kept = Object.entries(came).filter(([key]) => before.length === 0 || before.includes(key) || key === "error");
  await writeExpectation(path, Object.fromEntries(kept));
}

/** A live run, then the same played from what it was told: what that comes to is what is expected from now on. */
async function recordCase({ flags, terminal, env }: Invocation, folder: string, name: string): Promise<void> {
  if (!CASE_NAME.test(name)) throw new Misuse(`--record "${name}": a case is named by letters, digits, _ . and -`);
  const known = (await readCases(folder)).find((one) => one.name === name);
  const exported = typeof flags.export === "string" ? flags.export : known?.export;
  if (exported === undefined) throw new Misuse("--record of a new case needs --export, such as --export fetch");
  const path = known?.path ?? join(folder, CASES, `${name}.json`);
  const asked: TestCase = {
    ...{ name, path, export: exported, clock: [], seed: known?.seed ?? DEFAULT_SEED, host: [], expect: {} },
    input: flags.input === undefined && known ? known.input : await jsonFlag(flags.input, "--input"),
    config: flags.config === undefined && known ? known.config : await jsonFlag(flags.config, "--config"),
    grants: flags.grant === undefined && flags.grants === undefined && known ? known.grants : await grantsOf(flags),
  };
  const secrets = await secretsOf(flags);
  const plugin = await openPlugin(folder, building(terminal));
  await using bench = await openWorkbench({ env, secrets });
  const recorded = await record(bench, plugin, asked);
  if (!existsSync(join(folder, CASES))) await mkdir(join(folder, CASES), { recursive: true });
  await writeCase(path, recorded.fields);
  terminal.result(
    () => ({ path, ...recorded.fields }),
    () => `${path}: ${recorded.outcome}, ${recorded.rows} rows, ${recorded.asked} answers of the world`,
  );
}

async function record(bench: Workbench, plugin: LocalPlugin, asked: TestCase) {
  const tape = newTape();
  const startedUs = nowUs();
  const run = { ...runOf(plugin, asked), tape };
  const live = await runLocally(bench, run);
  const { host, clock } = told(recordOf(run, live, startedUs));
  const played = async (times: readonly number[]) => {
    const { end, differences } = await playCase(bench, plugin, { ...asked, host, clock: times });
    return { end, strayed: differences.some((line) => line.startsWith("host[")) };
  };
  // A clock that stands still is easier to read; where the guest measures time, it is kept whole.
  const still = await played(clock.slice(0, 1));
  const isSame = !still.strayed && isDeepStrictEqual(expectationOf(still.end), expectationOf(live));
  const { end } = isSame ? still : await played(clock);
  const test = { ...asked, host, clock: isSame ? clock.slice(0, 1) : clock, expect: expectationOf(end) };
  const outcome = GOOD.includes(end.outcome) ? end.outcome : `${end.outcome} (${end.error?.message})`;
  return { fields: caseFields(test, isSame), outcome, rows: end.rows.length, asked: host.length };
}
