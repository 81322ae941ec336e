/** The bus on NATS JetStream: for clusters, and for tests of what a cluster will do. */
import { Fault } from "../../kit/fault.ts";
import { within } from "../../kit/lifecycle.ts";
import type { Logger } from "../../kit/log.ts";
import { checkName } from "../keys.ts";
import { Opened } from "../opened.ts";
import { checkKvOptions, checkQueueOptions } from "../options.ts";
import type { Blobs, Bus, Kv, Queue } from "../ports.ts";
import { openBlobs } from "./blobs.ts";
import { natsEvents } from "./events.ts";
import { openKv } from "./kv.ts";
import { openLink } from "./link.ts";
import { openQueue } from "./queue.ts";

const CONNECT_TIMEOUT_MS = 5_000;
const PING_TIMEOUT_MS = 2_000;
/** Buckets share one account with whatever else runs on the servers. */
const BUCKET_PREFIX = "millrace_";

export interface NatsBusOptions {
  /** `nats://[user:password@|token@]host:port`, several with commas; `tls://` for TLS. */
  readonly url: string;
  readonly log: Logger;
  /** What the server's own monitoring calls this connection. */
  readonly name: string;
  /** How long to look for the server, in milliseconds; default 5,000. Once found, it is reconnected to for ever. */
  readonly connectTimeoutMs?: number;
}

/**
 * Errors: `unavailable`, saying where it looked and how to start one; `denied`; `precondition` for a server too old.
 */
export async function openNatsBus({
  url,
  log,
  name,
  connectTimeoutMs = CONNECT_TIMEOUT_MS,
}: NatsBusOptions): Promise<Bus> {
  const link = await openLink({ url, log, name, connectTimeoutMs });
  const stack = new AsyncDisposableStack();
  stack.defer(() => link.close());
  const kvs = new Opened<Kv>("bucket");
  const blobs = new Opened<Blobs>("blobs");
  const queues = new Opened<Queue>("queue");

  return {
    events: natsEvents(link),

    async kv(bucket, options = {}) {
      checkName(bucket, "bucket");
      const ttlMs = checkKvOptions(options);
      return kvs.get(bucket, { ttlMs }, () => openKv(link, `${BUCKET_PREFIX}${bucket}`, ttlMs));
    },

    async blobs(bucket) {
      checkName(bucket, "bucket");
      return blobs.get(bucket, {}, () => openBlobs(link, bucket));
    },

    async queue(queue, given) {
      checkName(queue, "queue");
      const options = checkQueueOptions(given);
      return queues.get(queue, options, () => openQueue(link, queue, options, stack));
    },

    async ping() {
      try {
        // A call would wait for the reconnection; this one tells how things are now.
        if (!link.isConnected()) throw new Fault("unavailable", "not connected; reconnecting");
        await link.ask(() => within(PING_TIMEOUT_MS, "ping", link.nc.flush()));
      } catch (thrown) {
        throw new Fault("unavailable", `no NATS server answers at ${link.where}`, { cause: thrown });
      }
    },

    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
