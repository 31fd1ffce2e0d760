//! Dates of header fields: reading them as people write them, writing them as RFC 5322 asks.
//! Reading is mail-parser's work, checked here for sense. Time itself is an argument. RFC 5322 3.3 and 4.3.
//! Not here: IMAP's date-time (`protocols/imap`).

use mail_parser::DateTime;

use crate::header::Header;
use crate::limits;

/// A day as the sender wrote it, without conversion between zones: what SENTBEFORE, SENTON and SENTSINCE compare (RFC 9051 6.4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SentDate {
    /// Four digits.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// A moment in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageDate {
    /// Seconds since 1970-01-01 UTC.
    pub unix_secs: i64,
    /// The zone, east of UTC, below 24 hours either way.
    pub offset_minutes: i16,
}

impl MessageDate {
    /// A moment in UTC.
    pub fn utc(unix_secs: i64) -> Self {
        Self {
            unix_secs,
            offset_minutes: 0,
        }
    }

    /// Reads the value of a Date field. `None` if there is no sensible date in it.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let date = read(value)?;
        // A zone of 24 hours or more is taken as UTC.
        let offset = i16::from(date.tz_hour) * 60 + i16::from(date.tz_minute.min(59));
        let offset = if date.tz_hour > 23 { 0 } else { offset };
        let offset_minutes = if date.tz_before_gmt { -offset } else { offset };
        let days = days_from_civil(date.year.into(), date.month.into(), date.day.into());
        let seconds =
            i64::from(date.hour) * 3600 + i64::from(date.minute) * 60 + i64::from(date.second);
        Some(Self {
            unix_secs: days * 86_400 + seconds - i64::from(offset_minutes) * 60,
            offset_minutes,
        })
    }

    /// The Date field of a header.
    pub fn of_header(header: Header<'_>) -> Option<Self> {
        Self::parse(header.first("Date")?.value)
    }
}

impl SentDate {
    /// Reads the value of a Date field. `None` if there is no sensible date in it.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let date = read(value)?;
        Some(Self {
            year: date.year,
            month: date.month,
            day: date.day,
        })
    }

    /// The Date field of a header.
    pub fn of_header(header: Header<'_>) -> Option<Self> {
        Self::parse(header.first("Date")?.value)
    }
}

// RFC 5322 3.3: date-time = [day-of-week ","] day month year hour ":" minute [":" second] zone
impl std::fmt::Display for MessageDate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let local = self
            .unix_secs
            .saturating_add(i64::from(self.offset_minutes) * 60)
            .clamp(LOCAL_MIN, LOCAL_MAX);
        let (days, seconds) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
        let month = MONTHS[month as usize - 1];
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let zone = self.offset_minutes.unsigned_abs();
        let (zone_hour, zone_minute) = (zone / 60 % 100, zone % 60);
        write!(
            formatter,
            "{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} {sign}{zone_hour:02}{zone_minute:02}"
        )
    }
}

fn read(value: &[u8]) -> Option<DateTime> {
    let text = String::from_utf8_lossy(&value[..value.len().min(limits::DATE_MAX)]);
    let date = DateTime::parse_rfc822(text.trim_ascii())?;
    let sensible = (1..=12).contains(&date.month)
        && (1..=31).contains(&date.day)
        && (1..=9999).contains(&date.year)
        && date.hour < 24
        && date.minute < 60
        && date.second <= 60; // RFC 5322 3.3: 60 is a leap second
    sensible.then_some(date)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month, day of a day since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (
        year_of_era + days.div_euclid(146_097) * 400 + i64::from(month <= 2),
        month,
        day,
    )
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// Years 0000 to 9999, the ones that four digits write.
const LOCAL_MIN: i64 = -62_167_219_200;
const LOCAL_MAX: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes() {
        assert_eq!(
            MessageDate::utc(0).to_string(),
            "Thu, 1 Jan 1970 00:00:00 +0000"
        );
        assert_eq!(
            MessageDate {
                unix_secs: 951_868_799,
                offset_minutes: -210
            }
            .to_string(),
            "Tue, 29 Feb 2000 20:29:59 -0330"
        );
        assert_eq!(
            MessageDate::utc(i64::MAX).to_string(),
            "Fri, 31 Dec 9999 23:59:59 +0000"
        );
        assert_eq!(
            MessageDate::utc(i64::MIN).to_string(),
            "Sat, 1 Jan 0000 00:00:00 +0000"
        );
    }

    #[test]
    fn reads_what_it_writes() {
        for unix_secs in (-30_000_000_000..250_000_000_000).step_by(86_400 * 977 + 7) {
            let date = MessageDate {
                unix_secs,
                offset_minutes: (unix_secs % 1439) as i16,
            };
            assert_eq!(
                MessageDate::parse(date.to_string().as_bytes()),
                Some(date),
                "{date}"
            );
        }
    }

    #[test]
    fn reads_the_wild() {
        let sent = |value: &str| {
            SentDate::parse(value.as_bytes()).map(|date| (date.year, date.month, date.day))
        };
        assert_eq!(
            sent("Fri, 21 Nov 1997 09:55:06 -0600"),
            Some((1997, 11, 21))
        );
        assert_eq!(sent("21 Nov 97 09:55:06 GMT"), Some((1997, 11, 21)));
        assert_eq!(
            sent(" Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)"),
            Some((1969, 2, 13))
        );
        for none in [
            "",
            "yesterday",
            "99 Foo 2000 00:00:00 +0000",
            "((((",
            ";;;;",
        ] {
            assert_eq!(sent(none), None, "{none}");
        }
        let newfoundland = MessageDate::parse(b"Thu, 13 Feb 1969 23:32:54 -0330").unwrap();
        assert_eq!(
            (newfoundland.unix_secs, newfoundland.offset_minutes),
            (-27_723_426, -210)
        );
    }
}
