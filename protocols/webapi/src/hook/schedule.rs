//! When a call that failed is made again.

use message::MessageDate;

/// Seconds between the first attempt and the second, and so on: twelve attempts within 32 hours.
pub const WAITS_SECS: [u64; 11] = [
    60, 120, 240, 450, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600,
];

/// Seconds until the next attempt, once so many were made; none: that was the last one. `random` makes it up to a hundredth more or less, so
/// that what failed together does not come back together.
pub fn wait_after(attempts: u32, waits: &[u64], random: u64) -> Option<u64> {
    let at = usize::try_from(attempts.checked_sub(1)?).ok()?;
    let wait = *waits.get(at)?;
    let spread = wait / 100;
    Some(wait - spread + random % (2 * spread + 1))
}

/// Seconds that a receiver asks us to wait, a day at most. RFC 9110 10.2.3: `Retry-After = HTTP-date / delay-seconds`. `now`: seconds since 1970.
pub fn retry_after(value: &str, now: i64) -> Option<u64> {
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let secs = match is_number {
        // More than fits is more than a day.
        true => value.parse().unwrap_or(u64::MAX),
        // RFC 9110 5.6.7: all three forms have to be read.
        false => {
            let at = MessageDate::parse(value.as_bytes())?.unix_secs;
            u64::try_from(at.saturating_sub(now)).unwrap_or(0)
        }
    };
    Some(secs.min(RETRY_AFTER_MAX_SECS))
}

const RETRY_AFTER_MAX_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_ask_for_a_pause_in_seconds_or_until_a_moment() {
        let now = 784_111_777 - 90;
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            // The three forms of RFC 9110 5.6.7.
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(90)),
            ("Sun Nov  6 08:49:37 1994", Some(90)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 2094 08:49:37 GMT", Some(86_400)),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), expected, "{value:?}");
        }
    }

    #[test]
    fn twelve_attempts_with_a_little_jitter() {
        for (at, wait) in WAITS_SECS.into_iter().enumerate() {
            for random in [0, 1, u64::MAX, 12_345_678_901] {
                let found = wait_after(at as u32 + 1, &WAITS_SECS, random).unwrap();
                assert!(found.abs_diff(wait) <= wait / 100, "{found} {wait}");
            }
        }
        assert_eq!(wait_after(12, &WAITS_SECS, 0), None);
        assert_eq!(wait_after(0, &WAITS_SECS, 0), None);
        assert_eq!(wait_after(1, &[1], 7), Some(1));
    }
}
