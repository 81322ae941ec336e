/** gRPC without callbacks: async methods, async-iterable streams, deadlines, faults, and a close that drains. */
import { isIPv4 } from "node:net";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import * as grpc from "@grpc/grpc-js";
import { splitAddress } from "./config.ts";
import { codeOfGrpc, Fault, type FaultCode, faultCodes, type Mistake } from "./fault.ts";
import type { Running } from "./lifecycle.ts";
import type { Logger } from "./log.ts";

/** A bundle of 16 MiB and its envelope fit. */
const MAX_MESSAGE_BYTES = 20 << 20;
const DRAIN_MS = 5_000;
const DETAILS = "grpc-status-details-bin";
const DOMAIN = "millrace";

// The library writes what went wrong to stderr besides throwing it; a Fault tells it once. Who debugs it asks it to.
if (!process.env.GRPC_VERBOSITY) grpc.setLogVerbosity(grpc.logVerbosity.NONE);

export interface CallContext {
  /** Aborts when the caller hangs up, its deadline passes, or the server closes. */
  readonly signal: AbortSignal;
  readonly metadata: grpc.Metadata;
  /** Time left by the caller's deadline, in milliseconds; Infinity when it set none. */
  remainingMs(): number;
}

// From the most to the least able call: a stream also looks like a unary call.
type Handler<H> = H extends (call: infer C, ...rest: never[]) => void
  ? C extends grpc.ServerDuplexStream<infer I, infer O>
    ? (requests: AsyncIterable<I>, context: CallContext) => AsyncIterable<O>
    : C extends grpc.ServerWritableStream<infer I, infer O>
      ? (request: I, context: CallContext) => AsyncIterable<O>
      : C extends grpc.ServerUnaryCall<infer I, infer O>
        ? (request: I, context: CallContext) => Promise<O>
        : never
  : never;

/** The methods of a ts-proto server interface as async functions and generators. */
export type Methods<S> = { readonly [K in keyof S as string extends K ? never : K]: Handler<S[K]> };

/** One service: its definition and its methods. `service(PluginsService, pluginMethods(store))`. */
export interface Service {
  readonly definition: grpc.ServiceDefinition;
  // biome-ignore lint/suspicious/noExplicitAny: the typed door is `service`; behind it all methods look alike.
  readonly methods: Readonly<Record<string, (request: any, context: CallContext) => any>>;
}
export function service<S>(definition: grpc.ServiceDefinition<S>, methods: Methods<S>): Service {
  return { definition: definition as grpc.ServiceDefinition, methods: methods as Service["methods"] };
}

export interface ServeOptions {
  readonly log: Logger;
  /** Refuses a call by throwing a Fault; runs before every method. */
  readonly admit?: (metadata: grpc.Metadata, path: string) => void;
  /** How long a close waits for running calls before it cuts them. */
  readonly drainMs?: number;
}

/** Serves on `host:port`. Errors: `unavailable` naming the address when it is taken or not ours. */
export async function serve(listen: string, services: readonly Service[], options: ServeOptions): Promise<Running> {
  const server = new grpc.Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  });
  const closing = new AbortController();
  for (const { definition, methods } of services) {
    const handlers: grpc.UntypedServiceImplementation = {};
    for (const [name, method] of Object.entries(definition)) {
      const run = methods[name];
      if (run) handlers[name] = adapt(method, run, options, closing.signal);
    }
    server.addService(definition, handlers);
  }
  const where = splitAddress(listen);
  if (!where) throw Fault.invalid("listen", [{ field: "listen", problem: `"${listen}" is not host:port` }]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (!error) return resolve(bound);
      const fix = "stop what listens there, or choose another port (0 picks a free one)";
      // The library wraps what Node said: "No address added out of total 1 resolved errors: [listen EADDRINUSE: …]".
      const why = /\[(.+)\]/.exec(error.message)?.[1] ?? error.message;
      reject(new Fault("unavailable", `cannot listen on ${listen}: ${why}; ${fix}`, { cause: error }));
    });
  });
  const host = where.host.includes(":") ? `[${where.host}]` : where.host;
  return {
    address: `${host}:${port}`,
    async [Symbol.asyncDispose]() {
      closing.abort(new Fault("unavailable", "the server is closing"));
      const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      const cut = setTimeout(() => server.forceShutdown(), options.drainMs ?? DRAIN_MS);
      await drained;
      clearTimeout(cut);
    },
  };
}

/** What all kinds of call have. */
type AnyCall = grpc.ServerUnaryCall<unknown, unknown>;
type StreamCall = grpc.ServerDuplexStream<unknown, unknown>;

