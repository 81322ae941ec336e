/** Rows of one window: begin inclusive, end exclusive. */
#include <millrace.hpp>

using namespace millrace;

MR_EXPORT(fetch) {
  Fetch run;
  string_view greeting = run.config["greeting"].text("hello");
  Rows rows;
  for (Time time = run.begin; time < run.end; time += 1min) {
    rows.row().set("time", time).set("greeting", greeting).set("minute", time.us / 60'000'000 % 60);
  }
  return run.ok(rows);
}
