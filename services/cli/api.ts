/** The CLI's way to the platform: the public gRPC API of a gateway. */
import { Metadata } from "@grpc/grpc-js";
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { Fault } from "../kit/fault.ts";
import { ask, type Channel, connect } from "../kit/grpc.ts";
import { formatTime, isInteger, microsOf, parseTime, type Stretch, timestampOf } from "../kit/time.ts";
import type { Invocation } from "./command.ts";

const DEFAULT_ADDRESS = "127.0.0.1:7401";
const DEADLINE_MS = 30_000;
/** A page is asked for at a time; lists are shown whole up to this many pages. */
const MAX_PAGES = 100;

export interface Api extends Disposable {
  readonly address: string;
  /** One call. Throws the Fault that the platform answered. */
  call<I, O>(method: Parameters<typeof ask<I, O>>[1], request: I, deadlineMs?: number): Promise<O>;
}

/** Errors: `unavailable` at the first call when nothing listens at the address. */
export function openApi(address: string, token: string | undefined): Api {
  const channel: Channel = connect(address);
  const metadata = new Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  return {
    address,
    call: (method, request, deadlineMs = DEADLINE_MS) => ask(channel, method, request, { deadlineMs, metadata }),
    [Symbol.dispose]: () => channel[Symbol.dispose](),
  };
}

export function apiOf({ flags, env }: Invocation): Api {
  const address = String(flags.address ?? env.MILLRACE_ADDRESS ?? DEFAULT_ADDRESS);
  return openApi(address, env.MILLRACE_TOKEN);
}

/** Every page of a list, one after the other. */
export async function pages<P extends { nextPageToken: string }>(
  next: (pageToken: string) => Promise<P>,
): Promise<P[]> {
  const all: P[] = [];
  for (let token = ""; all.length < MAX_PAGES; ) {
    const page = await next(token);
    all.push(page);
    token = page.nextPageToken;
    if (!token) return all;
  }
  throw new Fault("too_large", `more than ${MAX_PAGES} pages: ask REST for them page by page`);
}

export function toTimestamp(raw: string | boolean | undefined, field: string): Timestamp | undefined {
  if (typeof raw !== "string" || raw === "") return undefined;
  return timestampOf(parseTime(raw, field));
}

/** What `--begin` and `--end` say: times, or integers for pipes whose axis they are. The platform knows which. */
export function rangeOf({ begin, end }: Invocation["flags"]) {
  const read = (raw: string | boolean | undefined, field: string) =>
    typeof raw === "string" && isInteger(raw) ? { integer: raw } : { time: toTimestamp(raw, field) };
  const [from, to] = [read(begin, "--begin"), read(end, "--end")];
  return { begin: from.time, end: to.time, beginInt: from.integer ?? "", endInt: to.integer ?? "" };
}

/** Begin and end of a window. */
export const showStretch = ({ begin, end, beginInt, endInt }: Stretch): [string, string] => [
  beginInt || (begin ? formatTime(microsOf(begin)) : ""),
  endInt || (end ? formatTime(microsOf(end)) : ""),
];

export function showTime(time: Timestamp | undefined): string {
  return time ? formatTime(microsOf(time)) : "";
}

/** When a quarantine ends. */
export function untilWhen({ expireTime }: { readonly expireTime?: Timestamp | undefined }): string {
  return expireTime ? `until ${showTime(expireTime)}` : "until it is released";
}

/** `weather` or `plugins/weather`: both name the plugin. */
export function named(collection: string, raw: string | undefined): string {
  return raw?.startsWith(`${collection}/`) ? raw : `${collection}/${raw ?? ""}`;
}

/** The name of an enum's value: 2 → "ENABLED". */
export function enumName(names: Readonly<Record<string, string | number>>, value: number): string {
  return Object.entries(names).find(([, v]) => v === value)?.[0] ?? String(value);
}
