/** Names that services must agree on: buckets and queue of the bus, run ids, outcomes. All other names are private. */
import { createHash } from "node:crypto";

export const BUCKETS = {
  /** Owned by the registry; the others follow its catalogue stream. */
  plugins: "plugins",
  instances: "instances",
  pipes: "pipes",
  pollers: "pollers",
  resources: "resources",
  /** registry.v1.SealedSecret by name. Written by the registry; executors open what they need, by the same key. */
  secrets: "secrets",
  /**
   * scheduler.v1.Window by `<encoded pipe id>.<compact begin>`: written by scheduler and executors, by compare-and-set.
   */
  windows: "windows",
  /** scheduler.v1.Backfill by `<encoded pipe id>.<id>`: written by schedulers, by compare-and-set. */
  backfills: "backfills",
  /** Leases of runs: `run.<…>` of executors. The revision of the `create` is the fence. */
  locks: "locks",
  /** `scheduler`: who leads the schedulers. Apart from the locks for its shorter ttl: losing a leader costs seconds. */
  leaders: "leaders",
  /** When a (poller, resource) last ran, and its last result. Written by executors. */
  lastrun: "lastrun",
  /** Mid-run cursors of fetches. Written by executors. */
  checkpoints: "checkpoints",
  /** registry.v1.Quarantine by `quarantineKey`: written by executors, removed by the registry. */
  quarantine: "quarantine",
  /** How the last calls of versions that break down ended, by `quarantineKey`. Executors count together here. */
  breakdowns: "breakdowns",
  /** results.v1.Recording by `recordKey`: which runs have a record in the blobs `RECORDS`. Written by executors. */
  records: "records",
  /** executor.v1.StoredDocument by `<resource>.<namespace>.<encoded key>`; marks below `_`. Written by executors. */
  contexts: "contexts",
  /** Executors that live: JSON {"address": "host:port"} by executor id. */
  executors: "executors",
  /** The plugins' own key-value pairs: `<instance>.<encoded key>`. Written by executors. */
  guest: "guest",
} as const;

export const LOCK_TTL_MS = 15_000;
export const LEADER_TTL_MS = 3_000;
export const EXECUTOR_TTL_MS = 10_000;

/** Blob bucket for modules and static files. */
export const BLOBS = "blobs";
/** Blob bucket for records of runs. */
export const RECORDS = "records";

/** The queue of scheduler.v1.Job. Everybody opens it with the same options. */
export const JOBS = "jobs";
export const JOBS_OPTIONS = {
  /** Longer than any pause between two `progress` calls of a live executor. */
  ackWaitMs: 30_000,
  /** An executor gives a job up by itself before; this catches jobs that kill executors. */
  maxDeliveries: 25,
  maxMessages: 200_000,
  dedupWindowMs: 600_000,
} as const;

/** Event subjects. */
export const EVENTS = {
  /** `runs.<kind>`: JSON of a run that ended. All events are fire and forget. */
  runs: "runs",
  /** `progress.<kind>`: JSON of how far a run is. */
  progress: "progress",
  /** `guest.<instance>.<subject>`: JSON that a plugin published. */
  guest: "guest",
} as const;

/** The built-in connector of pipes that are a SELECT: there is no plugin behind it, and nobody else has its name. */
export const SQL_INSTANCE = "instances/sql";

/** Run ids are deterministic: the same work has the same id. Ids are bare, without `pipes/` and the like. */
export const runIds = {
  fetch: (pipe: string, compactBegin: string) => `${pipe}/${compactBegin}`,
  poll: (poller: string, resource: string, compactDue: string) => `${poller}/${resource}/${compactDue}`,
  discover: (poller: string, compactDue: string) => `${poller}/${compactDue}`,
  register: (pipe: string, etag: string) => `${pipe}/register/${etag}`,
  call: (instance: string, ulid: string) => `${instance}/${ulid}`,
};

/** Run ids may be longer than a key. */
export const recordKey = (runId: string) => createHash("sha256").update(runId).digest("hex");

/** `plugins/{plugin}/versions/{version}` → `<plugin>.<encoded version>`. */
export const quarantineKey = (name: string, encode: (part: string) => string) =>
  `${name.split("/")[1] ?? ""}.${encode(name.split("/")[3] ?? "")}`;

/** `pipes/weather.daily` → `weather.daily`. */
export const bare = (name: string) => name.slice(name.indexOf("/") + 1);
