/** Sunrise and sunset of the config's places, a row for each place and day of the window. */
#include <millrace.h>

#include "sun.h"

MR_EXPORT(fetch) {
  mr_fetch run = mr_fetch_read();
  const mr_json *places = mr_get(run.config, "places");
  if (!places->count) return mr_fail("no_places", "config.places is empty: there is no place to compute for");
  mr_rows rows = {.emit = true};
  int64_t first_us = mr_floor_divide(run.begin_us + MR_DAY_US - 1, MR_DAY_US) * MR_DAY_US;
  for (int64_t day_us = first_us; day_us < run.end_us; day_us += MR_DAY_US) {
    for (const mr_json *place = places->first; place; place = place->next) {
      double latitude = mr_number(mr_get(place, "latitude"), 0), longitude = mr_number(mr_get(place, "longitude"), 0);
      sun_day day = sun_on(day_us, latitude, longitude);
      mr_writer *row = mr_row(&rows);
      mr_set_time(row, "day", day_us);
      mr_set_json(row, "place", mr_get(place, "name"));
      mr_set_time(row, "noon", day.noon_us);
      mr_set_number(row, "hours", day.hours);
      if (day.crosses) mr_set_time(row, "sunrise", day.rise_us);
      if (day.crosses) mr_set_time(row, "sunset", day.set_us);
      mr_end_row(&rows);
    }
  }
  return mr_fetch_ok(&run, &rows);
}
