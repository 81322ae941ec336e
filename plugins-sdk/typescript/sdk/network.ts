/** Sockets, probes and SNMP through the host, to where the manifest asks for and the operator grants. Calls block. */
import { host } from "./host.ts";

export interface SocketOptions {
  /** Text or bytes. */
  readonly send?: string | Uint8Array;
  /** The answer is whole with so many bytes; 0 waits for none. */
  readonly expectBytes?: number;
  /** The answer is whole when this has come. Without both: one datagram, or all until the other side ends. */
  readonly expectUntil?: string | Uint8Array;
  readonly timeoutMs?: number;
  /** False takes any certificate. Default: true. */
  readonly verify?: boolean;
}

export class SocketReply {
  readonly bytes: Uint8Array;
  /** Whether the other side closed the connection. */
  readonly closed: boolean;
  readonly elapsedMs: number;

  constructor(answer: { data_base64?: string; closed?: boolean; elapsed_ms?: number }) {
    this.bytes = Uint8Array.fromBase64(answer.data_base64 ?? "");
    this.closed = answer.closed === true;
    this.elapsedMs = answer.elapsed_ms ?? 0;
  }

  get text(): string {
    return new TextDecoder().decode(this.bytes);
  }
}

const as = (name: string, data: string | Uint8Array | undefined) =>
  typeof data === "string" ? { [name]: data } : data && { [`${name}_base64`]: data.toBase64() };

const exchange =
  (proto: string) =>
  (hostname: string, port: number, options: SocketOptions = {}): SocketReply => {
    const { send, expectBytes: bytes, expectUntil, timeoutMs, verify } = options;
    const expect = { bytes, ...as("until", expectUntil) };
    const more = { expect, timeout_ms: timeoutMs, verify };
    return new SocketReply(
      host.call("socket", { proto, host: hostname, port, ...as("send", send), ...more }) as object,
    );
  };

/** One request and its answer. Errors: `denied`, `unavailable`, `deadline`, `too_large`. */
export const socket = { tcp: exchange("tcp"), tls: exchange("tls"), udp: exchange("udp") };

export interface Ping {
  readonly reachable: boolean;
  /** Why not: `timeout` or `unavailable`. */
  readonly reason?: string;
  readonly message?: string;
  readonly address?: string;
  readonly connect_ms?: number;
  readonly handshake_ms?: number;
  readonly protocol?: string;
  readonly cipher?: string;
  readonly certificate?: Certificate;
  /** Of `icmp`. */
  readonly sent?: number;
  readonly received?: number;
  readonly min_ms?: number;
  readonly avg_ms?: number;
  readonly max_ms?: number;
}

export interface Certificate {
  readonly trusted: boolean;
  readonly problem?: string;
  readonly subject: string;
  readonly issuer: string;
  readonly names: readonly string[];
  readonly valid_from: string | null;
  readonly valid_until: string | null;
  readonly days_left: number | null;
  readonly fingerprint256: string;
  readonly serial: string;
}

export interface PingOptions {
  readonly timeoutMs?: number;
}

const probe =
  (kind: string) =>
  (hostname: string, port: number, { timeoutMs }: PingOptions = {}): Ping =>
    host.call("ping", { kind, host: hostname, port, timeout_ms: timeoutMs }) as Ping;

/** Whether something is there. That it is not, is an answer. Errors: `denied`, and `unimplemented` for `icmp`. */
export const ping = {
  tcp: probe("tcp"),
  /** With the facts of the certificate, trusted or not. */
  tls: probe("tls"),
  icmp: (hostname: string, { timeoutMs, count }: PingOptions & { readonly count?: number } = {}): Ping =>
    host.call("ping", { kind: "icmp", host: hostname, count, timeout_ms: timeoutMs }) as Ping,
};

export interface SnmpOptions {
  /** Default: 161. */
  readonly port?: number;
  /** Of v2c. Default: `public`. */
  readonly community?: string;
  /** Makes it v3. The keys that are given decide the level. */
  readonly user?: {
    readonly name: string;
    readonly auth_protocol?: "md5" | "sha" | "sha224" | "sha256" | "sha384" | "sha512";
    readonly auth_key?: string;
    readonly priv_protocol?: "des" | "aes" | "aes256b" | "aes256r";
    readonly priv_key?: string;
  };
  readonly retries?: number;
  readonly maxRepetitions?: number;
  /** Of a walk. Default: 1,000. */
  readonly maxValues?: number;
  readonly timeoutMs?: number;
}

export interface SnmpValue {
  readonly oid: string;
  readonly type: string;
  /** Text or a number; null when there is nothing. `Counter64` is text. */
  readonly value?: string | number | null;
  /** Instead of `value`, for octets that are no text. */
  readonly value_base64?: string;
}

function ask(op: string, hostname: string, oids: string | readonly string[], options: SnmpOptions) {
  const { user, timeoutMs, maxRepetitions, maxValues, ...rest } = options;
  const limits = { timeout_ms: timeoutMs, max_repetitions: maxRepetitions, max_values: maxValues };
  const who = user && { version: "3", user };
  const request = { op, host: hostname, oids: [oids].flat(), ...rest, ...who, ...limits };
  return host.call("snmp", request) as { values: SnmpValue[]; truncated: boolean };
}

/** Errors: `denied`, `deadline`, `unavailable`. */
export const snmp = {
  /** One value for each OID. */
  get: (hostname: string, oids: string | readonly string[], options: SnmpOptions = {}): SnmpValue[] =>
    ask("get", hostname, oids, options).values,
  /** Everything below each OID. `truncated`: there was more than `maxValues`. */
  walk: (hostname: string, oids: string | readonly string[], options: SnmpOptions = {}) =>
    ask("walk", hostname, oids, options),
};
