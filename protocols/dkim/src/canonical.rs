//! The two canonicalization algorithms by name, and their form of a header field.
//! Used by signing and verification alike. Fields come from strangers; nothing fails, the cost is one pass. RFC 6376 3.4.1, 3.4.2, 3.5 (c=).
//! Not here: bodies (`body.rs`), which fields are taken (`fields.rs`).

use std::fmt;

use memchr::memchr;

/// One algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Canonicalization {
    /// Hardly any change survives.
    Simple,
    /// White space and the case of field names may change on the way.
    Relaxed,
}

/// What c= says: one algorithm for the header, one for the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Canonicalizations {
    /// For the header.
    pub header: Canonicalization,
    /// For the body.
    pub body: Canonicalization,
}

impl Canonicalization {
    /// Its word in c=.
    pub fn word(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        match word {
            "simple" => Some(Self::Simple),
            "relaxed" => Some(Self::Relaxed),
            _ => None,
        }
    }

    /// Appends the field, which has its name and colon, without an end of line.
    pub(crate) fn field(self, raw: &[u8], output: &mut Vec<u8>) {
        let raw = without_line_end(raw);
        match self {
            Self::Simple => output.extend_from_slice(raw),
            Self::Relaxed => relaxed(raw, output),
        }
    }
}

impl Canonicalizations {
    /// RFC 6376 3.5: the default of c=.
    pub const SIMPLE: Self = Self {
        header: Canonicalization::Simple,
        body: Canonicalization::Simple,
    };
    /// What survives most relays, and what we sign with unless told otherwise.
    pub const RELAXED: Self = Self {
        header: Canonicalization::Relaxed,
        body: Canonicalization::Relaxed,
    };

    // sig-c-tag = %x63 [FWS] "=" [FWS] sig-c-tag-alg ["/" sig-c-tag-alg]
    pub(crate) fn parse(value: &str) -> Option<Self> {
        // RFC 6376 3.5: a lone name is the header's, the body's is then simple.
        let (header, body) = value.split_once('/').unwrap_or((value, "simple"));
        Some(Self {
            header: Canonicalization::of_word(header)?,
            body: Canonicalization::of_word(body)?,
        })
    }
}

impl Default for Canonicalizations {
    fn default() -> Self {
        Self::RELAXED
    }
}

impl fmt::Display for Canonicalizations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.header.word(), self.body.word())
    }
}

fn without_line_end(raw: &[u8]) -> &[u8] {
    let text = raw.strip_suffix(b"\r\n").or(raw.strip_suffix(b"\n"));
    text.unwrap_or(raw)
}

// RFC 6376 3.4.2: name in lower case, no white space around the colon; value unfolded, white space as one SP, none at the end.
fn relaxed(raw: &[u8], output: &mut Vec<u8>) {
    let colon = memchr(b':', raw).unwrap_or(raw.len());
    output.extend(
        raw[..colon]
            .trim_ascii_end()
            .iter()
            .map(u8::to_ascii_lowercase),
    );
    output.push(b':');
    let value = raw.get(colon + 1..).unwrap_or_default();
    let start = output.len();
    let mut space = false;
    for (place, &octet) in value.iter().enumerate() {
        match octet {
            b' ' | b'\t' => space = true,
            // Line ends within a field are folds: the line after each begins with white space. A CR on its own is data.
            b'\n' => {}
            b'\r' if value.get(place + 1) == Some(&b'\n') => {}
            _ => {
                if space && output.len() > start {
                    output.push(b' ');
                }
                space = false;
                output.push(octet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(algorithm: Canonicalization, raw: &str) -> String {
        let mut output = Vec::new();
        algorithm.field(raw.as_bytes(), &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn fields_of_rfc_6376_3_4_5() {
        let relaxed = |raw| canonical(Canonicalization::Relaxed, raw);
        assert_eq!(relaxed("A: X\r\n"), "a:X");
        assert_eq!(relaxed("B : Y\t\r\n\tZ  \r\n"), "b:Y Z");
        let simple = |raw| canonical(Canonicalization::Simple, raw);
        assert_eq!(simple("A: X\r\n"), "A: X");
        assert_eq!(simple("B : Y\t\r\n\tZ  \r\n"), "B : Y\t\r\n\tZ  ");
    }

    #[test]
    fn empty_and_odd_fields() {
        let relaxed = |raw| canonical(Canonicalization::Relaxed, raw);
        assert_eq!(relaxed("SUBJect: \r\n"), "subject:");
        assert_eq!(relaxed("Subject:\t\r\n \r\n"), "subject:");
        assert_eq!(relaxed("Subject:a:  b :c"), "subject:a: b :c");
        assert_eq!(relaxed("Subject:a\rb \r\r\n c"), "subject:a\rb \r c");
        assert_eq!(
            relaxed("Subject:\u{e4}  \u{f6}\r\n"),
            "subject:\u{e4} \u{f6}"
        );
    }

    #[test]
    fn the_words_of_c() {
        let parse = |text| Canonicalizations::parse(text).map(|c| c.to_string());
        assert_eq!(parse("relaxed").as_deref(), Some("relaxed/simple"));
        assert_eq!(parse("simple/relaxed").as_deref(), Some("simple/relaxed"));
        for wrong in [
            "",
            "relaxed/",
            "/simple",
            "nofws",
            "relaxed/simple/simple",
            "Relaxed",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
