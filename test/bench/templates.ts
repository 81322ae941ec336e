/**
 * What does a plugin cost in each language? The guest is each language's own template, which is the same plugin in all
 * of them: a row a minute of its window, streamed. Build: all that `plugin build` does when nothing of the plugin is
 * remembered, in a process that built it before; what compilers keep by themselves stays. Cold: the module is compiled
 * in a new sandbox, and called once. Warm and rows: the time that the guest held the CPU in its lane, instantiation
 * included, median of many calls, of a window with 10 rows and of one with 10,000; and the fastest of them, which a
 * busy machine blurs less. Names of languages as arguments measure these only; what a language's doctor misses is left
 * out, and said.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { languages } from "../../plugins-sdk/languages.js";
import { openSandbox, type Sandbox } from "../../services/executor/sandbox.ts";
import { silentLog } from "../../services/kit/log.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { type Row, report } from "./report.ts";

const SDK = join(import.meta.dirname, "../../plugins-sdk");
/** By name: the builder, and the folder of the template when it is not the builder's own. */
const GUESTS: Readonly<Record<string, { readonly builder: string; readonly template?: string }>> = {
  typescript: { builder: "typescript" },
  python: { builder: "python" },
  lua: { builder: "lua" },
  assemblyscript: { builder: "assemblyscript" },
  rust: { builder: "rust" },
  go: { builder: "go" },
  zig: { builder: "zig" },
  c: { builder: "c" },
  cpp: { builder: "c", template: "c/template-cpp" },
};
const MAX_PAGES = 2_048;
const WARM_CALLS = 300;
const WARM_UP_CALLS = 100;
const ROW_CALLS = 9;
const MINUTE_MS = 60_000;
const BEGIN_MS = Date.parse("2026-01-01T00:00:00Z");
const EMITTED = Buffer.from('{"ok":{"rows":1}}');

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number;
const timed = async (work: () => Promise<unknown>) => {
  const began = performance.now();
  await work();
  return performance.now() - began;
};

function row(name: string, unit: string, a: number, b: number): Row {
  const value = (a + b) / 2;
  return { name, unit, value, aa: value === 0 ? 0 : Math.abs(a - b) / value };
}

/** One fetch of a window of so many minutes; the milliseconds that it held the CPU. */
async function fetchRows(sandbox: Sandbox, bytes: Uint8Array, digest: string, rows: number): Promise<number> {
  const iso = (ms: number) => new Date(ms).toISOString();
  const pipe = { name: "bench.rows", connector: "bench", metric: "rows", location: "", parameters: {} };
  const window = { begin: iso(BEGIN_MS), end: iso(BEGIN_MS + rows * MINUTE_MS), cursor: null, attempt: 1 };
  let lines = 0;
  const { outcome, error, usage, output } = await sandbox.call({
    ...{ module: { digest, load: async () => bytes }, export: "fetch", label: "bench" },
    input: Buffer.from(JSON.stringify({ pipe, config: {}, ...window })),
    ...{ deadlineMs: 20_000, cpuMs: 10_000, memoryMaxPages: MAX_PAGES, maxOutputBytes: 16 << 20, maxHostCalls: 1_000 },
    host: async (name, request) => {
      if (name === "emit") for (const byte of request) if (byte === 0x0a) lines += 1;
      return EMITTED;
    },
  });
  // Some SDKs return what is little, and stream the rest.
  lines += (JSON.parse(Buffer.from(output).toString() || "{}") as { rows?: unknown[] }).rows?.length ?? 0;
  if (outcome !== "ok" || lines !== rows) throw new Error(`${outcome}, ${lines} rows of ${rows}: ${error?.message}`);
  return usage.cpuMs;
}

interface Built {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly rows: readonly Row[];
}

async function build(name: string, out: string): Promise<Built | undefined> {
  const { builder, template = `${builder}/template` } = GUESTS[name] as (typeof GUESTS)[string];
  const language = languages.find((known) => known.name === builder);
  if (!language) throw new Error(`no builder for ${name}`);
  const missing = (await language.doctor()).filter(({ ok }) => !ok);
  if (missing.length) {
    process.stderr.write(`${name} is left out: ${missing.map(({ what, fix }) => `${what} (${fix})`).join(", ")}\n`);
    return undefined;
  }
  const into = (folder: string) => language.buildPlugin(join(SDK, template), { outDir: join(out, name, folder) });
  const { wasmPath } = await into("first");
  const built = [await timed(() => into("a")), await timed(() => into("b"))] as const;
  const bytes = normaliseModule(new Uint8Array(await readFile(wasmPath)), { maxPages: MAX_PAGES });
  const size: Row = { name: `${name}: module`, value: bytes.byteLength / 1_024, unit: "KiB" };
  return { name, bytes, rows: [size, row(`${name}: build`, "ms", ...built)] };
}

async function measure({ name, bytes, rows }: Built): Promise<Row[]> {
  const digest = createHash("sha256").update(bytes).digest("hex");
  const open = () => openSandbox({ lanes: 1, callsPerLane: 1, log: silentLog });
  const cold = async () => {
    await using sandbox = await open();
    return await timed(() => fetchRows(sandbox, bytes, digest, 10));
  };
  const colds = [await cold(), await cold()] as const;
  await using sandbox = await open();
  const some = async (count: number, wanted: number) => {
    const ms: number[] = [];
    for (let i = 0; i < count; i++) ms.push(await fetchRows(sandbox, bytes, digest, wanted));
    return { median: median(ms), best: Math.min(...ms) };
  };
  await some(WARM_UP_CALLS, 10);
  const [warmA, manyA] = [await some(WARM_CALLS, 10), await some(ROW_CALLS, 10_000)];
  const [warmB, manyB] = [await some(WARM_CALLS, 10), await some(ROW_CALLS, 10_000)];
  return [
    ...rows,
    row(`${name}: cold call`, "ms", ...colds),
    row(`${name}: warm call`, "µs", warmA.median * 1e3, warmB.median * 1e3),
    row(`${name}: warm call, at best`, "µs", warmA.best * 1e3, warmB.best * 1e3),
    row(`${name}: 10,000 rows`, "ms", manyA.median, manyB.median),
    row(`${name}: 10,000 rows, at best`, "ms", manyA.best, manyB.best),
  ];
}

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in GUESTS));
if (unknown.length) throw new Error(`no language ${unknown.join(", ")}; there are: ${Object.keys(GUESTS).join(", ")}`);
const out = await mkdtemp(join(tmpdir(), "millrace-bench-"));
try {
  // All of them first: the sandbox sets flags of V8 under which compilers in WebAssembly are slow.
  const built: Built[] = [];
  for (const name of asked.length ? asked : Object.keys(GUESTS)) {
    const one = await build(name, out);
    if (one) built.push(one);
  }
  const rows: Row[] = [];
  for (const one of built) rows.push(...(await measure(one)));
  report({ question: "What does a plugin cost in each language?", rows });
} finally {
  await rm(out, { recursive: true, force: true });
}
