//! Durations, sizes and per-network counts as an operator writes them: `"5m"`, `"256MiB"`, `[30, 90, 270]`.
//! A bare number is seconds or octets, as the field's name says. Each type writes itself back in the form it reads.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time. Written as a number of seconds or as text: `"500ms"`, `"30s"`, `"5m"`, `"1h30m"`, `"2d"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secs(pub Duration);

impl Secs {
    /// So many seconds.
    pub const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::new(minutes * 60)
    }

    /// The length as the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Secs> for Duration {
    fn from(secs: Secs) -> Self {
        secs.0
    }
}

/// A number of octets. Written as a number or as text: `"64KiB"`, `"256MiB"`, `"10GiB"`, or with decimal `kB`, `MB`, `GB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// So many MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// So many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The number of octets.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as a memory size; saturates on a machine with smaller addresses.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "{0:?} is not a duration: write seconds, or text such as \"500ms\", \"30s\", \"5m\", \"1h30m\", \"2d\""
    )]
    Duration(String),
    /// Not a size.
    #[error("{0:?} is not a size: write bytes, or text such as \"64KiB\", \"256MiB\", \"10GiB\"")]
    Size(String),
}

impl FromStr for Secs {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_duration(text)
            .map(Self)
            .ok_or_else(|| UnitError::Duration(text.to_owned()))
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text)
            .map(Self)
            .ok_or_else(|| UnitError::Size(text.to_owned()))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit_len = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        let millis = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = next.trim_start();
    }
    (total <= DURATION_MAX).then_some(total)
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text.trim())?;
    let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim())?.1;
    let size = number.checked_mul(factor)?;
    (size <= i64::MAX as u64).then_some(size)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis() as u64;
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in DURATION_UNITS {
            if millis >= length {
                write!(f, "{}{unit}", millis / length)?;
                millis %= length;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS[..4]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Serialize for Secs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = match deserializer
            .deserialize_any(NumberOrText("a duration such as 30, \"30s\" or \"5m\""))?
        {
            Written::Text(text) => return text.parse().map_err(de::Error::custom),
            Written::Number(number) => number,
        };
        let length = Duration::from_secs(number);
        if length > DURATION_MAX {
            return Err(de::Error::custom(UnitError::Duration(number.to_string())));
        }
        Ok(Self(length))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer
            .deserialize_any(NumberOrText("a size such as 65536, \"64KiB\" or \"10GiB\""))?
        {
            Written::Text(text) => text.parse().map_err(de::Error::custom),
            Written::Number(number) => Ok(Self(number)),
        }
    }
}

enum Written {
    Number(u64),
    Text(String),
}

struct NumberOrText(&'static str);

impl de::Visitor<'_> for NumberOrText {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Written, E> {
        Ok(Written::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Written, E> {
        let number = u64::try_from(number)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
        Ok(Written::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }
}

/// Counts for three widening classes of the peer's network: the address (IPv4 /32, IPv6 /64), its neighbourhood (/26, /48), its provider (/21, /32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub struct PerNetwork {
    /// For IPv4 /32 or IPv6 /64.
    pub address: u32,
    /// For IPv4 /26 or IPv6 /48.
    pub neighbourhood: u32,
    /// For IPv4 /21 or IPv6 /32.
    pub provider: u32,
}

impl PerNetwork {
    /// The three counts, narrow to wide.
    pub const fn new(address: u32, neighbourhood: u32, provider: u32) -> Self {
        Self {
            address,
            neighbourhood,
            provider,
        }
    }
}

impl TryFrom<Vec<u32>> for PerNetwork {
    type Error = String;

    fn try_from(counts: Vec<u32>) -> Result<Self, String> {
        match counts[..] {
            [a, b, c] if 0 < a && a <= b && b <= c => Ok(Self::new(a, b, c)),
            [_, _, _] => Err(
                "the three counts are above 0 and do not get smaller as the network widens"
                    .to_owned(),
            ),
            _ => Err(format!(
                "expected three counts ([address, neighbourhood, provider]), found {}",
                counts.len()
            )),
        }
    }
}

impl From<PerNetwork> for Vec<u32> {
    fn from(counts: PerNetwork) -> Self {
        vec![counts.address, counts.neighbourhood, counts.provider]
    }
}

/// Longest duration a setting may have: ten years. Keeps every sum with a clock in range.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// Units of time in milliseconds, largest first: the order in which they are written.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of size; the first four, largest first, are those that are written.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write_back() {
        for (text, millis, written) in [
            ("0s", 0, "0s"),
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("300s", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            (" 1h 30m ", 5_400_000, "1h30m"),
            ("2d", 172_800_000, "2d"),
        ] {
            let parsed: Secs = text.parse().unwrap();
            assert_eq!(parsed.0.as_millis(), millis, "{text}");
            assert_eq!(parsed.to_string(), written);
        }
    }

    #[test]
    fn wrong_durations_are_refused() {
        for text in [
            "",
            " ",
            "5",
            "m",
            "5x",
            "5 minutes",
            "-5s",
            "1.5s",
            "5m3",
            "99999999999999999999s",
            "18446744073709551615d",
            "4000d",
        ] {
            assert_eq!(
                text.parse::<Secs>(),
                Err(UnitError::Duration(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_read_and_write_back() {
        for (text, size, written) in [
            ("0", 0, "0"),
            ("100", 100, "100"),
            ("64KiB", 65_536, "64KiB"),
            ("1536 KiB", 1_572_864, "1536KiB"),
            ("256MiB", 268_435_456, "256MiB"),
            ("10GiB", 10 << 30, "10GiB"),
            ("1MB", 1_000_000, "1000000"),
        ] {
            let parsed: Bytes = text.parse().unwrap();
            assert_eq!(parsed.0, size, "{text}");
            assert_eq!(parsed.to_string(), written);
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for text in [
            "",
            "MiB",
            "5 m",
            "5mb",
            "-1",
            "1.5GiB",
            "99999999TiB",
            "18446744073709551615",
        ] {
            assert_eq!(
                text.parse::<Bytes>(),
                Err(UnitError::Size(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn network_counts_widen() {
        assert_eq!(
            PerNetwork::try_from(vec![30, 90, 270]),
            Ok(PerNetwork::new(30, 90, 270))
        );
        for wrong in [
            vec![],
            vec![1],
            vec![1, 2, 3, 4],
            vec![3, 2, 4],
            vec![0, 1, 2],
        ] {
            assert!(PerNetwork::try_from(wrong).is_err());
        }
    }
}
