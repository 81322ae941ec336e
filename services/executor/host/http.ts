/** `http`: requests to where the grants and the address screen let a guest go. Redirects are judged hop by hop. */
import type { Dispatcher } from "undici";
import { request } from "undici";
import { Fault } from "../../kit/fault.ts";
import { pause } from "../../kit/lifecycle.ts";
import { backoffMs } from "../../kit/retry.ts";
import type { EffectiveGrants } from "../grants.ts";
import type { InstanceSecrets } from "../secrets.ts";
import type { Dialer } from "./dialer.ts";
import { type Capability, readRequest, type Scope } from "./functions.ts";
import { ACCEPT_ENCODING, drop, readBody, textOrBase64 } from "./http-body.ts";
import { type CachedAnswer, conditionsOf, type HttpCache } from "./http-cache.ts";
import { filled, type HttpRequest, type Outgoing, readHttpRequest, redirectOf } from "./http-request.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_REDIRECTS = 5;
const BACKOFF = { attempts: 5, firstDelayMs: 200, maxDelayMs: 10_000 };
/** Worth asking again: too many requests, and trouble on the other side. */
const AGAIN = [429, 500, 502, 503, 504];

export interface HttpPorts {
  readonly dialer: Dialer;
  readonly cache: HttpCache;
}

/** On whose behalf. */
export interface HttpSubject {
  readonly instance: string;
  readonly grants: Pick<EffectiveGrants, "http">;
  readonly secrets: InstanceSecrets;
  /** Told of every refusal. */
  readonly onDenied: () => void;
}

interface Reply extends CachedAnswer {
  /** Headers that came more than once, as they came. */
  readonly repeated: Readonly<Record<string, readonly string[]>>;
  readonly url: string;
  readonly hops: number;
  readonly firstByteMs: number;
  readonly validUntil: string | undefined;
}

/**
 * Errors of the result: `denied`, `invalid`, `unavailable`, `deadline`, `too_large`, `exhausted`, and those of the
 * secrets that it names.
 */
export function httpCapability(subject: HttpSubject, ports: HttpPorts): Capability {
  return async (bytes, scope) => {
    const asked = readHttpRequest(readRequest("http", bytes));
    const timeoutMs = Math.min(asked.timeoutMs ?? DEFAULT_TIMEOUT_MS, scope.remainingMs());
    const endMs = performance.now() + timeoutMs;
    const late = AbortSignal.timeout(Math.ceil(timeoutMs));
    const signal = AbortSignal.any([scope.signal, late]);
    try {
      return await new Exchange(subject, ports, asked, scope, signal, endMs).run();
    } catch (thrown) {
      const { origin } = asked.first.url;
      const fault = late.aborted
        ? new Fault("deadline", `${origin} did not answer within ${Math.round(timeoutMs)} ms`)
        : networkFault(thrown, asked.first.url);
      if (fault.code === "denied") subject.onDenied();
      throw fault;
    }
  };
}

/** One request of a guest, with its retries, redirects and cache. */
class Exchange {
  readonly #subject: HttpSubject;
  readonly #ports: HttpPorts;
  readonly #asked: HttpRequest;
  readonly #scope: Scope;
  readonly #signal: AbortSignal;
  readonly #endMs: number;
  readonly #startedMs = performance.now();

  constructor(
    subject: HttpSubject,
    ports: HttpPorts,
    asked: HttpRequest,
    scope: Scope,
    signal: AbortSignal,
    endMs: number,
  ) {
    this.#subject = subject;
    this.#ports = ports;
    this.#asked = asked;
    this.#scope = scope;
    this.#signal = signal;
    this.#endMs = endMs;
  }

  async run() {
    const { instance } = this.#subject;
    const { first, cache } = this.#asked;
    const known = cache ? this.#ports.cache.find(instance, first) : undefined;
    const { reply, attempts } = await this.#persist(known ? conditionsOf(known) : {});
    const still = known !== undefined && reply.status === 304;
    if (cache && !still && reply.hops === 1) this.#ports.cache.keep(instance, first, reply);
    // The server's newer headers hold; the body is the one it spoke of.
    const shown = still ? { ...known, headers: { ...known.headers, ...aboutTheServer(reply.headers) } } : reply;
    const totalMs = performance.now() - this.#startedMs;
    return {
      status: shown.status,
      headers: shown.headers,
      ...(Object.keys(reply.repeated).length > 0 && { repeated_headers: reply.repeated }),
      ...textOrBase64(shown.body),
      url: reply.url,
      elapsed_ms: thousandths(totalMs),
      timing: {
        ...{ first_byte_ms: thousandths(reply.firstByteMs), total_ms: thousandths(totalMs) },
        ...{ hops: reply.hops, attempts },
      },
      ...(cache && { cached: still }),
      ...(reply.validUntil !== undefined && { tls: { valid_until: reply.validUntil } }),
    };
  }

