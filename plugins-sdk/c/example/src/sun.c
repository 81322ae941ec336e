/** The sunrise equation, after the almanac's low-precision formulas. */
#include "sun.h"

#include <math.h>

#define DAY_US 86400e6
#define DEGREE (M_PI / 180)
/** The sun's upper edge on the horizon, bent by the air. */
#define HORIZON (-0.833 * DEGREE)
/** Days from the epoch to noon of 2000-01-01. */
#define J2000 10957.5
#define OBLIQUITY (23.4397 * DEGREE)

sun_day sun_on(int64_t midnight_us, double latitude, double longitude) {
  double mean_noon = floor((double)midnight_us / DAY_US - J2000 + 0.5) - longitude / 360;
  double anomaly = fmod(357.5291 + 0.98560028 * mean_noon, 360) * DEGREE;
  double center = 1.9148 * sin(anomaly) + 0.02 * sin(2 * anomaly) + 0.0003 * sin(3 * anomaly);
  double ecliptic = anomaly + (center + 180 + 102.9372) * DEGREE;
  double noon = mean_noon + 0.0053 * sin(anomaly) - 0.0069 * sin(2 * ecliptic);
  double declination = asin(sin(ecliptic) * sin(OBLIQUITY));
  double tilt = (sin(HORIZON) - sin(latitude * DEGREE) * sin(declination)) /
                (cos(latitude * DEGREE) * cos(declination));
  sun_day day = {.noon_us = (int64_t)((noon + J2000) * DAY_US), .crosses = fabs(tilt) <= 1};
  if (!day.crosses) {
    day.hours = tilt < 0 ? 24 : 0;
    return day;
  }
  double half_day = acos(tilt) / (2 * M_PI);
  day.rise_us = day.noon_us - (int64_t)(half_day * DAY_US);
  day.set_us = day.noon_us + (int64_t)(half_day * DAY_US);
  day.hours = half_day * 48;
  return day;
}
