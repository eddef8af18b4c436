//! Dates and times as people read them, in UTC.

use undertone::{Day, UnixMillis};

/// `2026-11-22 14:05 UTC`. A claim of the sender, which may be anything: years beyond 9999 are
/// shown as such.
pub(crate) fn minute(time: UnixMillis) -> String {
    let seconds = time.seconds();
    let (year, month, day) = civil(seconds / 86_400);
    let minutes = seconds / 60;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

/// `2026-11-22`.
pub(crate) fn date(day: Day) -> String {
    let (year, month, day) = civil(u64::from(day.get()));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Counts from 1 March, so that the leap day ends a year, in spans of 400 years (146,097 days).
const fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01. At most 2^64/86,400 days come in, so
    // nothing here overflows.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 153 days in every five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (day, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (19_722, "2023-12-31"),
            (19_723, "2024-01-01"),
            (19_782, "2024-02-29"),
        ] {
            assert_eq!(date(Day::new(day)), text);
        }
        assert_eq!(minute(UnixMillis::new(1_709_210_096_789)), "2024-02-29 12:34 UTC");
        // The largest claim there is prints, too.
        assert!(minute(UnixMillis::new(u64::MAX)).ends_with("UTC"));
    }
}
