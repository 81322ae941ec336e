/** Test cases played: the guest is told what the case says, in order; what it does is held against what is expected. */
import type { Capabilities } from "../executor/host/functions.ts";
import { type RecordedCall, readRecording, unpacked } from "../executor/recording/format.ts";
import { Fault, type FaultCode, faultCodes } from "../kit/fault.ts";
import { formatTime } from "../kit/time.ts";
import { DEFAULT_SEED, type Expectation, type HostAnswer, type TestCase } from "./case-file.ts";
import { differences, includes, isObject, shownValue } from "./differences.ts";
import { parseExact } from "./exact-json.ts";
import { configOf, exportOf, inputOf, type Json } from "./local-input.ts";
import type { LocalPlugin } from "./local-plugin.ts";
import { type LocalEnd, type LocalRun, runLocally } from "./local-run.ts";
import type { Workbench } from "./workbench.ts";

/** What the workbench itself does, the same in every run: neither recorded nor played. */
const OWN = ["emit", "checkpoint", "log", "progress", "metric", "sleep", "publish"];
/** What is asked of the world. */
const ASKED = ["http", "secret", "kv", "query", "call", "socket", "ping", "snmp", "context"];

export interface Played {
  /** Undefined: it could not be played. */
  readonly end: LocalEnd | undefined;
  /** What is not as the case says; nothing: it passed. */
  readonly differences: readonly string[];
}

export const runOf = (plugin: LocalPlugin, test: TestCase): LocalRun => {
  const config = configOf(plugin, test.config);
  const name = exportOf(plugin, test.export);
  const { grants, seed } = test;
  return { plugin, config, export: name, input: inputOf(plugin, name, config, test.input), grants, seed };
};

/** Errors: `invalid` when the case does not fit the plugin. */
export async function playCase(
  bench: Workbench,
  plugin: LocalPlugin,
  test: TestCase,
): Promise<Played & { readonly end: LocalEnd }> {
  const tape = new CaseTape(test.host);
  const end = await runLocally(bench, { ...runOf(plugin, test), world: tape.world, now: clockOf(test.clock) });
  return { end, differences: [...tape.differences(), ...judge(test.expect, end, test.export)] };
}

function clockOf(clock: readonly number[]): () => number {
  let at = 0;
  return () => clock[at++] ?? clock.at(-1) ?? 0;
}

/** What a run came to, as an expectation is written. */
export function outcomeOf({ outcome, rows, answer, error, checkpoints, metrics }: LocalEnd): Required<Expectation> {
  return {
    outcome,
    rows: rows.map(parseExact),
    answer,
    error: { code: error?.code ?? "", message: error?.message ?? "" },
    checkpoints: checkpoints.map(({ cursor }) => cursor),
    metrics: metrics.map(({ time: _, ...metric }) => metric),
  };
}

/** Only what a run had, so that a case stays small. */
export function expectationOf(end: LocalEnd): Expectation {
  const { outcome, rows, answer, error, checkpoints, metrics } = outcomeOf(end);
  if (end.error) return { outcome, error, ...(rows.length > 0 && { rows }) };
  return {
    outcome,
    ...((rows.length > 0 || end.checkpoints.length > 0 || outcome === "no_data") && { rows }),
    ...(!(isObject(answer) && Object.keys(answer).length === 0) && { answer }),
    ...(checkpoints.length > 0 && { checkpoints }),
    ...(metrics.length > 0 && { metrics }),
  };
}

function judge(expect: Expectation, end: LocalEnd, name: string): string[] {
  if (!Object.keys(expect).length) return ["expect: says nothing, so nothing is tested; --update takes what came"];
  const got = outcomeOf(end);
  const outcome = expect.outcome ?? (expect.error ? undefined : got.outcome);
  const why = end.error && !expect.error ? [`it failed with ${end.error.code}: ${end.error.message}`] : [];
  const said = Object.entries({ ...expect, outcome }) as [keyof Expectation, unknown][];
  const wrong = said.flatMap(([field, wanted]) => {
    if (wanted === undefined) return [];
    if (field === "error" && includes(got.error, wanted)) return [];
    if (field === "answer") return differences(...comparable(wanted, got.answer, name), field);
    return differences(wanted, got[field], field);
  });
  const unexpected = expect.outcome === undefined && !expect.error && end.error !== undefined;
  return wrong.length || unexpected ? [...why, ...wrong] : [];
}

/** Interfaces whose answer may leave out that all is well. Some SDKs do, some do not: it says the same. */
const HAVE_STATUS = ["fetch", "sync", "poll", "enrich"];

