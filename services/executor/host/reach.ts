/** Where a guest's sockets may go, and for how long: granted, screened when dialled, counted, under a deadline. */
import { isIP } from "node:net";
import { plainHost, type SocketScheme } from "../../../proto/patterns.ts";
import { Fault, type Mistake } from "../../kit/fault.ts";
import type { EffectiveGrants } from "../grants.ts";
import type { Scrubber } from "../scrub.ts";
import type { InstanceSecrets } from "../secrets.ts";
import type { PrivateHosts } from "./address.ts";
import { openAddresses } from "./dialer.ts";
import type { Scope } from "./functions.ts";
import { fill } from "./secret.ts";

/** Of one instance on one executor. */
const MAX_AT_ONCE = 64;
const DEFAULT_TIMEOUT_MS = 5_000;
const MAX_PORT = 65_535;

export interface Endpoint {
  /** As the guest named it, in its one writing. */
  readonly host: string;
  /** 0 for `ping`. */
  readonly port: number;
  /** Open to guests, in the resolver's order; one at least. */
  readonly addresses: readonly string[];
  /** A text to be sent there, with the secrets that it names. Errors: as `valueFor`. */
  filled(text: string): string;
}

export interface Target {
  readonly scheme: SocketScheme;
  /** As the guest gave them. */
  readonly host: unknown;
  readonly port: unknown;
  readonly timeoutMs: unknown;
}

/** For one guest call. */
export interface Reach {
  /**
   * Runs `work` on an open endpoint; the signal aborts at the deadline (`endMs` from the start, in milliseconds) and
   * when the guest call ends, and `work` then lets go of everything. Errors: `invalid`, `denied`, `exhausted` when the
   * instance has too many open, `deadline`, `unavailable` for whatever goes wrong on the way.
   */
  run<T>(name: string, to: Target, scope: Scope, work: Work<T>): Promise<T>;
  readonly scrubber: Scrubber;
}

export type Work<T> = (at: Endpoint, signal: AbortSignal, endMs: number) => Promise<T>;

/** Whose sockets they are. */
export interface Reacher {
  readonly instance: string;
  readonly grants: Pick<EffectiveGrants, "socket">;
  readonly secrets: InstanceSecrets;
  /** Told of every refusal. */
  readonly onDenied: () => void;
}

/** For all instances of an executor. */
export interface Network {
  of(reacher: Reacher): Reach;
}

export function openNetwork(privateHosts: PrivateHosts, resolve?: (hostname: string) => Promise<string[]>): Network {
  const open = new Map<string, number>();
  const enter = (instance: string): Disposable => {
    const count = open.get(instance) ?? 0;
    if (count >= MAX_AT_ONCE) {
      throw new Fault("exhausted", `${MAX_AT_ONCE} sockets of ${instance} are open already`, { retryAfterMs: 100 });
    }
    open.set(instance, count + 1);
    return {
      [Symbol.dispose]() {
        const left = (open.get(instance) ?? 1) - 1;
        if (left > 0) open.set(instance, left);
        else open.delete(instance);
      },
    };
  };
  return {
    of: ({ instance, grants, secrets, onDenied }) => ({
      scrubber: secrets.scrubber,
      async run(name, to, scope, work) {
        const { scheme } = to;
        const { host, port, timeoutMs } = readTarget(name, to);
        const shown = scheme === "ping" ? `ping://${host}` : `${scheme}://${bracketed(host)}:${port}`;
        if (!grants.socket(scheme, host, port)) {
          onDenied();
          const fix = "the manifest must ask for it and the operator allow it";
          throw new Fault("denied", `${shown} is not granted; ${fix}`);
        }
        using _place = enter(instance);
        const endMs = Math.ceil(Math.min(timeoutMs, scope.remainingMs()));
        const late = AbortSignal.timeout(endMs);
        const signal = AbortSignal.any([scope.signal, late]);
        try {
          const resolved = openAddresses(bracketed(host), port, privateHosts, resolve);
          const addresses = await orAborted(resolved, signal);
          if (addresses.length === 0) throw new Fault("unavailable", `${host} has no address`);
          // Without TLS a secret only goes to hosts that it names, and the rule for that is written for URLs.
          const url = new URL(`${scheme === "tls" ? "https" : "http"}://${bracketed(host)}:${port}/`);
          const filled = (text: string) => fill(text, url, secrets, (value) => value);
          return await work({ host, port, addresses, filled }, signal, endMs);
        } catch (thrown) {
          if (late.aborted) throw new Fault("deadline", `${shown} did not answer within ${endMs} ms`);
          const fault = Fault.from(thrown);
          if (fault.code === "denied") onDenied();
          if (fault.code !== "internal") throw fault;
          throw new Fault("unavailable", `${shown}: ${fault.message}`, { cause: thrown });
        }
      },
    }),
  };
}

const bracketed = (host: string) => (isIP(host) === 6 ? `[${host}]` : host);

function readTarget(name: string, { scheme, host, port, timeoutMs }: Target) {
  const mistakes: Mistake[] = [];
  const said = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";
  const plain = typeof host === "string" ? plainHost(host) : undefined;
  if (plain === undefined) {
    mistakes.push({ field: "host", problem: `${said(host)} is not a host`, fix: "a name or an address" });
  }
  const number = scheme === "ping" ? 0 : Number(port);
  if (scheme !== "ping" && !(Number.isInteger(port) && number >= 1 && number <= MAX_PORT)) {
    mistakes.push({ field: "port", problem: `${said(port)} is not a port`, fix: `1–${MAX_PORT}` });
  }
  const asked = timeoutMs ?? DEFAULT_TIMEOUT_MS;
  if (!(typeof asked === "number" && asked >= 1)) {
    mistakes.push({ field: "timeout_ms", problem: `${said(timeoutMs)} is not a time`, fix: "1 or more milliseconds" });
  }
  if (mistakes.length || plain === undefined) throw Fault.invalid(name, mistakes);
  return { host: plain, port: number, timeoutMs: Number(asked) };
}

/** A look-up cannot be called off, but it need not be waited for. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  work.catch(() => {});
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
