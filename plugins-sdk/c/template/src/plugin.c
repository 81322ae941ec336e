/** Rows of one window: begin inclusive, end exclusive. */
#include <millrace.h>

static const int64_t MINUTE_US = 60 * MR_SECOND_US;

MR_EXPORT(fetch) {
  mr_fetch run = mr_fetch_read();
  const char *greeting = mr_text(mr_get(run.config, "greeting"), "hello");
  mr_rows rows = {};
  for (int64_t us = run.begin_us; us < run.end_us; us += MINUTE_US) {
    mr_writer *row = mr_row(&rows);
    mr_set_time(row, "time", us);
    mr_set_text(row, "greeting", greeting);
    mr_set_integer(row, "minute", us / MINUTE_US % 60);
    mr_end_row(&rows);
  }
  return mr_fetch_ok(&run, &rows);
}