function adapt(
  method: grpc.MethodDefinition<unknown, unknown>,
  run: Service["methods"][string],
  { log, admit }: ServeOptions,
  closing: AbortSignal,
) {
  const fail = (thrown: unknown) => {
    const fault = Fault.from(thrown);
    if (fault.code === "internal") log.error({ err: fault.cause ?? fault, method: method.path }, "call failed");
    return toServiceError(fault);
  };
  const open = (call: AnyCall, hangUp: AbortController): CallContext => {
    const deadline = call.getDeadline();
    const deadlineMs = deadline instanceof Date ? deadline.getTime() : Number(deadline);
    call.on("cancelled", () => hangUp.abort(new Fault("cancelled", "the caller hung up")));
    admit?.(call.metadata, method.path);
    return { signal: hangUp.signal, metadata: call.metadata, remainingMs: () => deadlineMs - Date.now() };
  };
  if (!method.responseStream) {
    return (call: grpc.ServerUnaryCall<unknown, unknown>, done: grpc.sendUnaryData<unknown>) => {
      const hangUp = new AbortController();
      Promise.resolve()
        .then(() => run(call.request, open(call, hangUp)))
        .then(
          (response) => done(null, response),
          (thrown) => done(fail(thrown)),
        );
    };
  }
  return (call: StreamCall) => {
    const hangUp = new AbortController();
    // Streams are told at once that the server closes; tryShutdown alone would wait for them for ever.
    const close = () => hangUp.abort(closing.reason);
    closing.addEventListener("abort", close, { once: true });
    const pump = async () => {
      const context = open(call as unknown as AnyCall, hangUp);
      // A plain `for await` would destroy the whole call, unsent responses included, when the requests end.
      const requests = () => call.iterator({ destroyOnReturn: false });
      const request = method.requestStream ? requests() : (call as unknown as AnyCall).request;
      const responses: AsyncIterable<unknown> = run(request, context);
      await writeAll(call, responses, hangUp.signal);
    };
    pump()
      .then(
        () => (closing.aborted ? call.emit("error", fail(closing.reason)) : call.end()),
        (thrown) => call.emit("error", fail(closing.aborted ? closing.reason : thrown)),
      )
      .finally(() => closing.removeEventListener("abort", close));
  };
}

type Sink = {
  write(message: unknown): boolean;
  once(event: "drain", listener: () => void): unknown;
  off(event: "drain", listener: () => void): unknown;
};

/** Writes with flow control until the source ends or the signal aborts; then the source is told to clean up. */
async function writeAll(sink: Sink, source: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
  const iterator = source[Symbol.asyncIterator]();
  let onAbort = () => {};
  const aborted = new Promise<undefined>((resolve) => {
    onAbort = () => resolve(undefined);
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted]);
      if (!next || next.done) return;
      if (!sink.write(next.value)) {
        let resume = () => {};
        const drained = new Promise<void>((resolve) => {
          resume = resolve;
          sink.once("drain", resolve);
        });
        await Promise.race([drained, aborted]);
        sink.off("drain", resume);
        if (signal.aborted) return;
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a generator that waits for something else answers only when that comes.
    iterator.return?.().catch(() => {});
  }
}

/** A connection for any number of services. Connects lazily and for ever again. */
export type Channel = grpc.Client & Disposable;

/** `host:port`, or several literal addresses with commas: the first that answers serves, the others stand by. */
export function connect(address: string): Channel {
  const parts = address.split(",").map((part) => part.trim());
  const literal = parts.every((part) => isIPv4(splitAddress(part)?.host ?? ""));
  const client = new grpc.Client(
    literal ? `ipv4:${parts.join(",")}` : `dns:${address}`,
    grpc.credentials.createInsecure(),
    {
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2_000,
      "grpc.keepalive_time_ms": 20_000,
      "grpc.keepalive_timeout_ms": 5_000,
      "grpc.enable_http_proxy": 0,
    },
  );
  return Object.assign(client, { [Symbol.dispose]: () => client.close() });
}

