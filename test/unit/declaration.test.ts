/** Plans by tables: what is done, in which order, and what is refused. Things as they are compared, without a platform. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { declare } from "../../services/cli/declaration/declared.ts";
import type { Facets, Item, Live } from "../../services/cli/declaration/item.ts";
import { planOf } from "../../services/cli/declaration/plan.ts";
import { placed, readSource } from "../../services/cli/declaration/source.ts";
import type { Fault } from "../../services/kit/fault.ts";
import { workFolder } from "../harness/work-folder.ts";

const never = () => Promise.reject(new Error("a plan does nothing"));
const item = (name: string, facets: Facets = {}, needs: readonly string[] = []): Item => ({
  ...{ name, field: name, needs, fixed: ["kind"], create: never, update: never },
  facets: { managed_by: "shop", ...facets },
});
const live = (name: string, facets: Facets = {}, managedBy = "shop"): Live => ({
  ...{ name, etag: "1", managedBy, remove: never, again: never },
  facets: { managed_by: managedBy, ...facets },
});
const plan = (items: readonly Item[], there: readonly Live[], adopt = false) => {
  const { plan: made, mistakes } = planOf(items, there, { project: "shop", adopt });
  return {
    actions: made.actions.map(({ verb, name }) => `${verb} ${name}`),
    mistakes: mistakes.map(({ problem }) => problem),
    unchanged: made.unchanged,
  };
};

describe("a plan", () => {
  test.each([
    ["nothing of nothing", [], [], []],
    ["makes what is not there", [item("pipes/a.b")], [], ["create pipes/a.b"]],
    ["leaves what is so", [item("pipes/a.b", { tags: ["x"] })], [live("pipes/a.b", { tags: ["x"], other: 1 })], []],
    [
      "changes what differs",
      [item("pipes/a.b", { tags: [] })],
      [live("pipes/a.b", { tags: ["x"] })],
      ["change pipes/a.b"],
    ],
    ["removes what it keeps", [], [live("pipes/a.b")], ["delete pipes/a.b"]],
    ["leaves what is by hand", [], [live("pipes/a.b", {}, "")], []],
    ["leaves what others keep", [], [live("pipes/a.b", {}, "theirs")], []],
    [
      "makes in order, and what is needed first",
      [
        item("pollers/p", {}, ["instances/i"]),
        item("pipes/i.c", {}, ["instances/i", "pipes/i.d"]),
        item("pipes/i.d", {}, ["instances/i"]),
        item("instances/i", {}, ["plugins/i"]),
        item("plugins/i"),
        item("secrets/s"),
      ],
      [],
      ["secrets/s", "plugins/i", "instances/i", "pipes/i.d", "pipes/i.c", "pollers/p"].map((name) => `create ${name}`),
    ],
    [
      "removes in the reverse order, users first",
      [],
      [
        live("plugins/i"),
        live("instances/i", { plugin: "plugins/i" }),
        live("pipes/i.a", { instance: "instances/i" }),
        live("pipes/i.b", { instance: "instances/i", "parameters.after": ["i.a"] }),
        live("pipes/i.0", { instance: "instances/i", "parameters.refs": { chunk: "pipes/i.b/parameters/chunk" } }),
      ],
      ["pipes/i.0", "pipes/i.b", "pipes/i.a", "instances/i", "plugins/i"].map((name) => `delete ${name}`),
    ],
    [
      "keeps the default instance of its plugin, though nobody names it",
      [item("plugins/i")],
      [live("plugins/i"), live("instances/i", { plugin: "plugins/i" }), live("instances/j", { plugin: "plugins/i" })],
      ["delete instances/j"],
    ],
  ] as const)("%s", (_, items, there, wanted) => {
    const made = plan(items as readonly Item[], there as readonly Live[]);
    expect(made.mistakes).toEqual([]);
    expect(made.actions).toEqual(wanted);
  });

  test.each([
    ["what is not there is needed", item("pipes/a.b", {}, ["instances/a"]), undefined, "needs instances/a"],
    ["it was made by hand", item("pipes/a.b", { x: 1 }), live("pipes/a.b", { x: 2 }, ""), "was made by hand"],
    ["it is another project's", item("pipes/a.b", { x: 1 }), live("pipes/a.b", {}, "hers"), "is kept by project hers"],
    [
      "it cannot be changed",
      item("pollers/p", { kind: "poll" }),
      live("pollers/p", { kind: "discover" }),
      "cannot be changed",
    ],
  ])("refuses when %s", (_, wanted, there, problem) => {
    const { mistakes } = plan([wanted], there ? [there] : []);
    expect(mistakes).toEqual([expect.stringContaining(problem)]);
  });

  test("adopts when told to", () => {
    const there = live("pipes/a.b", { x: 2 }, "");
    expect(plan([item("pipes/a.b", { x: 1 })], [there], true)).toMatchObject({
      actions: ["change pipes/a.b"],
      mistakes: [],
    });
    expect(plan([item("pipes/a.b")], [there], true).actions).toEqual(["change pipes/a.b"]);
  });

  test("a circle of needs is planned once each, and ends", () => {
    const { actions } = plan([item("pipes/a.b", {}, ["pipes/a.c"]), item("pipes/a.c", {}, ["pipes/a.b"])], []);
    expect(actions.toSorted()).toEqual(["create pipes/a.b", "create pipes/a.c"]);
  });
});

/** As it is written in files. */
const brace = (text: string) => text.replaceAll("@", "$");

