/** One run of an export on the workbench, as the executor makes it: pages followed, rows counted, answers judged. */

import { schemaOf } from "../executor/function-schema.ts";
import { contextCapability } from "../executor/host/context.ts";
import { RowSink } from "../executor/host/emit.ts";
import { type Capabilities, type Capability, parseJson, readRequest } from "../executor/host/functions.ts";
import { progressCapability, runLog } from "../executor/host/log.ts";
import { OwnMetrics } from "../executor/host/metric.ts";
import { readResources } from "../executor/kinds/discover.ts";
import { readAnswer } from "../executor/kinds/guest-rows.ts";
import { readMetrics } from "../executor/kinds/poll.ts";
import { readDefaults } from "../executor/kinds/register.ts";
import { type CallLimits, callLimits } from "../executor/limits.ts";
import { sha256 } from "../executor/recording/format.ts";
import type { Tape } from "../executor/recording/tape.ts";
import { returnedRows } from "../executor/returned-rows.ts";
import { nowUs } from "../executor/run-record.ts";
import type { GuestError } from "../executor/sandbox.ts";
import { Tally } from "../executor/tally.ts";
import type { Fault } from "../kit/fault.ts";
import { formatTime } from "../kit/time.ts";
import { contextsOfInput, documentMistakes } from "./local-context.ts";
import type { Json } from "./local-input.ts";
import type { LocalPlugin } from "./local-plugin.ts";
import { type BenchCall, type Grants, subjectOf, type Workbench } from "./workbench.ts";

/** As one run of the platform. */
const MAX_PAGES = 100_000;
const FUNCTION = "function:";
/** They have rows of a window, by pages or by `emit`. */
const WINDOWED = ["fetch", "sync"];
/** What an interface has when neither pipe nor manifest say. */
const TIMEOUTS: Readonly<Record<string, string>> = {
  fetch: "60s",
  poll: "10s",
  discover: "30s",
  enrich: "30s",
  route: "10s",
};

export interface LocalRun {
  readonly plugin: LocalPlugin;
  readonly export: string;
  readonly input: Json;
  readonly config: Json;
  readonly grants: Grants;
  /** Called again with `next`, as the platform does it. Default: yes. */
  readonly follow?: boolean;
  /** Of the first call; those that follow add their number to the seed. */
  readonly seed?: string;
  readonly now?: () => number;
  /** In place of what lies outside: http, kv and the rest. */
  readonly world?: Capabilities;
  readonly tape?: Tape;
  readonly limits?: Partial<CallLimits>;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: LocalEvent) => void;
}

/** What a guest says on its way. */
export type LocalEvent =
  | { readonly kind: "log"; readonly level: string; readonly message: string; readonly fields?: unknown }
  | { readonly kind: "progress"; readonly done: number; readonly total: number; readonly message: string }
  | { readonly kind: "emit"; readonly rows: number; readonly bytes: number }
  | { readonly kind: "checkpoint"; readonly cursor: unknown; readonly rows: number };

export interface LocalEnd {
  readonly outcome: string;
  readonly error?: GuestError;
  /** Returned and emitted, in order: a JSON object each, as the guest wrote it. */
  readonly rows: readonly string[];
  /** The answer of the last call, without its rows. */
  readonly answer: unknown;
  readonly text: string;
  readonly checkpoints: readonly { readonly cursor: unknown; readonly rows: number }[];
  readonly metrics: readonly Json[];
  readonly events: readonly LocalEvent[];
  readonly calls: number;
  readonly used: Tally;
}

