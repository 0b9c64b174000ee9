//! Points in time as text: RFC 3339, UTC, always milliseconds, always `Z`.

use std::{fmt, str::FromStr};

const MS_PER_DAY: u64 = 86_400_000;

/// Milliseconds since 1970 UTC, up to the end of the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last representable millisecond, 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// `None` after [`Timestamp::MAX`], which RFC 3339 cannot write.
    pub fn from_millis(millis: u64) -> Option<Timestamp> {
        (millis <= Self::MAX.0).then_some(Timestamp(millis))
    }

    /// Milliseconds since 1970 UTC.
    pub fn millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0 / MS_PER_DAY);
        let ms = self.0 % MS_PER_DAY;
        let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
        let (second, ms) = (ms / 1000 % 60, ms % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
        )
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads exactly what `Display` writes; no other zone, precision or leap second.
    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            digits
                .bytes()
                .all(|c| c.is_ascii_digit())
                .then(|| digits.parse().ok())?
        };
        let read = || {
            let days = day_of(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
            let hours = days * 24 + number(11, 13)?;
            let minutes = hours * 60 + number(14, 16)?;
            let seconds = minutes * 60 + number(17, 19)?;
            Timestamp::from_millis(seconds * 1000 + number(20, 23)?)
        };
        // Writing it again is what refuses wrong separators, 24 o'clock and 30 February alike.
        read()
            .filter(|time| time.to_string() == text)
            .ok_or(TimestampError)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a time of the form `2026-01-02T03:04:05.678Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a time of the form 2026-01-02T03:04:05.678Z")]
pub struct TimestampError;

/// Year, month and day of a count of days since 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin on 1 March, so that the leap day is a year's last.
fn date_of(days: u64) -> (u64, u64, u64) {
    const FROM_YEAR_0: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days + FROM_YEAR_0;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`date_of`]; `None` before 1970 and for a month that does not exist.
fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = year - 1;
    let years = 365 * year + before / 4 - before / 100 + before / 400;
    let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    let leap_day = u64::from(leap && month > 2);
    // 719,527 is what the line above counts for 1970-01-01.
    (years + months + leap_day + day - 1).checked_sub(719_527)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written_and_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_millis(millis).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        assert_eq!(Timestamp::from_millis(253_402_300_800_000), None);
    }

    #[test]
    fn every_day_of_four_centuries_is_written_and_read_back() {
        for day in 0..=146_097 {
            let time = Timestamp(day * MS_PER_DAY + day % MS_PER_DAY);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.67Z",
            "2026-01-02T03:04:05.6789Z",
            "2026-01-02 03:04:05.678Z",
            "2026-01-02t03:04:05.678z",
            "2026-01-02T03:04:05.678+00:00",
            "2026-02-29T03:04:05.678Z",
            "2026-01-02T24:00:00.000Z",
            "2026-01-02T03:60:00.000Z",
            "2016-12-31T23:59:60.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-1-02T03:04:05.6789Z",
            "+026-01-02T03:04:05.678Z",
            "2026-01-02T03:04:05.678é",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }
}
