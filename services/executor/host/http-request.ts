/** A request as the guest wrote it: read, judged, led on by redirects, and filled with secrets where it is sent. */
import type { Dispatcher } from "undici";
import { Fault, type Mistake } from "../../kit/fault.ts";
import type { InstanceSecrets } from "../secrets.ts";
import { isObject } from "./functions.ts";
import { fill, fillQuery, hasPlaceholder, hasUrlPlaceholder } from "./secret.ts";

/** Of a request's body, and of a response's after decompression. */
export const MAX_HTTP_BODY_BYTES = 16 << 20;
const MAX_URL_BYTES = 16 * 1_024;
const MAX_HEADERS = 100;
const MAX_HEADER_BYTES = 32 * 1_024;
export const MAX_ATTEMPTS = 5;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] as const;
const BODILESS = ["GET", "HEAD"];
/** Sending one of these again changes nothing more. */
const IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
const REDIRECTS = [301, 302, 303, 307, 308];
/** What the host says itself, and what would change how the message is framed, or say for whom it is. Left out. */
const HOST_HEADERS = new RegExp(
  "^(host|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|via|" +
    "forwarded|x-forwarded-.*|x-real-ip|http2-settings|alt-used|proxy-.*)$",
);
/** Never sent on to another origin. */
const CREDENTIALS = /auth|cookie|token|secret|key/;
const CONDITIONS = ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "range"];
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Placeholders of secrets are still in it. */
export interface Outgoing {
  readonly method: Dispatcher.HttpMethod;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
  /** Whether the guest wrote the URL: in one that a server wrote, nothing is filled in. */
  readonly own: boolean;
}

export interface HttpRequest {
  readonly first: Outgoing;
  readonly timeoutMs: number | undefined;
  /** 1: no retry. */
  readonly attempts: number;
  readonly cache: boolean;
  readonly proxy: boolean;
}

/** Errors: `invalid` with every mistake. */
export function readHttpRequest(raw: Readonly<Record<string, unknown>>): HttpRequest {
  const mistakes: Mistake[] = [];
  const refuse = (field: string, problem: string, fix: string) => mistakes.push({ field, problem, fix });
  const method = METHODS.find((m) => m === (raw.method ?? "GET"));
  if (!method) refuse("method", `${JSON.stringify(raw.method)} is not a method`, METHODS.join(" "));
  const text = typeof raw.url === "string" ? raw.url : "";
  const url = text.length <= MAX_URL_BYTES && URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    refuse("url", `${JSON.stringify(text.slice(0, 200))} is not an absolute http or https URL`, "https://host/path");
  } else if (hasUrlPlaceholder(url.pathname) || hasUrlPlaceholder(url.username + url.password)) {
    refuse("url", "has a secret before its query", "put it into query, headers or body");
  }
  const headers = readHeaders(raw.headers, refuse);
  const body =
    typeof raw.body_base64 === "string"
      ? Buffer.from(raw.body_base64, "base64")
      : typeof raw.body === "string" && raw.body !== ""
        ? raw.body
        : undefined;
  const bytes = body === undefined ? 0 : Buffer.byteLength(body);
  if (bytes > MAX_HTTP_BODY_BYTES) refuse("body", `is ${bytes} bytes`, `at most ${MAX_HTTP_BODY_BYTES}`);
  if (body && method && BODILESS.includes(method)) refuse("body", `goes with ${method}`, "use POST, PUT or PATCH");
  const attempts = isObject(raw.retry) ? raw.retry.attempts : raw.retry === undefined ? 1 : undefined;
  if (!Number.isInteger(attempts) || Number(attempts) < 1 || Number(attempts) > MAX_ATTEMPTS) {
    refuse("retry", "has no count of attempts", `{"attempts": 1–${MAX_ATTEMPTS}}`);
  } else if (Number(attempts) > 1 && method && !IDEMPOTENT.includes(method)) {
    refuse("retry", `goes with ${method}, which may do its work twice`, IDEMPOTENT.join(" "));
  }
  if (raw.cache === true && method !== "GET") refuse("cache", `goes with ${method}`, "GET");
  if (mistakes.length || !method || !url) throw Fault.invalid("http", mistakes);
  const timeoutMs = typeof raw.timeout_ms === "number" && raw.timeout_ms > 0 ? raw.timeout_ms : undefined;
  // A guest that asks whether its own copy still stands wants the 304.
  const cache = raw.cache === true && !CONDITIONS.some((name) => name in headers);
  const flags = { cache, proxy: raw.proxy !== undefined && raw.proxy !== false };
  return { first: { method, url, headers, body, own: true }, timeoutMs, attempts: Number(attempts), ...flags };
}

