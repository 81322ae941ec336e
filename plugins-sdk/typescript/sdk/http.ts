/** HTTP through the host, which allows only what the manifest asks for and the operator grants. Calls block. */
import { type HttpAnswer, host, PluginError } from "./host.ts";

export interface HttpOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Appended to the URL's own; undefined and null are left out. */
  readonly query?: Readonly<Record<string, string | number | bigint | boolean | undefined | null>>;
  /** Text or bytes. */
  readonly body?: string | Uint8Array;
  /** Sent as JSON, instead of `body`. */
  readonly json?: unknown;
  readonly timeoutMs?: number;
  /** Tried again by the host, with a growing pause: when the other side is not there, for 429 and 5xx. At most 5. */
  readonly attempts?: number;
  /** GETs are asked again with what the server said of its answer, by ETag or date. */
  readonly cache?: boolean;
  /** Through the operator's proxy. */
  readonly proxy?: boolean;
}

const RETRYABLE = [408, 425, 429, 500, 502, 503, 504];
const SHOWN_BODY_CHARACTERS = 200;

export class HttpReply {
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  /** Where the answer came from in the end, after redirects. */
  readonly url: string;
  readonly elapsedMs: number;
  /** When the server's certificate runs out (RFC 3339); undefined without TLS. */
  readonly tlsValidUntil: string | undefined;
  readonly #answer: HttpAnswer;

  constructor(answer: HttpAnswer) {
    this.#answer = answer;
    this.status = answer.status;
    this.headers = answer.headers ?? {};
    this.url = answer.url;
    this.elapsedMs = answer.elapsed_ms;
    this.tlsValidUntil = answer.tls?.valid_until;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }
  /** A header, whatever its case; undefined when it was not sent. */
  header(name: string): string | undefined {
    const value = this.headers[name.toLowerCase()];
    return Array.isArray(value) ? value.join(", ") : (value as string | undefined);
  }
  get text(): string {
    return this.#answer.body_base64 === undefined ? (this.#answer.body ?? "") : new TextDecoder().decode(this.bytes);
  }
  get bytes(): Uint8Array {
    const { body_base64: encoded, body = "" } = this.#answer;
    return encoded === undefined ? new TextEncoder().encode(body) : Uint8Array.fromBase64(encoded);
  }
  /** Errors: `bad_answer` when the body is not JSON. */
  json<T = unknown>(): T {
    try {
      return JSON.parse(this.text) as T;
    } catch (cause) {
      const shown = this.text.slice(0, SHOWN_BODY_CHARACTERS);
      throw new PluginError("bad_answer", `${this.url} did not answer with JSON: ${shown}`, { cause });
    }
  }
  /** `Retry-After` in milliseconds; undefined when it was not sent. */
  get retryAfterMs(): number | undefined {
    const text = this.header("retry-after");
    if (text === undefined) return undefined;
    const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
    return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
  }
  /** This reply when its status is 2xx. Errors: `http_<status>`, retryable when the status says so. */
  expectOk(): this {
    if (this.ok) return this;
    const retryable = RETRYABLE.includes(this.status);
    const afterMs = this.retryAfterMs;
    const details = { status: this.status, ...(afterMs !== undefined && { retry_after_ms: afterMs }) };
    const shown = this.text.slice(0, SHOWN_BODY_CHARACTERS);
    throw new PluginError(`http_${this.status}`, `${this.url} answered ${this.status}: ${shown}`, {
      retryable,
      details,
    });
  }
}

/** Resolves for every status. Errors: `denied`, `unavailable`, `deadline`, `too_large`. */
function send(method: string, url: string | URL, options: HttpOptions = {}): HttpReply {
  const { json, body = json === undefined ? undefined : JSON.stringify(json), timeoutMs } = options;
  const headers: Record<string, string> = json === undefined ? {} : { "content-type": "application/json" };
  Object.assign(headers, options.headers);
  const { attempts, cache, proxy } = options;
  const request = { method, url: withQuery(String(url), options.query), headers, body, timeoutMs };
  return new HttpReply(host.exchange({ ...request, attempts, cache, proxy }));
}

function withQuery(url: string, query: HttpOptions["query"]): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  if (!given.length) return url;
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `${url}${url.includes("?") ? "&" : "?"}${text}`;
}

export const http = {
  send,
  get: (url: string | URL, options?: HttpOptions) => send("GET", url, options),
  head: (url: string | URL, options?: HttpOptions) => send("HEAD", url, options),
  post: (url: string | URL, options?: HttpOptions) => send("POST", url, options),
  put: (url: string | URL, options?: HttpOptions) => send("PUT", url, options),
  patch: (url: string | URL, options?: HttpOptions) => send("PATCH", url, options),
  delete: (url: string | URL, options?: HttpOptions) => send("DELETE", url, options),
  /** The body of a GET as JSON. Errors: as `send`, `http_<status>`, `bad_answer`. */
  json: <T = unknown>(url: string | URL, options?: HttpOptions) => send("GET", url, options).expectOk().json<T>(),
};
