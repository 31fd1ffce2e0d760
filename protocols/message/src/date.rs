//! Dates of header fields: reading them as people write them, writing them as RFC 5322 asks.
//! The reader is our own: mail-parser loses dates without seconds and with dashes, which old mail has. Time itself is an argument.
//! RFC 5322 3.3 and 4.3.
//! Not here: IMAP's date-time (`protocols/imap`).

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
        let parts = DateParts::read(value);
        let date = parts.day()?;
        let days = days_from_civil(date.year.into(), date.month.into(), date.day.into());
        let offset_minutes = parts.offset_minutes.unwrap_or(0);
        let unix_secs = days * 86_400 + i64::from(parts.second_of_day.unwrap_or(0))
            - i64::from(offset_minutes) * 60;
        Some(Self {
            unix_secs,
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
        DateParts::read(value).day()
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

/// What has been found in a date, in whatever order it came.
#[derive(Default)]
struct DateParts {
    day: Option<u8>,
    month: Option<u8>,
    year: Option<u16>,
    second_of_day: Option<u32>,
    offset_minutes: Option<i16>,
}

impl DateParts {
    fn read(value: &[u8]) -> Self {
        let mut parts = Self::default();
        let text = String::from_utf8_lossy(&value[..value.len().min(limits::DATE_MAX)]);
        let mut comments = 0u32;
        for word in text.split_inclusive(|letter: char| "() \t\r\n,".contains(letter)) {
            let last = word.chars().next_back();
            if comments == 0 {
                parts.add(word.trim_end_matches(|letter: char| "() \t\r\n,".contains(letter)));
            }
            match last {
                Some('(') => comments += 1,
                Some(')') => comments = comments.saturating_sub(1),
                _ => {}
            }
        }
        parts
    }

    fn add(&mut self, word: &str) {
        if word.contains(':') {
            self.second_of_day = self.second_of_day.or_else(|| time_of_day(word));
        } else if let Some(offset) = zone(word).filter(|_| self.second_of_day.is_some()) {
            self.offset_minutes.get_or_insert(offset);
        } else if word.contains('-') {
            word.split('-').for_each(|piece| self.add(piece)); // 21-Nov-1997
        } else if let Ok(number) = word.parse::<u16>() {
            match self.day {
                None if word.len() <= 2 => self.day = Some(number as u8),
                _ => self.year = self.year.or(Some(full_year(number, word.len()))),
            }
        } else if let Some(name) = word.get(..3) {
            let month = MONTHS
                .iter()
                .position(|month| month.eq_ignore_ascii_case(name));
            self.month = self.month.or(month.map(|index| index as u8 + 1));
        }
    }

    fn day(&self) -> Option<SentDate> {
        let date = SentDate {
            year: self.year?,
            month: self.month?,
            day: self.day?,
        };
        ((1..=31).contains(&date.day) && (1..=9999).contains(&date.year)).then_some(date)
    }
}

// RFC 5322 4.3: two digits mean 1950 to 2049, three count from 1900.
fn full_year(number: u16, digits: usize) -> u16 {
    match (digits, number) {
        (..=2, ..=49) => 2000 + number,
        (..=3, _) => 1900 + number,
        _ => number,
    }
}

// RFC 5322 3.3: time-of-day = hour ":" minute [ ":" second ]; 60 is a leap second.
fn time_of_day(word: &str) -> Option<u32> {
    let mut numbers = word.split(':').map(|number| number.parse::<u32>().ok());
    let (hour, minute) = (numbers.next()??, numbers.next()??);
    let second = numbers.next().flatten().unwrap_or(0);
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3600 + minute * 60 + second)
}

// RFC 5322 3.3: zone = ("+" / "-") 4DIGIT; 4.3: names. Unknown names are -0000. A zone of 24 hours or more is taken as UTC.
fn zone(word: &str) -> Option<i16> {
    let sign_at = word.find(['+', '-']); // also "GMT+0100"
    let Some((sign, digits)) = sign_at.map(|at| word[at..].split_at(1)) else {
        let named = ZONES
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name));
        return named.map(|(_, hours)| hours * 60);
    };
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let number: i16 = digits.parse().ok()?;
    let minutes = if number / 100 < 24 && number % 100 < 60 {
        number / 100 * 60 + number % 100
    } else {
        0
    };
    Some(if sign == "-" { -minutes } else { minutes })
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
const ZONES: [(&str, i16); 12] = [
    ("UT", 0),
    ("GMT", 0),
    ("UTC", 0),
    ("Z", 0),
    ("EDT", -4),
    ("EST", -5),
    ("CDT", -5),
    ("CST", -6),
    ("MDT", -6),
    ("MST", -7),
    ("PDT", -7),
    ("PST", -8),
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
