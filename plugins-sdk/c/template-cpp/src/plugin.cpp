/** One row a minute of the window: replace it by your source. */
#include <millrace.h>

#include <string>

namespace {

constexpr int64_t minute_us = 60 * MR_SECOND_US;
const std::string fallback = "hello";

}  // namespace

MR_EXPORT(fetch) {
  mr_fetch run = mr_fetch_read();
  const std::string greeting = mr_text(mr_get(run.config, "greeting"), fallback.c_str());
  mr_rows rows = {};
  for (int64_t us = run.begin_us; us < run.end_us; us += minute_us) {
    mr_writer *row = mr_row(&rows);
    mr_set_time(row, "time", us);
    mr_set_text(row, "greeting", greeting.c_str());
    mr_set_integer(row, "minute", us / minute_us % 60);
    mr_end_row(&rows);
  }
  return mr_fetch_ok(&run, &rows);
}
