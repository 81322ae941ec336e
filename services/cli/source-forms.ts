/** How each language writes what several interfaces share: its imports, and what it exports. */
import { type NameList, type SourceForm, WIDTH, wrapped } from "./plugin-source.ts";

const FOUR = { indent: "    " };

const byLetters = (a: string, b: string) => {
  const [x, y] = [a, b].map((name) => name.replace(/^type /, "").toLowerCase()) as [string, string];
  return x < y ? -1 : 1;
};
/** Constants, types, functions. */
const byCodes = (a: string, b: string) => (a < b ? -1 : 1);

const fromModule = (module: string): NameList => ({
  find: new RegExp(`^import \\{ (.+) \\} from "${module}";$`, "m"),
  sort: byLetters,
  write: (items) => wrapped("import {", items, `} from "${module}";`),
});

const javascript: SourceForm = { lists: [fromModule("@millrace/typescript")] };
/** A file that imports nothing but types says so once; joined with others it says so of each. */
const typesOnly = /^import type \{ (.+) \} from "(.+)";$/m;

export interface LanguageForm extends SourceForm {
  /** The file that `fetch` is in, and the whole plugin. */
  readonly entry: string;
  /** Makes sources alike before they are joined. */
  readonly prepare?: (source: string) => string;
  readonly finish?: (source: string) => string;
}

export const FORMS: Readonly<Record<string, LanguageForm>> = {
  typescript: {
    entry: "src/plugin.ts",
    ...javascript,
    prepare: (source) =>
      source.replace(typesOnly, (_, names: string, module) => {
        return `import { ${names
          .split(", ")
          .map((name) => `type ${name}`)
          .join(", ")} } from "${module}";`;
      }),
    finish: (source) =>
      source.replace(/^import \{ ((?:type \w+(?:, )?)+) \} from/m, (_, names: string) => {
        return `import type { ${names.replaceAll("type ", "")} } from`;
      }),
  },
  javascript: { entry: "src/plugin.js", ...javascript },
  assemblyscript: { entry: "assembly/index.ts", lists: [fromModule("@millrace/assemblyscript")] },
  python: {
    entry: "src/plugin.py",
    airy: true,
    lists: [
      {
        find: /^from millrace import (.+)$/m,
        sort: byCodes,
        write: (items) => {
          const line = `from millrace import ${items.join(", ")}`;
          return line.length <= WIDTH ? line : wrapped("from millrace import (", items, ")", FOUR);
        },
      },
    ],
  },
  lua: {
    entry: "src/plugin.lua",
    lists: [{ find: /^return \{ (.+) \}$/m, last: true, write: (items) => wrapped("return {", items, "}") }],
  },
  go: {
    entry: "plugin.go",
    lists: [
      {
        find: /^import (?:\(\n((?:\t"\S+"\n)+)\)|("\S+"))$/m,
        sort: byCodes,
        write: (items) => (items.length > 1 ? `import (\n\t${items.join("\n\t")}\n)` : `import ${items[0]}`),
      },
    ],
  },
  rust: {
    entry: "src/lib.rs",
    lists: [
      {
        find: /^use millrace::\{(.+)\};$/m,
        sort: byCodes,
        write: (items) => wrapped("use millrace::{", items, "};", { ...FOUR, space: "", filled: true }),
      },
    ],
  },
  zig: {
    entry: "src/plugin.zig",
    lists: [
      {
        find: /^comptime \{\n {4}millrace\.exports\(\.\{ (.+) \}\);\n\}$/m,
        write: (items) => `comptime {\n${wrapped("    millrace.exports(.{", items, "});", FOUR)}\n}`,
      },
    ],
  },
  c: { entry: "src/plugin.c", lists: [] },
  cpp: { entry: "src/plugin.cpp", lists: [] },
};
