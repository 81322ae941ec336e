/** Checks HTTP endpoints. `discover` lists those of the config; `poll` checks one. */
import {
  DAY_US, DiscoverCall, httpGet, HttpReply, Json, Metrics, NO_TIME, now, parseTime, PollCall,
} from "@millrace/assemblyscript";

const DEFAULT_TIMEOUT_MS = 5_000;

export function discover(): i32 {
  const run = DiscoverCall.read();
  const endpoints = run.config.get("endpoints");
  for (let i = 0; i < endpoints.length; i++) {
    const endpoint = endpoints.at(i);
    // Labels travel with the resource, so that `poll` needs nothing else to judge an answer.
    const labels = Json.object();
    const status = endpoint.get("expect_status");
    const body = endpoint.get("body_contains");
    if (!status.isNull) labels.set("expect_status", Json.text(status.raw));
    if (!body.isNull) labels.set("body_contains", body);
    run.resource(endpoint.get("name").asText(), "http", endpoint.get("url").asText()).set("labels", labels);
  }
  return run.complete();
}

export function poll(): i32 {
  const run = PollCall.read();
  const reply = httpGet(run.resource.endpoint, <i32>run.config.get("timeout_ms").asInteger(DEFAULT_TIMEOUT_MS));
  // An endpoint that is down is what we came to measure. Everything else that fails is our own trouble: an error.
  if (reply.failed && !isDown(reply.fault.code)) return reply.fail();

  // The resource's name is made unique for the catalogue; the endpoint's own id is what its owner calls it.
  const metrics = new Metrics().group("http").dimension("endpoint", run.resource.id);
  metrics.dimension("url", run.resource.endpoint);
  metrics.gauge("up", reply.failed || !isGood(reply, run.resource.labels) ? 0 : 1);
  if (reply.failed) return run.ok(metrics);
  metrics.gauge("status_code", reply.status).gauge("latency_ms", reply.elapsedMs);
  const validUntilUs = parseTime(reply.tlsValidUntil);
  if (validUntilUs != NO_TIME) metrics.gauge("tls_days_left", (<f64>validUntilUs - now() * 1000) / <f64>DAY_US);
  return run.ok(metrics);
}

/** No connection, or no answer in time. */
function isDown(code: string): bool {
  return code == "unavailable" || code == "deadline";
}

function isGood(reply: HttpReply, labels: Json): bool {
  const expected = labels.get("expect_status").asText();
  const statusFits = expected.length ? reply.status.toString() == expected : reply.status >= 200 && reply.status < 400;
  return statusFits && reply.text.includes(labels.get("body_contains").asText());
}
