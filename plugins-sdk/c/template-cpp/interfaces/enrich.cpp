/** What is behind an HTTP endpoint, kept as context of the resource. */
#include <millrace.hpp>

using namespace millrace;

MR_EXPORT(enrich) {
  Enrich run;
  auto reply = get(run.endpoint());
  if (!reply) return reply.fail();
  Text server;
  server.object().set("software", reply->header("server")).set("content_type", reply->header("content-type"));
  return run.document("server", "http", server).ok();
}
