/** Streams and consumers: made when missing, and read back, for old servers accept options that they ignore. */
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { Fault } from "../../kit/fault.ts";
import type { Link } from "./link.ts";
import { type Delivery, pull } from "./pull.ts";

export { AckPolicy, DeliverPolicy, DiscardPolicy, RetentionPolicy };

const REPLAY_BATCH = 256;
/** The server removes a reader that nobody pulls from. */
const READER_IDLE_MS = 60_000;

/**
 * Errors: `conflict` when the stream exists with other options; `precondition` when the server took an option and
 * ignored it.
 */
export async function ensureStream(link: Link, asked: Partial<StreamConfig> & { readonly name: string }) {
  const { jsm } = link;
  const existing = await absent(link, () => jsm.streams.info(asked.name));
  if (!existing) await link.ask(() => jsm.streams.add({ storage: StorageType.File, num_replicas: 1, ...asked }));
  const { config } = existing ?? (await link.ask(() => jsm.streams.info(asked.name)));
  compare(link, `stream ${asked.name}`, asked, config, existing !== undefined);
}

/** A durable pull consumer; errors as for a stream. */
export async function ensureConsumer(
  link: Link,
  stream: string,
  asked: Partial<ConsumerConfig> & { readonly durable_name: string },
) {
  const { jsm } = link;
  const existing = await absent(link, () => jsm.consumers.info(stream, asked.durable_name));
  if (!existing) await link.ask(() => jsm.consumers.add(stream, asked));
  const { config } = existing ?? (await link.ask(() => jsm.consumers.info(stream, asked.durable_name)));
  compare(link, `consumer ${asked.durable_name} of ${stream}`, asked, config, existing !== undefined);
}

/** A consumer without acks that goes by itself: for reading through a stream from a place on. */
export function openReader(
  link: Link,
  stream: string,
  filters: readonly string[],
  from: { readonly policy: DeliverPolicy; readonly seq?: number },
): Promise<ConsumerInfo> {
  const filter = filters.length === 1 ? { filter_subject: filters[0] as string } : { filter_subjects: [...filters] };
  return link.ask(() =>
    link.jsm.consumers.add(stream, {
      ...filter,
      ...(from.seq === undefined ? {} : { opt_start_seq: from.seq }),
      deliver_policy: from.policy,
      ack_policy: AckPolicy.None,
      replay_policy: ReplayPolicy.Instant,
      inactive_threshold: nanos(READER_IDLE_MS),
      mem_storage: true,
      max_deliver: 1,
    }),
  );
}

/** What is stored now under the filters, at most `max`, in order of storing. Errors: `unavailable` when cut short. */
export async function readThrough(
  link: Link,
  stream: string,
  filters: readonly string[],
  policy: DeliverPolicy,
  max = Number.POSITIVE_INFINITY,
): Promise<Delivery[]> {
  const reader = await openReader(link, stream, filters, { policy });
  const found: Delivery[] = [];
  try {
    while (found.length < max) {
      const batch = Math.min(REPLAY_BATCH, max - found.length);
      const end = await pull(link, { stream, consumer: reader.name, max: batch, waitMs: 0 }, (one) => found.push(one));
      if (end === "lost") throw new Fault("unavailable", `NATS at ${link.where}: lost while reading ${stream}`);
      if (end === "empty") break;
    }
    return found;
  } finally {
    dropReader(link, stream, reader.name);
  }
}

/** Without waiting: a reader that stays behind goes by itself. */
export function dropReader(link: Link, stream: string, consumer: string): void {
  if (link.isConnected()) link.jsm.consumers.delete(stream, consumer).catch(() => {});
}

async function absent<T>(link: Link, look: () => Promise<T>): Promise<T | undefined> {
  return link.ask(async () => {
    try {
      return await look();
    } catch (thrown) {
      const codes: number[] = [JetStreamApiCodes.StreamNotFound, JetStreamApiCodes.ConsumerNotFound];
      if (thrown instanceof JetStreamApiError && codes.includes(thrown.code)) return undefined;
      throw thrown;
    }
  });
}

function compare(link: Link, what: string, asked: object, got: object, existed: boolean): void {
  const given = got as Readonly<Record<string, unknown>>;
  const wrong = Object.entries(asked)
    .filter(([field, value]) => JSON.stringify(given[field] ?? absentValue(value)) !== JSON.stringify(value))
    .map(([field, value]) => `${field} is ${JSON.stringify(given[field])}, not ${JSON.stringify(value)}`);
  if (wrong.length === 0) return;
  const version = link.nc.info?.version;
  if (existed) throw new Fault("conflict", `NATS ${what} exists with other options: ${wrong.join("; ")}`);
  throw new Fault("precondition", `nats-server ${version} ignored options of ${what}: ${wrong.join("; ")}`);
}

/** Go leaves zero values out of its JSON. */
function absentValue(value: unknown): unknown {
  return typeof value === "number" ? 0 : typeof value === "boolean" ? false : value === "" ? "" : undefined;
}
