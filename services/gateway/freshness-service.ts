/** How fresh pipes are: up to which moment each has fetched, against its objective; as an API, and for Prometheus. */
import { all, type Entity } from "../../proto/catalog.ts";
import type { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import {
  type FreshnessServer,
  FreshnessService,
  type PipeFreshness,
} from "../../proto/gen/millrace/results/v1/freshness_service.ts";
import { Fault } from "../kit/fault.ts";
import { type Service, service } from "../kit/grpc.ts";
import { axisAmong, microsOf, parseDuration, timestampOf } from "../kit/time.ts";
import type { Results } from "../results/records.ts";

export interface FreshnessPorts {
  readonly results: Pick<Results, "fetchedUntil">;
  readonly catalog: { values(): Iterable<Entity> };
}

const US_PER_S = 1e6;
const MS_PER_S = 1_000;
const PAGE = { fallback: 100, max: 1_000 };
/** Series of one scrape; who has more pipes asks the API. */
const MAX_SERIES = 5_000;
/** A scrape shows what it can in this time. */
const SCRAPE_MS = 2_000;
const HELD_RATIO = 10;
const MIN_HELD_MS = 500;
const MAX_HELD_MS = 30_000;

/** Integers have no now, so nothing is old. */
const TIMELESS = "the axis is one of integers, which have no now: look at the newest windows of the pipe";

/** How one pipe stands. Pure. A pipe that has fetched nothing is as old as itself. */
export function freshnessOf(pipe: Pipe, fetchedUntilUs: bigint | undefined, nowUs: bigint): PipeFreshness {
  const axis = axisAmong(pipe.effective?.columns ?? [], pipe.effective?.datetime ?? "");
  if (axis !== "time") {
    const none = { fetchedUntil: undefined, ageSeconds: 0, objectiveSeconds: 0, late: false };
    return { name: pipe.name, ...none, unknown: TIMELESS };
  }
  const sinceUs = fetchedUntilUs ?? microsOf(pipe.createTime);
  const ageSeconds = Math.max(0, Number(nowUs - sinceUs) / US_PER_S);
  const objective = pipe.effective?.freshness ?? "";
  const objectiveSeconds = objective === "" ? 0 : parseDuration(objective, "freshness") / MS_PER_S;
  return {
    name: pipe.name,
    fetchedUntil: fetchedUntilUs === undefined ? undefined : timestampOf(fetchedUntilUs),
    ageSeconds,
    objectiveSeconds,
    late: objectiveSeconds > 0 && ageSeconds > objectiveSeconds,
  };
}

export interface Freshness {
  readonly service: Service;
  /** Lines for `/metrics`; without ClickHouse only one that says so. Never throws. */
  text(): Promise<string>;
}

export function openFreshness(ports: FreshnessPorts): Freshness {
  const fetchedUntil = seldom(() => ports.results.fetchedUntil());
  const pipes = async () => {
    const until = await fetchedUntil();
    const nowUs = BigInt(Date.now()) * 1_000n;
    return [...all(ports.catalog, "pipe")]
      .map((pipe) => freshnessOf(pipe, until.get(pipe.name), nowUs))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  };
  return { service: freshnessService(pipes), text: () => freshnessText(pipes) };
}

/** What is read is kept for ten times as long as reading took: scrapes of many runs leave ClickHouse to others. */
function seldom<T>(read: () => Promise<T>): () => Promise<T> {
  let held: { readonly value: Promise<T>; untilMs: number } | undefined;
  return () => {
    const nowMs = performance.now();
    if (held && held.untilMs > nowMs) return held.value;
    const value = read();
    const mine = { value, untilMs: Number.POSITIVE_INFINITY };
    held = mine;
    value.then(
      () => {
        const tookMs = performance.now() - nowMs;
        mine.untilMs = performance.now() + Math.min(Math.max(MIN_HELD_MS, tookMs * HELD_RATIO), MAX_HELD_MS);
      },
      () => {
        mine.untilMs = 0;
      },
    );
    return value;
  };
}

type Pipes = () => Promise<PipeFreshness[]>;

function freshnessService(read: Pipes): Service {
  return service<FreshnessServer>(FreshnessService, {
    async listFreshness({ pageSize, pageToken, late, pipes: wanted }) {
      const after = pageToken === "" ? "" : Buffer.from(pageToken, "base64url").toString("utf8");
      if (pageToken !== "" && !after.startsWith("pipes/")) {
        const fix = "send next_page_token of the page before as it is, or nothing";
        throw Fault.invalid("freshness", [{ field: "page_token", problem: "is not one of ours", fix }]);
      }
      const size = pageSize <= 0 ? PAGE.fallback : Math.min(pageSize, PAGE.max);
      const named = new Set(wanted);
      const rest = (await read()).filter(
        (pipe) => pipe.name > after && (!late || pipe.late) && (named.size === 0 || named.has(pipe.name)),
      );
      const page = rest.slice(0, size);
      const last = rest.length > size ? (page.at(-1)?.name ?? "") : "";
      return { pipes: page, nextPageToken: Buffer.from(last).toString("base64url") };
    },
  });
}

async function freshnessText(read: Pipes): Promise<string> {
  const up = "millrace_pipe_freshness_known";
  const head = (name: string, help: string) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
  const known = head(up, "Whether the freshness of pipes could be read.");
  const late = new Promise<undefined>((resolve) => setTimeout(resolve, SCRAPE_MS, undefined).unref());
  const pipes = await Promise.race([read().catch(() => undefined), late]);
  if (!pipes) return `${known}${up} 0\n`;
  const shown = pipes.filter(({ unknown }) => !unknown).slice(0, MAX_SERIES);
  const lines = (name: string, value: (pipe: PipeFreshness) => number, some = shown) =>
    some.map((pipe) => `${name}{pipe="${pipe.name.slice("pipes/".length)}"} ${value(pipe)}\n`).join("");
  const held = shown.filter(({ objectiveSeconds }) => objectiveSeconds > 0);
  return [
    `${known}${up} 1\n`,
    head("millrace_pipe_freshness_seconds", "Now less the newest moment that a committed window of the pipe covers."),
    lines("millrace_pipe_freshness_seconds", ({ ageSeconds }) => ageSeconds),
    head("millrace_pipe_late", "Whether a pipe with a freshness objective is older than it."),
    lines("millrace_pipe_late", (pipe) => Number(pipe.late), held),
  ].join("");
}
