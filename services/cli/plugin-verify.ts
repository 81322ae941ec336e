/** `plugin verify`: the conformance kit, judging a plugin in the executor's sandbox. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type {
  CallGuest,
  Check,
  HostReply,
  judge,
  KitOptions,
  Report,
  Scenario,
  Subject,
} from "../../plugins-sdk/conformance/kit.js";
import type { Capabilities } from "../executor/host/functions.ts";
import { callLimits } from "../executor/limits.ts";
import type { HostFunction } from "../executor/sandbox.ts";
import { Tally } from "../executor/tally.ts";
import { Fault, type FaultCode, faultCodes } from "../kit/fault.ts";
import { namesOf } from "../registry/manifest.ts";
import { root } from "./build.ts";
import { building } from "./build-progress.ts";
import { readCases, type TestCase } from "./case-file.ts";
import { runOf } from "./case-run.ts";
import { type Invocation, wholeFlag } from "./command.ts";
import { configOf, inputOf } from "./local-input.ts";
import { type LocalPlugin, openPlugin } from "./local-plugin.ts";
import { GOOD } from "./plugin-call.ts";
import type { Terminal } from "./terminal.ts";
import { openWorkbench, type Workbench } from "./workbench.ts";

/** The kit's own. */
const DEFAULT_CALLS = 10_000;
/** The bar moves by so many. */
const SHOWN_CALLS = 50;
const DEFAULT_NOW_MS = Date.UTC(2026, 0, 1);
const MARKS = { pass: "ok  ", fail: "FAIL", skip: "–   " } as const;

export interface Judged {
  readonly plugin: string;
  readonly version: string;
  readonly report: Report;
}

export async function verifyPlugin({ args, flags, terminal, env }: Invocation): Promise<void> {
  const [path = ""] = args;
  const opened = await openPlugin(path, building(terminal)).catch((thrown) => refusedReport(path, Fault.from(thrown)));
  if ("report" in opened) return tell(opened, terminal);
  const scenarios = await scenariosOf(opened);
  await using bench = await openWorkbench({ env });
  const onCheck = (check: Check) => terminal.note(line(check));
  const options = callsOf(flags);
  using bar = terminal.bar("calls", options.calls ?? DEFAULT_CALLS);
  const onCalls = (done: number) => {
    if (done % SHOWN_CALLS === 0) bar.update(done);
  };
  tell(await judgePlugin(bench, opened, scenarios, { ...options, onCheck, onCalls }), terminal);
}

/** For a first look, and for CI. */
export function callsOf(flags: Invocation["flags"]): KitOptions {
  const calls = wholeFlag(flags, "calls", [1, 1_000_000]);
  return calls === undefined ? {} : { calls };
}

export async function judgePlugin(
  bench: Workbench,
  plugin: LocalPlugin,
  scenarios: readonly Scenario[],
  options: KitOptions = {},
): Promise<Judged> {
  const kit = (await import(pathToFileURL(join(root, "plugins-sdk/conformance/kit.js")).href)) as {
    judge: typeof judge;
  };
  const subject: Subject = { manifest: plugin.manifestJson, facts: plugin.facts, scenarios };
  const report = await kit.judge(subject, callOn(bench, plugin), options);
  return { plugin: plugin.manifest.name, version: plugin.manifest.version, report };
}

/** What a registry would not take is not run at all. */
function refusedReport(path: string, fault: Fault): Judged {
  if (fault.code !== "invalid" || !fault.mistakes.length) throw fault;
  const reason = fault.mistakes.map((m) => `${m.field} ${m.problem}`).join("; ");
  const check = { name: "what the registry takes", verdict: "fail", reason } as const;
  return { plugin: path, version: "", report: { score: 0, passed: 0, applicable: 1, checks: [check] } };
}

