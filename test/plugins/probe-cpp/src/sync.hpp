/** Windows that the plugin writes itself, and the hooks around them. */
#pragma once

#include <millrace.hpp>

using namespace millrace;

MR_EXPORT(sync) {
  Sync run;
  string_view mode = run.config["mode"].text();
  if (mode == "no_data") return run.no_data();
  if (mode == "not_modified") return run.not_modified();
  if (mode == "partial") return run.partial();
  Emitter rows;
  for (int64_t n = run.cursor["n"].integer() + 1; n <= 3; n++) {
    rows.row().set("n", n).set("time", run.begin);
    if (n != 2) continue;
    Text cursor;
    cursor.object().set("n", n);
    if (auto saved = rows.checkpoint(cursor); !saved) return saved.fail();
  }
  return run.ok(rows);
}

MR_EXPORT(before_sync) {
  BeforeSync run;
  Json closed = run.config["closed"];
  if (!closed) return run.proceed();
  const char *reason = zero_ended(closed.text()), *from = zero_ended(run.from().substr(0, 10));
  return run.veto(mr_format("%s: %s from %s", reason, run.pipe().metric, from));
}

MR_EXPORT(after_sync) {
  AfterSync run;
  const char *ended = zero_ended(run.outcome()), *message = zero_ended(run.message());
  log("info", mr_format("%s: %lld rows of %s: %s", ended, (long long)run.rows, zero_ended(run.run()), message));
  return run.ok();
}
