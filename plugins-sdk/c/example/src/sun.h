/** Where the sun stands, to about a minute: the sunrise equation. Pure. */
#include <stdbool.h>
#include <stdint.h>

typedef struct sun_day {
  /** Microseconds since the epoch. */
  int64_t rise_us;
  int64_t noon_us;
  int64_t set_us;
  double hours;
  /** False where the sun does not cross the horizon that day: 0 or 24 hours, no rise and no set. */
  bool crosses;
} sun_day;

/** `midnight_us`: the UTC day. Degrees, north and east positive. */
sun_day sun_on(int64_t midnight_us, double latitude, double longitude);
