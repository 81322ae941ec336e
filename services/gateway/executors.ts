/** All executors that live: follows the bucket `executors`, keeps a stream to each, calls the one with most room. */
import { BUCKETS, EXECUTOR_TTL_MS } from "../../proto/names.ts";
import type { Bus, KvChange } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import { background, pause } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";
import { backoffMs, forEver } from "../kit/retry.ts";
import type { CallEnd, ExecutorLink } from "./executor-link.ts";
import { openLink } from "./executor-link.ts";

export interface PluginCall {
  /** `instances/{instance}`. */
  readonly instance: string;
  readonly export: string;
  /** JSON. */
  readonly input: Buffer;
  /** How long the whole may take, waiting for room included, in milliseconds. */
  readonly deadlineMs: number;
  readonly target: string;
  readonly traceparent: string;
  /** Whether it may be given to another executor when the first one is lost with it. */
  readonly idempotent: boolean;
  /** Aborts when the caller hangs up. */
  readonly signal: AbortSignal;
}

export interface ExecutorsState {
  readonly executors: number;
  readonly capacity: number;
  readonly inFlight: number;
  readonly waiting: number;
}

export interface Executors extends AsyncDisposable {
  /** Errors: `unavailable` when there is no executor or no room in time; `deadline`; `cancelled`. */
  call(call: PluginCall): Promise<Exclude<CallEnd, { type: "lost" }>>;
  state(): ExecutorsState;
}

/** Calls that wait for room; one more is refused at once. */
const MAX_WAITING = 256;
/** How long a call waits for room before it is refused. */
const MAX_WAIT_MS = 1_000;
const RETRY_AFTER_MS = 1_000;
/** The executor itself ends a call at its deadline and says why; this is the wait for that word. */
const VERDICT_MS = 500;

const NOT_NOW = new Set(["exhausted", "unavailable"]);

