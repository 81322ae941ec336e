/** Whether an HTTP endpoint answers, with what status and how fast. */
#include <millrace.h>

static const int32_t TIMEOUT_MS = 5000;

static bool is_down(const mr_response *reply) {
  const char *code = reply->fault.code;
  return reply->failed && (strcmp(code, "unavailable") == 0 || strcmp(code, "deadline") == 0);
}

MR_EXPORT(poll) {
  mr_poll run = mr_poll_read();
  mr_request ask = {.url = run.endpoint, .timeout_ms = TIMEOUT_MS};
  mr_response reply = mr_http(&ask);
  // An endpoint that is down is what we came to measure; anything else is our own trouble.
  if (reply.failed && !is_down(&reply)) return mr_fail_with(reply.fault);
  mr_group(&run, "http", NULL);
  mr_dimension(&run, "url", run.endpoint);
  mr_gauge(&run, "up", reply.status >= 200 && reply.status < 300);
  if (!reply.failed) {
    mr_gauge(&run, "status", reply.status);
    mr_gauge(&run, "latency_ms", reply.elapsed_ms);
  }
  return mr_poll_ok(&run);
}
