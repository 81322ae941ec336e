/** Whether an HTTP endpoint answers, with what status and how fast. */
#include <millrace.hpp>

using namespace millrace;

MR_EXPORT(poll) {
  Poll run;
  auto reply = Request("GET", run.endpoint()).timeout(5s).send();
  // An endpoint that is down is what we came to measure; anything else is our own trouble.
  bool is_down = !reply && (reply.fault().code == "unavailable" || reply.fault().code == "deadline");
  if (!reply && !is_down) return reply.fail();
  Group http = run.group("http").dimension("url", run.endpoint());
  http.gauge("up", reply && reply->ok());
  if (reply) http.gauge("status", reply->status).gauge("latency_ms", reply->elapsed.count());
  return run.ok();
}
