//! When a call that failed is made again.

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

#[cfg(test)]
mod tests {
    use super::*;

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
