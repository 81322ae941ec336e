/** The same call on both engines, with the same clock, seed and host, and what came of it in a form to compare. */
import { createHash } from "node:crypto";
import type { EngineName, GuestCall, GuestModule, Sandbox } from "../../services/executor/sandbox.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";
import { decode, encode, open, redispatch } from "./guest-call.ts";

export const ENGINES: readonly EngineName[] = ["kernel", "sdk"];

/** A module's bytes as they would be stored when it is published. */
export function published(bytes: Uint8Array, maxPages = 1_024, metered = false): GuestModule {
  const stored = normaliseModule(bytes, { maxPages, metered });
  return { digest: createHash("sha256").update(stored).digest("hex"), load: async () => stored };
}

export interface Seen {
  readonly outcome: string;
  /** Hexadecimal. */
  readonly output: string;
  /** Of an error that the guest wrote: all of it. Of one of ours: the code, as each engine has its own words. */
  readonly error: unknown;
  readonly hostCalls: readonly string[];
}

/** What `run` says of a request of a host function; by default it answers with the request itself. */
export type Answers = (name: string, request: string) => string;

export async function openEngines(): Promise<AsyncDisposable & { see(over: Asked): Promise<Seen[]> }> {
  const sandboxes: Sandbox[] = [];
  for (const engine of ENGINES) sandboxes.push(await open(1, 16, engine));
  return {
    see: (asked) => Promise.all(sandboxes.map((sandbox) => seen(sandbox, asked))),
    async [Symbol.asyncDispose]() {
      for (const sandbox of sandboxes) await sandbox[Symbol.asyncDispose]();
    },
  };
}

export interface Asked {
  readonly module: GuestModule;
  readonly export: string;
  readonly input: Uint8Array;
  readonly answers?: Answers;
  readonly cpuMs?: number;
}

async function seen(sandbox: Sandbox, { module, export: name, input, answers, cpuMs = 8_000 }: Asked): Promise<Seen> {
  const hostCalls: string[] = [];
  const call: GuestCall = {
    ...{ module, export: name, input, cpuMs, label: name },
    ...{ deadlineMs: 20_000, memoryMaxPages: 1_024, maxOutputBytes: 16 << 20, maxHostCalls: 200 },
    now: () => 1_700_000_000_000,
    seed: "seed",
    async host(called, request) {
      hostCalls.push(`${called} ${decode(request)}`);
      return encode(answers ? answers(called, decode(request)) : `{"ok":${decode(request) || "null"}}`);
    },
  };
  const { outcome, output, error } = await redispatch(sandbox, call);
  const said = outcome === "guest_error" || outcome === "ok" ? error : error?.code;
  return { outcome, output: Buffer.from(output).toString("hex"), error: said, hostCalls };
}
