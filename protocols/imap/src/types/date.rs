//! `date-time` (internal date) and `date` (SEARCH), RFC 9051 9, checked against the calendar.

use std::io::Write;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A day of the Gregorian calendar, year 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day, if the calendar has it.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let valid =
            year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
        valid.then_some(Self { year, month, day })
    }

    /// Year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// Day of the month, from 1.
    pub const fn day(self) -> u8 {
        self.day
    }

    /// Days since 1 January 1970; negative before.
    pub fn to_days(self) -> i32 {
        // Years that begin in March put the leap day last; 400 of them always have 146,097 days.
        let month = i32::from(self.month);
        let year = i32::from(self.year) - i32::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i32::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - 719_468
    }

    /// The day so many days after 1 January 1970, brought into the years 0 to 9999.
    pub fn from_days(days: i32) -> Self {
        let shifted = days.clamp(-719_528, 2_932_896) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = era * 400 + year_of_era + i32::from(month <= 2);
        // The clamp above keeps all three within their types.
        Self {
            year: year as u16,
            month: month as u8,
            day: day as u8,
        }
    }

    /// `date-text = date-day "-" date-month "-" date-year`, without quotes; the day may have one digit.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (day, rest) = match text {
            [a, b'-', rest @ ..] => (digits(&[*a])?, rest),
            [a, b, b'-', rest @ ..] => (digits(&[*a, *b])?, rest),
            _ => return None,
        };
        let [a, b, c, b'-', year @ ..] = rest else {
            return None;
        };
        if year.len() != 4 {
            return None;
        }
        Self::new(
            digits(year)? as u16,
            month_number(&[*a, *b, *c])?,
            day as u8,
        )
    }

    /// Appends `date-text`, the form of SEARCH.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let _ = write!(
            out,
            "{}-{}-{:04}",
            self.day,
            MONTHS[usize::from(self.month) - 1],
            self.year
        ); // a Vec takes all
    }
}

/// A moment with the zone in which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    date: Date,
    seconds_of_day: u32,
    zone_minutes: i16,
}

impl DateTime {
    /// The local day, the local second of that day (0 to 86,400: 23:59:60 is a leap second) and the zone in minutes
    /// east of Greenwich (within 100 hours, as four digits allow).
    pub fn new(date: Date, seconds_of_day: u32, zone_minutes: i16) -> Option<Self> {
        let valid = seconds_of_day <= 86_400 && (-6000..6000).contains(&zone_minutes);
        valid.then_some(Self {
            date,
            seconds_of_day,
            zone_minutes,
        })
    }

    /// The moment so many seconds after the beginning of 1970 in UTC, shown in a zone.
    pub fn from_unix_secs(secs: i64, zone_minutes: i16) -> Self {
        let zone_minutes = zone_minutes.clamp(-5999, 5999);
        let local = secs.saturating_add(i64::from(zone_minutes) * 60);
        let days = local
            .div_euclid(86_400)
            .clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        // The clamp and the remainder keep both within their types.
        Self {
            date: Date::from_days(days as i32),
            seconds_of_day: local.rem_euclid(86_400) as u32,
            zone_minutes,
        }
    }

    /// Seconds since the beginning of 1970 in UTC.
    pub fn to_unix_secs(self) -> i64 {
        i64::from(self.date.to_days()) * 86_400 + i64::from(self.seconds_of_day)
            - i64::from(self.zone_minutes) * 60
    }

    /// The day, in the zone of the value. SEARCH BEFORE, ON and SINCE look at it disregarding time and zone.
    pub const fn date(self) -> Date {
        self.date
    }

    /// Zone in minutes east of Greenwich.
    pub const fn zone_minutes(self) -> i16 {
        self.zone_minutes
    }

