/** One module in the real sandbox, with host functions that a test answers and that keep what they were asked. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type GuestResult, type HostFunction, openSandbox } from "../../services/executor/sandbox.ts";
import { silentLog } from "../../services/kit/log.ts";
import { normaliseModule } from "../../services/registry/wasm.ts";

const MAX_PAGES = 1_024;

export interface Ran extends GuestResult {
  readonly text: string;
  /** The output as JSON. */
  readonly json: { readonly [field: string]: unknown } & { readonly rows?: readonly Record<string, unknown>[] };
  readonly asked: readonly { readonly name: string; readonly request: string }[];
}

/**
 * What host functions answer, by name; a Fault that is thrown is the error that the guest sees. Others answer `{}`. Or
 * the whole host, as in `real-host.ts`.
 */
export type Answers = Readonly<Record<string, (request: Record<string, unknown>) => unknown>>;

export interface SandboxedGuest extends AsyncDisposable {
  /** Size of the module. */
  readonly bytes: number;
  /** One call. Text goes in as it is, anything else as JSON. */
  call(name: string, input: unknown, answers?: Answers | HostFunction): Promise<Ran>;
}

/** `reuse`: calls that one instance serves; a fresh one for each when absent. */
export async function openSandboxed(wasmPath: string, reuse?: number): Promise<SandboxedGuest> {
  const bytes = normaliseModule(new Uint8Array(await readFile(wasmPath)), { maxPages: MAX_PAGES });
  const module = { digest: createHash("sha256").update(bytes).digest("hex"), load: async () => bytes };
  const sandbox = await openSandbox({ lanes: 1, callsPerLane: 8, log: silentLog });
  return {
    bytes: bytes.byteLength,
    async call(name, input, answers = {}) {
      const asked: { name: string; request: string }[] = [];
      const result = await sandbox.call({
        module,
        export: name,
        input: Buffer.from(typeof input === "string" ? input : JSON.stringify(input)),
        deadlineMs: 20_000,
        cpuMs: 10_000,
        memoryMaxPages: MAX_PAGES,
        maxOutputBytes: 16 << 20,
        maxHostCalls: 1_000,
        host: async (called, request, signal) => {
          const text = Buffer.from(request).toString("utf8");
          asked.push({ name: called, request: text });
          if (typeof answers === "function") return answers(called, request, signal);
          const answer = answers[called];
          return Buffer.from(JSON.stringify({ ok: answer ? answer(JSON.parse(text)) : {} }));
        },
        label: name,
        ...(reuse !== undefined && { reuse: { key: module.digest, calls: reuse } }),
      });
      const text = Buffer.from(result.output).toString("utf8");
      return { ...result, text, json: text ? JSON.parse(text) : {}, asked };
    },
    [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
  };
}
