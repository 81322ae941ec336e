/** The connection: opened with a deadline, kept for ever, its errors translated to Faults in this one place. */

import { JetStreamApiError, type JetStreamClient, type JetStreamManager, jetstream } from "@nats-io/jetstream";
import { connect, errors, type NatsConnection } from "@nats-io/transport-node";
import { Fault } from "../../kit/fault.ts";
import { pause, within } from "../../kit/lifecycle.ts";
import type { Logger } from "../../kit/log.ts";

const MIN_VERSION = [2, 9, 10] as const;
const FILTERS_VERSION = [2, 10, 0] as const;
/** Of one request: long enough to sit out a restart of the server. */
const ANSWER_TIMEOUT_MS = 5_000;
const RECONNECT_WAIT_MS = 250;
/** A server that is gone without a word is noticed after three of these. */
const PING_INTERVAL_MS = 10_000;
const HOW_TO_START = "start one with `nats-server -js`, or leave NATS_URL empty to run embedded";
const NO_JETSTREAM = `JetStream is not enabled; ${HOW_TO_START}`;

export interface LinkOptions {
  /** `nats://[user:password@|token@]host:port`, several with commas; `tls://` for TLS. */
  readonly url: string;
  readonly log: Logger;
  /** What the server's own monitoring calls this connection. */
  readonly name: string;
  /** How long to look for the server at the start, in milliseconds. */
  readonly connectTimeoutMs: number;
}

export interface Link {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** The servers, without credentials. */
  readonly where: string;
  /** Whether one consumer may have several filters: 2.10. */
  readonly manyFilters: boolean;
  /** Aborts when the bus is closed. */
  readonly closing: AbortSignal;
  readonly log: Logger;
  /** Runs a call to the server; what it throws becomes a Fault. */
  ask<T>(call: () => Promise<T>): Promise<T>;
  isConnected(): boolean;
  /** Aborts when the connection that stands now breaks or is closed. */
  connection(): AbortSignal;
  close(): Promise<void>;
}

/**
 * Errors: `unavailable`, saying where it looked; `denied`; `precondition` for a server that is too old or has no
 * JetStream.
 */
export async function openLink({ url, log, name, connectTimeoutMs }: LinkOptions): Promise<Link> {
  const { servers, where, auth } = readUrl(url);
  const nc = await connectWithin(connectTimeoutMs, where, (timeout) =>
    connect({
      ...{ servers, name, timeout, ...auth },
      ...{ maxReconnectAttempts: -1, reconnectTimeWait: RECONNECT_WAIT_MS, reconnectJitter: RECONNECT_WAIT_MS },
      // A stack for each request costs as much as the request; our faults say what was asked.
      noAsyncTraces: true,
      ...{ ignoreAuthErrorAbort: true, pingInterval: PING_INTERVAL_MS, maxPingOut: 2 },
    }),
  );
  const closing = new AbortController();
  let connected = true;
  let standing = new AbortController();
  const requests = new Requests();
  let back = Promise.withResolvers<void>();
  // The client forgets what it is given while it is not connected, so nothing is given to it then.
  const untilBack = () =>
    within(ANSWER_TIMEOUT_MS, "reconnect", back.promise).catch(() => {
      throw new Fault("unavailable", `NATS at ${where}: not connected; reconnecting`);
    });
  const ask = async <T>(call: () => Promise<T>): Promise<T> => {
    if (!connected) await untilBack();
    try {
      return await requests.send(call);
    } catch (thrown) {
      throw translate(thrown, where, connected);
    }
  };
  const close = async () => {
    closing.abort();
    standing.abort();
    requests.break();
    back.resolve();
    await nc.close();
  };
  const heed = async () => {
    for await (const status of nc.status()) {
      if (status.type === "disconnect") {
        connected = false;
        standing.abort();
        requests.break();
        back = Promise.withResolvers<void>();
        if (!closing.signal.aborted) log.warn({ where }, "the bus is gone; reconnecting");
      } else if (status.type === "reconnect") {
        connected = true;
        standing = new AbortController();
        back.resolve();
        log.info({ where }, "the bus is back");
      } else if (status.type === "error") log.warn({ where, error: status.error.message }, "the bus reports an error");
    }
  };
  void heed().catch((thrown) => log.warn({ error: String(thrown) }, "status of the bus is not heard any more"));
  try {
    const version = nc.info?.version ?? "";
    if (!isAtLeast(version, MIN_VERSION)) {
      throw new Fault("precondition", `nats-server at ${where} is ${version}; ${MIN_VERSION.join(".")} is the oldest`);
    }
    if (!nc.info?.jetstream) throw new Fault("precondition", `nats-server at ${where}: ${NO_JETSTREAM}`);
    const js = jetstream(nc, { timeout: ANSWER_TIMEOUT_MS });
    const jsm = await js.jetstreamManager(false);
    await ask(() => jsm.getAccountInfo());
    const manyFilters = isAtLeast(version, FILTERS_VERSION);
    const state = { closing: closing.signal, isConnected: () => connected, connection: () => standing.signal };
    return { nc, js, jsm, where, manyFilters, log, ...state, ask, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/**
 * Requests of one turn of the event loop leave in one write: a busy process has many, and each write costs as much as
 * all else about a request.
 */
class Requests {
  readonly #unanswered = new Set<(problem: Error) => void>();
  #leaving: (() => void)[] = [];

  send<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#unanswered.add(reject);
      const settled = () => void this.#unanswered.delete(reject);
      const leave = () => {
        // Broken meanwhile: it has been told.
        if (this.#unanswered.has(reject)) Promise.try(call).then(resolve, reject).finally(settled);
      };
      if (this.#leaving.push(leave) === 1) setImmediate(() => this.#leave());
    });
  }

  /** What was asked of a server that has gone since is never answered: told at once, not after the time-out. */
  break(): void {
    const problem = new errors.ConnectionError("the connection broke before the answer");
    for (const reject of this.#unanswered) reject(problem);
    this.#unanswered.clear();
  }

  #leave(): void {
    const leaving = this.#leaving;
    this.#leaving = [];
    for (const leave of leaving) leave();
  }
}

/** "2.10.27", "2.11.0-RC.1" and the like against a least version. */
export function isAtLeast(version: string, least: readonly [number, number, number]): boolean {
  const match = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version);
  if (!match) return false;
  const parts = match.slice(1).map(Number);
  const differs = parts.findIndex((part, index) => part !== least[index]);
  return differs === -1 || (parts[differs] as number) > (least[differs] as number);
}

/** Takes credentials out of the URLs, so that nothing that is shown holds one. Errors: `invalid`. */
export function readUrl(url: string) {
  const urls = url.split(",").map((raw) => {
    const parsed = URL.parse(raw.includes("://") ? raw.trim() : `nats://${raw.trim()}`);
    if (parsed && /^(nats|tls):$/.test(parsed.protocol) && parsed.hostname) return parsed;
    // The value may hold a password, so it is not shown.
    const problem = "is not the URL of a NATS server";
    throw Fault.invalid("NATS URL", [{ field: "NATS_URL", problem, fix: "write nats://host:4222 or tls://host:4222" }]);
  });
  const servers = urls.map((parsed) => `${parsed.hostname}:${parsed.port || 4222}`);
  const named = urls.find((parsed) => parsed.username);
  const user = decodeURIComponent(named?.username ?? "");
  const pass = decodeURIComponent(named?.password ?? "");
  const login = pass ? { user, pass } : user ? { token: user } : {};
  const tls = urls.some((parsed) => parsed.protocol === "tls:") ? { tls: {} } : {};
  const where = urls.map((parsed, index) => `${parsed.protocol}//${servers[index]}`).join(",");
  return { servers, where, auth: { ...login, ...tls } };
}

async function connectWithin(timeoutMs: number, where: string, dial: (timeoutMs: number) => Promise<NatsConnection>) {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await dial(Math.max(endMs - performance.now(), 1));
    } catch (thrown) {
      const fault = translate(thrown, where, false);
      if (fault.code !== "unavailable") throw fault;
      if (performance.now() + RECONNECT_WAIT_MS >= endMs) {
        const message = `no NATS server answers at ${where} (looked for ${timeoutMs} ms); ${HOW_TO_START}`;
        throw new Fault("unavailable", message, { cause: thrown });
      }
      await pause(RECONNECT_WAIT_MS);
    }
  }
}

