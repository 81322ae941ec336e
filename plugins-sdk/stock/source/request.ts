/** One HTTP request as a config describes it: templates, authentication by secret, retries, a rate. */
import { type HttpAnswer, HttpReply, hostCall, sleep } from "@millrace/typescript";
import { fill, fillJson, type Values } from "./template.ts";

export type Auth =
  | { readonly kind: "bearer" | "basic"; readonly secret: string }
  | { readonly kind: "header" | "query"; readonly name: string; readonly secret: string; readonly prefix?: string };

/** What sources of every kind have in common. */
export interface Access {
  readonly headers?: Readonly<Record<string, string>>;
  readonly auth?: Auth;
  readonly requests_per_second?: number;
  readonly retry_attempts?: number;
  readonly timeout_ms?: number;
}

export interface Request {
  readonly method?: string;
  readonly url: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const DEFAULT_ATTEMPTS = 3;

/** Sends requests one after the other, no faster than the config says. */
export function sender(access: Access): (request: Request, values: Values) => HttpReply {
  const pauseMs = access.requests_per_second ? 1_000 / access.requests_per_second : 0;
  let nextMs = 0;
  return (request, values) => {
    const waitMs = Math.ceil(nextMs - Date.now());
    if (waitMs > 0) sleep(waitMs);
    nextMs = Math.max(Date.now(), nextMs) + pauseMs;
    return new HttpReply(hostCall("http", asked(request, access, values)) as HttpAnswer).expectOk();
  };
}

function asked({ method = "GET", url, query, body }: Request, access: Access, values: Values) {
  const { auth, timeout_ms, retry_attempts = DEFAULT_ATTEMPTS } = access;
  const headers: Record<string, string> = {};
  for (const [name, text] of Object.entries(access.headers ?? {})) headers[name.toLowerCase()] = fill(text, values);
  const parameters = new URLSearchParams();
  for (const [name, text] of Object.entries(query ?? {})) {
    const value = fill(text, values);
    // What a page has no value for is not asked for.
    if (value !== "") parameters.set(name, value);
  }
  if (auth) authenticate(auth, headers, parameters);
  const filled = fill(url, values, encodeURIComponent);
  const more = parameters.size ? `${filled.includes("?") ? "&" : "?"}${parameters}` : "";
  if (body !== undefined) headers["content-type"] ??= "application/json";
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(fillJson(body, values));
  // A POST may do its work twice: only a next attempt of the run tries it again.
  const retry = method === "GET" ? { attempts: retry_attempts } : undefined;
  return { method, url: filled + more, headers, body: text, timeout_ms, retry };
}

/** Address and headers of a request with nothing in it to be filled but the secret. */
export function headersOf(url: string, given: Readonly<Record<string, string>>, auth: Auth | undefined) {
  const headers = Object.fromEntries(Object.entries(given).map(([name, text]) => [name.toLowerCase(), text]));
  const query = new URLSearchParams();
  if (auth) authenticate(auth, headers, query);
  return { url: query.size ? `${url}${url.includes("?") ? "&" : "?"}${query}` : url, headers };
}

/** The host puts the value in when the request leaves; this code never sees it. */
function authenticate(auth: Auth, headers: Record<string, string>, query: URLSearchParams): void {
  const value = `{{secret:${auth.secret}}}`;
  if (auth.kind === "query") query.set(auth.name, `${auth.prefix ?? ""}${value}`);
  else if (auth.kind === "header") headers[auth.name.toLowerCase()] = `${auth.prefix ?? ""}${value}`;
  else headers.authorization = `${auth.kind === "bearer" ? "Bearer" : "Basic"} ${value}`;
}
