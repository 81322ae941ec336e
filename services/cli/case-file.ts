/**
 * A test case of an author's as it lies in `test/`: one JSON file, or a folder with `case.json` and its larger fields
 * in files of their own (`input.json`, `host.json`, `expect.json`, or `rows.ndjson` for the rows that are expected).
 */
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Fault, type Mistake } from "../kit/fault.ts";
import { parseTime } from "../kit/time.ts";
import { isObject } from "./differences.ts";
import { parseExact, writeExact } from "./exact-json.ts";
import type { Json } from "./local-input.ts";
import type { Grants } from "./workbench.ts";

/** One thing that the guest is told, in the order in which it asks. */
export interface HostAnswer {
  /** The host function: http, kv, query … */
  readonly name: string;
  /** Fields that the request must have; absent: any request will do. */
  readonly request?: unknown;
  /** For http, `json` stands for a body of JSON, and the status is 200 unless said. */
  readonly answer?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** What is not said is not looked at. */
export interface Expectation {
  readonly outcome?: string;
  readonly rows?: readonly unknown[];
  /** What the export answers, without its rows. */
  readonly answer?: unknown;
  readonly error?: { readonly code?: string; readonly message?: string };
  readonly checkpoints?: readonly unknown[];
  readonly metrics?: readonly unknown[];
}

export interface TestCase {
  readonly name: string;
  /** The file that is written on `--update`. */
  readonly path: string;
  readonly export: string;
  readonly input: Json;
  readonly config: Json;
  readonly grants: Grants;
  /** What the guest's clock shows, in milliseconds: at the start, and after each answer. The last one stays. */
  readonly clock: readonly number[];
  readonly seed: string;
  readonly host: readonly HostAnswer[];
  readonly expect: Expectation;
}

export const CASES = "test";
const FIELDS = ["export", "input", "config", "grants", "now", "clock", "seed", "host", "expect", "description"];
const EXPECTED = ["outcome", "rows", "answer", "error", "checkpoints", "metrics"];
const DEFAULT_NOW = "2026-01-01T00:00:00Z";
export const DEFAULT_SEED = "test";

/** The cases of a plugin's folder by name. Errors: `invalid` with every mistake of every file. */
export async function readCases(folder: string): Promise<TestCase[]> {
  const root = join(folder, CASES);
  const entries = await readdir(root, { withFileTypes: true }).catch(() => []);
  const mistakes: Mistake[] = [];
  const cases: TestCase[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const isFolder = entry.isDirectory();
    if (!isFolder && !entry.name.endsWith(".json")) continue;
    const path = isFolder ? join(root, entry.name, "case.json") : join(root, entry.name);
    const fields = await readFields(path, isFolder, mistakes);
    if (fields) cases.push(caseOf(basename(entry.name, ".json"), path, fields, mistakes));
  }
  if (mistakes.length) throw Fault.invalid(`the test cases of ${folder}`, mistakes);
  return cases;
}

async function readFields(path: string, isFolder: boolean, mistakes: Mistake[]): Promise<Json | undefined> {
  const read = async (file: string) => {
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      if (file.endsWith(".ndjson"))
        return text
          .split("\n")
          .filter((line) => line.trim() !== "")
          .map(parseExact);
      return parseExact(text);
    } catch (thrown) {
      mistakes.push({ field: file, problem: `is not JSON: ${(thrown as Error).message}` });
      return undefined;
    }
  };
  const before = mistakes.length;
  const whole = (await read(path)) ?? {};
  if (!isObject(whole)) {
    mistakes.push({ field: path, problem: "is not a JSON object" });
    return undefined;
  }
  if (!isFolder) return mistakes.length > before ? undefined : whole;
  const beside = await Promise.all(
    FIELDS.map(async (field) => [field, await read(join(path, "..", `${field}.json`))] as const),
  );
  const rows = await read(join(path, "..", "rows.ndjson"));
  const fields = { ...whole, ...Object.fromEntries(beside.filter(([, value]) => value !== undefined)) };
  if (mistakes.length > before) return undefined;
  return rows === undefined ? fields : { ...fields, expect: { ...(isObject(fields.expect) && fields.expect), rows } };
}