/** Resolves for everything that the guest does. Errors: what is wrong around it. */
export async function runLocally(bench: Workbench, run: LocalRun): Promise<LocalEnd> {
  const { plugin, export: name, config, grants, signal = new AbortController().signal } = run;
  const limits = { ...callLimits(plugin.manifest.limits, timeoutOf(plugin, name)), ...run.limits };
  const tally = new Tally(run.tape);
  const events: LocalEvent[] = [];
  const tell = (event: LocalEvent) => {
    events.push(event);
    run.onEvent?.(event);
  };
  const rows: string[] = [];
  const keep = async (bytes: Uint8Array, _chunk: number, format: string) => {
    const kept = asRows(bytes, format);
    rows.push(...kept);
    return { rows: kept.length, rejected: 0, bytes: bytes.byteLength };
  };
  const sink = new RowSink({ maxRows: limits.maxRows, append: keep });
  const checkpoints: { cursor: unknown; rows: number }[] = [];
  const save = async (cursor: unknown) => {
    await sink.flush();
    checkpoints.push({ cursor, rows: rows.length });
    tell({ kind: "checkpoint", cursor, rows: rows.length });
  };
  const metrics = new OwnMetrics(plugin.manifest.name, "", nowUs);
  const log = runLog(
    { runId: "local", fence: 0n, instance: plugin.manifest.name },
    (lines) => {
      for (const { level, message, fields } of lines) tell({ kind: "log", level, message, ...(fields && { fields }) });
    },
    nowUs,
    limits,
  );
  const emits = Object.entries(sink.capabilities).map(([called, take]): [string, Capability] => [
    called,
    async (request, scope) => {
      const taken = (await take(request, scope)) as { rows: number };
      tell({ kind: "emit", rows: taken.rows, bytes: request.byteLength });
      return taken;
    },
  ]);
  const streams: Capabilities = {
    ...Object.fromEntries(emits),
    checkpoint: async (request) => save(readRequest("checkpoint", request).cursor ?? null),
  };
  const windowed = WINDOWED.includes(name);
  const extra: Capabilities = {
    ...run.world,
    ...(windowed && streams),
    log: log.log,
    progress: progressCapability((progress) => tell({ kind: "progress", ...progress })),
    metric: metrics.capability,
    context: contextCapability(contextsOfInput(run.input), {
      ...{ subject: subjectOf(plugin, config, grants), tally, trail: { path: [name], left: 0 }, resource: "local" },
    }),
  };
  const end = (outcome: string, calls: number, more: { error?: GuestError; output?: Uint8Array } = {}): LocalEnd => {
    log.end();
    const text = Buffer.from(more.output ?? []).toString("utf8");
    const { rows: _, ...answer } = windowed ? asObject(parsed(text)) : { rows: undefined };
    return {
      ...{ outcome, rows, calls, checkpoints, events, text, used: tally },
      answer: windowed ? answer : parsed(text),
      metrics: metrics.rows as readonly Json[],
      ...(more.error && { error: more.error }),
    };
  };
  const bad = (message: string, calls: number, output: Uint8Array) =>
    end("guest_error", calls, { output, error: { code: "bad_answer", message, retryable: false } });

  let cursor = run.input.cursor ?? null;
  for (let page = 1; ; page += 1) {
    const input = Buffer.from(JSON.stringify(windowed ? { ...run.input, cursor } : run.input));
    const seed = run.seed === undefined ? undefined : page === 1 ? run.seed : `${run.seed}/${page}`;
    const call: BenchCall = {
      ...{ plugin, config, grants, export: name, input, limits, tally, extra, signal },
      ...(seed !== undefined && { seed }),
      ...(run.now && { now: run.now }),
    };
    const result = await bench.call(call);
    if (result.outcome === "not_run") throw result.fault;
    await sink.flush().catch(() => {});
    const { outcome, output } = result;
    if (outcome !== "ok")
      return end(outcome, page, { error: refusedRows(sink.fault) ?? result.error ?? noWords(outcome) });
    if (!windowed) {
      const problem = judged(plugin, name, output);
      return problem === undefined ? end("ok", page, { output }) : bad(problem, page, output);
    }
    const answer = readAnswer(output);
    if (typeof answer === "string") return bad(answer, page, output);
    const returned = answer.typed ?? { format: "ndjson" as const, bytes: returnedRows(output) };
    if (returned.bytes) await sink.addAs(returned.format, returned.bytes);
    await sink.flush();
    const ended = answer.status === "ok" && rows.length === 0 && answer.next === undefined ? "no_data" : answer.status;
    if (answer.next === undefined || run.follow === false) return end(ended, page, { output });
    if (JSON.stringify(answer.next) === JSON.stringify(cursor)) {
      return bad("`next` is the cursor that the call was given: it would never end", page, output);
    }
    if (page >= MAX_PAGES) return bad(`more than ${MAX_PAGES} pages`, page, output);
    cursor = answer.next as typeof cursor;
    await save(cursor);
  }
}

/** Lines of JSON as they are; of other formats, which only the store reads, what there is to tell. */
function asRows(bytes: Uint8Array, format: string): string[] {
  const lines = () =>
    Buffer.from(bytes)
      .toString("utf8")
      .split("\n")
      .filter((line) => line.trim() !== "");
  if (format === "ndjson") return lines();
  if (format === "csv")
    return lines()
      .slice(1)
      .map((csv) => JSON.stringify({ csv }));
  return [JSON.stringify({ [format]: { bytes: bytes.byteLength, sha256: sha256(bytes) } })];
}

const noWords = (outcome: string): GuestError => ({ code: "", message: outcome, retryable: false });

const refusedRows = (fault: Fault | undefined): GuestError | undefined =>
  fault && { code: fault.code, message: fault.message, retryable: false };

function timeoutOf({ manifest: { interfaces, limits } }: LocalPlugin, name: string): string {
  const { fetch, poll, discover, enrich, functions = {} } = interfaces ?? {};
  const declared = { fetch, poll, discover, enrich }[name]?.timeout;
  const own = name.startsWith(FUNCTION) ? functions[name.slice(FUNCTION.length)]?.timeout : declared;
  return own || limits?.timeout || (TIMEOUTS[name] ?? "");
}

/** What the platform would not take of an answer. */
function judged(plugin: LocalPlugin, name: string, output: Uint8Array): string | undefined {
  const value = parseJson(output);
  const read: unknown = READERS[name]?.(value);
  if (typeof read === "string") return read;
  if (name === "enrich") return documentMistakes(plugin, value);
  if (!name.startsWith(FUNCTION)) return undefined;
  if (value === undefined) return "the function did not answer with JSON";
  const declared = plugin.manifest.interfaces?.functions[name.slice(FUNCTION.length)];
  const mistakes = declared ? schemaOf(declared).output(value, "output") : [];
  return mistakes.length ? mistakes.map((m) => `${m.field}: ${m.problem}`).join("\n") : undefined;
}

const READERS: Readonly<Record<string, (answer: unknown) => unknown>> = {
  poll: (answer) => readMetrics(answer, formatTime(nowUs()), "local"),
  discover: readResources,
  register: readDefaults,
};

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text === "" ? null : text;
  }
}

const asObject = (value: unknown) =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
