/** The embedded bus: one SQLite file, durable, for one process. */
import { Fault } from "../../kit/fault.ts";
import type { Logger } from "../../kit/log.ts";
import { checkName } from "../keys.ts";
import { Opened } from "../opened.ts";
import { checkKvOptions, checkQueueOptions } from "../options.ts";
import type { Blobs, Bus, Kv, Queue } from "../ports.ts";
import { EmbeddedBlobs } from "./blobs.ts";
import { EmbeddedEvents } from "./events.ts";
import { EmbeddedKv } from "./kv.ts";
import { EmbeddedQueue } from "./queue.ts";
import { Store } from "./store.ts";

const MIN_SWEEP_MS = 1_000;
const MAX_SWEEP_MS = 3_600_000;

export interface EmbeddedBusOptions {
  /** Path of the file; its folder is made. `file` + "-wal" and ".pid" lie beside it. */
  readonly file: string;
  readonly log: Logger;
}

/** Errors: `precondition` when another process has the file open, or it is not a bus file. */
export async function openEmbeddedBus({ file, log }: EmbeddedBusOptions): Promise<Bus> {
  const store = new Store(file);
  const closing = new AbortController();
  const sweeps: NodeJS.Timeout[] = [];
  const kvs = new Opened<Kv>("bucket");
  const blobs = new Opened<Blobs>("blobs");
  const queues = new Opened<Queue>("queue");
  log.debug({ file }, "embedded bus is open");

  const sweepEvery = (ms: number, bucket: string, sweep: () => Promise<void>) => {
    const failed = (thrown: unknown) => log.warn({ bucket, fault: Fault.from(thrown).message }, "sweep failed");
    const everyMs = Math.min(Math.max(ms, MIN_SWEEP_MS), MAX_SWEEP_MS);
    sweeps.push(setInterval(() => void sweep().catch(failed), everyMs).unref());
  };

  return {
    events: new EmbeddedEvents(closing.signal),

    async kv(bucket, given = {}) {
      checkName(bucket, "bucket");
      const ttlMs = checkKvOptions(given);
      return kvs.get(bucket, { ttlMs }, async () => {
        await store.write(() => {
          store.run("INSERT OR IGNORE INTO kv_buckets (name, ttl_ms, revision) VALUES (?, ?, 0)", bucket, ttlMs);
        });
        const kept = store.get<{ ttl_ms: number }>("SELECT ttl_ms FROM kv_buckets WHERE name = ?", bucket)?.ttl_ms;
        if (kept !== ttlMs) throw new Fault("conflict", `bucket ${bucket} has a ttl of ${kept} ms, not ${ttlMs} ms`);
        const kv = new EmbeddedKv(store, bucket, ttlMs, closing.signal);
        if (ttlMs > 0) sweepEvery(ttlMs, bucket, () => kv.sweep());
        return kv;
      });
    },

    async blobs(bucket) {
      checkName(bucket, "bucket");
      return blobs.get(bucket, {}, async () => {
        const opened = new EmbeddedBlobs(store, bucket);
        await opened.sweep();
        return opened;
      });
    },

    async queue(name, given) {
      checkName(name, "queue");
      const options = checkQueueOptions(given);
      return queues.get(name, options, async () => {
        const asked = JSON.stringify(options);
        await store.write(() => {
          store.run("INSERT OR IGNORE INTO queues (name, options, depth) VALUES (?, ?, 0)", name, asked);
        });
        const kept = store.get<{ options: string }>("SELECT options FROM queues WHERE name = ?", name)?.options;
        if (kept !== asked) throw new Fault("conflict", `queue ${name} has the options ${kept}, not ${asked}`);
        const queue = new EmbeddedQueue(store, name, options, closing.signal);
        await queue.recover();
        return queue;
      });
    },

    async ping() {
      store.checkOpen();
    },

    async [Symbol.asyncDispose]() {
      for (const sweep of sweeps) clearInterval(sweep);
      closing.abort();
      store[Symbol.dispose]();
    },
  };
}
