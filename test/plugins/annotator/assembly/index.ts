/** A test guest that finds devices, writes documents about them as its config says, and polls with them. */
import {
  answer, call, contextGet, contextList, DiscoverCall, EnrichCall, FunctionCall, Json, Metrics, PollCall,
} from "@millrace/assemblyscript";

export function discover(): i32 {
  const run = DiscoverCall.read();
  for (let i = 0; i < 2; i++) run.resource(`dev-${i}`, "device", `10.0.0.${i}`);
  return run.complete();
}

/** The documents of the config as they are, or `large` ones of 60,000 bytes; else one of each namespace. */
export function enrich(): i32 {
  const run = EnrichCall.read();
  const documents = run.config.get("documents");
  if (documents.isArray) return answer(Json.object().set("documents", documents));
  const large = <i32>run.config.get("large").asInteger();
  for (let i = 0; i < large; i++) run.document("note", `k${i}`, Json.text("x".repeat(60000)));
  if (large) return run.ok();
  const port = Json.object().set("speed", Json.integer(1000)).set("name", Json.text("eth0"));
  run.document("interface", "1", port);
  run.document("note", "héllo ☃", Json.text(`about ${run.resource.id}`)).set("ttl", Json.text("5m"));
  return run.ok();
}

/** The speed of interface 1 as its input says, and again as the host says when it is asked. */
export function poll(): i32 {
  const run = PollCall.read();
  const metrics = new Metrics();
  metrics.group("device").dimension("note", run.context.get("note").get("héllo ☃").asText("none"));
  const given = run.context.get("interface").get("1").get("speed");
  metrics.gauge("given", given.asNumber(-1));
  const asked = contextGet("interface", "1");
  if (asked.failed) return asked.fail();
  metrics.gauge("asked", asked.ok.get("value").get("speed").asNumber(-1));
  const listed = contextList("interface");
  if (listed.failed) return listed.fail();
  metrics.gauge("listed", listed.ok.get("documents").length);
  return run.ok(metrics);
}

export function function_ask(): i32 {
  const run = FunctionCall.read();
  const reply = call(run.input.get("name").asText(), run.input.get("request"));
  if (!reply.failed) return run.ok(Json.object().set("ok", reply.ok));
  const error = Json.object().set("code", Json.text(reply.fault.code)).set("message", Json.text(reply.fault.message));
  return run.ok(Json.object().set("error", error));
}
