/** Opens connections for guests: every address is screened at the moment it is dialled, so a name cannot rebind. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { TLSSocket } from "node:tls";
import { Agent, buildConnector, type Dispatcher, ProxyAgent } from "undici";
import { Fault } from "../../kit/fault.ts";
import { closedReason, type PrivateHosts } from "./address.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 10_000;
const CONNECTIONS_PER_ORIGIN = 64;
const MAX_ORIGINS = 2_048;
const MAX_HEADER_BYTES = 32 * 1_024;
/** Addresses of one name that are tried, in the resolver's order. */
const MAX_ADDRESSES = 4;

export interface Dialer extends AsyncDisposable {
  readonly dispatcher: Dispatcher;
  /**
   * Through the operator's proxy. The addresses of the URL's name are screened here, but the proxy resolves it again
   * and dials: it must not trust the name either. Errors: `denied` without a proxy, and as by the dispatcher.
   */
  proxied(url: URL): Promise<Dispatcher>;
  /** When the certificate that the origin last showed runs out; undefined without TLS. */
  validUntil(origin: string): string | undefined;
}

export interface DialerOptions {
  /** All addresses of a name. Asked once for each connection: what it answers is screened, and that is dialled. */
  readonly resolve?: (hostname: string) => Promise<string[]>;
  /** URL of a proxy; "": none. */
  readonly proxy?: string;
}

const resolveAll = async (hostname: string) =>
  (await lookup(hostname, { all: true, order: "verbatim" })).map(({ address }) => address);

/** Connections are shared by all guests: they carry no identity of their own. */
export function openDialer(privateHosts: PrivateHosts, options: DialerOptions = {}): Dialer {
  const { resolve = resolveAll, proxy = "" } = options;
  const certificates = new Map<string, string>();
  const dial = buildConnector({ timeout: CONNECT_TIMEOUT_MS, allowH2: false });
  const connect: buildConnector.connector = (options, callback) => {
    // TLS goes over the connection below, which was screened; undici asks for it only behind a proxy.
    dialFirst(options).then(
      (socket) => {
        if (socket instanceof TLSSocket) remember(originOf(options), socket);
        callback(null, socket);
      },
      (thrown: Error) => callback(thrown, null),
    );
  };
  const dialFirst = async (options: buildConnector.Options) => {
    const addresses = await openAddresses(options.hostname, portOf(options), privateHosts, resolve);
    let failed: Error | undefined;
    for (const address of addresses.slice(0, MAX_ADDRESSES)) {
      try {
        // `host` stays the name: TLS is checked against it.
        return await new Promise<Parameters<buildConnector.Callback>[1] & object>((resolve, reject) =>
          dial({ ...options, hostname: address }, (error, socket) => (socket ? resolve(socket) : reject(error))),
        );
      } catch (thrown) {
        failed = thrown as Error;
      }
    }
    throw failed ?? new Fault("unavailable", `${options.hostname} has no address`);
  };
  const remember = (origin: string, socket: TLSSocket) => {
    const until = new Date(socket.getPeerCertificate().valid_to);
    if (Number.isNaN(until.getTime())) return;
    certificates.delete(origin);
    certificates.set(origin, until.toISOString().replace(".000Z", "Z"));
    if (certificates.size > MAX_ORIGINS) certificates.delete(certificates.keys().next().value as string);
  };
  const agent = new Agent({
    connect,
    connections: CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  const outside = proxy === "" ? undefined : new ProxyAgent({ uri: proxy, maxHeaderSize: MAX_HEADER_BYTES });
  return {
    dispatcher: agent,
    async proxied(url) {
      if (!outside) throw new Fault("denied", "the operator has set no proxy: EXECUTOR_HTTP_PROXY");
      const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
      await openAddresses(url.hostname, port, privateHosts, resolve);
      return outside;
    },
    validUntil: (origin) => certificates.get(origin),
    async [Symbol.asyncDispose]() {
      await Promise.all([agent.destroy(), outside?.destroy()]);
    },
  };
}

const portOf = ({ port, protocol }: buildConnector.Options) => Number(port) || (protocol === "https:" ? 443 : 80);
const originOf = ({ host, hostname, protocol }: buildConnector.Options) => `${protocol}//${host ?? hostname}`;

/** Errors: `denied` when no address of the name is open to guests; `unavailable` when it does not resolve. */
export async function openAddresses(
  hostname: string,
  port: number,
  privateHosts: PrivateHosts,
  resolve: NonNullable<DialerOptions["resolve"]> = resolveAll,
): Promise<string[]> {
  const bare = hostname.replace(/^\[|\]$/g, "");
  const found = isIP(bare) ? [bare] : await resolve(bare);
  if (privateHosts.hasName(hostname, port)) return found;
  const refused = new Map(
    found.flatMap((address) => {
      const reason = privateHosts.hasAddress(address, port) ? undefined : closedReason(address);
      return reason === undefined ? [] : [[address, reason]];
    }),
  );
  const open = found.filter((address) => !refused.has(address));
  if (open.length || !found.length) return open;
  const why = [...refused.values()].join(", ");
  throw new Fault("denied", `${hostname}:${port} may not be dialled: ${why}; the operator may allow it`);
}
