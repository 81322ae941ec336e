/** `plugin new` in every language that has a template: a name of its own, and what is made can be built. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildPlugin } from "../../services/cli/build.ts";
import { newPlugin } from "../../services/cli/new-plugin.ts";

async function workFolder() {
  const path = await mkdtemp(join(tmpdir(), "millrace-new-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const WITHOUT_COMPILER = ["typescript", "python", "lua", "assemblyscript"];

test.each([...WITHOUT_COMPILER, "javascript", "go", "rust", "c", "cpp", "zig"])("%s", async (language) => {
  await using work = await workFolder();
  const folder = join(work.path, "first-light");
  expect(await newPlugin(language, folder)).toEqual({ folder, name: "first-light" });
  expect(JSON.parse(await readFile(join(folder, "plugin.json"), "utf8")).name).toBe("first-light");
});

test.each(WITHOUT_COMPILER)("a new plugin in %s builds outside the checkout", async (language) => {
  await using work = await workFolder();
  const folder = join(work.path, "first-light");
  await newPlugin(language, folder);
  expect((await buildPlugin(folder)).path).toContain("first-light-0.1.0.tgz");
});

test("every mistake is told at once", async () => {
  await using work = await workFolder();
  const thrown = await newPlugin("cobol", join(work.path, "My Plugin")).catch((fault) => fault);
  expect(thrown.mistakes.map((mistake: { field: string }) => mistake.field)).toEqual(["language", "folder"]);
  await expect(newPlugin("go", work.path)).rejects.toThrow("exists already");
});
