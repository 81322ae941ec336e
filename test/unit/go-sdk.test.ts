/** The SDK for Go, by its probe, its example and what its builder says when something is wrong. */
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe as always, test as alwaysTest, expect } from "vitest";
import { BuildError, buildPlugin, detect, doctor } from "../../plugins-sdk/go/build.js";
import { Fault } from "../../services/kit/fault.ts";
import { describeProbe } from "../harness/probe.ts";
import { describeHelpers } from "../harness/probe-host.ts";
import { describeSync } from "../harness/probe-sync.ts";
import { openSandboxed } from "../harness/sandboxed.ts";
import { workFolder } from "../harness/work-folder.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");
const SDK = join(import.meta.dirname, "../../plugins-sdk/go");
/** A first build compiles the standard library. */
const BUILD_TIMEOUT_MS = 240_000;
const missing = (await doctor()).filter((check) => !check.ok);
for (const { what, found, fix } of missing) alwaysTest.skip(`Go: ${what} is missing (${found}); ${fix}`, () => {});
const describe = always.skipIf(missing.length > 0);
const test = alwaysTest.skipIf(missing.length > 0);

if (!missing.length)
  describeProbe("go", {
    integers: true,
    build: () => buildPlugin(join(PLUGINS, "probe-go")),
    prints: true,
    crash: { outcome: "guest_error", code: "panicked", message: /index out of range/ },
  });
if (!missing.length) {
  describeHelpers("go", () => buildPlugin(join(PLUGINS, "probe-go")));
  describeSync("go", () => buildPlugin(join(PLUGINS, "probe-go")));
}

async function built(files: Readonly<Record<string, string>>, folder: string): Promise<string> {
  const manifest = { name: "made", version: "1.0.0", interfaces: { fetch: {} } };
  const all = { "plugin.json": JSON.stringify(manifest), "go.mod": "module made\n\ngo 1.24\n", ...files };
  for (const [name, text] of Object.entries(all)) await writeFile(join(folder, name), text);
  return (await buildPlugin(folder, { outDir: join(folder, "out") })).wasmPath;
}

describe("example", () => {
  const atom = `<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>Blåbær ☃</title><id>tag:1</id>
    <link rel="alternate" href="https://example.org/1"/><published>2026-01-01T10:00:00+01:00</published>
    <author><name>Åse</name></author></entry></feed>`;
  const item = "<item><title>Old</title><link>https://example.org/2</link>";
  const rss = `<rss><channel>${item}<pubDate>Fri, 02 Jan 2026 00:00:00 GMT</pubDate></item></channel></rss>`;

  test(
    "reads Atom and RSS, and keeps what is in the window",
    async () => {
      await using guest = await openSandboxed((await buildPlugin(join(SDK, "example"))).wasmPath);
      const http = ({ url }: Record<string, unknown>) => {
        if (url === "https://example.org/none") throw new Fault("unavailable", "nobody there");
        return { status: 200, headers: {}, body: url === "https://example.org/rss" ? rss : atom, url };
      };
      const read = (feeds: readonly string[]) => {
        const config = { feeds: feeds.map((name) => `https://example.org/${name}`) };
        return guest.call("fetch", { config, begin: "2026-01-01T00:00:00Z", end: "2026-01-02T00:00:00Z" }, { http });
      };
      const both = await read(["atom", "rss"]);
      const rows = both.asked.filter((a) => a.name === "emit").flatMap((a) => a.request.trim().split("\n"));
      expect(rows.map((line) => JSON.parse(line))).toEqual([
        {
          published: "2026-01-01T09:00:00Z",
          id: "tag:1",
          feed: "https://example.org/atom",
          title: "Blåbær ☃",
          link: "https://example.org/1",
          author: "Åse",
        },
      ]);
      expect(both.json).toEqual({ status: "ok" });
      expect((await read(["atom", "none"])).json).toEqual({ status: "partial" });
      expect((await read(["none"])).error).toMatchObject({ code: "unavailable", message: "nobody there" });
      expect((await read(["rss"])).json).toEqual({ status: "no_data" });
    },
    BUILD_TIMEOUT_MS,
  );
});

test(
  "the template gives a row a minute",
  async () => {
    await using work = await workFolder();
    await cp(join(SDK, "template"), work.path, { recursive: true });
    const { wasmPath } = await buildPlugin(work.path, { outDir: join(work.path, "out") });
    await using guest = await openSandboxed(wasmPath);
    const { json } = await guest.call("fetch", { begin: "2026-01-01T00:00:00Z", end: "2026-01-01T01:00:00Z" });
    expect(json.rows).toHaveLength(60);
    expect(json.rows?.[59]).toEqual({ time: "2026-01-01T00:59:00Z", greeting: "hello", minute: 59 });
  },
  BUILD_TIMEOUT_MS,
);

test(
  "goroutines, sleeping and randomness of its own for every call",
  async () => {
    await using work = await workFolder();
    const source = `package main
import ("math/rand/v2"; "millrace"; "os"; "time")
func main() {}
//go:wasmexport fetch
func fetch() int32 { return millrace.Fetch(run) }
func run(run *millrace.FetchCall) error {
	numbers := make(chan int64)
	for range 3 {
		go func() { time.Sleep(2 * time.Millisecond); numbers <- rand.Int64() }()
	}
	_, err := os.ReadFile("/etc/hostname")
	return run.Add(map[string]any{"r": <-numbers + <-numbers + <-numbers, "file": err != nil, "env": len(os.Environ())})
}
`;
    await using guest = await openSandboxed(await built({ "plugin.go": source }, work.path));
    const input = { begin: "2026-01-01T00:00:00Z", end: "2026-01-02T00:00:00Z" };
    const [first, second] = [await guest.call("fetch", input), await guest.call("fetch", input)];
    expect(first.error).toBeUndefined();
    expect(first.json.rows?.[0]).toMatchObject({ file: true, env: 0 });
    expect(first.text).not.toBe(second.text);
  },
  BUILD_TIMEOUT_MS,
);

describe("builder", () => {
  async function refused(files: Readonly<Record<string, string>>): Promise<string> {
    await using work = await workFolder();
    const thrown = await built(files, work.path).catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(BuildError);
    return (thrown as Error).message;
  }

  test(
    "says where the source is wrong",
    async () => {
      const said = await refused({ "plugin.go": "package main\nfunc main() { nothing() }\n" });
      expect(said).toMatch(/plugin\.go:2:\d+: undefined: nothing/);
    },
    BUILD_TIMEOUT_MS,
  );

  test(
    "says what is not exported, and how to export it",
    async () => {
      const said = await refused({ "plugin.go": "package main\nfunc main() {}\n" });
      expect(said).toContain("does not export fetch");
      expect(said).toContain("//go:wasmexport fetch");
    },
    BUILD_TIMEOUT_MS,
  );

  test("knows its own folders, and what it needs", async () => {
    expect([detect(join(SDK, "template")), detect(PLUGINS)]).toEqual([true, false]);
    expect(await doctor()).toMatchObject([{ ok: true, found: expect.stringMatching(/^go1\./) }]);
  });
});
