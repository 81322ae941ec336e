/** What one guest call may use: one table of limits with their defaults and greatest values, and what counts them. */
import type { Limits } from "../../proto/gen/millrace/registry/v1/manifest.ts";
import { whole } from "../kit/config.ts";
import { Fault } from "../kit/fault.ts";
import { parseDuration } from "../kit/time.ts";

interface Limit {
  /** Field of the manifest's `limits`; "" when only the operator sets it. */
  readonly field: string;
  readonly what: string;
  readonly unit: "MiB" | "ms" | "KiB" | "";
  readonly fallback: number;
  /** What a manifest may ask for at most, and the default of the operator's ceiling. */
  readonly most: number;
  /** What the run or the guest is told when it is over. */
  readonly over: string;
}

const EXHAUSTED = "`guest_error` with `exhausted`";
const TOLD = "error `exhausted` to the guest";
const DROPPED = "dropped; the log says how many";

/** LIMITS.md is printed from this table, and a test holds the two together. */
export const LIMITS = {
  memoryMib: {
    ...{ field: "memory_mib", what: "memory of a call: linear memory and Extism blocks together", unit: "MiB" },
    ...{ fallback: 64, most: 1_024, over: "outcome `out_of_memory`" },
  },
  timeoutMs: {
    ...{ field: "timeout", what: "wall time of a call", unit: "ms" },
    ...{ fallback: 30_000, most: 900_000, over: "outcome `timeout`" },
  },
  cpuMs: {
    ...{ field: "cpu", what: "CPU time of a call without a pause", unit: "ms" },
    ...{ fallback: 5_000, most: 60_000, over: "outcome `cpu_exceeded`" },
  },
  gasMillion: {
    ...{ field: "gas_million", what: "instructions of a call when `metered`, in millions", unit: "" },
    ...{ fallback: 10_000, most: 1_000_000_000, over: "outcome `cpu_exceeded`" },
  },
  outputMib: {
    ...{ field: "output_mib", what: "output of a call", unit: "MiB" },
    ...{ fallback: 16, most: 64, over: "`guest_error` with `too_large`" },
  },
  rows: {
    ...{ field: "rows", what: "rows of a run", unit: "" },
    ...{ fallback: 10_000_000, most: Number.MAX_SAFE_INTEGER, over: EXHAUSTED },
  },
  hostCalls: {
    ...{ field: "host_calls", what: "host calls of a call", unit: "" },
    ...{ fallback: 10_000, most: 1_000_000_000, over: EXHAUSTED },
  },
  hostCallsInFlight: {
    ...{ field: "host_calls_in_flight", what: "host calls of a call that wait at once", unit: "" },
    ...{ fallback: 64, most: 1_024, over: TOLD },
  },
  logLines: {
    ...{ field: "log_lines", what: "log lines of a run", unit: "" },
    ...{ fallback: 1_000, most: 100_000, over: DROPPED },
  },
  logKib: {
    ...{ field: "log_kib", what: "log text of a run", unit: "KiB" },
    ...{ fallback: 256, most: 16_384, over: DROPPED },
  },
  httpRequests: {
    ...{ field: "http_requests", what: "HTTP requests of a call, redirects and retries included", unit: "" },
    ...{ fallback: 100, most: 10_000, over: TOLD },
  },
  httpMib: {
    ...{ field: "http_mib", what: "HTTP bodies of a call, both ways, decompressed", unit: "MiB" },
    ...{ fallback: 64, most: 1_024, over: "error `too_large` to the guest" },
  },
  callDepth: {
    ...{ field: "call_depth", what: "how deep `call` nests", unit: "" },
    ...{ fallback: 8, most: 32, over: TOLD },
  },
  httpConcurrency: {
    ...{ field: "", what: "HTTP requests of one instance at once, on one executor", unit: "" },
    ...{ fallback: 64, most: 10_000, over: `${TOLD}, worth trying again` },
  },
  moduleMib: {
    ...{ field: "", what: "module of a plugin", unit: "MiB" },
    ...{ fallback: 64, most: 256, over: "`guest_error` with `too_large`" },
  },
} as const satisfies Record<string, Limit>;

export type LimitName = keyof typeof LIMITS;
/** The operator's. A limit that no manifest can ask for is the ceiling itself. */
export type Ceilings = Readonly<Record<LimitName, number>>;

const names = Object.keys(LIMITS) as LimitName[];
const asks = ({ field }: Limit) => field !== "";

export const CEILINGS = Object.fromEntries(
  names.map((name) => [name, asks(LIMITS[name]) ? LIMITS[name].most : LIMITS[name].fallback]),
) as Ceilings;

const envOf = (name: string) => `EXECUTOR_MAX_${name.replace(/[A-Z]/g, "_$&").toUpperCase()}`;

const setting = (name: LimitName) => {
  const { what, most, unit } = LIMITS[name] as Limit;
  return whole(envOf(name), `ceiling: ${what}${unit && `, in ${unit}`}`, [1, most], CEILINGS[name]);
};

/** One setting for each limit, to be spread into the executor's own. */
export const ceilingSettings = Object.fromEntries(names.map((name) => [`${name}Ceiling`, setting(name)])) as {
  readonly [K in LimitName as `${K}Ceiling`]: ReturnType<typeof setting>;
};