function comparable(wanted: unknown, got: unknown, name: string): [unknown, unknown] {
  if (HAVE_STATUS.includes(name)) return [settled(wanted), settled(got)];
  // Of a route's JSON it does not matter how it is written.
  if (name !== "route" || !isObject(wanted) || !("json" in wanted) || !isObject(got)) return [wanted, got];
  const { body, ...rest } = got;
  return [wanted, { ...rest, json: parsed(Buffer.from(String(body))) }];
}

function settled(answer: unknown): unknown {
  if (!isObject(answer) || answer.status !== "ok") return answer;
  const { status: _, ...rest } = answer;
  return rest;
}

/** The answers of a case, each given once, in order. */
class CaseTape {
  readonly #host: readonly HostAnswer[];
  #at = 0;
  #strayed: string | undefined;
  readonly world: Capabilities;

  constructor(host: readonly HostAnswer[]) {
    this.#host = host;
    this.world = Object.fromEntries(
      ASKED.map((name) => [name, async (request: Uint8Array) => this.#answer(name, parsed(request))]),
    );
  }

  differences(): string[] {
    if (this.#strayed !== undefined) return [this.#strayed];
    const left = this.#host[this.#at];
    if (!left) return [];
    return [`host[${this.#at}]: the guest did not ask for ${shownEntry(left)}, nor for what comes after`];
  }

  #answer(name: string, request: unknown): unknown {
    const entry = this.#host[this.#at];
    const fits = entry?.name === name && (entry.request === undefined || includes(request, entry.request));
    if (this.#strayed !== undefined || !entry || !fits) {
      const next = entry ? `the case has ${shownEntry(entry)}` : "the case has no more answers";
      this.#strayed ??= `host[${this.#at}]: the guest asked for ${name} ${shownValue(request)}; ${next}`;
      throw new Fault("precondition", this.#strayed);
    }
    this.#at += 1;
    if (entry.error) {
      throw new Fault(
        faultCodes.find((code) => code === entry.error?.code) ?? ("internal" as FaultCode),
        entry.error.message,
      );
    }
    return name === "http" ? httpAnswer(entry.answer, request) : entry.answer;
  }
}

const shownEntry = ({ name, request }: HostAnswer) =>
  `${name}${request === undefined ? "" : ` ${shownValue(request)}`}`;

/** What a case may leave out of an answer of http. */
function httpAnswer(answer: unknown, request: unknown): unknown {
  if (!isObject(answer)) return answer;
  const { json, ...rest } = answer;
  const url = isObject(request) ? request.url : "";
  const body = json !== undefined && { body: JSON.stringify(json) };
  const type = json !== undefined && { "content-type": "application/json" };
  return {
    status: 200,
    url,
    elapsed_ms: 1,
    body: "",
    ...body,
    ...rest,
    headers: { ...type, ...(rest.headers as object) },
  };
}

function parsed(request: Uint8Array): unknown {
  try {
    return parseExact(Buffer.from(request).toString("utf8"));
  } catch {
    return undefined;
  }
}

/** What a recorded run was told, as a case tells it; and the clock that it saw. */
export function told(file: Uint8Array): { readonly host: HostAnswer[]; readonly clock: number[] } {
  const { calls } = readRecording(file);
  return { host: calls.flatMap(hostOf), clock: calls.flatMap(({ end }) => [...(end?.clock ?? [])]) };
}

const hostOf = ({ host }: RecordedCall): HostAnswer[] =>
  host.flatMap(({ name, request, answer, error }): HostAnswer[] => {
    if (OWN.includes(name.split(":")[0] ?? "")) return [];
    const kept = "text" in request ? parsed(Buffer.from(request.text ?? "")) : undefined;
    const asked = kept === undefined ? {} : { request: kept };
    if (error) return [{ name, ...asked, error }];
    if (!answer) return [];
    return [{ name, ...asked, answer: (parsed(unpacked(answer)) as { ok?: unknown } | undefined)?.ok }];
  });

/** The fields of a new case. */
export function caseFields(test: Omit<TestCase, "name" | "path">, simpleClock: boolean): Json {
  const { input, config, grants, clock, seed, host, expect } = test;
  const [first = 0] = clock;
  return {
    export: test.export,
    ...(Object.keys(input).length > 0 && { input }),
    ...(Object.keys(config).length > 0 && { config }),
    ...(grants !== "manifest" && { grants }),
    ...(simpleClock ? { now: formatTime(BigInt(Math.round(first)) * 1_000n) } : { clock }),
    ...(seed !== DEFAULT_SEED && { seed }),
    ...(host.length > 0 && { host }),
    expect,
  };
}
