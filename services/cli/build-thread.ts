/** Builds a plugin in a thread of its own: a compiler holds its thread for seconds, and a platform must go on. */
import diagnostics from "node:diagnostics_channel";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Fault } from "../kit/fault.ts";
import { within } from "../kit/lifecycle.ts";
import { type Built, buildPlugin } from "./build.ts";

const BUILD_TIMEOUT_MS = 300_000;
/** What a plugin does at its top level takes milliseconds; a loop without an end would hold the build for ever. */
const EVALUATE_TIMEOUT_MS = 15_000;
/** Where builders say what they are about. */
const PHASES = "millrace:build";
const EVALUATE = "evaluate";

export interface BuildOptions {
  /** Default: the cache of the checkout. */
  readonly outDir?: string;
  /** Told what is being done now: compile, evaluate, pack. */
  readonly onPhase?: (phase: string) => void;
  /** For the code at the top level of a plugin in an interpreted language. */
  readonly evaluateTimeoutMs?: number;
}

type Answer = { readonly built: Built } | { readonly problem: string };
type Said = Answer | { readonly phase: string; readonly what: string };

/** Errors: `invalid` with the compiler's words, or when the plugin's top level does not come to an end; `deadline`. */
export async function buildAside(folder: string, options: BuildOptions = {}): Promise<Built> {
  const { outDir, onPhase, evaluateTimeoutMs = EVALUATE_TIMEOUT_MS } = options;
  const worker = new Worker(new URL(import.meta.url), { workerData: { folder, outDir } });
  let timer: NodeJS.Timeout | undefined;
  const answered = new Promise<Answer>((resolve, reject) => {
    worker.on("message", (said: Said) => {
      if (!("phase" in said)) return resolve(said);
      clearTimeout(timer);
      onPhase?.(said.phase);
      if (said.phase === EVALUATE) timer = setTimeout(() => reject(endless(folder, said.what)), evaluateTimeoutMs);
    });
    worker.once("error", reject);
    worker.once("exit", (code) => reject(new Fault("internal", `the build of ${folder} ended with ${code}`)));
  });
  try {
    const answer = await within(BUILD_TIMEOUT_MS, `the build of ${folder}`, answered);
    if ("built" in answer) return answer.built;
    throw new Fault("invalid", answer.problem);
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }

  function endless(of: string, what: string): Fault {
    const problem = `the top level of ${what || "the plugin"} still runs after ${evaluateTimeoutMs} ms`;
    const fix = "it runs once, while the plugin is built: move the loop into an export such as fetch";
    return new Fault("invalid", `${of} does not build:\n${problem}; ${fix}`);
  }
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  const { folder, outDir } = workerData as { folder: string; outDir: string | undefined };
  diagnostics.subscribe(PHASES, (said) => port.postMessage(said));
  const answer: Answer = await buildPlugin(folder, outDir === undefined ? {} : { outDir }).then(
    ({ name, version, path, wasmPath, bytes, ms, cached }) => ({
      built: { name, version, path, wasmPath, bytes, ms, cached },
    }),
    (thrown) => ({ problem: Fault.from(thrown).message }),
  );
  port.postMessage(answer);
}
