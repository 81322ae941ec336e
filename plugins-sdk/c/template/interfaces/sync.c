/** The CSV of each day, which the store reads as it is. */
#include <millrace.h>

MR_EXPORT(sync) {
  mr_sync run = mr_sync_read();
  const char *url = mr_text(mr_get(run.config, "url"), "");
  for (int64_t us = run.begin_us; us < run.end_us; us += MR_DAY_US) {
    mr_response reply = mr_http_get(mr_format("%s?day=%s", url, mr_format_date(us)));
    if (reply.failed) return mr_fail_with(reply.fault);
    if (reply.status != 200) return mr_fail("bad_status", "the source answered %d", (int)reply.status);
    mr_reply stored = mr_emit_csv(reply.body.at, reply.body.length);
    if (stored.failed) return mr_fail_with(stored.fault);
  }
  return mr_sync_ok(&run, NULL);
}
