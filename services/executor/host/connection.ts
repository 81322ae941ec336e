/** TCP and TLS connections to a screened endpoint, opened under a signal and closed by whoever opened them. */
import { isIP, type Socket, connect as tcpConnect } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { Fault } from "../../kit/fault.ts";
import type { Endpoint } from "./reach.ts";

/** Addresses of one name that are tried. */
const MAX_ADDRESSES = 4;

/** The first address that takes the connection. Errors: of the last one that was tried. */
export async function openTcp({ host, port, addresses }: Endpoint, signal: AbortSignal): Promise<Socket> {
  let failed: unknown = new Fault("unavailable", `${host} has no address`);
  for (const address of addresses.slice(0, MAX_ADDRESSES)) {
    if (signal.aborted) throw signal.reason;
    const socket = tcpConnect({ host: address, port, noDelay: true });
    try {
      return await ready(socket, "connect", signal);
    } catch (thrown) {
      failed = thrown;
    }
  }
  throw failed;
}

/** TLS over a connection. `verify`: an untrusted certificate or one of another name is an error. */
export function openTls(socket: Socket, host: string, verify: boolean, signal: AbortSignal): Promise<TLSSocket> {
  const servername = isIP(host) ? {} : { servername: host };
  const tls = tlsConnect({ socket, rejectUnauthorized: verify, host, ...servername });
  return ready(tls, "secureConnect", signal);
}

/** Destroys the socket when it does not get there. */
async function ready<S extends Socket>(socket: S, event: string, signal: AbortSignal): Promise<S> {
  const { promise, resolve, reject } = Promise.withResolvers<S>();
  const abort = () => socket.destroy(signal.reason as Error);
  const closed = () => reject(new Fault("unavailable", "the connection was closed"));
  socket.once(event, () => resolve(socket));
  // Stays on: an error that comes later must find a listener.
  socket.on("error", reject);
  socket.once("close", closed);
  signal.addEventListener("abort", abort, { once: true });
  socket.once("close", () => signal.removeEventListener("abort", abort));
  if (signal.aborted) abort();
  try {
    return await promise;
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
}