function caseOf(name: string, path: string, fields: Json, mistakes: Mistake[]): TestCase {
  const wrong = (field: string, problem: string, fix: string) =>
    mistakes.push({ field: `${path}: ${field}`, problem, fix });
  for (const field of Object.keys(fields).filter((one) => !FIELDS.includes(one))) {
    wrong(field, "is not a field of a test case", `one of ${FIELDS.join(", ")}`);
  }
  const object = (field: string): Json => {
    const value = fields[field] ?? {};
    if (!isObject(value)) wrong(field, "is not an object", "write {…}");
    return isObject(value) ? value : {};
  };
  const expect = object("expect");
  for (const field of Object.keys(expect).filter((one) => !EXPECTED.includes(one))) {
    wrong(`expect.${field}`, "is nothing that a run has", `one of ${EXPECTED.join(", ")}`);
  }
  if (typeof fields.export !== "string") wrong("export", "is missing", 'name the export: "fetch"');
  const host = fields.host ?? [];
  const isAnswer = (one: unknown) =>
    isObject(one) && typeof one.name === "string" && ("answer" in one || "error" in one);
  if (!Array.isArray(host) || !host.every(isAnswer)) {
    wrong("host", "is not a list of what the guest is told", 'write [{"name": "http", "answer": {…}}]');
  }
  return {
    ...{ name, path, export: String(fields.export), input: object("input"), config: object("config") },
    grants: (fields.grants ?? "manifest") as Grants,
    clock: clockOf(fields, wrong),
    seed: typeof fields.seed === "string" ? fields.seed : DEFAULT_SEED,
    host: (Array.isArray(host) ? host : []) as HostAnswer[],
    expect: expect as Expectation,
  };
}

function clockOf({ now = DEFAULT_NOW, clock }: Json, wrong: (field: string, problem: string, fix: string) => void) {
  if (Array.isArray(clock) && clock.length > 0 && clock.every((one) => typeof one === "number"))
    return clock as number[];
  if (clock !== undefined) wrong("clock", "is not a list of milliseconds", 'leave it out, or set "now"');
  try {
    return [Number(parseTime(String(now), "now") / 1_000n)];
  } catch {
    wrong("now", `${JSON.stringify(now)} is not a time`, `such as ${DEFAULT_NOW}`);
    return [0];
  }
}

/** Into the files that held it before. */
export async function writeExpectation(path: string, expect: Expectation): Promise<void> {
  const [rowsFile, expectFile] = ["rows.ndjson", "expect.json"].map((name) => join(path, "..", name)) as [
    string,
    string,
  ];
  const isFolder = basename(path) === "case.json";
  const { rows: all, ...rest } = expect;
  let rows = all;
  if (isFolder && existsSync(rowsFile)) {
    await writeFile(rowsFile, (rows ?? []).map((row) => `${writeExact(row)}\n`).join(""));
    rows = undefined;
  }
  const left = { ...rest, ...(rows && { rows }) };
  if (isFolder && existsSync(expectFile)) return writeFile(expectFile, `${writeExact(left, 2)}\n`);
  const fields = parseExact(await readFile(path, "utf8")) as Json;
  await writeCase(path, { ...fields, expect: left });
}

/** A row and a host answer to a line, so that a change of one is a change of a line. */
export async function writeCase(path: string, fields: Json): Promise<void> {
  const lines = Object.entries(fields).map(([key, value]) => `  ${JSON.stringify(key)}: ${member(key, value)}`);
  await writeFile(path, `{\n${lines.join(",\n")}\n}\n`);
}

function member(key: string, value: unknown): string {
  if (key === "host" && Array.isArray(value)) return listed(value, "  ");
  if (key !== "expect" || !isObject(value)) return writeExact(value);
  const lines = Object.entries(value).map(
    ([name, one]) => `    ${JSON.stringify(name)}: ${Array.isArray(one) ? listed(one, "    ") : writeExact(one)}`,
  );
  return `{\n${lines.join(",\n")}\n  }`;
}

const listed = (items: readonly unknown[], indent: string) =>
  items.length ? `[\n${items.map((item) => `${indent}  ${writeExact(item)}`).join(",\n")}\n${indent}]` : "[]";
