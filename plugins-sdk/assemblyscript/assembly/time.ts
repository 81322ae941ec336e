/** Times as microseconds since the epoch; RFC 3339 outside. The proleptic Gregorian calendar, no leap seconds. */

export const SECOND_US: i64 = 1_000_000;
export const DAY_US: i64 = 86_400 * SECOND_US;
/** What `parseTime` answers for text that is no time. */
export const NO_TIME: i64 = i64.MIN_VALUE;

/** `2012-01-31T00:00:00.5Z`, with an offset, or a bare date (midnight UTC). `NO_TIME` when it is none of these. */
export function parseTime(text: string): i64 {
  const n = text.length;
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  if ((year | month | day) < 0 || text.charAt(4) != "-" || text.charAt(7) != "-") return NO_TIME;
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return NO_TIME;
  const midnight = daysFromEpoch(year, month, day) * DAY_US;
  if (n == 10) return midnight;
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  const second = digits(text, 17, 2);
  if ((hour | minute | second) < 0 || hour > 23 || minute > 59 || second > 59) return NO_TIME;
  let at = 19;
  let fraction: i64 = 0;
  if (text.charAt(at) == ".") {
    let unit = SECOND_US;
    for (at++; at < n && isDigitAt(text, at); at++) {
      unit /= 10;
      fraction += unit * (text.charCodeAt(at) - 0x30);
    }
  }
  let offset = 0;
  const zone = text.charAt(at);
  if (zone == "+" || zone == "-") {
    const hours = digits(text, at + 1, 2);
    const minutes = digits(text, at + 4, 2);
    if ((hours | minutes) < 0 || at + 6 != n) return NO_TIME;
    offset = (hours * 60 + minutes) * (zone == "-" ? -1 : 1);
  } else if ((zone != "Z" && zone != "z") || at + 1 != n) {
    return NO_TIME;
  }
  const seconds = <i64>((hour * 60 + minute - offset) * 60 + second);
  return midnight + seconds * SECOND_US + fraction;
}

/** `2012-01-31`, the UTC day that a time falls into. */
export function formatDate(us: i64): string {
  // Days since 0000-03-01, so that a leap day ends its year (Howard Hinnant's civil_from_days).
  const day = floorDivide(us, DAY_US) + 719_468;
  const era = floorDivide(day, 146_097);
  const dayOfEra = day - era * 146_097;
  const yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const shifted = (5 * dayOfYear + 2) / 153;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + <i64>(month <= 2);
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(dayOfYear - (153 * shifted + 2) / 5 + 1, 2)}`;
}

/** RFC 3339 in UTC, with microseconds only where there are some. */
export function formatTime(us: i64): string {
  const inDay = us - floorDivide(us, DAY_US) * DAY_US;
  const seconds = inDay / SECOND_US;
  const fraction = inDay % SECOND_US;
  const clock = `${pad(seconds / 3600, 2)}:${pad((seconds / 60) % 60, 2)}:${pad(seconds % 60, 2)}`;
  return `${formatDate(us)}T${clock}${fraction ? "." + pad(fraction, 6) : ""}Z`;
}

function daysFromEpoch(year: i32, month: i32, day: i32): i64 {
  const y = <i64>(month <= 2 ? year - 1 : year);
  const era = floorDivide(y, 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468;
}

function daysOf(year: i32, month: i32): i32 {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/** A whole number of `count` digits at `from`; -1 when there is none. */
function digits(text: string, from: i32, count: i32): i32 {
  if (from + count > text.length) return -1;
  let value = 0;
  for (let at = from; at < from + count; at++) {
    if (!isDigitAt(text, at)) return -1;
    value = value * 10 + (text.charCodeAt(at) - 0x30);
  }
  return value;
}

function isDigitAt(text: string, at: i32): bool {
  return <u32>(text.charCodeAt(at) - 0x30) < 10;
}

function floorDivide(value: i64, by: i64): i64 {
  return value / by - <i64>(value % by < 0);
}

function pad(value: i64, width: i32): string {
  return value.toString().padStart(width, "0");
}