export interface AskOptions {
  /** How long the answer may take, in milliseconds. Not optional: nothing waits without a deadline. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly metadata?: grpc.Metadata;
}

type Method<I, O> = Pick<
  grpc.MethodDefinition<I, O>,
  "path" | "requestStream" | "responseStream" | "requestSerialize" | "responseDeserialize"
>;

/** One request, one response. Throws the Fault that the other side threw. */
export function ask<I, O>(channel: grpc.Client, method: Method<I, O>, request: I, options: AskOptions): Promise<O> {
  const { deadlineMs, signal, metadata = new grpc.Metadata() } = options;
  return new Promise<O>((resolve, reject) => {
    if (signal?.aborted) return reject(Fault.from(signal.reason));
    const abort = () => call.cancel();
    const call = channel.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadata,
      { deadline: Date.now() + deadlineMs },
      (error, response) => {
        signal?.removeEventListener("abort", abort);
        if (error) reject(fromServiceError(error));
        else resolve(response as O);
      },
    );
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** One request, many responses. Ends quietly when the signal aborts. */
export async function* listen<I, O>(
  channel: grpc.Client,
  method: Method<I, O>,
  request: I,
  options: { readonly signal: AbortSignal; readonly metadata?: grpc.Metadata },
): AsyncGenerator<O> {
  const { signal, metadata = new grpc.Metadata() } = options;
  const { path, requestSerialize, responseDeserialize } = method;
  yield* read(channel.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata), signal);
}

export interface Duplex<I, O> {
  readonly responses: AsyncIterable<O>;
  /** Resolves when there is room for more. */
  send(request: I): Promise<void>;
  end(): void;
}

/** A bidirectional stream that lives until either side ends it or the signal aborts. */
export function converse<I, O>(channel: grpc.Client, method: Method<I, O>, signal: AbortSignal): Duplex<I, O> {
  const { path, requestSerialize, responseDeserialize } = method;
  const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  const failed = new AbortController();
  call.on("close", () => failed.abort());
  return {
    responses: read(call, signal),
    async send(request) {
      if (call.destroyed) throw new Fault("unavailable", "the stream is closed");
      if (call.write(request)) return;
      await new Promise<void>((resolve) => {
        const go = () => {
          call.off("drain", go);
          failed.signal.removeEventListener("abort", go);
          resolve();
        };
        call.once("drain", go);
        failed.signal.addEventListener("abort", go, { once: true });
        if (failed.signal.aborted) go();
      });
    },
    end: () => call.end(),
  };
}

async function* read<O>(
  call: AsyncIterable<O> & { cancel(): void; on(event: "error", listener: (error: Error) => void): unknown },
  signal: AbortSignal,
): AsyncGenerator<O> {
  const abort = () => call.cancel();
  signal.addEventListener("abort", abort, { once: true });
  call.on("error", () => {}); // also thrown below; a listener keeps a late one from ending the process
  if (signal.aborted) abort();
  try {
    for await (const response of call) yield response;
  } catch (thrown) {
    if (!signal.aborted) throw fromServiceError(thrown);
  } finally {
    signal.removeEventListener("abort", abort);
    call.cancel();
  }
}

/** What a Fault looks like on the wire: status, message, and google.rpc.Status with ErrorInfo and BadRequest. */
export function toServiceError(fault: Fault): grpc.ServiceError {
  const metadata = new grpc.Metadata();
  metadata.set(DETAILS, encodeStatus(fault));
  if (fault.retryAfterMs !== undefined) metadata.set("retry-after-ms", String(fault.retryAfterMs));
  return Object.assign(new Error(fault.message), { code: fault.grpcStatus, details: fault.message, metadata });
}

export function fromServiceError(thrown: unknown): Fault {
  const error = thrown as Partial<grpc.ServiceError>;
  if (thrown instanceof Fault || error.code === undefined || !error.metadata) return Fault.from(thrown);
  const wait = Number(error.metadata.get("retry-after-ms")[0]);
  const [details] = error.metadata.get(DETAILS);
  const known = Buffer.isBuffer(details) ? decodeStatus(details) : {};
  return new Fault(known.code ?? codeOfGrpc(error.code), error.details || (error.message ?? "failed"), {
    cause: thrown,
    mistakes: known.mistakes ?? [],
    ...(Number.isFinite(wait) && { retryAfterMs: wait }),
  });
}

// google.rpc.Status, ErrorInfo and BadRequest, by their public field numbers (google/rpc/{status,error_details}.proto).
function encodeStatus(fault: Fault): Buffer {
  const any = (type: string, value: Uint8Array) =>
    new BinaryWriter().uint32(10).string(`type.googleapis.com/google.rpc.${type}`).uint32(18).bytes(value).finish();
  const writer = new BinaryWriter().uint32(8).int32(fault.grpcStatus).uint32(18).string(fault.message);
  const info = new BinaryWriter().uint32(10).string(fault.code).uint32(18).string(DOMAIN).finish();
  writer.uint32(26).bytes(any("ErrorInfo", info));
  if (fault.mistakes.length) {
    const request = new BinaryWriter();
    for (const { field, problem, fix } of fault.mistakes) {
      const violation = new BinaryWriter()
        .uint32(10)
        .string(field)
        .uint32(18)
        .string(fix ? `${problem}; ${fix}` : problem);
      request.uint32(10).bytes(violation.finish());
    }
    writer.uint32(26).bytes(any("BadRequest", request.finish()));
  }
  return Buffer.from(writer.finish());
}

function decodeStatus(bytes: Uint8Array): { code?: FaultCode; mistakes?: Mistake[] } {
  const known: { code?: FaultCode; mistakes?: Mistake[] } = {};
  eachField(bytes, (field, value) => {
    if (field !== 3) return;
    let type = "";
    let detail = new Uint8Array();
    eachField(value, (f, v) => {
      if (f === 1) type = text(v);
      if (f === 2) detail = new Uint8Array(v);
    });
    if (type.endsWith("ErrorInfo")) {
      eachField(detail, (f, v) => {
        const code = faultCodes.find((c) => f === 1 && c === text(v));
        if (code) known.code = code;
      });
    }
    if (type.endsWith("BadRequest")) {
      eachField(detail, (_, violation) => {
        const mistake = { field: "", problem: "" };
        eachField(violation, (f, v) => Object.assign(mistake, f === 1 ? { field: text(v) } : { problem: text(v) }));
        known.mistakes = [...(known.mistakes ?? []), mistake];
      });
    }
  });
  return known;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Visits the length-delimited fields of a message and skips the others. */
function eachField(bytes: Uint8Array, visit: (field: number, value: Uint8Array) => void): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (wire === 2) visit(field, reader.bytes());
    else reader.skip(wire);
  }
}
