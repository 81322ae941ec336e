/** A canary: each beat is scheduled, runs in the sandbox, writes a key, and looks for the beat before in the table. */
import { counter, gauge, kv, type PollCall, query, type RouteCall } from "@millrace/typescript";

interface Config {
  readonly late_after_ms?: number;
}

/** What the page needs to know of the last beat. */
interface Last {
  readonly resource: string;
  readonly lateAfterMs: number;
}

interface Beat {
  readonly count: number;
  readonly atMs: number;
}

const LAST = "last";
const GROUP = "heartbeat";
const DEFAULT_LATE_AFTER_MS = 60_000;
const NEWEST = `SELECT toUnixTimestamp64Milli(toDateTime64(max(time), 3)) AS at, max(value) AS count
FROM metrics WHERE group = {group:String} AND name = 'beats' AND resource = {resource:String}`;

export function discover() {
  return [{ id: "canary", type: GROUP, endpoint: "millrace" }];
}

export function poll({ resource, config }: PollCall<Config>) {
  const nowMs = Date.now();
  const before = kv.get<Beat>(resource.name);
  const beat: Beat = { count: (before?.count ?? 0) + 1, atMs: nowMs };
  kv.put(resource.name, beat);
  const wasKept = kv.get<Beat>(resource.name)?.count === beat.count;
  const stored = newest(resource.name);
  const values = {
    beats: counter(beat.count),
    kv_ok: gauge(wasKept ? 1 : 0),
    ...(before && {
      // 1 when the last beat came through to the table; what is newer than the last write cannot be there yet.
      stored_ok: gauge(stored && stored.count >= before.count ? 1 : 0),
      since_last_ms: gauge(nowMs - before.atMs),
    }),
    ...(stored && { stored_age_ms: gauge(nowMs - stored.atMs) }),
  };
  const { late_after_ms: lateAfterMs = DEFAULT_LATE_AFTER_MS } = config;
  kv.put(LAST, { resource: resource.name, lateAfterMs } satisfies Last);
  return [{ group: GROUP, values }];
}

/** `GET /`: 200 while beats arrive in the table, 503 when the newest is too old. For a watchdog outside. */
export function route(_call: RouteCall) {
  const last = kv.get<Last>(LAST);
  const stored = last && newest(last.resource);
  const ageMs = stored ? Date.now() - stored.atMs : null;
  const alive = last !== undefined && ageMs !== null && ageMs <= last.lateAfterMs;
  const body = { alive, beats: stored?.count ?? 0, age_ms: ageMs, late_after_ms: last?.lateAfterMs ?? null };
  return { status: alive ? 200 : 503, body };
}

function newest(resource: string): Beat | undefined {
  const [row] = query<{ at: string | number; count: number | null }>(NEWEST, { params: { group: GROUP, resource } });
  if (!row || row.count === null || Number(row.count) === 0) return undefined;
  return { count: Number(row.count), atMs: Number(row.at) };
}
