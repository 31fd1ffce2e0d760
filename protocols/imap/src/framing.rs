//! Lines and the literal headers at their ends, RFC 9051 4.3 and RFC 7888 3, for server and client.

use crate::grammar::chars;

/// `"{" number64 ["+"] "}"` or `"~{" .. "}"` at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiteralHeader {
    /// Where its first octet (`{` or `~`) stands in the line.
    pub start: usize,
    /// Announced octets; `u64::MAX` when that many digits do not fit.
    pub size: u64,
    /// Whether the client waits for a continuation.
    pub synchronizing: bool,
    /// `~{`: literal8.
    pub eight_bit: bool,
}

impl LiteralHeader {
    /// The header at the end of a line, if there is one.
    pub(crate) fn at_end_of(line: &[u8]) -> Option<Self> {
        let inner = line.strip_suffix(b"}")?;
        let (inner, synchronizing) = match inner.strip_suffix(b"+") {
            Some(inner) => (inner, false),
            None => (inner, true),
        };
        let digits = inner
            .iter()
            .rev()
            .take_while(|octet| octet.is_ascii_digit())
            .count();
        let brace = inner.len().checked_sub(digits + 1)?;
        if digits == 0 || inner[brace] != b'{' {
            return None;
        }
        let size = inner[brace + 1..]
            .iter()
            .try_fold(0u64, |size, octet| {
                size.checked_mul(10)?.checked_add(u64::from(octet - b'0'))
            })
            .unwrap_or(u64::MAX);
        let eight_bit = brace > 0 && inner[brace - 1] == b'~';
        Some(Self {
            start: brace - usize::from(eight_bit),
            size,
            synchronizing,
            eight_bit,
        })
    }

    /// The octets `{` or `~{`, with which the grammar of APPEND ends.
    pub(crate) fn opening_len(&self) -> usize {
        1 + usize::from(self.eight_bit)
    }
}

/// The line without its CRLF. Quirk: a bare LF ends a line too (people at a terminal).
pub(crate) fn strip_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Where the arguments of an APPEND begin, if this is one: behind `tag SP "APPEND" SP`.
pub(crate) fn append_arguments(text: &[u8]) -> Option<usize> {
    let tag = text
        .iter()
        .take_while(|&&octet| chars::is_tag(octet))
        .count();
    let command = text.get(tag..tag + 8)?;
    command.eq_ignore_ascii_case(b" APPEND ").then_some(tag + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = |line: &str| LiteralHeader::at_end_of(line.as_bytes());
        let plain = LiteralHeader {
            start: 2,
            size: 3,
            synchronizing: true,
            eight_bit: false,
        };
        assert_eq!(header("a {3}"), Some(plain));
        assert_eq!(
            header("a {3+}"),
            Some(LiteralHeader {
                synchronizing: false,
                ..plain
            })
        );
        assert_eq!(
            header("a ~{3}"),
            Some(LiteralHeader {
                eight_bit: true,
                ..plain
            })
        );
        assert_eq!(header("{99999999999999999999999}").unwrap().size, u64::MAX);
        for none in [
            "", "}", "{}", "3}", "{3", "{+}", "{3+}x", "{3-}", "{ 3}", "{3++}",
        ] {
            assert_eq!(header(none), None, "{none}");
        }
    }

    #[test]
    fn append_is_known_by_its_name() {
        assert_eq!(append_arguments(b"a append INBOX {3}"), Some(9));
        assert_eq!(append_arguments(b"a appendix INBOX"), None);
        assert_eq!(append_arguments(b"a"), None);
    }
}
