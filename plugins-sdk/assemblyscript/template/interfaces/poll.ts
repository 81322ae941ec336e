// Whether an HTTP endpoint answers, with what status and how fast.
import { httpGet, Metrics, PollCall } from "@millrace/assemblyscript";

const TIMEOUT_MS = 5_000;

export function poll(): i32 {
  const run = PollCall.read();
  const reply = httpGet(run.resource.endpoint, TIMEOUT_MS);
  // An endpoint that is down is what we came to measure; anything else is our own trouble.
  const down = reply.failed && (reply.fault.code == "unavailable" || reply.fault.code == "deadline");
  if (reply.failed && !down) return reply.fail();
  const metrics = new Metrics().group("http").dimension("url", run.resource.endpoint);
  metrics.gauge("up", reply.isSuccess ? 1 : 0);
  if (!down) metrics.gauge("status", reply.status).gauge("latency_ms", reply.elapsedMs);
  return run.ok(metrics);
}
