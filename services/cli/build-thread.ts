/** Builds a plugin in a thread of its own: a compiler holds its thread for seconds, and a platform must go on. */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Fault } from "../kit/fault.ts";
import { within } from "../kit/lifecycle.ts";
import { type Built, buildPlugin } from "./build.ts";

const BUILD_TIMEOUT_MS = 300_000;

type Answer = { readonly built: Built } | { readonly problem: string };

/** Errors: `invalid` with the compiler's words; `deadline`. */
export async function buildAside(folder: string): Promise<Built> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { folder } });
  const answered = new Promise<Answer>((resolve, reject) => {
    worker.once("message", resolve).once("error", reject);
    worker.once("exit", (code) => reject(new Fault("internal", `the build of ${folder} ended with ${code}`)));
  });
  try {
    const answer = await within(BUILD_TIMEOUT_MS, `the build of ${folder}`, answered);
    if ("built" in answer) return answer.built;
    throw new Fault("invalid", answer.problem);
  } finally {
    await worker.terminate();
  }
}

if (!isMainThread && parentPort) {
  const { folder } = workerData as { folder: string };
  const answer: Answer = await buildPlugin(folder).then(
    ({ path, bytes, ms, cached }) => ({ built: { path, bytes, ms, cached } }),
    (thrown) => ({ problem: Fault.from(thrown).message }),
  );
  parentPort.postMessage(answer);
}
