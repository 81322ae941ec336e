/** `plugin new`: what it asks, what it refuses, and that what it writes is right in every language and combination. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { buildPlugin } from "../../services/cli/build.ts";
import { readCases } from "../../services/cli/case-file.ts";
import {
  askNew,
  INTERFACES,
  LANGUAGES,
  newPlugin,
  pluginSource,
  type Said,
  saidOf,
} from "../../services/cli/new-plugin.ts";
import { namesOf, readManifest } from "../../services/registry/manifest.ts";
import { workFolder } from "../harness/work-folder.ts";

const WITHOUT_COMPILER = ["typescript", "javascript", "python", "lua"];
/** Every choice of interfaces but none; of those that exclude one another, one. */
const CHOICES = Array.from({ length: 2 ** INTERFACES.length - 1 }, (_, bits) =>
  INTERFACES.filter((_name, i) => ((bits + 1) >> i) & 1),
).filter((choice) => !(choice.includes("fetch") && choice.includes("sync")));
const ALL = INTERFACES.filter((one) => one !== "sync");

test.each(LANGUAGES)("%s: a plugin that fetches, by its own name", async (language) => {
  await using work = await workFolder();
  const folder = join(work.path, "first-light");
  expect(await newPlugin(language, folder)).toEqual({ folder, name: "first-light", interfaces: ["fetch"] });
  const manifest = JSON.parse(await readFile(join(folder, "plugin.json"), "utf8"));
  expect([manifest.name, Object.keys(manifest.interfaces)]).toEqual(["first-light", ["fetch"]]);
  expect(await readdir(folder)).not.toContain("interfaces");
});

test.each(WITHOUT_COMPILER)("a new plugin in %s builds outside the checkout", async (language) => {
  await using work = await workFolder();
  const folder = join(work.path, "first-light");
  await newPlugin(language, folder);
  expect((await buildPlugin(folder, { outDir: work.path })).path).toContain("first-light-0.1.0.tgz");
});

test("plugin.json asks for what the chosen interfaces need, and for nothing else", async () => {
  await using work = await workFolder();
  const made = async (...interfaces: string[]) => {
    const folder = join(work.path, `of-${interfaces.join("-")}`);
    await newPlugin("lua", folder, interfaces);
    const text = await readFile(join(folder, "plugin.json"), "utf8");
    // The registry would take it.
    const exported = namesOf(readManifest(Buffer.from(text)).interfaces);
    const { description, config, permissions } = JSON.parse(text);
    const cases = (await readCases(folder)).map((one) => one.export);
    expect(new Set(cases)).toEqual(new Set(exported));
    return { exported, description, config: Object.keys(config?.properties ?? {}), permissions };
  };
  expect(await made("route", "functions")).toEqual({
    exported: ["route", "function:summarize"],
    description: "Answers HTTP requests for a greeting. Summarizes numbers for other plugins.",
    config: [],
    permissions: undefined,
  });
  const http = ["http", "https"].map((scheme) => ({ url: `${scheme}://*:*/*`, methods: ["GET"] }));
  expect(await made("enrich", "discover", "poll")).toMatchObject({
    exported: ["poll", "discover", "enrich"],
    config: ["sites"],
    permissions: { http },
  });
  expect(await made(...ALL)).toMatchObject({
    exported: ["fetch", "poll", "discover", "enrich", "route", "function:summarize"],
    config: ["greeting", "sites"],
    permissions: { http },
  });
});

