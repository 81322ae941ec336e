/** The house rules that a tool can hold: walls, names, sizes, first lines. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file && existsSync(join(root, file)) && !file.includes("/gen/"));
const sources = files.filter((file) => /\.(ts|js|mjs)$/.test(file));
const read = (file: string) => readFileSync(join(root, file), "utf8");

const MAX_LINES = 400;
const MAX_COLUMNS = 120;
const MAX_KIT_FILES = 10;

test("files are named by nouns that predict their content", () => {
  const vague = /^(utils?|helpers?|common|misc|shared|types|index)\.(ts|js)$/;
  // An AssemblyScript project's entry is `assembly/index.ts` by that compiler's own convention.
  expect(sources.filter((file) => vague.test(basename(file)) && !file.includes("/assembly/"))).toEqual([]);
});

test("every source file opens by saying what it is", () => {
  const silent = sources.filter((file) => !/^(#!.*\n)?(\/\*\*|\/\/ )/.test(read(file)));
  expect(silent).toEqual([]);
});

test("files fit in the head, lines on the screen", () => {
  const long = sources.filter((file) => read(file).split("\n").length > MAX_LINES + 1);
  expect(long).toEqual([]);
  // Titles of tests are sentences; what else is written in test/ the formatter keeps narrow.
  const wide = sources
    .filter((file) => !file.startsWith("test/"))
    .filter((file) =>
      read(file)
        .split("\n")
        .some((line) => [...line].length > MAX_COLUMNS),
    );
  expect(wide).toEqual([]);
});

test("kit stays small", () => {
  const kit = files.filter((file) => /^services\/kit\/[^/]+\.ts$/.test(file));
  expect(kit.length).toBeLessThanOrEqual(MAX_KIT_FILES);
});

test("no secret word of a machine: absolute homes and registry hosts stay out", () => {
  const words = /\/(home|root|Users)\/[a-z]|registry\.npmjs|registry\.yarnpkg/;
  const lockless = files.filter(
    (file) => /\.(ts|js|json|md|ya?ml|proto)$/.test(file) && file !== "test/unit/house.test.ts",
  );
  expect(lockless.filter((file) => words.test(read(file)))).toEqual([]);
});

test("the lockfile names the packages of every platform: without one of them `npm ci` refuses it", () => {
  type Entry = { readonly optionalDependencies?: Record<string, string> };
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, Entry> };
  const names = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + 13)));
  const optional = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
  expect(optional.filter((name) => !names.has(name))).toEqual([]);
});

describe("walls: a planted import is refused by the compiler", () => {
  const forbidden = [
    ["services/scheduler", "../results/results.ts"],
    ["services/registry", "../scheduler/main.ts"],
    ["services/gateway", "../registry/main.ts"],
    ["services/bus", "../../proto/names.ts"],
    ["services/kit", "../bus/ports.ts"],
  ] as const;
  const copy = mkdtempSync(join(tmpdir(), "millrace-walls-"));
  afterAll(() => rmSync(copy, { recursive: true, force: true }));
  for (const part of ["package.json", "tsconfig.json", "proto", "services"]) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));

  test.each(forbidden)("%s may not import %s", (room, target) => {
    const planted = join(copy, room, "planted.ts");
    const check = () => spawnSync(join(root, "node_modules/.bin/tsc"), ["-b", room], { cwd: copy, encoding: "utf8" });
    expect(check().stdout.slice(0, 500)).toBe("");
    writeFileSync(planted, `/** Planted. */\nexport * from "${target}";\n`);
    const refused = check();
    rmSync(planted);
    expect(refused.status).not.toBe(0);
    expect(refused.stdout).toMatch(/TS6059|TS6307/);
  });
});