describe("a source", () => {
  test.each([
    ["a: '@{X}'", { a: "one" }],
    ["a: @{N}", { a: 7 }],
    ["a: '@{N}'", { a: "7" }],
    ["a: @{Y:-false}", { a: false }],
    ["a: @{EMPTY:-full}", { a: "full" }],
    ["a: x-@{X}-@{N}", { a: "x-one-7" }],
    ["a: @@{X}", { a: brace("@{X}") }],
    ["a: [@{N}, b]", undefined],
    ["'@{X}': 1", { [brace("@{X}")]: 1 }],
    ["", {}],
  ])("%s", (text, wanted) => {
    const read = () => readSource("f.yaml", brace(text), { X: "one", N: "7", EMPTY: "" });
    if (wanted === undefined) expect(read).toThrow();
    else expect(read().value).toEqual(wanted);
  });

  test("what is missing is told at once, with its place; syntax too", () => {
    const { missing } = readSource("f.yaml", brace("a: @{A}\nb:\n  - @{B}\n  - '@{1}'\n"), {});
    expect(missing.map(({ field }) => field)).toEqual(["f.yaml:1:4", "f.yaml:3:5", "f.yaml:4:5"]);
    const fault = (() => {
      try {
        return readSource("f.yaml", "a: 1\na: 2\n\tb: 3\n", {});
      } catch (thrown) {
        return thrown as Fault;
      }
    })() as Fault;
    expect(fault.mistakes.length).toBeGreaterThan(1);
    expect(fault.mistakes[0]?.field).toBe("f.yaml:2:1");
  });

  test("places of fields, through anchors, and of the nearest thing around", () => {
    const source = readSource("f.yaml", "base: &b\n  x: 1\npipes:\n  'a.b': *b\n  c:\n    - { d: 1 }\n", {});
    const at = (field: string) => placed(source, [{ field, problem: "p" }])[0]?.field.split(" ")[0];
    expect(at('pipes["a.b"].x')).toBe("f.yaml:2:3");
    expect(at("pipes.c[0].d")).toBe("f.yaml:6:9");
    expect(at("pipes.c[0].e")).toBe("f.yaml:6:7");
    expect(at("nothing")).toBe("f.yaml:1:1");
  });
});

test("the example on the page is a file without a mistake", async () => {
  const page = await readFile(new URL("../../services/cli/APPLY.md", import.meta.url), "utf8");
  const example = /```yaml\n([\s\S]+?)```/.exec(page)?.[1] ?? "";
  await using folder = await workFolder();
  await mkdir(join(folder.path, "plugins/weather"), { recursive: true });
  const env = { API_KEY: "long enough" };
  const { pipes, pollers, secrets } = declare(readSource("millrace.yaml", example, env), env, folder.path);
  expect(pipes.map(({ name }) => name)).toEqual(["pipes/weather.daily", "pipes/weather.copy"]);
  expect(pipes[1]?.message.parameters?.refs).toEqual({ columns: "pipes/weather.daily/parameters/columns" });
  expect([pollers.length, secrets[0]?.hosts]).toEqual([1, ["api.example.org"]]);
});
