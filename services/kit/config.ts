/** Settings declared as data: environment variable, meaning, range, default. All mistakes are reported at once. */
import { Fault, type Mistake } from "./fault.ts";

export interface Setting<T> {
  readonly env: string;
  /** One sentence, with the unit. */
  readonly doc: string;
  /** Undefined means that the setting is required. */
  readonly fallback: T | undefined;
  /** What it takes, for `--help`: "0–65535", "host:port". */
  readonly takes: string;
  /** Secret values are not echoed in errors or help. */
  readonly secret: boolean;
  /** The value, or a sentence about what is wrong with it. */
  readonly parse: (raw: string) => { readonly value: T } | { readonly problem: string };
}

// biome-ignore lint/suspicious/noExplicitAny: a table of settings mixes value types; Config<> recovers each one.
export type Settings = Readonly<Record<string, Setting<any>>>;
export type Config<S extends Settings> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/** Free text. An empty variable counts as not set. */
export function text(env: string, doc: string, fallback?: string): Setting<string> {
  return { env, doc, fallback, takes: "text", secret: false, parse: (value) => ({ value }) };
}

/** Text that must not appear in a log, an error or `--help`. Empty means none. */
export function secret(env: string, doc: string): Setting<string> {
  return { ...text(env, doc, ""), takes: "secret", secret: true };
}

/** A whole number within [low, high]. */
export function whole(env: string, doc: string, [low, high]: readonly [number, number], fallback?: number) {
  const takes = `${low}–${high}`;
  const parse = (raw: string) => {
    const value = Number(raw);
    if (/^-?\d+$/.test(raw) && value >= low && value <= high) return { value };
    return { problem: `is not a whole number within ${takes}` };
  };
  return { env, doc, fallback, takes, secret: false, parse } satisfies Setting<number>;
}

/** true, false, 1, 0, yes, no, on, off. */
export function flag(env: string, doc: string, fallback: boolean): Setting<boolean> {
  const parse = (raw: string) => {
    if (/^(true|1|yes|on)$/i.test(raw)) return { value: true };
    if (/^(false|0|no|off)$/i.test(raw)) return { value: false };
    return { problem: "is neither true nor false" };
  };
  return { env, doc, fallback, takes: "true|false", secret: false, parse };
}

/** One of a closed list. */
export function choice<T extends string>(env: string, doc: string, values: readonly T[], fallback?: T): Setting<T> {
  const takes = values.join("|");
  const parse = (raw: string) => {
    const value = values.find((v) => v === raw);
    return value === undefined ? { problem: `is not one of ${takes}` } : { value };
  };
  return { env, doc, fallback, takes, secret: false, parse };
}

/** A comma-separated list of texts; empty entries are dropped. */
export function list(env: string, doc: string, fallback: readonly string[] = []): Setting<readonly string[]> {
  const parse = (raw: string) => ({
    value: raw
      .split(",")
      .map((s) => s.trim())
      .filter(Boolean),
  });
  return { env, doc, fallback, takes: "text,text,…", secret: false, parse };
}

/** Where a server listens: `host:port`, `[v6]:port`; port 0 picks a free one. */
export function address(env: string, doc: string, fallback?: string): Setting<string> {
  const parse = (raw: string) =>
    splitAddress(raw) ? { value: raw } : { problem: "is not host:port with a port within 0–65535" };
  return { env, doc, fallback, takes: "host:port", secret: false, parse };
}

/** `host:port` taken apart, or undefined when it is not one. */
export function splitAddress(raw: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(raw);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) return undefined;
  return { host: (match[1] ?? match[2]) as string, port };
}

/** Whether a host is this machine's own: what may be served without a token. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Reads every setting of a table. Errors: `invalid`, naming every variable that is missing or wrong.
 * `over` wins over the environment: how composition (dev mode, tests) hands values in.
 */
export function readConfig<S extends Settings>(
  settings: S,
  env: Readonly<Record<string, string | undefined>>,
  over: Partial<Config<S>> = {},
): Config<S> {
  const mistakes: Mistake[] = [];
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(settings)) {
    const given = (over as Record<string, unknown>)[key];
    const raw = env[setting.env];
    if (given !== undefined) values[key] = given;
    else if (raw === undefined || raw === "") {
      if (setting.fallback === undefined)
        mistakes.push({ field: setting.env, problem: "is not set", fix: `set it to ${setting.takes}: ${setting.doc}` });
      values[key] = setting.fallback;
    } else {
      const parsed = setting.parse(raw);
      if ("value" in parsed) values[key] = parsed.value;
      else {
        const shown = setting.secret ? "(hidden)" : JSON.stringify(raw);
        mistakes.push({ field: setting.env, problem: `${shown} ${parsed.problem}`, fix: setting.doc });
      }
    }
  }
  if (mistakes.length) throw Fault.invalid("bad configuration", mistakes);
  return values as Config<S>;
}

/** The table as lines for `--help`: what is true of the program is printed from what it reads. */
export function helpOf(settings: Settings): string {
  const rows = Object.values(settings).map((s) => {
    const shown = Array.isArray(s.fallback) ? s.fallback.join(",") : String(s.fallback);
    const fallback = s.fallback === undefined ? "required" : shown === "" ? "default: none" : `default: ${shown}`;
    return [s.env, `${s.doc} (${s.takes}; ${fallback})`] as const;
  });
  const width = Math.max(...rows.map(([env]) => env.length));
  return rows.map(([env, doc]) => `  ${env.padEnd(width)}  ${doc}`).join("\n");
}
