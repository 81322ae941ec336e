/** Runs a plugin's module with Extism alone and a small host in memory: what an author's code does, without a platform. */
import { readFile } from "node:fs/promises";
import createPlugin, { type CallContext } from "@extism/extism";

export interface GuestError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details?: Record<string, unknown>;
}

/** What a host function answers: `ok`, or the error that the guest sees. */
type Answer = { readonly ok: unknown } | { readonly error: GuestError };
export type HostFunction = (request: Buffer) => Answer | Promise<Answer>;

export interface Outcome {
  readonly output: unknown;
  readonly error: GuestError | undefined;
  /** Every host call in order, with its request as text. */
  readonly calls: readonly { readonly name: string; readonly request: string }[];
  readonly ms: number;
}

export interface Guest {
  /** A fresh instance and one call, as the platform does it. A trap without an error set by the guest is thrown. */
  call(name: string, input: unknown): Promise<Outcome>;
}

/** Opens a module. `host` names the host functions it may use; any other is answered with `denied`. */
export async function openGuest(wasmPath: string, host: Readonly<Record<string, HostFunction>> = {}): Promise<Guest> {
  const wasm = new Uint8Array(await readFile(wasmPath));
  return {
    async call(name, input) {
      const calls: { name: string; request: string }[] = [];
      const answerTo = async (called: string, request: Buffer): Promise<Answer> => {
        calls.push({ name: called, request: request.toString("utf8") });
        const run = host[called];
        return run ? run(request) : { error: { code: "denied", message: `no ${called} here`, retryable: false } };
      };
      let error: GuestError | undefined;
      const functions = {
        "extism:host/env": {
          // Kept here, as the SDK forgets an error that a trap follows.
          error_set(context: CallContext, block: bigint) {
            error = JSON.parse(context.read(block)?.text() ?? "null") as GuestError;
          },
        },
        "extism:host/user": {
          // Only functions declared `async` may suspend the guest.
          async host_call(context: CallContext, named: bigint, request: bigint) {
            const read = (block: bigint) => Buffer.from(context.read(block)?.bytes() ?? new Uint8Array());
            const answer = await answerTo(read(named).toString("utf8"), read(request));
            return context.store(JSON.stringify(answer));
          },
          now: () => Date.now(),
          random: (context: CallContext, count: number) => context.store(crypto.getRandomValues(new Uint8Array(count))),
        },
      };
      const plugin = await createPlugin({ wasm: [{ data: wasm }] }, { functions, useWasi: false });
      const began = performance.now();
      try {
        const output = await plugin.call(name, JSON.stringify(input));
        const ms = performance.now() - began;
        return { output: error ? undefined : output?.json(), error, calls, ms };
      } catch (thrown) {
        if (!error) throw thrown;
        return { output: undefined, error, calls, ms: performance.now() - began };
      } finally {
        await plugin.close();
      }
    },
  };
}
