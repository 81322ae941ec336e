/** REST to gRPC and back, by the protos' HTTP annotations: one mechanism for every method, none written by hand. */
import { Readable } from "node:stream";
import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  ScalarType,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Fault } from "../kit/fault.ts";
import { pause } from "../kit/lifecycle.ts";
import { errorBody, Refusal } from "./answers.ts";
import { type Api, type Binding, isFile } from "./api.ts";
import type { BackEnd, CallOptions } from "./back-ends.ts";
import { isJson, mediaType, readBody } from "./request-body.ts";
import { requestJson } from "./request-json.ts";

const MIB = 1 << 20;
/** What a gRPC message of 20 MiB has room for: a bundle of 16 MiB, or of 15 MiB as base64 in JSON. */
export const UPLOAD_LIMIT_BYTES = 20 * MIB - 4_096;
export const BODY_LIMIT_BYTES = MIB;
/** A stream that has said nothing yet gets its headers after this time; a refusal before still has its own status. */
const FIRST_MESSAGE_MS = 250;
/** Comments that keep an event stream from looking dead to proxies. */
const HEARTBEAT_MS = 15_000;
const HEARTBEAT = ": still here\n\n";

export interface Matched {
  readonly binding: Binding;
  readonly variables: readonly string[];
}

/** Finds what a request means. Errors: `not_found`; `unimplemented` with status 405 and Allow. */
export function matcher(api: Api): (verb: string, path: string) => Matched {
  const bindings = api.methods.flatMap((method) => method.bindings);
  return (verb, path) => {
    const wanted = verb === "HEAD" ? "GET" : verb;
    const allowed = new Set<string>();
    for (const binding of bindings) {
      const variables = binding.template.match(path);
      if (!variables) continue;
      if (binding.verb === wanted) return { binding, variables };
      allowed.add(binding.verb);
      if (binding.verb === "GET") allowed.add("HEAD");
    }
    if (allowed.size === 0) throw new Fault("not_found", `nothing is at ${path}; /openapi.json lists what is`);
    const allow = [...allowed].sort().join(", ");
    const fault = new Fault("unimplemented", `${verb} is not possible at ${path}; possible are ${allow}`);
    throw new Refusal(fault, { status: 405, headers: { allow } });
  };
}

const isBytes = (binding: Binding) =>
  typeof binding.body === "object" && binding.body.fieldKind === "scalar" && binding.body.scalar === ScalarType.BYTES;

/** The request as message bytes. Errors: `invalid` with every mistake; `too_large`; 415 for another content type. */
export async function readRequest({ binding, variables }: Matched, request: FastifyRequest): Promise<Uint8Array> {
  const { raw } = request;
  const type = mediaType(raw);
  const rawBytes = isBytes(binding) && !isJson(type);
  const bytes = await readBody(raw, isBytes(binding) ? UPLOAD_LIMIT_BYTES : BODY_LIMIT_BYTES);
  const at = raw.url?.indexOf("?") ?? -1;
  const query = new URLSearchParams(at < 0 ? "" : raw.url?.slice(at + 1));
  const body = rawBytes ? undefined : parseJson(binding, bytes, type);
  const { input } = binding.method.desc;
  const json = requestJson(binding, { variables, query, body });
  const { accept } = raw.headers;
  if (isFile(binding) && accept && !json.format) json.format = accept.slice(0, MAX_ACCEPT_CHARS);
  const message = fromJson(input, json);
  if (rawBytes && typeof binding.body === "object") {
    // Raw bytes go in beside the JSON: base64 would cost a third more and a copy.
    (message as unknown as Record<string, unknown>)[binding.body.localName] = new Uint8Array(bytes);
  }
  return toBinary(input, message);
}

