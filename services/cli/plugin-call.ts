/** `plugin call`: one export in the real sandbox, with no platform around it. */
import { writeFile } from "node:fs/promises";
import { withModule } from "../executor/recording/format.ts";
import { Tape } from "../executor/recording/tape.ts";
import { nowUs, runRecord } from "../executor/run-record.ts";
import { Fault } from "../kit/fault.ts";
import { RUN_KINDS } from "../results/results.ts";
import { building } from "./build-progress.ts";
import { type Invocation, Misuse } from "./command.ts";
import { jsonFlag } from "./json-flag.ts";
import { configOf, exportOf, inputOf, type Json } from "./local-input.ts";
import { openPlugin } from "./local-plugin.ts";
import { type LocalEnd, type LocalEvent, type LocalRun, runLocally } from "./local-run.ts";
import { detail, type Terminal, table } from "./terminal.ts";
import { type Grants, openWorkbench, type Secret, subjectOf } from "./workbench.ts";

const MAX_SHOWN_ROWS = 20;
const MAX_RECORD_BYTES = 64 << 20;
const MIB = 2 ** 20;

export const GOOD = ["ok", "no_data", "not_modified", "partial"];

export async function grantsOf(flags: Invocation["flags"]): Promise<Grants> {
  if (flags.grant !== undefined) return jsonFlag(flags.grant, "--grant");
  if (flags.grants === undefined || flags.grants === "manifest") return "manifest";
  if (flags.grants === "none") return "none";
  throw new Misuse(`--grants ${JSON.stringify(flags.grants)} is neither "manifest" nor "none"; see --grant`);
}

export async function secretsOf(flags: Invocation["flags"]): Promise<Readonly<Record<string, Secret>>> {
  const given = await jsonFlag(flags.secrets, "--secrets");
  const wrong = Object.entries(given).filter(([, secret]) => typeof (secret as Secret | null)?.value !== "string");
  if (wrong.length) {
    const fix = 'write {"name": {"value": "…"}}';
    throw Fault.invalid(
      "--secrets",
      wrong.map(([field]) => ({ field, problem: "has no value that is text", fix })),
    );
  }
  return given as Readonly<Record<string, Secret>>;
}

export async function callExport({ args: [path = "", name = ""], flags, terminal, env }: Invocation): Promise<void> {
  const given = {
    input: await jsonFlag(flags.input, "--input"),
    config: await jsonFlag(flags.config, "--config"),
    grants: await grantsOf(flags),
    secrets: await secretsOf(flags),
  };
  const plugin = await openPlugin(path, building(terminal));
  const config = configOf(plugin, given.config);
  const exported = exportOf(plugin, name);
  const run: LocalRun = {
    ...{ plugin, config, export: exported, grants: given.grants },
    input: inputOf(plugin, exported, config, given.input),
    follow: flags.once !== true,
    onEvent: (event) => terminal.note(eventLine(event)),
    ...(typeof flags.record === "string" && { tape: newTape() }),
  };
  await using bench = await openWorkbench({ env, secrets: given.secrets });
  const startedUs = nowUs();
  const end = await runLocally(bench, run);
  if (typeof flags.record === "string") await writeFile(flags.record, recordOf(run, end, startedUs));
  terminal.result(
    () => endJson(end),
    () => [...shown(end), ...(flags.profile ? ["", profileOf(end)] : [])].join("\n"),
  );
  tellEnd(end, terminal);
}

export const newTape = () => new Tape({ heldBytes: 0, maxBytes: MAX_RECORD_BYTES }, MAX_RECORD_BYTES);

/** What `run replay` plays back. */
export function recordOf(
  { plugin, export: name, config, grants, tape }: LocalRun,
  end: LocalEnd,
  startedUs: bigint,
): Buffer {
  const kind = RUN_KINDS.find((one) => one === name) ?? (name.startsWith("function:") ? "function" : "procedure");
  const head = {
    ...{ kind, runId: `local/${name}`, dataset: "", target: name, resource: "", dueUs: startedUs, startedUs },
    ...{ attempt: 1, executor: "local", subject: subjectOf(plugin, config, grants) },
  };
  const outcome = end.outcome as Parameters<typeof runRecord>[1]["outcome"];
  const ended = { fence: 0n, outcome, committed: false, message: end.error?.message ?? "", rows: end.rows.length };
  const file = tape?.file(runRecord(head, ended, end.used), config);
  if (file) return withModule(file, plugin.module);
  throw new Fault("too_large", `the run was told more than ${MAX_RECORD_BYTES / MIB} MiB: nothing is recorded`);
}

