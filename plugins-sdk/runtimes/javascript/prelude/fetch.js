/** `fetch` with Headers, Request and Response, through the host's `http`: bodies are whole, redirects are followed. */
import { call } from "./host.js";

class Headers {
  #values = new Map();
  constructor(init = []) {
    const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }
  get(name) {
    return this.#values.get(String(name).toLowerCase()) ?? null;
  }
  has(name) {
    return this.#values.has(String(name).toLowerCase());
  }
  set(name, value) {
    this.#values.set(String(name).toLowerCase(), String(value).trim());
  }
  append(name, value) {
    const before = this.get(name);
    this.set(name, before === null ? value : `${before}, ${String(value).trim()}`);
  }
  delete(name) {
    this.#values.delete(String(name).toLowerCase());
  }
  forEach(run, self) {
    for (const [name, value] of this) run.call(self, value, name, this);
  }
  entries() {
    return [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)).values();
  }
  *keys() {
    for (const [name] of this) yield name;
  }
  *values() {
    for (const [, value] of this) yield value;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
}

/** A body and the ways to read it, once. */
class Body {
  #body;
  bodyUsed = false;
  constructor(body) {
    this.#body = body;
  }
  #take() {
    if (this.bodyUsed) throw new TypeError("the body was read already");
    this.bodyUsed = true;
    return this.#body ?? "";
  }
  async text() {
    const body = this.#take();
    return typeof body === "string" ? body : new TextDecoder().decode(body);
  }
  async json() {
    return JSON.parse(await this.text());
  }
  async bytes() {
    const body = this.#take();
    return typeof body === "string" ? new TextEncoder().encode(body) : body;
  }
  async arrayBuffer() {
    return (await this.bytes()).slice().buffer;
  }
  get whole() {
    return this.#body;
  }
}

function bytesOf(body) {
  if (body === undefined || body === null) return { body: undefined, type: undefined };
  if (body instanceof URLSearchParams) {
    return { body: String(body), type: "application/x-www-form-urlencoded;charset=UTF-8" };
  }
  if (body instanceof ArrayBuffer) return { body: new Uint8Array(body), type: undefined };
  if (ArrayBuffer.isView(body)) {
    return { body: new Uint8Array(body.buffer, body.byteOffset, body.byteLength), type: undefined };
  }
  return { body: String(body), type: "text/plain;charset=UTF-8" };
}

class Request extends Body {
  constructor(what, init = {}) {
    const from = what instanceof Request ? what : undefined;
    const { body, type } = bytesOf(init.body ?? from?.whole);
    super(body);
    this.url = from ? from.url : new URL(what).href;
    this.method = String(init.method ?? from?.method ?? "GET").toUpperCase();
    this.headers = new Headers(init.headers ?? from?.headers ?? []);
    if (type && !this.headers.has("content-type")) this.headers.set("content-type", type);
    this.signal = init.signal ?? from?.signal;
    this.timeoutMs = init.timeoutMs ?? from?.timeoutMs;
  }
}

class Response extends Body {
  constructor(body = null, { status = 200, statusText = "", headers = [], url = "" } = {}) {
    const { body: own, type } = bytesOf(body);
    super(own);
    this.status = status;
    this.statusText = statusText;
    this.ok = status >= 200 && status < 300;
    this.headers = new Headers(headers);
    if (type && !this.headers.has("content-type")) this.headers.set("content-type", type);
    this.url = url;
    this.redirected = false;
    this.type = "basic";
  }
  static json(value, init = {}) {
    const headers = new Headers(init.headers ?? []);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return new Response(JSON.stringify(value), { ...init, headers });
  }
  clone() {
    return new Response(this.whole, this);
  }
}

/** One exchange, by the host. Headers of the answer that came many times are joined by commas. */
export function exchange({ method, url, headers, body, timeoutMs, attempts, cache, proxy }) {
  const request = { method, url, headers, cache, proxy };
  if (typeof body === "string") request.body = body;
  else if (body) request.body_base64 = body.toBase64();
  if (timeoutMs !== undefined) request.timeout_ms = timeoutMs;
  if (attempts !== undefined) request.retry = { attempts };
  return call("http", request);
}

async function fetch(what, init) {
  const request = new Request(what, init);
  request.signal?.throwIfAborted();
  const { method, url, headers, whole: body, timeoutMs } = request;
  const answer = exchange({ method, url, headers: Object.fromEntries(headers), body, timeoutMs });
  const given = answer.body_base64 === undefined ? (answer.body ?? "") : Uint8Array.fromBase64(answer.body_base64);
  const response = new Response(null, { status: answer.status, url: answer.url ?? url });
  for (const [name, value] of Object.entries(answer.headers ?? {})) {
    response.headers.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  return Object.assign(new Response(given, response), { redirected: answer.url !== undefined && answer.url !== url });
}

/** Nothing can abort a blocking host call; what is checked before it holds. */
class AbortSignal {
  aborted = false;
  reason = undefined;
  throwIfAborted() {
    if (this.aborted) throw this.reason;
  }
  addEventListener() {}
  removeEventListener() {}
}

class AbortController {
  signal = new AbortSignal();
  abort(reason = new DOMException("This operation was aborted", "AbortError")) {
    if (this.signal.aborted) return;
    Object.assign(this.signal, { aborted: true, reason });
  }
}

Object.assign(globalThis, { AbortController, AbortSignal, fetch, Headers, Request, Response });
