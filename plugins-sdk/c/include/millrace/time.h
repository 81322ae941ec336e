/** Times as microseconds since the epoch; RFC 3339 outside. The proleptic Gregorian calendar, no leap seconds. */
#ifndef MILLRACE_TIME_H
#define MILLRACE_TIME_H

#include "abi.h"

#define MR_SECOND_US INT64_C(1000000)
#define MR_DAY_US (86400 * MR_SECOND_US)
/** What `mr_parse_time` answers for text that is no time. */
#define MR_NO_TIME INT64_MIN

/** Reads `count` digits; -1 when there are fewer. */
MR_API int64_t mr_digits(const char *text, int count) {
  int64_t value = 0;
  for (int i = 0; i < count; i++) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

MR_API int64_t mr_floor_divide(int64_t value, int64_t by) { return value / by - (value % by < 0); }

/** Days since the epoch of a date (Howard Hinnant's days_from_civil). */
MR_API int64_t mr_days(int64_t year, int64_t month, int64_t day) {
  int64_t y = month <= 2 ? year - 1 : year;
  int64_t era = mr_floor_divide(y, 400);
  int64_t year_of_era = y - era * 400;
  int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/** `2012-01-31T00:00:00.5Z`, with an offset, or a bare date (midnight UTC). `MR_NO_TIME` when it is none of these. */
MR_API int64_t mr_parse_time(const char *text) {
  static const char month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  size_t length = strlen(text);
  if (length < 10 || text[4] != '-' || text[7] != '-') return MR_NO_TIME;
  int64_t year = mr_digits(text, 4), month = mr_digits(text + 5, 2), day = mr_digits(text + 8, 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > month_days[month - 1]) return MR_NO_TIME;
  if (month == 2 && day == 29 && !(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))) return MR_NO_TIME;
  int64_t midnight = mr_days(year, month, day) * MR_DAY_US;
  if (length == 10) return midnight;
  if (length < 20 || text[13] != ':' || text[16] != ':') return MR_NO_TIME;
  int64_t hour = mr_digits(text + 11, 2), minute = mr_digits(text + 14, 2), second = mr_digits(text + 17, 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return MR_NO_TIME;
  const char *at = text + 19;
  int64_t fraction = 0;
  if (*at == '.') {
    int64_t unit = MR_SECOND_US;
    for (at++; *at >= '0' && *at <= '9'; at++) fraction += (unit /= 10) * (*at - '0');
  }
  int64_t offset = 0;
  if (*at == '+' || *at == '-') {
    int64_t hours = mr_digits(at + 1, 2);
    if (hours < 0 || at[3] != ':') return MR_NO_TIME;
    int64_t minutes = mr_digits(at + 4, 2);
    if (minutes < 0 || at[6]) return MR_NO_TIME;
    offset = (hours * 60 + minutes) * (*at == '-' ? -1 : 1);
  } else if ((*at != 'Z' && *at != 'z') || at[1]) {
    return MR_NO_TIME;
  }
  return midnight + ((hour * 60 + minute - offset) * 60 + second) * MR_SECOND_US + fraction;
}

/** Writes `count` digits. */
MR_API void mr_put_digits(char *to, int64_t value, int count) {
  for (int i = count - 1; i >= 0; i--, value /= 10) to[i] = (char)('0' + value % 10);
}

/** `2012-01-31`, the UTC day that a time of the years 0 to 9999 falls into. */
MR_API const char *mr_format_date(int64_t us) {
  int64_t day = mr_floor_divide(us, MR_DAY_US) + 719468;
  int64_t era = mr_floor_divide(day, 146097);
  int64_t day_of_era = day - era * 146097;
  int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int64_t shifted = (5 * day_of_year + 2) / 153;
  int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  char *out = mr_bytes_of(10).at;
  mr_put_digits(out, year_of_era + era * 400 + (month <= 2), 4);
  out[4] = out[7] = '-';
  mr_put_digits(out + 5, month, 2);
  mr_put_digits(out + 8, day_of_year - (153 * shifted + 2) / 5 + 1, 2);
  return out;
}

/** RFC 3339 in UTC, with microseconds only where there are some. */
MR_API const char *mr_format_time(int64_t us) {
  int64_t in_day = us - mr_floor_divide(us, MR_DAY_US) * MR_DAY_US;
  int64_t seconds = in_day / MR_SECOND_US, fraction = in_day % MR_SECOND_US;
  char *out = mr_bytes_of(fraction ? 27 : 20).at;
  memcpy(out, mr_format_date(us), 10);
  memcpy(out + 10, "T00:00:00", 9);
  mr_put_digits(out + 11, seconds / 3600, 2);
  mr_put_digits(out + 14, seconds / 60 % 60, 2);
  mr_put_digits(out + 17, seconds % 60, 2);
  if (fraction) {
    out[19] = '.';
    mr_put_digits(out + 20, fraction, 6);
  }
  out[fraction ? 26 : 19] = 'Z';
  return out;
}

#endif
