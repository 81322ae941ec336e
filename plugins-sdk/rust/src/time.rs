//! Times as microseconds since the epoch; RFC 3339 outside. The proleptic Gregorian calendar, no leap seconds.

use crate::Json;
use std::fmt;

pub const SECOND_US: i64 = 1_000_000;
pub const DAY_US: i64 = 86_400 * SECOND_US;

/// Microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// `2012-01-31T00:00:00.5Z`, with an offset, or a bare date (midnight UTC).
    pub fn parse(text: &str) -> Option<Time> {
        let date = text.get(..10)?;
        let (year, month, day) = (digits(date, 0, 4)?, digits(date, 5, 2)?, digits(date, 8, 2)?);
        let dashes = &date[4..5] == "-" && &date[7..8] == "-";
        if !dashes || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
            return None;
        }
        let midnight = days_from_epoch(year, month, day) * DAY_US;
        if text.len() == 10 {
            return Some(Time(midnight));
        }
        let (hour, minute, second) = (digits(text, 11, 2)?, digits(text, 14, 2)?, digits(text, 17, 2)?);
        let colons = text.get(13..14)? == ":" && text.get(16..17)? == ":";
        if !colons || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut fraction = 0;
        if let Some(behind) = rest.strip_prefix('.') {
            let count = behind.bytes().take_while(u8::is_ascii_digit).count();
            let mut unit = SECOND_US;
            for digit in behind[..count].bytes() {
                unit /= 10;
                fraction += unit * i64::from(digit - b'0');
            }
            rest = &behind[count..];
        }
        let offset = match rest.as_bytes() {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let minutes = digits(rest, 1, 2)? * 60 + digits(rest, 4, 2)?;
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return None,
        };
        Some(Time(midnight + ((hour * 60 + minute - offset) * 60 + second) * SECOND_US + fraction))
    }

    /// `2012-01-31`, the UTC day.
    pub fn day(self) -> String {
        // Days since 0000-03-01, so that a leap day ends its year (Howard Hinnant's civil_from_days).
        let day = self.0.div_euclid(DAY_US) + 719_468;
        let era = day.div_euclid(146_097);
        let day_of_era = day - era * 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{:02}", day_of_year - (153 * shifted + 2) / 5 + 1)
    }

    pub fn plus_us(self, us: i64) -> Time {
        Time(self.0 + us)
    }
}

/// RFC 3339 in UTC, with microseconds only where there are some.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_day = self.0.rem_euclid(DAY_US);
        let (seconds, fraction) = (in_day / SECOND_US, in_day % SECOND_US);
        write!(f, "{}T{:02}:{:02}:{:02}", self.day(), seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if fraction > 0 {
            write!(f, ".{fraction:06}")?;
        }
        f.write_str("Z")
    }
}

impl From<Time> for Json {
    fn from(time: Time) -> Json {
        Json::Text(time.to_string())
    }
}

fn digits(text: &str, from: usize, count: usize) -> Option<i64> {
    let part = text.get(from..from + count)?;
    part.bytes().all(|c| c.is_ascii_digit()).then(|| part.parse().ok())?
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
