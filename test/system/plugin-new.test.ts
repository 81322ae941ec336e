/** What `plugin new` writes, in every language: it builds, its cases pass, and it has the kit's full score. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { languageChecks } from "../../services/cli/build.ts";
import { readCases } from "../../services/cli/case-file.ts";
import { playCase } from "../../services/cli/case-run.ts";
import { type LocalPlugin, openPlugin } from "../../services/cli/local-plugin.ts";
import { INTERFACES, LANGUAGES, newPlugin } from "../../services/cli/new-plugin.ts";
import { judgePlugin, scenariosOf } from "../../services/cli/plugin-verify.ts";
import { openWorkbench, type Workbench } from "../../services/cli/workbench.ts";
import { runCli } from "../harness/cli.ts";
import { workFolder } from "../harness/work-folder.ts";

/** A first build may compile a language's own library. */
const BUILD_MS = 300_000;
const CALLS = 50;
/** Whose builds are quick: each interface alone too. The others alone are the same files, word for word. */
const QUICK = ["typescript", "javascript", "python", "lua"];
const BUILDER: Readonly<Record<string, string>> = { javascript: "typescript", cpp: "c" };

const missing = (await languageChecks()).filter(({ ok }) => !ok);
const lackingFor = (language: string) =>
  missing.filter(({ what }) => what.startsWith(`${BUILDER[language] ?? language} plugins:`));

// All of them are built first: the sandbox sets flags of V8 that compilers in WebAssembly do not like.
const built = new Map<string, LocalPlugin>();
const work = await workFolder();
afterAll(() => work[Symbol.asyncDispose]());

/** `fetch` and `sync` exclude one another; the template is `fetch` alone, which `plugin verify --all` judges. */
const ALL = INTERFACES.filter((one) => one !== "fetch");
const choicesOf = (language: string): (readonly string[])[] =>
  QUICK.includes(language) ? [ALL, ...INTERFACES.map((one) => [one])] : [ALL];
const nameOf = (language: string, choice: readonly string[]) =>
  `${language}-${choice.length > 1 ? "all" : choice.join("-")}`;

for (const language of LANGUAGES) {
  const lacking = lackingFor(language);
  const why = lacking.map(({ what, fix }) => `${what} is missing; ${fix}`).join("; ");
  test.skipIf(lacking.length > 0)(`${language} builds ${why}`, { timeout: BUILD_MS }, async () => {
    for (const choice of choicesOf(language)) {
      const name = nameOf(language, choice);
      const { folder } = await newPlugin(language, join(work.path, name), choice);
      built.set(name, await openPlugin(folder, { outDir: work.path }));
    }
  });
}

describe("judged", () => {
  let bench: Workbench;
  beforeAll(async () => {
    bench = await openWorkbench({ env: {} });
  });
  afterAll(() => bench?.[Symbol.asyncDispose]());

  const all = LANGUAGES.flatMap((language) => choicesOf(language).map((choice) => ({ language, choice })));
  for (const { language, choice } of all) {
    const lacking = lackingFor(language).length > 0;
    test.skipIf(lacking)(`${language}, ${choice.join(" ")}: cases and full score`, { timeout: 120_000 }, async () => {
      const plugin = built.get(nameOf(language, choice)) as LocalPlugin;
      const cases = await readCases(plugin.path);
      for (const one of cases) {
        const { differences } = await playCase(bench, plugin, one);
        expect([one.name, differences]).toEqual([one.name, []]);
      }
      const covered = cases.map((one) => one.export.replace(/:.*/, "s"));
      expect([...new Set(covered)].sort()).toEqual([...choice].sort());
      const { report } = await judgePlugin(bench, plugin, await scenariosOf(plugin), { calls: CALLS });
      expect(report.checks.filter(({ verdict }) => verdict === "fail")).toEqual([]);
      expect(report.score).toBe(100);
    });
  }
});

test("by the command line: words, flags, and nobody to ask", { timeout: 120_000 }, async () => {
  const into = join(work.path, "by-words");
  const made = await runCli(["plugin", "new", "lua", into, "--interfaces", "route,functions", "--json"]);
  expect(JSON.parse(made.stdout)).toEqual({ folder: into, name: "by-words", interfaces: ["route", "functions"] });
  const silent = await runCli(["plugin", "new"]);
  expect([silent.code, silent.stderr]).toEqual([2, expect.stringContaining("--language and --name are missing")]);
  const wrong = await runCli(["plugin", "new", "--language", "lua", "--name", into, "--interfaces", "pol"]);
  expect(wrong.code).not.toBe(0);
  expect(wrong.stderr).toContain("exists already");
  expect(wrong.stderr).toContain('"pol" is no interface');
});
