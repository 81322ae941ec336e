/** `plugin verify --all`: every language's template and example and each plugin of ours, judged, in one table. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { KitOptions, Scenario } from "../../plugins-sdk/conformance/kit.js";
import { countLines } from "../executor/host/emit.ts";
import { Fault } from "../kit/fault.ts";
import { knownLanguages, root } from "./build.ts";
import { readCases } from "./case-file.ts";
import { playCase } from "./case-run.ts";
import type { Invocation } from "./command.ts";
import { configOf, inputOf } from "./local-input.ts";
import { type LocalPlugin, openPlugin } from "./local-plugin.ts";
import { callOn, callsOf, judgePlugin, scenariosOf } from "./plugin-verify.ts";
import { type Terminal, table } from "./terminal.ts";
import { openWorkbench, type Workbench } from "./workbench.ts";

const SDK = join(root, "plugins-sdk");
/** Languages whose example lies elsewhere. */
const EXAMPLES: Readonly<Record<string, string>> = { assemblyscript: "examples/weather" };
/** Shelves of plugins that are examples of no language. */
const OTHERS = ["examples", "stock"];
const BEGIN_MS = Date.UTC(2026, 10, 1);
const MINUTE_MS = 60_000;
const ROWS = 10_000;
/** Of the last two thirds the median is told: the engine makes code fast that has run for some thousand calls. */
const WARM_CALLS = 3_000;
const FETCHES = 5;
const FULL = 100;

/** What a language has to show: the job that is the same in all of them, and an example of its own. Or a plugin. */
interface Shown {
  readonly name: string;
  readonly template: string | undefined;
  readonly example: string | undefined;
}

export interface Row {
  /** Of the language, or of the plugin. */
  readonly name: string;
  /** Why it is not judged here. */
  readonly skipped?: string;
  readonly failed?: string;
  readonly bytes?: number;
  readonly buildMs?: number;
  readonly coldMs?: number;
  readonly warmUs?: number;
  readonly fetchMs?: number;
  readonly scores?: Readonly<Record<string, number>>;
  readonly reasons?: readonly string[];
}

export async function verifyAll({ flags, terminal, env }: Invocation): Promise<void> {
  const only = typeof flags.language === "string" ? flags.language.split(",") : undefined;
  const all = (await everyRow()).filter(({ name }) => !only || only.includes(name));
  const outDir = await mkdtemp(join(tmpdir(), "millrace-verify-"));
  try {
    // All of them first: the sandbox sets flags of V8 that compilers in WebAssembly do not like.
    const built: Built[] = [];
    for (const one of all) built.push(await build(one, outDir, terminal));
    await using bench = await openWorkbench({ env });
    const rows: Row[] = [];
    for (const one of built) rows.push(await judged(bench, one, terminal, callsOf(flags)));
    tell(rows, terminal);
  } finally {
    await rm(outDir, { recursive: true, force: true });
  }
}

/** Each language by its template and example; then the other examples and the stock shelf, each plugin by its name. */
export async function everyRow(): Promise<Shown[]> {
  const shown = await Promise.all((await foldersOf(SDK)).map(languagesOf));
  const languages = shown.flat().filter(({ template, example }) => template ?? example);
  const taken = languages.map(({ example }) => example);
  const others = await Promise.all(OTHERS.map((shelf) => foldersOf(join(SDK, shelf))));
  const plugins = others.flat().filter((folder) => isPlugin(folder) && !taken.includes(folder));
  return [...languages, ...plugins.map((folder) => ({ name: basename(folder), template: undefined, example: folder }))];
}

async function foldersOf(parent: string): Promise<string[]> {
  const entries = await readdir(parent, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(parent, name));
}

const isPlugin = (folder: string) => existsSync(join(folder, "plugin.json"));

/** `template-cpp` and `example-cpp` are C++ below c. */
async function languagesOf(folder: string): Promise<Shown[]> {
  const has = (path: string) => (isPlugin(path) ? path : undefined);
  const own = basename(folder);
  const example = EXAMPLES[own] === undefined ? join(folder, "example") : join(SDK, EXAMPLES[own]);
  const names = (await readdir(folder)).map((one) => /^(?:template|example)-(.+)$/.exec(one)?.[1]);
  const variants = [...new Set(names.filter((one) => one !== undefined))];
  return [
    { name: own, template: has(join(folder, "template")), example: has(example) },
    ...variants.map((one) => ({
      name: one,
      template: has(join(folder, `template-${one}`)),
      example: has(join(folder, `example-${one}`)),
    })),
  ];
}

interface Built extends Shown {
  readonly skipped?: string;
  readonly failed?: string;
  readonly plugins: Readonly<Record<string, LocalPlugin>>;
}

async function build(shown: Shown, outDir: string, terminal: Terminal): Promise<Built> {
  const { name, template, example } = shown;
  const folders = [template, example].filter((folder) => folder !== undefined);
  const missing = await missingTools(folders[0] as string);
  if (missing) return { ...shown, skipped: missing, plugins: {} };
  try {
    const plugins: [string, LocalPlugin][] = [];
    for (const folder of folders) {
      const plugin = await openPlugin(folder, { outDir: join(outDir, name) });
      terminal.note(`${name}: ${basename(folder)} built in ${seconds(plugin.built?.ms ?? 0)}`);
      plugins.push([folder === template ? "template" : "example", plugin]);
    }
    return { ...shown, plugins: Object.fromEntries(plugins) };
  } catch (thrown) {
    return { ...shown, failed: Fault.from(thrown).message, plugins: {} };
  }
}