type Refuse = (field: string, problem: string, fix: string) => void;

function readHeaders(raw: unknown, refuse: Refuse): Record<string, string> {
  const headers: Record<string, string> = {};
  const given = isObject(raw) ? Object.entries(raw) : [];
  if (given.length > MAX_HEADERS) refuse("headers", `has ${given.length}`, `at most ${MAX_HEADERS}`);
  let bytes = 0;
  for (const [name, value] of given.slice(0, MAX_HEADERS)) {
    const lower = name.toLowerCase();
    if (HOST_HEADERS.test(lower)) continue;
    bytes += name.length + String(value).length;
    if (HEADER_NAME.test(lower) && HEADER_VALUE.test(String(value))) headers[lower] = String(value);
    else refuse(`headers.${name.slice(0, 100)}`, "is not a header", "token as name, one line of Latin-1 as value");
  }
  if (bytes > MAX_HEADER_BYTES) refuse("headers", `are ${bytes} bytes`, `at most ${MAX_HEADER_BYTES}`);
  return headers;
}

/** What goes over the wire. */
export interface Filled {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
}

/** Errors: those of `valueFor`; `invalid` for a value that cannot stand in a header, without the value. */
export function filled(hop: Outgoing, secrets: InstanceSecrets): Filled {
  const url = new URL(hop.url);
  if (hop.own && url.search !== "") url.search = fillQuery(url.search, hop.url, secrets);
  const headers = Object.entries(hop.headers).map(([name, value]) => {
    const whole = fill(value, hop.url, secrets, (secret) => secret);
    if (HEADER_VALUE.test(whole)) return [name, whole];
    const problem = "would not be a header with the secret in it";
    throw Fault.invalid("http", [{ field: `headers.${name}`, problem, fix: "use a secret of one line" }]);
  });
  const { body } = hop;
  const write = writerFor(hop.headers["content-type"] ?? "");
  return {
    url,
    headers: Object.fromEntries(headers),
    body: typeof body === "string" ? fill(body, hop.url, secrets, write) : body,
  };
}

/** A value must not end the string or the field that it is put into. */
function writerFor(contentType: string): (value: string) => string {
  if (/[/+]json\b/i.test(contentType)) return (value) => JSON.stringify(value).slice(1, -1);
  if (/x-www-form-urlencoded/i.test(contentType)) return encodeURIComponent;
  return (value) => value;
}

/** The next hop, or undefined when this answer is the last. Errors: `denied` where it must not lead. */
export function redirectOf(hop: Outgoing, { statusCode, headers }: Dispatcher.ResponseData): Outgoing | undefined {
  const location = headers.location;
  if (!REDIRECTS.includes(statusCode) || typeof location !== "string" || !URL.canParse(location, hop.url)) return;
  const url = new URL(location, hop.url);
  if (!/^https?:$/.test(url.protocol)) throw new Fault("denied", `a redirect to ${url.protocol} is not followed`);
  const toGet = statusCode === 303 ? hop.method !== "HEAD" : statusCode < 303 && hop.method === "POST";
  const near = url.origin === hop.url.origin;
  const kept = Object.entries(hop.headers).filter(
    ([name, value]) =>
      (near || (!CREDENTIALS.test(name) && !hasPlaceholder(value))) && !(toGet && name.startsWith("content-")),
  );
  const body = toGet ? undefined : hop.body;
  if (!near && typeof body === "string" && hasPlaceholder(body)) {
    throw new Fault("denied", `a redirect to ${url.origin} would take a secret to another origin`);
  }
  return { method: toGet ? "GET" : hop.method, url, headers: Object.fromEntries(kept), body, own: false };
}
