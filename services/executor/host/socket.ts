/** `socket`: one request and its answer over UDP, TCP or TLS, to where the grants let a guest go. */
import { createSocket } from "node:dgram";
import { isIP } from "node:net";
import { Fault, type Mistake } from "../../kit/fault.ts";
import { openTcp, openTls } from "./connection.ts";
import { type Capability, isObject, readRequest } from "./functions.ts";
import type { Endpoint, Reach } from "./reach.ts";

/** Of a request and of an answer. */
export const MAX_SOCKET_BYTES = 1 << 20;
const MAX_DATAGRAM_BYTES = 65_507;
const MAX_UNTIL_BYTES = 1_024;
const FIRST_BUFFER_BYTES = 4 * 1_024;
const PROTOCOLS = ["tcp", "tls", "udp"] as const;

interface Exchange {
  readonly proto: (typeof PROTOCOLS)[number];
  /** Texts may name secrets. */
  readonly send: Uint8Array | string;
  /** When the answer is whole: this many bytes, or with this at its end. */
  readonly bytes: number | undefined;
  readonly until: Uint8Array | undefined;
  readonly verify: boolean;
}

/**
 * `{proto, host, port, send | send_base64, expect: {bytes | until | until_base64}, timeout_ms, verify}` →
 * `{data_base64, bytes, closed, elapsed_ms}`. Without `expect`, a datagram or all until the other side closes.
 */
export function socketCapability(reach: Reach): Capability {
  return (bytes, scope) => {
    const raw = readRequest("socket", bytes);
    const exchange = readExchange(raw);
    const { host, port, timeout_ms: timeoutMs } = raw;
    return reach.run("socket", { scheme: exchange.proto, host, port, timeoutMs }, scope, async (at, signal) => {
      const startedMs = performance.now();
      const talk = exchange.proto === "udp" ? overUdp : overStream;
      const { data: said, closed } = await talk(at, exchange, signal);
      const data = Buffer.from(reach.scrubber.bytes(said));
      const elapsed = Math.round((performance.now() - startedMs) * 1_000) / 1_000;
      return { data_base64: data.toString("base64"), bytes: data.byteLength, closed, elapsed_ms: elapsed };
    });
  };
}

interface Answered {
  readonly data: Buffer;
  /** Whether the other side ended the connection. */
  readonly closed: boolean;
}

async function overStream(at: Endpoint, exchange: Exchange, signal: AbortSignal): Promise<Answered> {
  const tcp = await openTcp(at, signal);
  try {
    const socket = exchange.proto === "tls" ? await openTls(tcp, at.host, exchange.verify, signal) : tcp;
    const inbox = new Inbox(exchange);
    const send = sent(at, exchange);
    if (send.byteLength) socket.write(send);
    if (inbox.isWhole) {
      await new Promise<void>((resolve, reject) => socket.end(() => resolve()).once("error", reject));
      return { data: inbox.data, closed: false };
    }
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      if (inbox.add(chunk)) return { data: inbox.data, closed: false };
    }
    if (signal.aborted) throw signal.reason;
    if (exchange.bytes === undefined && exchange.until === undefined) return { data: inbox.data, closed: true };
    const got = inbox.data.byteLength;
    throw new Fault("unavailable", `${at.host}:${at.port} closed after ${got} bytes, before the answer was whole`);
  } finally {
    tcp.destroy();
  }
}

async function overUdp(at: Endpoint, exchange: Exchange, signal: AbortSignal): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const address = at.addresses[0] as string;
  const send = sent(at, exchange);
  const socket = createSocket(isIP(address) === 6 ? "udp6" : "udp4");
  const inbox = new Inbox(exchange);
  const abort = () => reject(signal.reason);
  const done = () => resolve({ data: inbox.data, closed: false });
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  socket.on("error", reject);
  socket.on("message", (datagram) => {
    try {
      if (inbox.add(datagram) || (exchange.bytes === undefined && exchange.until === undefined)) done();
    } catch (thrown) {
      reject(thrown);
    }
  });
  // Connected, so that only the other side is heard, and a refusal too.
  socket.connect(at.port, address, () => {
    socket.send(send, (error) => {
      if (error) reject(error);
      else if (inbox.isWhole) done();
    });
  });
  return promise.finally(() => {
    signal.removeEventListener("abort", abort);
    socket.close();
  });
}

