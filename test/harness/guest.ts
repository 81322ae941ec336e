/**
 * Runs a plugin's module with Extism alone and a small host in memory: what an author's code does, without a platform.
 */
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
  /** The output as JSON, undefined when it is none or the call failed. */
  readonly output: unknown;
  readonly text: string;
  readonly error: GuestError | undefined;
  /** Every host call in order, with its request as text. */
  readonly calls: readonly { readonly name: string; readonly request: string }[];
  readonly ms: number;
}

export interface Guest {
  /**
   * A fresh instance and one call, as the platform does it. Bytes go in as they are, anything else as JSON. A trap
   * without an error set by the guest is thrown.
   */
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
      let text = "";
      try {
        text = (await plugin.call(name, input instanceof Uint8Array ? input : JSON.stringify(input)))?.text() ?? "";
      } catch (thrown) {
        if (!error) throw thrown;
      } finally {
        await plugin.close();
      }
      const ms = performance.now() - began;
      return { output: error ? undefined : parsed(text), text, error, calls, ms };
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The host function `http` over a real fetch, without any screening. A failure to connect is `unavailable`. */
export const httpThroughFetch: HostFunction = async (request) => {
  const asked = JSON.parse(request.toString("utf8"));
  const { method, url, headers, body, timeout_ms } = asked;
  const began = performance.now();
  try {
    const response = await fetch(url, { method, headers, body, signal: AbortSignal.timeout(timeout_ms ?? 10_000) });
    const answered = {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await response.text(),
      url: response.url,
      elapsed_ms: performance.now() - began,
    };
    return { ok: answered };
  } catch (thrown) {
    const late = thrown instanceof Error && thrown.name === "TimeoutError";
    return { error: { code: late ? "deadline" : "unavailable", message: String(thrown), retryable: true } };
  }
};

/** Rows that a guest emitted, in order. */
export function emittedRows(outcome: Outcome): Record<string, unknown>[] {
  const batches = outcome.calls.filter((call) => call.name === "emit").map((call) => call.request);
  return batches.flatMap((batch) => batch.trimEnd().split("\n")).map((line) => JSON.parse(line));
}

/** The host functions of a run that goes well: what a fetch needs beside `http`. */
export const runHost: Readonly<Record<string, HostFunction>> = {
  emit: (request) => ({ ok: { rows: request.toString("utf8").trimEnd().split("\n").length } }),
  checkpoint: () => ({ ok: {} }),
  progress: () => ({ ok: {} }),
  log: () => ({ ok: {} }),
};
