/** `http`: requests to where the grants and the address screen let a guest go. Redirects are judged hop by hop. */
import { pipeline, type Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import type { Dispatcher } from "undici";
import { request } from "undici";
import { Fault, type Mistake } from "../../kit/fault.ts";
import type { EffectiveGrants } from "../grants.ts";
import type { Dialer } from "./dialer.ts";
import { type Capability, isObject, readRequest } from "./functions.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_REDIRECTS = 5;
/** Of a response's body after decompression, and of a request's. */
export const MAX_HTTP_BODY_BYTES = 16 << 20;
const MAX_URL_BYTES = 16 * 1_024;
const MAX_HEADERS = 100;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
const BODILESS = ["GET", "HEAD"];
const REDIRECTS = [301, 302, 303, 307, 308];
/** What the host says itself, and what would change how the message is framed. */
const HOST_HEADERS =
  /^(host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|proxy-.*)$/;
/** Never sent on to another origin. */
const CREDENTIALS = /auth|cookie|token|secret|key/;

const decoders: Readonly<Record<string, () => NodeJS.ReadWriteStream>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
};

interface Outgoing {
  readonly method: Dispatcher.HttpMethod;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}

/**
 * `onDenied` is told of every refusal. Errors of the result: `denied`, `invalid`, `unavailable`, `deadline`,
 * `too_large`.
 */
export function httpCapability(grants: EffectiveGrants, dialer: Dialer, onDenied: () => void): Capability {
  return async (bytes, scope) => {
    const raw = readRequest("http", bytes);
    const first = readOutgoing(raw);
    const askedMs = typeof raw.timeout_ms === "number" && raw.timeout_ms > 0 ? raw.timeout_ms : DEFAULT_TIMEOUT_MS;
    const timeoutMs = Math.min(askedMs, scope.remainingMs());
    const late = AbortSignal.timeout(Math.ceil(timeoutMs));
    const signal = AbortSignal.any([scope.signal, late]);
    try {
      return await follow(first, grants, dialer, signal);
    } catch (thrown) {
      const fault = late.aborted
        ? new Fault("deadline", `${first.url.origin} did not answer within ${Math.round(timeoutMs)} ms`)
        : networkFault(thrown, first.url);
      if (fault.code === "denied") onDenied();
      throw fault;
    }
  };
}