  /** Again, as often as the guest asked, while there is time for it. */
  async #persist(conditions: Readonly<Record<string, string>>): Promise<{ reply: Reply; attempts: number }> {
    for (let attempt = 1; ; attempt += 1) {
      const last = attempt >= this.#asked.attempts;
      let waitMs: number | undefined;
      try {
        const reply = await this.#follow(conditions);
        if (last || !AGAIN.includes(reply.status)) return { reply, attempts: attempt };
        waitMs = retryAfterMs(reply.headers["retry-after"], Date.now()) ?? backoffMs(BACKOFF, attempt, Math.random());
        if (performance.now() + waitMs >= this.#endMs) return { reply, attempts: attempt };
      } catch (thrown) {
        const fault = networkFault(thrown, this.#asked.first.url);
        if (last || fault.code !== "unavailable" || this.#signal.aborted) throw fault;
        waitMs = backoffMs(BACKOFF, attempt, Math.random());
        if (performance.now() + waitMs >= this.#endMs) throw fault;
      }
      await pause(waitMs, this.#signal);
    }
  }

  async #follow(conditions: Readonly<Record<string, string>>): Promise<Reply> {
    let hop: Outgoing = this.#asked.first;
    for (let hops = 1; ; hops += 1) {
      const answer = await this.#send(hop, hops === 1 ? conditions : {});
      if (!("next" in answer)) return { ...answer, hops };
      if (hops > MAX_REDIRECTS) {
        const url = shownUrl(this.#asked.first.url);
        throw new Fault("unavailable", `${url} redirects more than ${MAX_REDIRECTS} times`);
      }
      hop = answer.next;
    }
  }

  async #send(hop: Outgoing, conditions: Readonly<Record<string, string>>) {
    const { grants, secrets } = this.#subject;
    const { dialer } = this.#ports;
    const { http } = this.#scope;
    if (!grants.http(hop.url, hop.method)) {
      const fix = "the manifest must ask for it and the operator allow it";
      throw new Fault("denied", `${hop.method} ${shownUrl(hop.url)} is not granted; ${fix}`);
    }
    const dispatcher = this.#asked.proxy ? await dialer.proxied(hop.url) : dialer.dispatcher;
    const { url, headers, body } = filled(hop, secrets);
    using _ = http.begin();
    http.count(body === undefined ? 0 : Buffer.byteLength(body));
    const response = await request(url, {
      method: hop.method,
      headers: { "user-agent": "millrace", ...conditions, ...headers, "accept-encoding": ACCEPT_ENCODING },
      body: body ?? null,
      ...{ signal: this.#signal, dispatcher, headersTimeout: 0, bodyTimeout: 0 },
    });
    const firstByteMs = performance.now() - this.#startedMs;
    let next: Outgoing | undefined;
    try {
      next = redirectOf(hop, response);
    } catch (thrown) {
      drop(response.body);
      throw thrown;
    }
    if (next) {
      drop(response.body);
      return { next };
    }
    const { scrubber } = secrets;
    const read = await readBody(hop.method, response, (size) => http.count(size));
    return {
      status: response.statusCode,
      ...headersOf(response.headers, scrubber.text),
      body: scrubber.bytes(read),
      url: scrubber.text(hop.url.href),
      firstByteMs,
      validUntil: hop.url.protocol === "https:" ? dialer.validUntil(hop.url.origin) : undefined,
    };
  }
}

/** All headers: several of one name joined as HTTP joins them; one by one beside, as cookies cannot be taken apart. */
function headersOf(raw: Dispatcher.ResponseData["headers"], scrub: (text: string) => string) {
  const headers: Record<string, string> = {};
  const repeated: Record<string, string[]> = {};
  for (const [name, value] of Object.entries(raw)) {
    if (value === undefined) continue;
    const values = (Array.isArray(value) ? value : [value]).map(scrub);
    headers[scrub(name)] = values.join(", ");
    if (values.length > 1) repeated[scrub(name)] = values;
  }
  return { headers, repeated };
}

const aboutTheServer = (headers: CachedAnswer["headers"]) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith("content-")));

/** Seconds, or a date. Undefined when it is neither. */
export function retryAfterMs(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1_000;
  // The parser would take "-1" for a year.
  const at = /[A-Za-z]/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** Whatever goes wrong on the way is `unavailable`: the other side is not there, or does not speak properly. */
function networkFault(thrown: unknown, url: URL): Fault {
  const fault = Fault.from(thrown);
  if (fault.code !== "internal") return fault;
  return new Fault("unavailable", `${url.origin}: ${fault.message}`, { cause: thrown });
}

const thousandths = (ms: number) => Math.round(ms * 1_000) / 1_000;

/** Without the query, which may hold secrets. */
const shownUrl = (url: URL) => `${url.origin}${url.pathname}`;
