/** Where a public method is answered: another service over gRPC, or this process. Messages pass as bytes. */
import type * as grpc from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";
import { Fault } from "../kit/fault.ts";
import { ask, type Channel, listen, type Service } from "../kit/grpc.ts";
import type { ApiMethod } from "./api.ts";

export interface CallOptions {
  /** How long an answer may take, in milliseconds; a stream lives until its reader leaves. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** W3C trace context of the caller. */
  readonly traceparent?: string | undefined;
}

export interface BackEnd {
  unary(method: ApiMethod, request: Uint8Array, options: CallOptions): Promise<Uint8Array>;
  stream(method: ApiMethod, request: Uint8Array, options: CallOptions): AsyncIterable<Uint8Array>;
}

const same = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A method whose messages are not looked into. */
export function rawMethod({ path, desc }: ApiMethod): grpc.MethodDefinition<Uint8Array, Uint8Array> {
  return {
    path,
    requestStream: desc.methodKind === "client_streaming" || desc.methodKind === "bidi_streaming",
    responseStream: desc.methodKind === "server_streaming" || desc.methodKind === "bidi_streaming",
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** Errors of its calls: the Fault that the service answered, or `unavailable`. */
export function remote(channel: Channel): BackEnd {
  return {
    unary: (method, request, options) => {
      const { deadlineMs, signal } = options;
      return ask(channel, rawMethod(method), request, { deadlineMs, signal, metadata: traced(options) });
    },
    stream: (method, request, options) =>
      listen(channel, rawMethod(method), request, { signal: options.signal, metadata: traced(options) }),
  };
}

function traced({ traceparent }: CallOptions): Metadata {
  const metadata = new Metadata();
  if (traceparent) metadata.set("traceparent", traceparent);
  return metadata;
}

/** Services of this process, called as if they were elsewhere. */
export function local(services: readonly Service[]): BackEnd {
  const find = ({ path }: ApiMethod) => {
    for (const { definition, methods } of services) {
      for (const [name, method] of Object.entries(definition)) {
        const run = methods[name];
        if (method.path === path && run) return { method, run };
      }
    }
    throw new Fault("unimplemented", `nothing here answers ${path}`);
  };
  const contextOf = ({ deadlineMs, signal }: CallOptions) => {
    const endMs = Date.now() + deadlineMs;
    return { signal, metadata: new Metadata(), remainingMs: () => endMs - Date.now() };
  };
  return {
    async unary(called, request, options) {
      const { method, run } = find(called);
      // A deadline that the service itself does not look at holds all the same.
      const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.deadlineMs)]);
      const late = Promise.withResolvers<never>();
      const stop = () => late.reject(Fault.from(signal.reason));
      signal.addEventListener("abort", stop, { once: true });
      late.promise.catch(() => {});
      try {
        const answer = run(method.requestDeserialize(Buffer.from(request)), contextOf({ ...options, signal }));
        return method.responseSerialize(await Promise.race([answer, late.promise]));
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
    async *stream(called, request, options) {
      const { method, run } = find(called);
      const responses: AsyncIterable<unknown> = run(
        method.requestDeserialize(Buffer.from(request)),
        contextOf(options),
      );
      for await (const response of responses) yield method.responseSerialize(response);
    },
  };
}

/** Picks by proto package. Errors: `unimplemented` for a package that nobody answers. */
export function route(byPackage: ReadonlyMap<string, BackEnd>): BackEnd {
  const pick = ({ desc }: ApiMethod) => {
    const backEnd = byPackage.get(desc.parent.file.proto.package);
    if (!backEnd) throw new Fault("unimplemented", `nothing here answers ${desc.parent.typeName}`);
    return backEnd;
  };
  return {
    unary: (method, request, options) => pick(method).unary(method, request, options),
    stream: (method, request, options) => pick(method).stream(method, request, options),
  };
}