const sent = (at: Endpoint, { send }: Exchange) => (typeof send === "string" ? Buffer.from(at.filled(send)) : send);

/** What has come so far, in a buffer that grows by doubling: many small pieces cost no more than one. */
class Inbox {
  readonly #bytes: number | undefined;
  readonly #until: Uint8Array | undefined;
  #buffer: Buffer = Buffer.alloc(FIRST_BUFFER_BYTES);
  #length = 0;
  #end: number | undefined;

  constructor({ bytes, until }: Exchange) {
    this.#bytes = bytes;
    this.#until = until;
    if (bytes === 0) this.#end = 0;
  }

  get isWhole(): boolean {
    return this.#end !== undefined;
  }
  get data(): Buffer {
    return this.#buffer.subarray(0, this.#end ?? this.#length);
  }

  /** Whether the answer is whole now. Errors: `too_large`. */
  add(chunk: Uint8Array): boolean {
    const length = this.#length + chunk.byteLength;
    if (length > this.#buffer.byteLength) {
      const grown = Buffer.alloc(Math.max(length, this.#buffer.byteLength * 2));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    this.#buffer.set(chunk, this.#length);
    const until = this.#until;
    if (until) {
      const from = Math.max(0, this.#length - until.byteLength + 1);
      const found = this.#buffer.subarray(0, length).indexOf(until, from);
      if (found !== -1) this.#end = found + until.byteLength;
    } else if (this.#bytes !== undefined && length >= this.#bytes) this.#end = this.#bytes;
    this.#length = length;
    if ((this.#end ?? length) > MAX_SOCKET_BYTES) {
      throw new Fault("too_large", `the answer is larger than ${MAX_SOCKET_BYTES} bytes`);
    }
    return this.isWhole;
  }
}

function readExchange(raw: Readonly<Record<string, unknown>>): Exchange {
  const mistakes: Mistake[] = [];
  const refuse = (field: string, problem: string, fix: string) => mistakes.push({ field, problem, fix });
  const said = (value: unknown) => JSON.stringify(value)?.slice(0, 100) ?? "nothing";
  const proto = PROTOCOLS.find((known) => known === raw.proto);
  if (!proto) refuse("proto", `${said(raw.proto)} is not known`, PROTOCOLS.join(" "));
  const expect = isObject(raw.expect) ? raw.expect : {};
  const send = typeof raw.send === "string" ? raw.send : (bytesOf(undefined, raw.send_base64) ?? new Uint8Array(0));
  const sendBytes = Buffer.byteLength(send);
  const most = proto === "udp" ? MAX_DATAGRAM_BYTES : MAX_SOCKET_BYTES;
  if (sendBytes > most) refuse("send", `is ${sendBytes} bytes`, `at most ${most}`);
  const until = bytesOf(expect.until, expect.until_base64);
  if (until && (until.byteLength < 1 || until.byteLength > MAX_UNTIL_BYTES)) {
    refuse("expect.until", `is ${until.byteLength} bytes`, `1–${MAX_UNTIL_BYTES}`);
  }
  const { bytes } = expect;
  if (bytes !== undefined && !(Number.isInteger(bytes) && Number(bytes) >= 0 && Number(bytes) <= MAX_SOCKET_BYTES)) {
    refuse("expect.bytes", `${said(bytes)} is not a count`, `0–${MAX_SOCKET_BYTES}; 0 waits for no answer`);
  }
  if (bytes !== undefined && until) refuse("expect", "has both bytes and until", "give one");
  if (mistakes.length || !proto) throw Fault.invalid("socket", mistakes);
  const count = bytes === undefined ? undefined : Number(bytes);
  return { proto, send, bytes: count, until, verify: raw.verify !== false };
}

function bytesOf(text: unknown, base64: unknown): Uint8Array | undefined {
  if (typeof base64 === "string") return Buffer.from(base64, "base64");
  return typeof text === "string" ? Buffer.from(text) : undefined;
}