function parseJson(binding: Binding, bytes: Buffer, type: string): JsonValue | undefined {
  if (bytes.length === 0) return undefined;
  if (binding.body === undefined) {
    const fix = "use the query for parameters";
    throw Fault.invalid("body", [{ field: "", problem: `${binding.verb} takes no body here`, fix }]);
  }
  if (!isJson(type)) {
    const mistake = { field: "content-type", problem: `"${type}" is not JSON`, fix: "send application/json" };
    throw new Refusal(Fault.invalid("content type", [mistake]), { status: 415 });
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as JsonValue;
  } catch (thrown) {
    const problem = thrown instanceof Error ? thrown.message : String(thrown);
    throw Fault.invalid("body", [{ field: "", problem: `the body is not JSON: ${problem}`, fix: "send valid JSON" }]);
  }
}

const MAX_ACCEPT_CHARS = 1_000;

interface Piece {
  readonly contentType: string;
  readonly data: Uint8Array;
}

/** The pieces as they come. An error in the middle cuts the connection: a client must not take a part for the whole. */
export async function answerFile(
  { method }: Binding,
  backEnd: BackEnd,
  request: Uint8Array,
  reply: FastifyReply,
  options: CallOptions,
): Promise<FastifyReply> {
  const read = (bytes: Uint8Array) => fromBinary(method.desc.output, bytes) as unknown as Piece;
  const pieces = backEnd.stream(method, request, options)[Symbol.asyncIterator]();
  const first = await pieces.next();
  async function* body(): AsyncGenerator<Uint8Array> {
    try {
      for (let next = first; !next.done; next = await pieces.next()) yield read(next.value).data;
    } finally {
      await pieces.return?.();
    }
  }
  return reply
    .header("cache-control", "no-store")
    .type(first.done ? "application/octet-stream" : read(first.value).contentType)
    .send(Readable.from(body(), { objectMode: false }));
}

/** A message as canonical proto3 JSON with defaults written out, so that a client sees every field. */
export const messageJson = (message: DescMessage, bytes: Uint8Array): string =>
  JSON.stringify(toJson(message, fromBinary(message, bytes), { alwaysEmitImplicit: true }));

export async function answerUnary(
  { method }: Binding,
  backEnd: BackEnd,
  request: Uint8Array,
  reply: FastifyReply,
  options: CallOptions,
): Promise<FastifyReply> {
  const bytes = await backEnd.unary(method, request, options);
  const json = messageJson(method.desc.output, bytes);
  return reply.header("cache-control", "no-store").type("application/json; charset=utf-8").send(json);
}

/** A stream as NDJSON, or as server-sent events when asked for. An error in the middle is its last line. */
export async function answerStream(
  { method }: Binding,
  backEnd: BackEnd,
  request: Uint8Array,
  reply: FastifyReply,
  { asEvents, ...options }: CallOptions & { readonly asEvents: boolean },
): Promise<FastifyReply> {
  const messages = backEnd.stream(method, request, options)[Symbol.asyncIterator]();
  let next = messages.next();
  next.catch(() => {});
  const silent = (await orSilence(next, FIRST_MESSAGE_MS)) === undefined;
  const line = (json: string) => (asEvents ? `data: ${json}\n\n` : `${json}\n`);
  async function* lines(): AsyncGenerator<string> {
    try {
      // Headers go out with the first bytes, and whoever listens waits for them.
      if (asEvents && silent) yield HEARTBEAT;
      for (;;) {
        const got = asEvents ? await orSilence(next, HEARTBEAT_MS) : await next;
        if (got === undefined) {
          yield HEARTBEAT;
          continue;
        }
        if (got.done) return;
        yield line(messageJson(method.desc.output, got.value));
        next = messages.next();
        next.catch(() => {});
      }
    } catch (thrown) {
      if (options.signal.aborted) return;
      const error = JSON.stringify(errorBody(Fault.from(thrown)));
      yield asEvents ? `event: error\ndata: ${error}\n\n` : `${error}\n`;
    }
  }
  return reply
    .header("cache-control", "no-store")
    .type(asEvents ? "text/event-stream" : "application/x-ndjson; charset=utf-8")
    .send(Readable.from(lines(), { objectMode: false }));
}

/** What `work` gives, or undefined when it has given nothing after `ms`. */
async function orSilence<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  const done = new AbortController();
  try {
    return await Promise.race([work, pause(ms, done.signal).then(() => undefined)]);
  } finally {
    done.abort();
  }
}