/** The author's cases that end well; where an interface has none, what the manifest says by itself. */
export async function scenariosOf(plugin: LocalPlugin): Promise<Scenario[]> {
  const cases = plugin.built ? await readCases(plugin.path) : [];
  const good = cases.filter(({ expect }) => !expect.error && GOOD.includes(expect.outcome ?? "ok"));
  const written = good.map((test): Scenario => {
    const { export: name, input } = fitting(plugin, test);
    return { name: test.name, export: name, input, host: test.host, nowMs: test.clock[0] ?? 0, recorded: true };
  });
  const missing = namesOf(plugin.manifest.interfaces).filter((name) => !written.some((one) => one.export === name));
  return [...written, ...missing.flatMap((name) => byItself(plugin, name))];
}

/** Errors: `invalid`, naming the case. */
function fitting(plugin: LocalPlugin, test: TestCase) {
  try {
    return runOf(plugin, test);
  } catch (thrown) {
    const fault = Fault.from(thrown);
    throw new Fault(fault.code, `the case ${test.name} does not fit the plugin: ${fault.message}`, { cause: fault });
  }
}

/** Nothing when its config has no defaults: then only a case can say what it is called with. */
function byItself(plugin: LocalPlugin, name: string): Scenario[] {
  try {
    const input = inputOf(plugin, name, configOf(plugin, {}), {});
    return [{ name, export: name, input, host: [], nowMs: DEFAULT_NOW_MS, recorded: false }];
  } catch (thrown) {
    if (Fault.from(thrown).code === "invalid") return [];
    throw thrown;
  }
}

/** The kit's way into the sandbox. Without a host of the kit's, the platform's own stands there, and grants nothing. */
export function callOn(bench: Workbench, plugin: LocalPlugin): CallGuest {
  return async ({ export: name, input, host, deadlineMs, nowMs, seed }) => {
    const base = callLimits(plugin.manifest.limits);
    const timeoutMs = deadlineMs ?? base.timeoutMs;
    const limits = { ...base, timeoutMs, cpuMs: Math.min(base.cpuMs, timeoutMs) };
    const tally = new Tally();
    const result = await bench.call({
      ...{ plugin, config: {}, grants: "none", export: name, input: Buffer.from(input), limits, tally, seed },
      ...{ now: () => nowMs, signal: new AbortController().signal },
      ...(host ? { extra: {}, host: hostOf(host) } : { extra: ROWS_TO_NOBODY }),
    });
    if (result.outcome === "not_run") throw result.fault;
    const { outcome, output, error, usage } = result;
    const { wallMs, cpuMs, memoryPeakBytes, hostCalls } = usage;
    const text = Buffer.from(output).toString("utf8");
    return { outcome, output: text, wallMs, cpuMs, memoryPeakBytes, hostCalls, ...(error && { error }) };
  };
}

const toNobody = async () => ({ rows: 0 });
const ROWS_TO_NOBODY: Capabilities = {
  ...{ emit: toNobody, "emit:csv": toNobody, "emit:arrow": toNobody },
  checkpoint: async () => ({}),
  log: async () => ({}),
  progress: async () => ({}),
  metric: async () => ({}),
};

type KitHost = (name: string, request: Uint8Array, signal: AbortSignal) => Promise<HostReply>;

const hostOf =
  (host: KitHost): HostFunction =>
  async (name, request, signal) => {
    const reply = await host(name, request, signal);
    if ("ok" in reply) return Buffer.from(JSON.stringify({ ok: reply.ok ?? {} }));
    const { code, message } = reply.error;
    throw new Fault(faultCodes.find((one) => one === code) ?? ("internal" as FaultCode), message);
  };

const line = ({ name, verdict, reason }: Check) => `${MARKS[verdict]} ${name}: ${reason}`;

function tell({ plugin, version, report }: Judged, terminal: Terminal): void {
  const { score, passed, applicable } = report;
  const refused = report.checks.length === 1 ? `${line(report.checks[0] as Check)}\n` : "";
  terminal.result(
    () => ({ plugin, version, ...report }),
    () => `${refused}${plugin} ${version}: ${score} of 100 (${passed} of ${applicable} checks that apply)`.trim(),
  );
  if (score < 100) terminal.fail(`${applicable - passed} checks failed`);
}