export function followExecutors(bus: Bus, log: Logger): Executors {
  const links = new Map<string, ExecutorLink>();
  /** When each entry was last refreshed. An expiry sends no event: an entry counts for one ttl after its last put. */
  const seen = new Map<string, { address: string; atMs: number; failures: number }>();
  /** Calls that wait for a place, in order of arrival; each says whether it got one. */
  const waiting = new Set<() => boolean>();
  const closing = new AbortController();
  const wake = () => {
    for (const look of waiting) if (!look()) return;
  };
  const open = (id: string, address: string) => {
    const link = openLink(
      address,
      {
        onRoom: () => {
          const entry = seen.get(id);
          if (entry) entry.failures = 0;
          wake();
        },
        onEnd: (fault) => void ended(id, link, fault),
      },
      log,
    );
    links.set(id, link);
  };
  const ended = async (id: string, link: ExecutorLink, fault: Fault | undefined) => {
    if (links.get(id) !== link) return;
    links.delete(id);
    wake();
    log.info({ executor: id, address: link.address, reason: fault?.message ?? "ended" }, "executor gone");
    const entry = seen.get(id);
    if (!entry || closing.signal.aborted) return;
    entry.failures += 1;
    await pause(backoffMs(forEver, entry.failures, Math.random()), closing.signal);
    const fresh = Date.now() - entry.atMs < EXECUTOR_TTL_MS;
    if (seen.get(id) !== entry || closing.signal.aborted || links.has(id)) return;
    if (fresh) open(id, entry.address);
    else seen.delete(id);
  };
  const drop = (id: string) => {
    seen.delete(id);
    const link = links.get(id);
    links.delete(id);
    if (link) void closeQuietly(link);
  };
  const hear = (change: KvChange) => {
    if (change.type === "synced") return;
    // A deleted entry says "no new calls"; the stream itself says bye and ends when the running ones are done.
    if (change.type === "delete") return void seen.delete(change.key);
    const address = addressIn(change.value);
    if (!address) return log.warn({ executor: change.key }, "entry in bucket executors names no address");
    const known = seen.get(change.key);
    // The age counts by the bus's own clock only between entries, so a put is taken as fresh when it is heard.
    if (known?.address === address) known.atMs = Date.now();
    else {
      if (known) drop(change.key);
      seen.set(change.key, { address, atMs: Date.now(), failures: 0 });
    }
    if (!links.has(change.key)) open(change.key, address);
  };
  const loop = background(
    async (signal) => {
      for (let attempt = 1; !signal.aborted; attempt += 1) {
        try {
          const kv = await bus.kv(BUCKETS.executors, { ttlMs: EXECUTOR_TTL_MS });
          for await (const change of kv.watch("", signal)) {
            attempt = 1;
            hear(change);
          }
        } catch (thrown) {
          if (!signal.aborted) log.warn({ err: Fault.from(thrown) }, "watch of executors broke; starting anew");
        }
        await pause(backoffMs(forEver, attempt, Math.random()), signal);
      }
    },
    (fault) => log.error({ err: fault }, "watch of executors ended"),
  );

  /** A place at the executor with the most room, if any has room. */
  const place = (): ExecutorLink | undefined => {
    let best: ExecutorLink | undefined;
    for (const link of links.values()) if (link.room > (best?.room ?? 0)) best = link;
    return best?.take() ? best : undefined;
  };
  /** A place, as soon as there is one. Who waits longest is served first. */
  const admit = async (endMs: number, signal: AbortSignal): Promise<ExecutorLink> => {
    const now = waiting.size === 0 ? place() : undefined;
    if (now) return now;
    if (waiting.size >= MAX_WAITING) throw busy(links.size, "too many calls wait already");
    const lastMs = Math.min(endMs, performance.now() + MAX_WAIT_MS);
    const turn = Promise.withResolvers<ExecutorLink | undefined>();
    const look = () => {
      const link = place();
      if (link) waiting.delete(look);
      if (link) turn.resolve(link);
      return link !== undefined;
    };
    const giveUp = () => turn.resolve(undefined);
    const timer = setTimeout(giveUp, Math.max(0, lastMs - performance.now()));
    const left = AbortSignal.any([signal, closing.signal]);
    left.addEventListener("abort", giveUp, { once: true });
    if (left.aborted) giveUp();
    waiting.add(look);
    try {
      const link = await turn.promise;
      if (link) return link;
    } finally {
      clearTimeout(timer);
      waiting.delete(look);
      left.removeEventListener("abort", giveUp);
    }
    if (signal.aborted) throw Fault.from(signal.reason);
    if (closing.signal.aborted) throw new Fault("unavailable", "the gateway is closing");
    throw busy(links.size, "no room came free in time");
  };
  return {
    async call({ deadlineMs, idempotent, signal, instance, export: name, input, target, traceparent }) {
      const endMs = performance.now() + deadlineMs;
      for (let attempt = 1; ; attempt += 1) {
        const link = await admit(endMs, signal);
        const leftMs = Math.floor(endMs - performance.now());
        if (leftMs < 1) {
          link.giveBack();
          throw new Fault("deadline", `${target}: no room came free within ${deadlineMs} ms`);
        }
        const stop = new AbortController();
        const hangUp = () => stop.abort(signal.reason);
        signal.addEventListener("abort", hangUp, { once: true });
        const late = setTimeout(() => stop.abort(), leftMs + VERDICT_MS);
        const end = await link.call(
          { instance, export: name, input, deadlineMs: leftMs, target, traceparent },
          stop.signal,
        );
        clearTimeout(late);
        signal.removeEventListener("abort", hangUp);
        if (signal.aborted) throw Fault.from(signal.reason);
        if (stop.signal.aborted) throw new Fault("deadline", `${target}: no answer within ${deadlineMs} ms`);
        // Nothing was run: a full or draining executor may be passed over, whatever the method.
        const refused = end.type === "failure" && end.outcome === "" && NOT_NOW.has(end.code);
        const again = refused || (end.type === "lost" && idempotent);
        if (again && attempt === 1) continue;
        if (end.type === "lost")
          throw new Fault("unavailable", `${target}: ${end.reason}`, { retryAfterMs: RETRY_AFTER_MS });
        return end;
      }
    },
    state() {
      let capacity = 0;
      let inFlight = 0;
      let executors = 0;
      for (const link of links.values()) {
        if (link.capacity > 0) executors += 1;
        capacity += link.capacity;
        inFlight += link.inFlight;
      }
      return { executors, capacity, inFlight, waiting: waiting.size };
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.all([loop, ...links.values()].map((part) => part[Symbol.asyncDispose]()));
    },
  };
}

async function closeQuietly(link: AsyncDisposable): Promise<void> {
  await link[Symbol.asyncDispose]();
}

function busy(executors: number, why: string): Fault {
  const message = executors === 0 ? "no executor is connected" : `all ${executors} executors are full: ${why}`;
  return new Fault("unavailable", message, { retryAfterMs: RETRY_AFTER_MS });
}

function addressIn(value: Uint8Array): string | undefined {
  try {
    const { address } = JSON.parse(new TextDecoder().decode(value)) as { address?: unknown };
    return typeof address === "string" ? address : undefined;
  } catch {
    return undefined;
  }
}
