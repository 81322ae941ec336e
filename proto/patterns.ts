/** Patterns of permissions beside HTTP's: judged by the registry and matched by the executor with this one parser. */
import { BlockList, isIP } from "node:net";

export const SOCKET_SCHEMES = ["tcp", "tls", "udp", "ping"] as const;
export type SocketScheme = (typeof SOCKET_SCHEMES)[number];

export const SOCKET_FIX =
  'write "tcp://host:port", "tls://…", "udp://…" or "ping://host": host may be *, *.x.org or CIDR';
export const CALL_FIX = 'write "instance/function"; either part may be *';
export const PUBLISH_FIX = 'write "orders.created"; a final * stands for all below, "*" for everything';

export const CONTEXT_FIX = 'write "namespace", or "namespace/*" for all resources; the namespace may be *';

/** `host` is as `plainHost` gives it. `port` is 0 for `ping`. */
export interface SocketPattern {
  matches(scheme: SocketScheme, host: string, port: number): boolean;
}
export interface CallPattern {
  matches(instance: string, fn: string): boolean;
}
export interface PublishPattern {
  matches(subject: string): boolean;
}
export interface ContextPattern {
  /** `own`: about the resource that the guest is called for. */
  matches(namespace: string, own: boolean): boolean;
}

const SOCKET = /^(tcp|tls|udp|ping):\/\/(\[[0-9a-fA-F:.]+(?:\/\d{1,3})?\]|[^:[\]@?#\s]+)(?::(\*|\d{1,5}))?$/;
const MAX_PORT = 65_535;

/** Undefined when it is not a pattern. A range of addresses (`10.0.0.0/8`, `[2001:db8::/32]`) means no names. */
export function parseSocketPattern(text: string): SocketPattern | undefined {
  const [, scheme, host = "", port] = SOCKET.exec(text) ?? [];
  if (scheme === undefined || (scheme === "ping") !== (port === undefined)) return undefined;
  if (port !== undefined && port !== "*" && !(Number(port) >= 1 && Number(port) <= MAX_PORT)) return undefined;
  const fitsHost = hostTest(host);
  if (!fitsHost) return undefined;
  const fitsPort = (asked: number) => port === undefined || port === "*" || Number(port) === asked;
  return { matches: (asked, name, at) => asked === scheme && fitsPort(at) && fitsHost(name) };
}

function hostTest(host: string): ((name: string) => boolean) | undefined {
  if (host === "*") return () => true;
  if (host.startsWith("*.")) {
    const below = plainHost(host.slice(2));
    return below === undefined || isIP(below) ? undefined : (name) => !isIP(name) && name.endsWith(`.${below}`);
  }
  const bare = host.replace(/^\[|\]$/g, "");
  if (bare.includes("/")) return rangeTest(bare);
  const wanted = plainHost(bare);
  return wanted === undefined ? undefined : (name) => name === wanted;
}

function rangeTest(cidr: string): ((name: string) => boolean) | undefined {
  const [network = "", bits = ""] = cidr.split("/");
  const family = isIP(network);
  if (!family || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 6 ? 128 : 32)) return undefined;
  const type = family === 6 ? "ipv6" : "ipv4";
  const range = new BlockList();
  range.addSubnet(network, Number(bits), type);
  return (name) => isIP(name) === family && range.check(name, type);
}

/**
 * A host in its one writing: names in lower case and punycode without a final dot, addresses in short form without
 * brackets, whatever their spelling (`0x7f.1` is 127.0.0.1). Undefined when it is not a host.
 */
export function plainHost(text: string): string | undefined {
  const bracketed = isIP(text) === 6 ? `[${text}]` : text;
  if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]\\*%]{1,253})$/.test(bracketed)) return undefined;
  if (!URL.canParse(`http://${bracketed}/`)) return undefined;
  const { hostname } = new URL(`http://${bracketed}/`);
  return hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "") || undefined;
}

const CALL = /^(\*|[a-z][a-z0-9-]{0,62})\/(\*|[a-z][a-z0-9_]{0,62})$/;

/** Undefined when it is not a pattern. */
export function parseCallPattern(text: string): CallPattern | undefined {
  const [, instance, fn] = CALL.exec(text) ?? [];
  if (instance === undefined) return undefined;
  const fits = (wanted: string | undefined, asked: string) => wanted === "*" || wanted === asked;
  return { matches: (askedInstance, askedFn) => fits(instance, askedInstance) && fits(fn, askedFn) };
}

const SUBJECT = /^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,7}$/;

/** At most 8 parts of letters, digits, `_` and `-`, with dots between. */
export const isSubject = (text: string) => SUBJECT.test(text);

/** Undefined when it is not a pattern. A final `*` stands for one part or more. */
export function parsePublishPattern(text: string): PublishPattern | undefined {
  if (text === "*") return { matches: isSubject };
  const below = text.endsWith(".*") ? text.slice(0, -2) : undefined;
  if (!isSubject(below ?? text)) return undefined;
  return {
    matches: (asked) => isSubject(asked) && (below === undefined ? asked === text : asked.startsWith(`${below}.`)),
  };
}

const NAMESPACE = /^[a-z][a-z0-9_-]{0,62}$/;

/** Whether documents about resources can have it as their namespace. */
export const isNamespace = (text: string) => NAMESPACE.test(text);

/** Undefined when it is not a pattern. */
export function parseContextPattern(text: string): ContextPattern | undefined {
  const everywhere = text.endsWith("/*");
  const namespace = everywhere ? text.slice(0, -2) : text;
  if (namespace !== "*" && !isNamespace(namespace)) return undefined;
  return { matches: (asked, own) => (own || everywhere) && (namespace === "*" || namespace === asked) };
}