async function follow(first: Outgoing, grants: EffectiveGrants, dialer: Dialer, signal: AbortSignal) {
  const startedMs = performance.now();
  let hop = first;
  for (let redirects = 0; ; redirects += 1) {
    if (!grants.http(hop.url, hop.method)) {
      const fix = "the manifest must ask for it and the operator allow it";
      throw new Fault("denied", `${hop.method} ${shown(hop.url)} is not granted; ${fix}`);
    }
    const response = await request(hop.url, {
      method: hop.method,
      headers: { "user-agent": "millrace", ...hop.headers, "accept-encoding": Object.keys(decoders).join(", ") },
      body: hop.body ?? null,
      signal,
      dispatcher: dialer.dispatcher,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const next = redirectOf(hop, response);
    if (next && redirects < MAX_REDIRECTS) {
      response.body.on("error", () => {}).destroy();
      hop = next;
      continue;
    }
    if (next) {
      response.body.on("error", () => {}).destroy();
      throw new Fault("unavailable", `${shown(first.url)} redirects more than ${MAX_REDIRECTS} times`);
    }
    const body = await readBody(hop.method, response);
    const validUntil = hop.url.protocol === "https:" ? dialer.validUntil(hop.url.origin) : undefined;
    return {
      status: response.statusCode,
      headers: flat(response.headers),
      ...textOrBase64(body),
      url: hop.url.href,
      elapsed_ms: Math.round((performance.now() - startedMs) * 1_000) / 1_000,
      ...(validUntil !== undefined && { tls: { valid_until: validUntil } }),
    };
  }
}

function readOutgoing(raw: Readonly<Record<string, unknown>>): Outgoing {
  const mistakes: Mistake[] = [];
  const refuse = (field: string, problem: string, fix: string) => mistakes.push({ field, problem, fix });
  const method = METHODS.find((m) => m === (raw.method ?? "GET"));
  if (!method) refuse("method", `${JSON.stringify(raw.method)} is not a method`, METHODS.join(" "));
  const text = typeof raw.url === "string" ? raw.url : "";
  const url = text.length <= MAX_URL_BYTES && URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    refuse("url", `${JSON.stringify(text.slice(0, 200))} is not an absolute http or https URL`, "https://host/path");
  }
  const headers: Record<string, string> = {};
  const given = isObject(raw.headers) ? Object.entries(raw.headers) : [];
  if (given.length > MAX_HEADERS) refuse("headers", `has ${given.length}`, `at most ${MAX_HEADERS}`);
  for (const [name, value] of given) {
    const lower = name.toLowerCase();
    if (HOST_HEADERS.test(lower)) continue;
    if (/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(lower) && /^[\t\x20-\x7e\x80-\xff]*$/.test(String(value))) {
      headers[lower] = String(value);
    } else refuse(`headers.${name.slice(0, 100)}`, "is not a header", "token as name, one line of Latin-1 as value");
  }
  const body =
    typeof raw.body_base64 === "string"
      ? Buffer.from(raw.body_base64, "base64")
      : typeof raw.body === "string" && raw.body !== ""
        ? Buffer.from(raw.body)
        : undefined;
  if (body && body.byteLength > MAX_HTTP_BODY_BYTES) {
    refuse("body", `is ${body.byteLength} bytes`, `at most ${MAX_HTTP_BODY_BYTES}`);
  }
  if (body && method && BODILESS.includes(method)) refuse("body", `goes with ${method}`, "use POST, PUT or PATCH");
  if (mistakes.length || !method || !url) throw Fault.invalid("http", mistakes);
  return { method, url, headers, body };
}

/** The next hop, or undefined when this answer is the last. */
function redirectOf(hop: Outgoing, { statusCode, headers }: Dispatcher.ResponseData): Outgoing | undefined {
  const location = headers.location;
  if (!REDIRECTS.includes(statusCode) || typeof location !== "string" || !URL.canParse(location, hop.url)) return;
  const url = new URL(location, hop.url);
  if (!/^https?:$/.test(url.protocol)) throw new Fault("denied", `a redirect to ${url.protocol} is not followed`);
  const toGet = statusCode === 303 ? hop.method !== "HEAD" : statusCode < 303 && hop.method === "POST";
  const kept = Object.entries(hop.headers).filter(
    ([name]) => (url.origin === hop.url.origin || !CREDENTIALS.test(name)) && !(toGet && name.startsWith("content-")),
  );
  const method = toGet ? "GET" : hop.method;
  return { method, url, headers: Object.fromEntries(kept), body: toGet ? undefined : hop.body };
}

/** Counted after decompression, while it streams: a bomb is cut at the limit. */
async function readBody(method: string, { headers, body }: Dispatcher.ResponseData): Promise<Buffer> {
  const encoding = String(headers["content-encoding"] ?? "identity")
    .trim()
    .toLowerCase();
  const decoder = decoders[encoding];
  if (!decoder && encoding !== "identity") {
    body.on("error", () => {}).destroy();
    throw new Fault("unavailable", `the answer has the content-encoding ${JSON.stringify(encoding.slice(0, 100))}`);
  }
  const plain =
    decoder && method !== "HEAD" ? (pipeline(body, decoder(), () => {}) as unknown as Readable) : (body as Readable);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of plain as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > MAX_HTTP_BODY_BYTES) {
        throw new Fault("too_large", `the answer is larger than ${MAX_HTTP_BODY_BYTES} bytes`);
      }
      chunks.push(chunk);
    }
  } finally {
    body.on("error", () => {}).destroy();
  }
  return Buffer.concat(chunks);
}

function textOrBase64(body: Buffer): { body: string } | { body_base64: string } {
  try {
    return { body: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { body_base64: body.toString("base64") };
  }
}

function flat(headers: Dispatcher.ResponseData["headers"]): Record<string, string> {
  const joined = Object.entries(headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join(", ") : value,
  ]);
  return Object.fromEntries(joined.filter(([, value]) => value !== undefined)) as Record<string, string>;
}

/** Whatever goes wrong on the way is `unavailable`: the other side is not there, or does not speak properly. */
function networkFault(thrown: unknown, url: URL): Fault {
  const fault = Fault.from(thrown);
  if (fault.code !== "internal") return fault;
  return new Fault("unavailable", `${url.origin}: ${fault.message}`, { cause: thrown });
}

/** Without the query, which may hold secrets. */
const shown = (url: URL) => `${url.origin}${url.pathname}`;
