/** Whether an HTTP endpoint answers, with what status and how fast. */
import { gauge, http, PluginError, type PollCall } from "@millrace/typescript";

const TIMEOUT_MS = 5_000;

export function poll({ resource }: PollCall) {
  const dimensions = { url: resource.endpoint };
  try {
    const { ok, status, elapsedMs } = http.get(resource.endpoint, { timeoutMs: TIMEOUT_MS });
    const values = { up: gauge(ok ? 1 : 0), status: gauge(status), latency_ms: gauge(elapsedMs) };
    return [{ group: "http", dimensions, values }];
  } catch (failure) {
    // An endpoint that is down is what we came to measure; anything else is our own trouble.
    if (!(failure instanceof PluginError && ["unavailable", "deadline"].includes(failure.code))) throw failure;
    return [{ group: "http", dimensions, values: { up: gauge(0) } }];
  }
}
