/** What a guest's `route` may take and give: well-formed HTTP, and nothing that speaks for the platform. */
import type { IncomingHttpHeaders } from "node:http";
import { Fault } from "../kit/fault.ts";

export interface GuestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer;
}

/** Between two hops, or ours to say. `set-cookie` is left out because all instances share one origin. */
const NOT_FROM_GUESTS = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "content-length",
  "date",
  "server",
  "set-cookie",
  "clear-site-data",
  "content-security-policy",
  "cross-origin-opener-policy",
  "service-worker-allowed",
  "strict-transport-security",
  "x-content-type-options",
]);
/** Secrets of the platform's own callers stay here, as does what belongs to the connection. */
const NOT_TO_GUESTS = new Set([
  "connection",
  "keep-alive",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "cookie",
]);
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** No line break may be smuggled into the head of an answer. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const MAX_HEADERS = 100;
const MAX_HEADER_BYTES = 16_384;

/** Request headers as the guest sees them. `Authorization` only when it is not the platform's own token. */
export function headersToGuest(headers: IncomingHttpHeaders, ownToken: boolean): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || NOT_TO_GUESTS.has(name) || (ownToken && name === "authorization")) continue;
    out[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return out;
}

/** Each parameter as text, or as a list when it is given more than once. */
export function queryToGuest(query: URLSearchParams): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = Object.create(null);
  for (const name of new Set(query.keys())) {
    const values = query.getAll(name);
    out[name] = values.length === 1 ? (values[0] as string) : values;
  }
  return out;
}

/** Errors: `internal`, saying everything that is wrong with the answer. */
export function guestAnswer(output: Uint8Array): GuestAnswer {
  const wrong: string[] = [];
  const answer = parse(output);
  if (typeof answer === "string") throw new Fault("internal", answer);
  const { status = 200, headers = {}, body, body_base64: encoded } = answer;
  if (typeof status !== "number" || !Number.isInteger(status) || status < 200 || status > 599) {
    wrong.push(`status ${JSON.stringify(status)} is not within 200–599`);
  }
  if (body !== undefined && body !== null && typeof body !== "string") wrong.push("body is not text");
  if (encoded !== undefined && encoded !== null && (typeof encoded !== "string" || !BASE64.test(encoded))) {
    wrong.push("body_base64 is not base64");
  }
  if (typeof body === "string" && typeof encoded === "string") wrong.push("body and body_base64 are both given");
  const kept = headersFromGuest(headers, wrong);
  if (wrong.length) throw new Fault("internal", wrong.join("; "));
  const isText = typeof encoded !== "string";
  kept["content-type"] ??= isText ? "text/plain; charset=utf-8" : "application/octet-stream";
  return {
    status: status as number,
    headers: kept,
    body: isText ? Buffer.from((body as string | null | undefined) ?? "") : Buffer.from(encoded, "base64"),
  };
}

function parse(output: Uint8Array): Record<string, unknown> | string {
  try {
    const answer: unknown = JSON.parse(Buffer.from(output).toString("utf8"));
    if (typeof answer === "object" && answer !== null && !Array.isArray(answer))
      return answer as Record<string, unknown>;
    return "the output is not an object";
  } catch (thrown) {
    return `the output is not JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
}

function headersFromGuest(headers: unknown, wrong: string[]): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) {
    wrong.push("headers is not an object");
    return kept;
  }
  const entries = Object.entries(headers);
  if (entries.length > MAX_HEADERS) wrong.push(`${entries.length} headers; at most ${MAX_HEADERS}`);
  let bytes = 0;
  for (const [name, value] of entries) {
    const values = Array.isArray(value) ? value : [value];
    const texts = values.map((one) => (typeof one === "number" ? String(one) : one));
    if (!HEADER_NAME.test(name)) wrong.push(`header name ${JSON.stringify(name)} has characters that are not allowed`);
    else if (!texts.every((one): one is string => typeof one === "string" && HEADER_VALUE.test(one))) {
      wrong.push(`header ${name} has a value that is not one line of text`);
    } else if (!NOT_FROM_GUESTS.has(name.toLowerCase())) {
      kept[name.toLowerCase()] = texts.length === 1 ? (texts[0] as string) : texts;
    }
    bytes += name.length + String(value).length;
  }
  if (bytes > MAX_HEADER_BYTES) wrong.push(`headers of ${bytes} bytes; at most ${MAX_HEADER_BYTES}`);
  return kept;
}
