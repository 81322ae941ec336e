/** Answers of the platform that come in pieces, as the CLI reads them. */
import { Metadata } from "@grpc/grpc-js";
import { connect, listen } from "../kit/grpc.ts";
import { apiOf } from "./api.ts";
import type { Invocation } from "./command.ts";

export type StreamMethod<I, O> = Parameters<typeof listen<I, O>>[1];

/** Throws the Fault that the platform answered, also in the middle. */
export async function* stream<I, O>(
  invocation: Invocation,
  method: StreamMethod<I, O>,
  request: I,
  deadlineMs: number,
): AsyncGenerator<O> {
  using api = apiOf(invocation);
  using channel = connect(api.address);
  const metadata = new Metadata();
  if (invocation.env.MILLRACE_TOKEN) metadata.set("authorization", `Bearer ${invocation.env.MILLRACE_TOKEN}`);
  yield* listen(channel, method, request, { signal: AbortSignal.timeout(deadlineMs), metadata });
}
