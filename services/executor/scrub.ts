/** Takes known secret values out of bytes and texts, in the writings that servers and plugins commonly give them. */
import { MIN_SECRET_BYTES } from "../../proto/secrets.ts";
import { Fault } from "../kit/fault.ts";
import type { GuestError, GuestResult, HostFunction } from "./sandbox.ts";

export interface Scrubber {
  /** The same bytes when nothing was found. */
  bytes(bytes: Uint8Array): Uint8Array;
  text(text: string): string;
}

/** For those who have no secrets. */
export const NO_SCRUBBER: Scrubber = { bytes: (bytes) => bytes, text: (text) => text };

/** What stands in for a value. Legal in JSON strings, URLs and headers. */
const HIDDEN = "(hidden)";

interface Form {
  readonly needle: Buffer;
  readonly fill: Buffer;
}

/**
 * Finds a value as it is; as JSON, HTML and URLs escape it; in base64 and base64url at any offset; in hex; in UTF-16
 * and Latin-1. Not when it is cut, reversed, compressed or encrypted: who may not see a value must not get it at all.
 */
export function scrubberOf(values: readonly string[]): Scrubber {
  const forms = values.flatMap(formsOf).sort((a, b) => b.needle.byteLength - a.needle.byteLength);
  if (!forms.length) return NO_SCRUBBER;
  const bytes = (given: Uint8Array) => {
    let clean = Buffer.from(given.buffer, given.byteOffset, given.byteLength);
    let found = false;
    for (const form of forms) {
      const next = replaced(clean, form);
      found ||= next !== clean;
      clean = next;
    }
    return found ? clean : given;
  };
  return {
    bytes,
    text(text) {
      const given = Buffer.from(text);
      const clean = bytes(given);
      return clean === given ? text : Buffer.from(clean).toString();
    },
  };
}

function replaced(bytes: Buffer<ArrayBufferLike>, { needle, fill }: Form): Buffer<ArrayBufferLike> {
  let at = bytes.indexOf(needle);
  if (at === -1) return bytes;
  const parts: Buffer[] = [];
  let from = 0;
  for (; at !== -1; at = bytes.indexOf(needle, from)) {
    parts.push(bytes.subarray(from, at), fill);
    from = at + needle.byteLength;
  }
  return Buffer.concat([...parts, bytes.subarray(from)]);
}

function formsOf(value: string): Form[] {
  const raw = Buffer.from(value);
  const json = JSON.stringify(value).slice(1, -1);
  const url = encodeURIComponent(value);
  const everyByte = raw.toString("hex").replace(/../g, "%$&");
  const texts = [
    value,
    json,
    json.replaceAll("/", "\\/"),
    json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
    value.replace(/[&<>"']/g, (mark) => ENTITIES[mark] as string),
    ...urlForms(url),
    ...urlForms(url.replace(/[!'()*~]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)),
    ...[everyByte, everyByte.toUpperCase()],
  ];
  const hex = raw.toString("hex");
  const forms = new Map<string, Form>();
  const add = (needle: Buffer, fill: Buffer) => {
    if (needle.byteLength >= MIN_SECRET_BYTES) forms.set(needle.toString("latin1"), { needle, fill });
  };
  for (const text of texts) add(Buffer.from(text), Buffer.from(HIDDEN));
  // These keep their length and alphabet, so that what is around them can still be decoded.
  for (const text of [hex, hex.toUpperCase()]) add(Buffer.from(text), Buffer.alloc(text.length, "0"));
  for (const text of base64Forms(raw)) add(Buffer.from(text), Buffer.alloc(text.length, "A"));
  add(Buffer.from(value, "utf16le"), Buffer.from(HIDDEN, "utf16le"));
  // Beyond Latin-1 the encoding loses digits, and what is left might be ordinary text.
  if (/^[\0-\xff]*$/.test(value)) add(Buffer.from(value, "latin1"), Buffer.from(HIDDEN));
  return [...forms.values()];
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function urlForms(url: string): string[] {
  const lower = url.replace(/%../g, (escaped) => escaped.toLowerCase());
  return [url, lower, url.replaceAll("%20", "+"), lower.replaceAll("%20", "+")];
}

/** The characters that the value alone decides, for each of its three places in a longer text. */
function base64Forms(raw: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), raw]);
    const [first, end] = [Math.ceil((before * 8) / 6), Math.floor((whole.byteLength * 8) / 6)];
    const encoded = whole.toString("base64").slice(first, end);
    return [encoded, encoded.replaceAll("+", "-").replaceAll("/", "_")];
  });
}

/** Host functions whose request goes to where the guest was granted to send; all others end in a store of ours. */
const SENDING = new Set(["http", "secret", "socket", "snmp", "ping"]);

/** What a guest says to our stores, and what it is told when something failed, without the values. */
export function scrubbedHost(host: HostFunction, scrubber: Scrubber): HostFunction {
  if (scrubber === NO_SCRUBBER) return host;
  return async (name, request, signal) => {
    try {
      return await host(name, SENDING.has(name) ? request : scrubber.bytes(request), signal);
    } catch (thrown) {
      throw scrubbedFault(Fault.from(thrown), scrubber);
    }
  };
}

export function scrubbedResult(result: GuestResult, scrubber: Scrubber): GuestResult {
  if (scrubber === NO_SCRUBBER) return result;
  const { error, usage } = result;
  const said = error && (JSON.parse(scrubber.text(JSON.stringify(error))) as GuestError);
  // A guest may ask for host functions by any name.
  const calls = Object.entries(usage.hostCalls).map(([name, count]) => [scrubber.text(name), count]);
  const used = { ...usage, hostCalls: Object.fromEntries(calls) };
  return { ...result, output: scrubber.bytes(result.output), usage: used, ...(said && { error: said }) };
}

/** Without its cause, which may hold anything. */
function scrubbedFault({ code, message, mistakes, retryAfterMs }: Fault, { text }: Scrubber): Fault {
  return new Fault(code, text(message), {
    mistakes: mistakes.map((mistake) => ({ ...mistake, problem: text(mistake.problem) })),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