describe.each(LANGUAGES)("%s: sources of any interfaces together", (language) => {
  test("define nothing twice, and import what they use", async () => {
    for (const choice of CHOICES) {
      const source = await pluginSource(language, choice);
      const lines = source.split("\n");
      const defined = lines.filter(
        (line) => /^(?!\/\/\/)[a-z#@].*\w/i.test(line) && !/^(?:end|else|default:)\b/.test(line),
      );
      const twice = defined.filter((line, i) => defined.indexOf(line) < i);
      const unused = importedBy(source).filter((name) => uses(source, name) < 2);
      expect([choice, twice, unused]).toEqual([choice, [], []]);
      expect(source).toMatch(/^\S.*\n/);
      expect(source).not.toMatch(/\n{4}|[ \t]\n|\n\n$/);
    }
  });

  test("one alone is its file, word for word", async () => {
    const alone = await Promise.all(INTERFACES.map((one) => pluginSource(language, [one])));
    const every = await Promise.all(["fetch", "sync"].map((rows) => INTERFACES.filter((one) => one !== rows)));
    const all = (await Promise.all(every.map((choice) => pluginSource(language, choice)))).join("\n").split("\n");
    for (const source of alone) {
      const body = source
        .split("\n")
        .filter((line) => /^\s+\S/.test(line) && !line.includes("exports(") && !line.includes('"'));
      expect(body.filter((line) => !all.includes(line))).toEqual([]);
    }
  });
});

/** The names that a source imports from the SDK, or the packages in Go. */
function importedBy(source: string): string[] {
  const list =
    /^import (?:type )?\{([^}]+)\} from "@millrace/m.exec(source)?.[1] ??
    /^from millrace import \(?([^)\n]+|[^)]+\n)\)?$/m.exec(source)?.[1] ??
    /^use millrace::\{([^}]+)\};$/m.exec(source)?.[1] ??
    /^import \(?([^)]*?)\)?$/m.exec(source)?.[1] ??
    "";
  return list
    .split(/[,\n]/)
    .map((one) =>
      one
        .replace(/^\s*type /, "")
        .replaceAll('"', "")
        .trim(),
    )
    .filter((one) => one !== "");
}

const uses = (source: string, name: string) => source.match(new RegExp(`\\b${name}\\b`, "g"))?.length ?? 0;

describe("what is asked", () => {
  const nothing: Said = { language: undefined, name: undefined, interfaces: undefined };
  const answering = (...answers: string[]) => {
    const questions: string[] = [];
    const ask = async (question: string) => {
      questions.push(question);
      return answers.shift() ?? "";
    };
    return { questions, ask };
  };

  test("each thing that is not said, with what an empty answer means", async () => {
    const { questions, ask } = answering("go", "first-light", " poll, route,poll ");
    expect(await askNew(nothing, ask)).toEqual({
      language: "go",
      folder: "first-light",
      interfaces: ["poll", "route"],
    });
    expect(questions.map((question) => /\[(.*)\]: $/.exec(question)?.[1])).toEqual([
      "typescript",
      "my-plugin",
      "fetch",
    ]);
    expect(questions[2]).toContain(INTERFACES.join(", "));
    expect(await askNew(nothing, answering().ask)).toEqual({
      language: "typescript",
      folder: "my-plugin",
      interfaces: ["fetch"],
    });
  });

  test("nothing, when language and name are said", async () => {
    const { questions, ask } = answering();
    expect((await askNew(saidOf(["zig", "hello"], {}), ask)).interfaces).toEqual(["fetch"]);
    const flags = { name: "hello", interfaces: "poll,discover" };
    expect(await askNew(saidOf(["zig"], flags), ask)).toMatchObject({
      folder: "hello",
      interfaces: ["poll", "discover"],
    });
    expect(questions).toEqual([]);
  });

  test("of nobody there: the flags that are missing are named", async () => {
    await expect(askNew(nothing, undefined)).rejects.toThrow(/--language and --name are missing.*plugin new/);
    await expect(askNew(saidOf(["go"], {}), undefined)).rejects.toThrow(/^--name is missing/);
    expect(() => saidOf(["go", "hello", "more"], {})).toThrow("more is more than a language and a name");
  });
});

test("every mistake is told at once", async () => {
  await using work = await workFolder();
  const wrong = ["fetch", "fech", "before_sync", "metrics", "sync"];
  const thrown = await newPlugin("cobol", join(work.path, "My Plugin"), wrong).catch((fault) => fault);
  expect(thrown.mistakes.map(({ field, problem }: { field: string; problem: string }) => [field, problem])).toEqual([
    ["language", '"cobol" has no template'],
    ["name", '"My Plugin" is no name for a plugin'],
    ["interfaces", '"fech" is no interface'],
    ["interfaces", '"before_sync" has no template: it is added by hand, see services/executor/SYNC.md'],
    ["interfaces", '"metrics" is no interface'],
    ["interfaces", "fetch and sync exclude one another: a plugin with both is asked for sync only"],
  ]);
  expect(thrown.message).toContain(`any of ${INTERFACES.join(", ")}`);
  await expect(newPlugin("go", work.path)).rejects.toThrow("exists already");
  await expect(newPlugin("go", join(work.path, "none"), [])).rejects.toThrow("interfaces: there is none");
  expect(await readdir(work.path)).toEqual([]);
});
