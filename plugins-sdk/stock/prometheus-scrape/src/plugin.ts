/** Reads the metrics of Prometheus exporters: `discover` lists the targets of the config, `poll` reads one. */
import {
  type DiscoverCall,
  gauge,
  type HttpReply,
  log,
  type MetricGroup,
  PluginError,
  type PollCall,
} from "@millrace/typescript";
import type { Auth } from "../../source/request.ts";
import { askOnce, expression, resourcesOf, type Target } from "../../source/target.ts";
import { readExposition, type Sample } from "./exposition.ts";

interface Config {
  readonly targets?: readonly Target[];
  readonly match?: string;
  readonly drop_labels?: readonly string[];
  readonly max_samples?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly auth?: Auth;
  readonly timeout_ms?: number;
}

const ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.8,*/*;q=0.1";
const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MAX_SAMPLES = 5_000;
const SHOWN_BAD_LINES = 3;

export function discover({ config }: DiscoverCall<Config>) {
  return resourcesOf(config.targets, "prometheus");
}

export function poll({ resource, config }: PollCall<Config>): MetricGroup[] {
  const scrape = (values: Record<string, number>) => ({
    group: "scrape",
    dimensions: { target: resource.id },
    values: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, gauge(value)])),
  });
  const reply = ask(resource.endpoint, config);
  if (typeof reply === "string") {
    log.warn(`${resource.id} is down: ${reply}`);
    return [scrape({ up: 0 })];
  }
  const { samples, bad } = readExposition(reply.text, (reply.header("content-type") ?? "").includes("openmetrics"));
  if (bad.length) log.warn(`${bad.length} lines are no samples`, { first: bad.slice(0, SHOWN_BAD_LINES) });
  const kept = chosen(samples, config);
  // Infinity and NaN are samples, but no numbers that a table has.
  const finite = kept.filter(({ value }) => Number.isFinite(value));
  const counts = { up: 1, duration_ms: reply.elapsedMs, samples: finite.length, bad_lines: bad.length };
  return [...groups(finite, config.drop_labels ?? []), scrape({ ...counts, dropped: kept.length - finite.length })];
}

function ask(url: string, config: Config): HttpReply | string {
  const { auth, timeout_ms: timeoutMs = DEFAULT_TIMEOUT_MS } = config;
  const reply = askOnce({ method: "GET", url, headers: { accept: ACCEPT, ...config.headers }, auth, timeoutMs });
  return typeof reply === "string" || reply.ok ? reply : `status ${reply.status}`;
}

function chosen(samples: readonly Sample[], { match, max_samples: most = DEFAULT_MAX_SAMPLES }: Config) {
  const wanted = match === undefined ? undefined : expression("match", `^(?:${match})$`);
  const kept = wanted ? samples.filter(({ name }) => wanted.test(name)) : samples;
  if (kept.length <= most) return kept;
  const fix = "choose some by `match`, or raise max_samples";
  throw new PluginError("too_large", `the target has ${kept.length} samples, max_samples is ${most}; ${fix}`);
}

/** Samples with the same labels and time travel together. Two of one name that differ in dropped labels stay apart. */
function groups(samples: readonly Sample[], dropped: readonly string[]): MetricGroup[] {
  const found = new Map<
    string,
    { dimensions: Record<string, string>; time?: string; values: Record<string, object> }
  >();
  for (const { name, labels, value, timeMs, type } of samples) {
    const dimensions = Object.fromEntries(Object.entries(labels).filter(([label]) => !dropped.includes(label)));
    for (let copy = 0; ; copy++) {
      const key = JSON.stringify([Object.entries(dimensions).sort(), timeMs, copy]);
      let group = found.get(key);
      if (!group) {
        group = { dimensions, values: {}, ...(timeMs !== undefined && { time: new Date(timeMs).toISOString() }) };
        found.set(key, group);
      }
      if (name in group.values) continue;
      group.values[name] = { value, type };
      break;
    }
  }
  return [...found.values()].map((group) => ({ group: "prometheus", ...group }) as MetricGroup);
}