    /// `date-day-fixed "-" date-month "-" date-year SP time SP zone`, the 26 octets between the quotes.
    /// One-digit days without the leading space are taken too (Quirk: several clients write them so).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b" ").unwrap_or(text);
        let date_end = memchr::memchr(b' ', text)?;
        let date = Date::parse(&text[..date_end])?;
        let [
            h1,
            h2,
            b':',
            m1,
            m2,
            b':',
            s1,
            s2,
            b' ',
            sign,
            z1,
            z2,
            z3,
            z4,
        ] = &text[date_end + 1..]
        else {
            return None;
        };
        let (hour, minute, second) = (
            digits(&[*h1, *h2])?,
            digits(&[*m1, *m2])?,
            digits(&[*s1, *s2])?,
        );
        let (zone_hour, zone_minute) = (digits(&[*z1, *z2])?, digits(&[*z3, *z4])?);
        let leap = (hour, minute, second) == (23, 59, 60);
        if hour > 23 || minute > 59 || (second > 59 && !leap) || zone_minute > 59 {
            return None;
        }
        let zone = (zone_hour * 60 + zone_minute) as i16;
        let zone_minutes = match sign {
            b'+' => zone,
            b'-' => -zone,
            _ => return None,
        };
        Self::new(date, hour * 3600 + minute * 60 + second, zone_minutes)
    }

    /// Appends the 26 octets that [`DateTime::parse`] reads.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let (secs, zone) = (
            self.seconds_of_day.min(86_399),
            self.zone_minutes.unsigned_abs(),
        );
        let leap = self.seconds_of_day - secs;
        let _ = write!(
            out,
            "{:2}-{}-{:04} {:02}:{:02}:{:02} {}{:02}{:02}",
            self.date.day,
            MONTHS[usize::from(self.date.month) - 1],
            self.date.year,
            secs / 3600,
            secs / 60 % 60,
            secs % 60 + leap,
            if self.zone_minutes < 0 { '-' } else { '+' },
            zone / 60,
            zone % 60
        ); // a Vec takes all
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// date-month, in any case.
fn month_number(name: &[u8; 3]) -> Option<u8> {
    MONTHS
        .iter()
        .position(|month| month.as_bytes().eq_ignore_ascii_case(name))
        .map(|index| index as u8 + 1)
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |sum, octet| {
        octet
            .is_ascii_digit()
            .then(|| sum * 10 + u32::from(octet - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(moment: DateTime) -> String {
        let mut out = Vec::new();
        moment.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc9051_internal_date() {
        let moment = DateTime::parse(b"17-Jul-1996 02:44:25 -0700").unwrap();
        assert_eq!(moment.to_unix_secs(), 837_596_665);
        assert_eq!(show(moment), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(
            show(DateTime::from_unix_secs(837_596_665, -420)),
            "17-Jul-1996 02:44:25 -0700"
        );
    }

    #[test]
    fn days_both_ways() {
        for days in (-719_528..2_932_896).step_by(97) {
            assert_eq!(Date::from_days(days).to_days(), days);
        }
        assert_eq!(Date::new(1970, 1, 1).unwrap().to_days(), 0);
        assert_eq!(Date::new(2000, 2, 29).unwrap().to_days(), 11_016);
        assert_eq!(Date::from_days(i32::MAX), Date::new(9999, 12, 31).unwrap());
    }

    #[test]
    fn one_digit_days() {
        assert_eq!(
            show(DateTime::parse(b" 1-feb-2024 00:00:00 +0000").unwrap()),
            " 1-Feb-2024 00:00:00 +0000"
        );
        assert!(DateTime::parse(b"1-Feb-2024 00:00:00 +0000").is_some());
        assert_eq!(Date::parse(b"1-Feb-1994"), Date::new(1994, 2, 1));
    }

    #[test]
    fn out_of_range() {
        for text in [
            "32-Jan-2024 00:00:00 +0000",
            "29-Feb-2023 00:00:00 +0000",
            " 0-Jan-2024 00:00:00 +0000",
            "01-Foo-2024 00:00:00 +0000",
            "01-Jan-2024 24:00:00 +0000",
            "01-Jan-2024 00:60:00 +0000",
            "01-Jan-2024 00:00:61 +0000",
            "01-Jan-2024 00:00:60 +0000",
            "01-Jan-2024 00:00:00 +0060",
            "01-Jan-2024 00:00:00 00000",
            "01-Jan-2024 00:00:00 +000",
            "01-Jan-24 00:00:00 +0000",
            "",
            " ",
        ] {
            assert!(DateTime::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(
            show(DateTime::parse(b"31-Dec-2016 23:59:60 +0000").unwrap()),
            "31-Dec-2016 23:59:60 +0000"
        );
    }

    #[test]
    fn extreme_clocks_do_not_overflow() {
        for secs in [i64::MIN, i64::MAX, 0, -1] {
            let _ = show(DateTime::from_unix_secs(secs, i16::MIN));
        }
    }
}
