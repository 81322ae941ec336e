/** Packages from npm in a plugin: of the builds that they have, the one that runs without Node and without a document. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { BuildError, buildPlugin } from "../../plugins-sdk/typescript/build.js";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

/** The first build of all makes the engine, which takes some seconds. */
const BUILD_TIMEOUT_MS = 300_000;
const MANIFEST = JSON.stringify({ name: "packed", version: "1.0.0", interfaces: { functions: { of: {} } } });
const says = (what: string) => `export default () => ${JSON.stringify(what)};\n`;
const NODE = 'import { readFileSync } from "node:fs";\nexport default () => String(readFileSync);\n';
const DOM = "const form = document.createElement('form');\nexport default () => form.tagName;\n";

/** As they lie in node_modules. In each, any other file than the right one fails to build or to run. */
const PACKAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "main-or-browser": {
    "package.json": JSON.stringify({ main: "./node.js", browser: "./web.js" }),
    "node.js": 'module.exports = () => require("tty").isatty(1);\n',
    "web.js": 'module.exports = () => "browser";\n',
  },
  "browser-map": {
    "package.json": JSON.stringify({
      main: "./index.js",
      browser: { "./platform/node.js": "./platform/web.js", crypto: false },
    }),
    "index.js":
      'const crypto = require("crypto");\nmodule.exports = () => [require("./platform/node"), Object.keys(crypto)];\n',
    "platform/node.js": 'module.exports = require("http").METHODS;\n',
    "platform/web.js": 'module.exports = "mapped";\n',
  },
  "browser-condition": {
    "package.json": JSON.stringify({
      type: "module",
      exports: {
        ".": { types: "./index.d.ts", browser: "./index.browser.js", import: "./index.js", default: "./index.js" },
      },
    }),
    "index.js": NODE,
    "index.browser.js": "export default () => crypto.getRandomValues(new Uint8Array(4)).length;\n",
  },
  "worker-before-browser": {
    "package.json": JSON.stringify({
      type: "module",
      exports: { ".": { worker: "./index.js", browser: "./index.dom.js", node: "./node.js", default: "./index.js" } },
    }),
    "index.js": says("worker"),
    "index.dom.js": DOM,
    "node.js": NODE,
  },
  "module-or-main": {
    "package.json": JSON.stringify({ main: "./index.cjs", module: "./index.mjs" }),
    "index.cjs": 'throw new Error("the older of two");\n',
    "index.mjs": says("module"),
  },
  "import-or-require": {
    "package.json": JSON.stringify({ exports: { import: "./index.mjs", require: "./index.cjs" } }),
    "index.cjs": 'throw new Error("the older of two");\n',
    "index.mjs": says("import"),
  },
  environment: {
    "package.json": JSON.stringify({ main: "./index.js" }),
    "index.js": "module.exports = () => process.env.NODE_ENV;\n",
  },
  "all-of-node": { "package.json": JSON.stringify({ type: "module", main: "./node.js" }), "node.js": NODE },
};

async function built(names: readonly string[], into: string) {
  const files: Record<string, string> = {
    "plugin.json": MANIFEST,
    "src/plugin.js": [
      ...names.map((name, i) => `import p${i} from ${JSON.stringify(name)};`),
      `export const functions = { of: () => [${names.map((_, i) => `p${i}()`).join(", ")}] };`,
    ].join("\n"),
  };
  for (const name of names) {
    for (const [path, text] of Object.entries(PACKAGES[name] ?? {})) files[`node_modules/${name}/${path}`] = text;
  }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(into, path)), { recursive: true });
    await writeFile(join(into, path), text);
  }
  return buildPlugin(into, { outDir: into });
}

test("of each package the build that runs here is taken", { timeout: BUILD_TIMEOUT_MS }, async () => {
  await using work = await workFolder();
  const expected: Readonly<Record<string, unknown>> = {
    "main-or-browser": "browser",
    "browser-map": ["mapped", []],
    "browser-condition": 4,
    "worker-before-browser": "worker",
    "module-or-main": "module",
    "import-or-require": "import",
    environment: "production",
  };
  await using guest = await openSandboxed((await built(Object.keys(expected), work.path)).wasmPath);
  const { json, error } = await guest.call("function:of", null);
  expect(error).toBeUndefined();
  expect(json).toEqual(Object.values(expected));
});

test("a package that needs Node is refused, with the place that needs it", { timeout: BUILD_TIMEOUT_MS }, async () => {
  await using work = await workFolder();
  const refusal = await built(["all-of-node"], work.path).catch((thrown: unknown) => thrown);
  expect(refusal).toBeInstanceOf(BuildError);
  expect((refusal as Error).message).toMatch(
    /node_modules\/all-of-node\/node\.js:1:\d+: .*"node:fs"; plugins have no files, sockets or processes/,
  );
});
