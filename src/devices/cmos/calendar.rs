//! Dates as a real-time clock counts them: proleptic Gregorian, no time zone, no leap seconds.

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 00:00:00.
pub type UnixSeconds = u64;

const SECONDS_PER_DAY: u64 = 86_400;

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// The year, 1970 and later.
    pub year: u32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 (Sunday) to 7.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl Calendar {
    /// The date at `seconds`.
    pub fn at(seconds: UnixSeconds) -> Self {
        let days = seconds / SECONDS_PER_DAY;
        let in_day = seconds % SECONDS_PER_DAY;
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month,
            day,
            weekday: small((days + 4) % 7 + 1),
            hour: small(in_day / 3600),
            minute: small(in_day / 60 % 60),
            second: small(in_day % 60),
        }
    }

    /// The seconds at this date. Fields beyond their range carry over: February 30th is
    /// March 1st or 2nd. The weekday plays no part.
    pub fn seconds(&self) -> UnixSeconds {
        let month = self.month.clamp(1, 12);
        let days = days_from_civil(self.year.max(1970), month) + u64::from(self.day.max(1)) - 1;
        days * SECONDS_PER_DAY
            + u64::from(self.hour) * 3600
            + u64::from(self.minute) * 60
            + u64::from(self.second)
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u32, month: u8) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of `month` of `year`.
fn days_from_civil(year: u32, month: u8) -> u64 {
    let before = u64::from(year) - 1;
    let leaps = (before / 4 - before / 100 + before / 400) - 477;
    let months: u64 = (1..month).map(|m| days_in_month(year, m)).sum();
    (u64::from(year) - 1970) * 365 + leaps + months
}

fn civil_from_days(days: u64) -> (u32, u8, u8) {
    let guess = 1970 + days.min(u64::from(u32::MAX)) * 400 / 146_097;
    let mut year = u32::try_from(guess).unwrap_or(u32::MAX - 1);
    while year > 1970 && days_from_civil(year, 1) > days {
        year -= 1;
    }
    while days_from_civil(year + 1, 1) <= days {
        year += 1;
    }
    let mut left = days - days_from_civil(year, 1);
    let mut month = 1;
    while left >= days_in_month(year, month) {
        left -= days_in_month(year, month);
        month += 1;
    }
    (year, month, small(left + 1))
}

/// A number that its caller has kept below 256.
fn small(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_convert_both_ways() {
        for (seconds, year, month, day, weekday) in [
            (0, 1970, 1, 1, 5),
            (951_782_400, 2000, 2, 29, 3),
            (1_704_067_199, 2023, 12, 31, 1),
            (4_107_542_400, 2100, 3, 1, 2),
        ] {
            let date = Calendar::at(seconds);
            assert_eq!((date.year, date.month, date.day), (year, month, day));
            assert_eq!(date.weekday, weekday, "{date:?}");
            assert_eq!(date.seconds(), seconds);
        }
    }

    #[test]
    fn every_day_of_four_centuries_converts_back() {
        for day in 0..146_097 {
            assert_eq!(Calendar::at(day * 86_400 + 7).seconds(), day * 86_400 + 7);
        }
    }
}