export const endJson = ({ outcome, error, rows, answer, checkpoints, metrics, events, calls, used }: LocalEnd) => ({
  ...{ outcome, ...(error && { error }), rows: rows.map((row) => JSON.parse(row) as unknown), answer, checkpoints },
  ...{ metrics, calls, logs: events.filter(({ kind }) => kind === "log") },
  profile: {
    ...{ cpu_ms: used.cpuMs, wall_ms: used.wallMs, memory_peak_bytes: used.memoryPeakBytes },
    ...{ host_calls: used.hostCalls, bytes_in: used.bytesIn, bytes_out: used.bytesOut },
  },
});

function shown({ rows, answer, metrics, outcome }: LocalEnd): string[] {
  const lines = rows.slice(0, MAX_SHOWN_ROWS).map((row) => JSON.parse(row) as Json);
  const heads = [...new Set(lines.flatMap(Object.keys))];
  const cell = (value: unknown) => (typeof value === "object" && value ? JSON.stringify(value) : value);
  const cells = lines.map((row) => heads.map((head) => cell(row[head])));
  const more = rows.length > lines.length ? [`… ${rows.length - lines.length} more; all of them with --json`] : [];
  const said = typeof answer === "object" && answer !== null ? answer : undefined;
  return [
    ...(lines.length ? [table(heads, cells), ...more] : []),
    ...(said && Object.keys(said).length ? [JSON.stringify(said, null, 2)] : answer && !said ? [String(answer)] : []),
    ...(metrics.length ? [`${metrics.length} metrics of its own`] : []),
    ...(GOOD.includes(outcome) ? [`${outcome}, ${rows.length} rows`] : [outcome]),
  ];
}

export function profileOf({ used, calls }: LocalEnd): string {
  const host = Object.entries(used.hostCalls).map(([name, count]) => `${name} ${count}`);
  return detail({
    CPU: `${used.cpuMs.toFixed(2)} ms`,
    wall: `${used.wallMs.toFixed(2)} ms`,
    "memory at most": `${(used.memoryPeakBytes / MIB).toFixed(2)} MiB`,
    "guest calls": calls,
    "host calls": host.join(", ") || "none",
    "bytes in": used.bytesIn,
    "bytes out": used.bytesOut,
  });
}

/** The failure, with the author's file and line where the guest told them. */
export function tellEnd({ outcome, error }: LocalEnd, terminal: Terminal): void {
  if (GOOD.includes(outcome)) return;
  const frames = framesOf(error?.details).map((frame) => `    at ${frame}`);
  const code = error?.code && error.code !== outcome ? ` (${error.code})` : "";
  terminal.fail([`${outcome}${code}: ${error?.message ?? ""}`, ...frames].join("\n"));
}

/** The author's own frames; of a whole trace, those that are neither the SDK's nor the language's. */
export function framesOf(details: unknown): readonly string[] {
  const { at, stack } = (details ?? {}) as { at?: string; stack?: unknown };
  if (Array.isArray(stack)) return stack.map(String);
  if (typeof stack !== "string") return typeof at === "string" ? [at] : [];
  const frames = [...stack.matchAll(/^(\S+)\(.*\)\n\t(\S+:\d+)/gm)];
  return frames
    .filter(([, , file = ""]) => !/^(runtime|millrace)\//.test(file))
    .map(([, fn, file]) => `${fn} (${file})`);
}

function eventLine(event: LocalEvent): string {
  switch (event.kind) {
    case "log":
      return `${event.level.padEnd(5)} ${event.message}${event.fields ? ` ${JSON.stringify(event.fields)}` : ""}`;
    case "progress":
      return `progress ${event.done}/${event.total} ${event.message}`;
    case "emit":
      return `emit ${event.rows} rows, ${event.bytes} bytes`;
    case "checkpoint":
      return `checkpoint ${JSON.stringify(event.cursor)} after ${event.rows} rows`;
  }
}
