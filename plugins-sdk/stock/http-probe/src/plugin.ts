/** Checks HTTP endpoints: `discover` lists those of the config, `poll` checks one. */
import { type DiscoverCall, gauge, log, type PollCall } from "@millrace/typescript";
import type { Auth } from "../../source/request.ts";
import { askOnce, type Target as Endpoint, expression, resourcesOf } from "../../source/target.ts";

interface Target extends Endpoint {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly expect_status?: readonly number[];
  readonly body_contains?: string;
  readonly body_matches?: string;
  readonly max_latency_ms?: number;
  readonly min_tls_days?: number;
}

interface Config {
  readonly targets?: readonly Target[];
  readonly auth?: Auth;
  readonly timeout_ms?: number;
}

const DAY_MS = 86_400_000;
const DEFAULT_TIMEOUT_MS = 5_000;

export function discover({ config }: DiscoverCall<Config>) {
  return resourcesOf(config.targets, "http");
}

export function poll({ resource, config }: PollCall<Config>) {
  const target = config.targets?.find(({ name }) => name === resource.id) ?? {
    name: resource.id,
    url: resource.endpoint,
  };
  const dimensions = { target: target.name, url: target.url };
  const measured: Record<string, ReturnType<typeof gauge>> = {};
  const reasons = check(target, config, measured);
  measured.up = gauge(reasons.length ? 0 : 1);
  for (const reason of reasons) log.warn(`${target.name} is down: ${reason}`, dimensions);
  return [{ group: "http", dimensions, values: measured }];
}

/** Why it is down; empty: it is up. Fills in what could be measured. */
function check(target: Target, config: Config, measured: Record<string, ReturnType<typeof gauge>>): string[] {
  const { method = "GET", url, headers = {}, body } = target;
  const { auth, timeout_ms: timeoutMs = DEFAULT_TIMEOUT_MS } = config;
  const reply = askOnce({ method, url, headers, body, auth, timeoutMs });
  if (typeof reply === "string") return [reply];
  measured.status_code = gauge(reply.status);
  measured.latency_ms = gauge(reply.elapsedMs);
  measured.body_bytes = gauge(reply.bytes.length);
  const reasons: string[] = [];
  const { expect_status: wanted, body_contains: part, body_matches: pattern } = target;
  const { max_latency_ms: maxMs = Number.POSITIVE_INFINITY, min_tls_days: minDays = 0 } = target;
  const statusFits = wanted ? wanted.includes(reply.status) : reply.status >= 200 && reply.status < 400;
  if (!statusFits) reasons.push(`status ${reply.status}, not ${wanted?.join(" or ") ?? "200 to 399"}`);
  if (part !== undefined || pattern !== undefined) {
    const { text } = reply;
    const fits =
      (part === undefined || text.includes(part)) &&
      (pattern === undefined || expression("body_matches", pattern).test(text));
    measured.body_match = gauge(fits ? 1 : 0);
    if (!fits) reasons.push(`the body does not ${part !== undefined ? `contain ${part}` : `match ${pattern}`}`);
  }
  if (reply.elapsedMs > maxMs) reasons.push(`answered after ${Math.round(reply.elapsedMs)} ms, not within ${maxMs} ms`);
  if (reply.tlsValidUntil !== undefined) {
    const days = (Date.parse(reply.tlsValidUntil) - Date.now()) / DAY_MS;
    measured.tls_days_left = gauge(days);
    if (days < minDays) reasons.push(`the certificate has ${days.toFixed(1)} days left, not ${minDays}`);
  }
  return reasons;
}
