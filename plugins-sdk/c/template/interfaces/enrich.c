/** What is behind an HTTP endpoint, kept as context of the resource. */
#include <millrace.h>

MR_EXPORT(enrich) {
  mr_enrich run = mr_enrich_read();
  mr_response reply = mr_http_get(run.endpoint);
  if (reply.failed) return mr_fail_with(reply.fault);
  mr_writer server = {};
  mr_open_object(&server);
  mr_set_text(&server, "software", mr_text(mr_get(reply.headers, "server"), ""));
  mr_set_text(&server, "content_type", mr_text(mr_get(reply.headers, "content-type"), ""));
  mr_close(&server);
  mr_put_byte(&server, 0);
  mr_document(&run, "server", "http", server.bytes);
  return mr_enrich_ok(&run);
}