/** JetStream's own error codes that mean something to a caller. */
const API_CODES: Readonly<Record<number, ConstructorParameters<typeof Fault>[0]>> = {
  10008: "unavailable", // system temporarily unavailable
  10023: "exhausted", // insufficient resources
  10039: "precondition", // JetStream not enabled for the account
  10047: "exhausted", // insufficient storage
  10054: "too_large", // message exceeds the maximum
  10058: "conflict", // stream exists with another configuration
  10071: "conflict", // wrong last sequence
  10076: "precondition", // JetStream not enabled
  10077: "exhausted", // maximum messages, maximum bytes
  10148: "conflict", // consumer exists with another configuration
  10164: "conflict", // wrong last sequence
};

const DENIED = [errors.AuthorizationError, errors.UserAuthenticationExpiredError, errors.PermissionViolationError];
const AWAY = [
  ...[errors.ConnectionError, errors.ClosedConnectionError, errors.DrainingConnectionError],
  ...[errors.RequestError, errors.NoRespondersError],
];

function translate(thrown: unknown, where: string, connected: boolean): Fault {
  if (thrown instanceof Fault) return thrown;
  const { cause, message } = thrown as Error;
  const fault = (code: ConstructorParameters<typeof Fault>[0], what: string) =>
    new Fault(code, `NATS at ${where}: ${what}`, { cause: thrown });
  if (thrown instanceof JetStreamApiError) return fault(API_CODES[thrown.code] ?? "internal", message);
  // The library does not export this class. Its cause tells "not for this account" from "nobody answers (yet)".
  const withoutJetStream = (thrown as Error).name === "JetStreamNotEnabled";
  if (withoutJetStream && cause instanceof JetStreamApiError) return fault("precondition", NO_JETSTREAM);
  if (thrown instanceof errors.TimeoutError || cause instanceof errors.TimeoutError) {
    return connected ? fault("deadline", "no answer in time") : fault("unavailable", "not connected; reconnecting");
  }
  if (withoutJetStream) return fault("unavailable", "JetStream does not answer");
  if ([thrown, cause].some((error) => DENIED.some((kind) => error instanceof kind))) return fault("denied", message);
  if (AWAY.some((kind) => thrown instanceof kind)) return fault("unavailable", message);
  const network = Fault.from(thrown);
  return fault(network.code, network.message);
}