export const ceilingsOf = (config: Readonly<Record<`${LimitName}Ceiling`, number>>): Ceilings =>
  Object.fromEntries(names.map((name) => [name, config[`${name}Ceiling`]])) as Ceilings;

const PAGES_PER_MIB = 16;

export interface CallLimits {
  readonly memoryMaxPages: number;
  readonly timeoutMs: number;
  readonly cpuMs: number;
  /** In instructions; counts only where the module is metered. */
  readonly maxGas: number;
  readonly maxOutputBytes: number;
  readonly maxHostCalls: number;
  readonly maxHostCallsInFlight: number;
  readonly maxHttpRequests: number;
  readonly maxHttpBytes: number;
  readonly maxHttpAtOnce: number;
  readonly maxCallDepth: number;
  readonly maxModuleBytes: number;
  /** These three of a whole run. */
  readonly maxRows: number;
  readonly maxLogLines: number;
  readonly maxLogBytes: number;
}

/** `timeout` of the interface or pipe wins over the manifest's own; "" means none is given. */
export type LimitsOf = (limits: Limits | undefined, timeout?: string) => CallLimits;

/** The manifest's limits with their defaults, each at most the operator's ceiling. */
export function limitsUnder(ceilings: Ceilings): LimitsOf {
  return (limits, timeout = "") => {
    const of = (name: LimitName, asked: number | bigint | undefined) =>
      Math.min(Number(asked) || LIMITS[name].fallback, ceilings[name]);
    const durationMs = (raw: string | undefined) => (raw ? parseDuration(raw, "limits") : 0);
    return {
      memoryMaxPages: of("memoryMib", limits?.memoryMib) * PAGES_PER_MIB,
      timeoutMs: of("timeoutMs", durationMs(timeout || limits?.timeout)),
      cpuMs: of("cpuMs", durationMs(limits?.cpu)),
      maxGas: of("gasMillion", limits?.gasMillion) * 1e6,
      maxOutputBytes: of("outputMib", limits?.outputMib) << 20,
      maxHostCalls: of("hostCalls", limits?.hostCalls),
      maxHostCallsInFlight: of("hostCallsInFlight", limits?.hostCallsInFlight),
      maxHttpRequests: of("httpRequests", limits?.httpRequests),
      maxHttpBytes: of("httpMib", limits?.httpMib) * 2 ** 20,
      maxHttpAtOnce: of("httpConcurrency", ceilings.httpConcurrency),
      maxCallDepth: of("callDepth", limits?.callDepth),
      maxModuleBytes: of("moduleMib", ceilings.moduleMib) * 2 ** 20,
      maxRows: of("rows", limits?.rows),
      maxLogLines: of("logLines", limits?.logLines),
      maxLogBytes: of("logKib", limits?.logKib) * 1_024,
    };
  };
}

/** Without an operator's ceilings. */
export const callLimits: LimitsOf = limitsUnder(CEILINGS);

/** The table as Markdown. */
export function limitsTable(): string {
  const rows = Object.entries<Limit>(LIMITS).map(([name, { field, what, unit, fallback, most, over }]) => {
    const amount = (value: number) =>
      value === Number.MAX_SAFE_INTEGER ? "no bound" : `${value.toLocaleString("en-US")}${unit && ` ${unit}`}`;
    const where = field ? `\`${field}\`` : "operator only";
    return `| ${what} | ${where} | ${amount(fallback)} | ${amount(most)} | \`${envOf(name)}\` | ${over} |`;
  });
  return ["| limit | manifest `limits` | default | at most | ceiling | over it |", "|---|---|---|---|---|---|", ...rows]
    .join("\n")
    .concat("\n");
}

/** What the HTTP of one guest call has used. Whoever sends requests counts them here. */
export class HttpBudget {
  readonly #limits: HttpLimits;
  readonly #gate: HttpGate;
  requests = 0;
  bytes = 0;

  /** `gate` counts the requests of all calls of the instance that are under way. */
  constructor(limits: HttpLimits, gate: HttpGate = { open: 0 }) {
    this.#limits = limits;
    this.#gate = gate;
  }

  /**
   * Before every request, each redirect and each retry; dispose of it when its body has been read. Errors: `exhausted`
   * when the call has sent too many (never again) or the instance has too many open (in a while).
   */
  begin(): Disposable {
    const { maxHttpRequests, maxHttpAtOnce } = this.#limits;
    if (this.requests >= maxHttpRequests) {
      throw new Fault("exhausted", `more than ${maxHttpRequests} HTTP requests in one call; limits.http_requests`);
    }
    if (this.#gate.open >= maxHttpAtOnce) {
      const message = `${maxHttpAtOnce} HTTP requests of this instance are under way already`;
      throw new Fault("exhausted", message, { retryAfterMs: 100 });
    }
    this.requests += 1;
    this.#gate.open += 1;
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (open) this.#gate.open -= 1;
        open = false;
      },
    };
  }

  /** Bytes of a body, sent or received and decompressed, as they pass. Errors: `too_large`. */
  count(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes <= this.#limits.maxHttpBytes) return;
    throw new Fault("too_large", `more than ${this.#limits.maxHttpBytes} bytes of HTTP in one call; limits.http_mib`);
  }
}

type HttpLimits = Pick<CallLimits, "maxHttpRequests" | "maxHttpBytes" | "maxHttpAtOnce">;

/** Requests that all calls of one instance have open. */
export interface HttpGate {
  open: number;
}
