//! Times as parameters and offers have them: `2026-11-26T05:56:36Z`, as seconds since 1970.
//! Called by the parsers of MAIL and of EHLO's answer, and by who writes them. Input is untrusted. No clock here.
//! RFC 3339 5.6 (date-time), RFC 4865 3 (normalized to UTC).
//!
//! ```text
//! date-time   = full-date "T" full-time          full-date = date-fullyear "-" date-month "-" date-mday
//! full-time   = partial-time time-offset         partial-time = time-hour ":" time-minute ":" time-second [time-secfrac]
//! time-offset = "Z" / ( ("+" / "-") time-hour ":" time-minute )
//! ```

/// Seconds since 1970 (or before it) of a date-time; a fraction of a second is cut off.
pub fn parse(text: &str) -> Option<i64> {
    let octets = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = octets.get(from..to)?;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let separators = [4, 7, 10, 13, 16].map(|at| octets[at].to_ascii_uppercase());
    // RFC 3339 5.7: 60 is a leap second.
    let fits = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if &separators != b"--T::" || !fits {
        return None;
    }
    let mut zone = &octets[19..];
    if let [b'.', fraction @ ..] = zone {
        let digits = fraction.iter().take_while(|o| o.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        zone = &fraction[digits..];
    }
    let at = octets.len() - zone.len();
    let offset = match zone {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// In UTC. Years beyond 9999 have no such form: the last second that has one.
pub fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(FIRST, LAST);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of the Gregorian calendar; the year begins in March here, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// Year, month and day: the reverse.
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
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times() {
        for (text, seconds) in [
            // RFC 3339 5.8.
            ("1985-04-12T23:20:50.52Z", 482_196_050),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("1990-12-31T23:59:60Z", 662_688_000),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_173),
            ("2000-02-29t00:00:00z", 951_782_400),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for wrong in [
            "",
            "2016-04-01",
            "2016-04-01T00:00:00",
            "2016-04-01T00:00Z",
            "2016-04-01 00:00:00Z",
            "2016-13-01T00:00:00Z",
            "2015-02-29T00:00:00Z",
            "2016-04-00T00:00:00Z",
            "2016-04-01T24:00:00Z",
            "2016-04-01T00:60:00Z",
            "2016-04-01T00:00:61Z",
            "2016-04-01T00:00:00.Z",
            "2016-04-01T00:00:00+0200",
            "2016-04-01T00:00:00+24:00",
            "2016-04-01T00:00:00Z ",
            "+016-04-01T00:00:00Z",
            "2016-04-01T00:00:0\u{e9}Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for day in -3000..3000 {
            let seconds = day * 1_000_003 * 13;
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
        assert_eq!(format(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(format(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(format(1_459_468_800), "2016-04-01T00:00:00Z");
    }
}
