/** The CSV of each day, which the store reads as it is. */
#include <millrace.hpp>
#include <string>

using namespace millrace;

MR_EXPORT(sync) {
  Sync run;
  std::string url(run.config["url"].text());
  for (Time time = run.begin; time < run.end; time += 24h) {
    auto reply = get(url + "?day=" + std::string(time.day()));
    if (!reply) return reply.fail();
    if (!reply->ok()) return fail("bad_status", mr_format("the source answered %d", reply->status));
    if (auto stored = emit_csv(reply->body); !stored) return stored.fail();
  }
  return run.ok();
}