/** What this machine lacks to build a folder, with the command that brings it. */
async function missingTools(folder: string): Promise<string | undefined> {
  const language = (await knownLanguages()).find(({ detect }) => detect(folder));
  const missing = (await language?.doctor())?.find(({ ok }) => !ok);
  if (!missing) return undefined;
  const { what, found, fix } = missing;
  return fix === undefined || found.includes(fix) ? `${what}: ${found}` : `${what}: ${found}; ${fix}`;
}

async function judged(bench: Workbench, built: Built, terminal: Terminal, options: KitOptions): Promise<Row> {
  const { name, plugins, skipped, failed } = built;
  if (skipped !== undefined || failed !== undefined) {
    return { name, ...(skipped !== undefined && { skipped }), ...(failed !== undefined && { failed }) };
  }
  const { template, example } = plugins;
  const measured = template ?? example;
  const figures = template && (await figuresOf(bench, template));
  const scores: Record<string, number> = {};
  const reasons: string[] = [];
  for (const [what, plugin] of Object.entries(plugins)) {
    const { report } = await judgePlugin(bench, plugin, await scenariosOf(plugin), options);
    scores[what] = report.score;
    for (const test of await readCases(plugin.path)) {
      const { differences } = await playCase(bench, plugin, test);
      reasons.push(...differences.map((one) => `${name} ${what}: case ${test.name}: ${one}`));
    }
    const failures = report.checks.filter(({ verdict }) => verdict === "fail");
    reasons.push(...failures.map((one) => `${name} ${what}: ${one.name}: ${one.reason}`));
    terminal.note(`${name}: ${what} ${report.score} of ${FULL} (${report.passed} of ${report.applicable})`);
  }
  return {
    ...{ name, scores, reasons, ...figures },
    ...(measured && { bytes: measured.wasm.byteLength }),
    ...(measured?.built && { buildMs: measured.built.ms }),
  };
}

/** The template's job is the same in every language: a row for each minute of the window. */
async function figuresOf(bench: Workbench, plugin: LocalPlugin) {
  const call = callOn(bench, plugin);
  const moment = (minutes: number) => new Date(BEGIN_MS + minutes * MINUTE_MS).toISOString().replace(".000Z", "Z");
  const config = configOf(plugin, {});
  let rows = 0;
  const fetch = async (minutes: number) => {
    const input = inputOf(plugin, "fetch", config, { begin: moment(0), end: moment(minutes) });
    const scenario: Scenario = { name: "", export: "fetch", input, host: [], nowMs: BEGIN_MS, recorded: false };
    rows = 0;
    const host = async (name: string, request: Uint8Array) => {
      if (name === "emit") rows += countLines(request);
      return { ok: {} };
    };
    const result = await call({ ...scenario, input: JSON.stringify(input), host, seed: "figures" });
    if (result.outcome !== "ok")
      throw new Fault("internal", `${plugin.path}: ${result.outcome} ${result.error?.message}`);
    rows += (JSON.parse(result.output) as { rows?: unknown[] }).rows?.length ?? 0;
    if (rows !== minutes) throw new Fault("internal", `${plugin.path}: ${rows} rows of ${minutes} minutes`);
    return result;
  };
  const coldFromMs = performance.now();
  await fetch(1);
  const coldMs = performance.now() - coldFromMs;
  const warm = [];
  for (let i = 0; i < WARM_CALLS; i += 1) warm.push((await fetch(1)).cpuMs);
  const large = [];
  for (let i = 0; i < FETCHES; i += 1) large.push((await fetch(ROWS)).wallMs);
  return { coldMs, warmUs: median(warm.slice(WARM_CALLS / 3)) * 1_000, fetchMs: Math.min(...large) };
}

const median = (all: number[]) => all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0;
const seconds = (ms: number) => (ms < 1_000 ? `${ms.toFixed(0)} ms` : `${(ms / 1_000).toFixed(1)} s`);
const KIB = 1_024;

function tell(rows: readonly Row[], terminal: Terminal): void {
  const heads = ["name", "size", "build", "cold call", "warm call", "10,000 rows", "template", "example"];
  const cells = rows.map(({ name, bytes, buildMs, coldMs, warmUs, fetchMs, scores = {}, skipped, failed }) => {
    if (skipped !== undefined || failed !== undefined)
      return [name, skipped === undefined ? "does not build" : "skipped"];
    return [
      ...[name, bytes && `${Math.round(bytes / KIB)} KiB`, buildMs && seconds(buildMs), coldMs && seconds(coldMs)],
      ...[warmUs && `${Math.round(warmUs)} µs`, fetchMs && `${fetchMs.toFixed(1)} ms`],
      ...[scores.template, scores.example],
    ];
  });
  const remarks = rows.flatMap(({ name, reasons = [], skipped, failed }) => [
    ...(skipped === undefined ? [] : [`${name} is skipped: ${skipped}`]),
    ...(failed === undefined ? [] : [`${name} does not build: ${failed}`]),
    ...reasons,
  ]);
  terminal.result(
    () => rows,
    () => [table(heads, cells), ...remarks].join("\n"),
  );
  const short = rows.filter(({ failed, reasons = [] }) => failed !== undefined || reasons.length > 0);
  if (short.length) terminal.fail(`not all is well in ${short.map(({ name }) => name).join(", ")}`);
}
