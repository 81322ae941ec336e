/** The README's "Write a plugin", its very lines in a shell, in an empty folder outside the repository. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { languageChecks, root } from "../../services/cli/build.ts";
import { type Started, startCli } from "../harness/cli.ts";
import { until } from "../harness/until.ts";

const LANGUAGES = ["typescript", "python", "c", "rust", "go"];
/** A first build may compile a language's own library. */
const LANGUAGE_MS = 300_000;

const lines = await linesOf("README.md", "## Write a plugin");
const missing = (await languageChecks()).filter(({ ok }) => !ok);

let folder: string;
let dev: Started;
let address: string;
let http: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-readme-"));
  const doors = { GATEWAY_HTTP: "127.0.0.1:0", GATEWAY_GRPC: "127.0.0.1:0" };
  dev = startCli(["dev"], { ...doors, MILLRACE_FOLDER: join(folder, "platform") });
  const said = await dev.saying("Ctrl-C stops it", 120_000);
  address = /gRPC {2}(\S+)/.exec(said)?.[1] ?? "";
  http = /HTTP {2}http:\/\/(\S+)/.exec(said)?.[1] ?? "";
}, 130_000);
afterAll(async () => {
  await dev?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test("there is something to follow", () => {
  expect(lines.map((line) => line.split(" ").slice(0, 3).join(" "))).toEqual([
    "millrace plugin new",
    "millrace plugin publish",
    "millrace pipe create",
    'millrace query "SELECT',
  ]);
});

for (const language of LANGUAGES) {
  const lacking = missing.filter(({ what }) => what.startsWith(`${language} plugins:`));
  const why = lacking.map(({ what, fix }) => `${what} is missing; ${fix}`).join("; ");
  test.skipIf(lacking.length > 0)(`${language}: from nothing to rows ${why}`, { timeout: LANGUAGE_MS }, async () => {
    const own = lines.map((line) =>
      line
        .replace("typescript hello", `${language} hello`)
        .replace(/\bhello\b/g, `hello-${language}`)
        .replace("hello_greetings", `hello_${language}_greetings`),
    );
    for (const line of own.slice(0, -1)) {
      const { code, said } = await shell(line);
      expect([line, code, code === 0 ? "" : said]).toEqual([line, 0, ""]);
    }
    const { said } = await shell(`${own.at(-1)} --json`);
    const { rows } = JSON.parse(said);
    expect(rows).toHaveLength(3);
    expect(rows[0]).toContain("hello");
  });
}

test("the heartbeat's page, followed: the whole chain beats", { timeout: LANGUAGE_MS }, async () => {
  for (const line of await linesOf("plugins-sdk/stock/heartbeat/docs/index.md", "# heartbeat")) {
    const { code, said } = await shell(line);
    expect([line, code, code === 0 ? "" : said]).toEqual([line, 0, ""]);
  }
  const alive = await until(
    "a beat is in the table",
    async () => {
      const page = await fetch(`http://${http}/plugins/heartbeat/`);
      return page.ok && page.json();
    },
    60_000,
  );
  expect(alive).toMatchObject({ alive: true, late_after_ms: 60_000 });
});

/** The commands of one section. */
async function linesOf(file: string, section: string): Promise<string[]> {
  const page = await readFile(join(root, file), "utf8");
  const [, text = ""] = page.split(`${section}\n`);
  const own = text.split("\n## ")[0] ?? "";
  return own
    .split("\n")
    .flatMap((line) => (line.startsWith("    millrace ") ? [line.trim().replace(/\s+#.*$/, "")] : []));
}

function shell(line: string): Promise<{ code: number | null; said: string }> {
  const script = `millrace() { "${process.execPath}" "${join(root, "services/cli/millrace.js")}" "$@"; }; ${line}`;
  const env = { ...process.env, MILLRACE_ADDRESS: address };
  const child = spawn("bash", ["-c", script], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  let complained = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complained += text;
  });
  return new Promise((resolve) =>
    child.once("close", (code) => resolve({ code, said: code === 0 ? said : said + complained })),
  );
}
