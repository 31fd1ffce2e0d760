//! Days of reports, UTC (RFC 8460 4.1), and their times (RFC 3339 5.6).

use std::fmt;
use std::str::FromStr;

/// A day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    /// The day of a time, in seconds since 1970.
    pub fn of(secs: u64) -> Self {
        Day(u32::try_from(secs / 86_400).unwrap_or(u32::MAX))
    }

    /// Its first second.
    pub fn start_secs(self) -> u64 {
        u64::from(self.0) * 86_400
    }

    /// Its last second, with which reports end.
    pub fn end_secs(self) -> u64 {
        self.start_secs() + 86_399
    }
}

/// `YYYYMMDD` or `YYYY-MM-DD`, of days that there are.
impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Day, NoDay> {
        let digits: String = text.split('-').collect();
        let has_form = digits.len() == 8 && digits.bytes().all(|o| o.is_ascii_digit());
        let whole = match has_form {
            true => format!(
                "{}-{}-{}T00:00:00Z",
                &digits[..4],
                &digits[4..6],
                &digits[6..]
            ),
            false => return Err(NoDay),
        };
        let day = Day::of(from_date_time(&whole).ok_or(NoDay)?);
        // The 30th of February would be another.
        let is_whole = day.to_string() == digits && (text == digits || *text == whole[..10]);
        is_whole.then_some(day).ok_or(NoDay)
    }
}

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no day: YYYYMMDD")]
pub struct NoDay;

/// `YYYYMMDD`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(i64::from(self.0));
        write!(f, "{year:04}{month:02}{day:02}")
    }
}

/// `2016-04-01T00:00:00Z`.
pub(crate) fn to_date_time(secs: u64) -> String {
    // Beyond the year 9999 there is no such text.
    let secs = secs.min(253_402_300_799);
    let (year, month, day) = civil((secs / 86_400) as i64);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Seconds since 1970. Fractions are cut. Without a zone it is UTC: Microsoft leaves it out.
pub(crate) fn from_date_time(text: &str) -> Option<u64> {
    let text = text.trim().as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.iter().try_fold(0, |sum, octet| {
            octet
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(octet - b'0'))
        })
    };
    let is_mark = |at: usize, marks: &[u8]| text.get(at).is_some_and(|o| marks.contains(o));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let has_marks = is_mark(4, b"-")
        && is_mark(7, b"-")
        && is_mark(10, b"Tt ")
        && is_mark(13, b":")
        && is_mark(16, b":");
    let is_time = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !has_marks || !is_time {
        return None;
    }
    let mut zone = text.get(19..)?;
    if let [b'.', fraction @ ..] = zone {
        let digits = fraction.iter().take_while(|o| o.is_ascii_digit()).count();
        zone = &fraction[digits..];
    }
    let offset_secs = match zone {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let secs = number(at, at + 2)? * 3600 + number(at + 3, at + 5)? * 60;
            if *sign == b'+' { secs } else { -secs }
        }
        _ => return None,
    };
    let secs = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_secs;
    u64::try_from(secs).ok()
}

/// Days since 1970 of the Gregorian calendar; the year begins in March here, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// The reverse.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_reports() {
        for (text, secs) in [
            ("2016-04-01T00:00:00Z", Some(1_459_468_800)),
            ("2016-04-01T23:59:59Z", Some(1_459_555_199)),
            ("2016-04-01T00:00:00", Some(1_459_468_800)),
            ("2016-04-01 00:00:00z", Some(1_459_468_800)),
            ("2016-04-01T00:00:00.123456789Z", Some(1_459_468_800)),
            ("2016-04-01T02:00:00+02:00", Some(1_459_468_800)),
            ("2016-03-31T22:30:00.5-01:30", Some(1_459_468_800)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("1969-12-31T23:59:59Z", None),
            ("2016-04-01", None),
            ("2016-04-01T00:00Z", None),
            ("2016-13-01T00:00:00Z", None),
            ("2016-04-01T25:00:00Z", None),
            ("2016-04-01T00:00:00X", None),
            ("2016-04-01T00:00:00+0200", None),
            ("+016-04-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(from_date_time(text), secs, "{text}");
        }
    }

    #[test]
    fn days_as_they_are_written() {
        assert_eq!("20160401".parse(), Ok(Day::of(1_459_500_000)));
        assert_eq!("2016-04-01".parse(), Ok(Day::of(1_459_500_000)));
        assert_eq!("19700101".parse(), Ok(Day(0)));
        for wrong in [
            "",
            "2016041",
            "20160230",
            "2016-0401",
            "-20160401",
            "+2016401",
            "20160431",
            "today",
            "201604\u{661}1",
        ] {
            assert_eq!(wrong.parse::<Day>(), Err(NoDay), "{wrong}");
        }
    }

    #[test]
    fn days_there_and_back() {
        for day in (0..2_932_896u32).step_by(97) {
            let text = to_date_time(Day(day).start_secs());
            assert_eq!(from_date_time(&text), Some(Day(day).start_secs()));
        }
        let day = Day::of(1_459_500_000);
        assert_eq!(day.to_string(), "20160401");
        assert_eq!(to_date_time(day.end_secs()), "2016-04-01T23:59:59Z");
        assert_eq!(Day::of(u64::MAX), Day(u32::MAX));
        assert_eq!(to_date_time(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
