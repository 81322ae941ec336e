// What is behind an HTTP endpoint, kept as context of the resource.
import { EnrichCall, httpGet, Json } from "@millrace/assemblyscript";

export function enrich(): i32 {
  const run = EnrichCall.read();
  const reply = httpGet(run.resource.endpoint);
  if (reply.failed) return reply.fail();
  const server = Json.object()
    .set("software", Json.text(reply.header("server")))
    .set("content_type", Json.text(reply.header("content-type")));
  run.document("server", "http", server);
  return run.ok();
}
