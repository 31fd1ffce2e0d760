//! Content-Type and Content-Disposition: a word (or two) and parameters.
//! Input is untrusted and often wrong; whatever can be read is, the rest is skipped. Linear in the input.
//! RFC 2045 5.1, RFC 2183, RFC 2231. Not here: which body a type belongs to (`structure/walk.rs`).

use crate::limits;

/// A media type: `type "/" subtype *(";" parameter)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// Top-level type in upper case, e.g. `TEXT`.
    pub media: Vec<u8>,
    /// Subtype in upper case, e.g. `PLAIN`.
    pub subtype: Vec<u8>,
    /// In the order of the message, each name once.
    pub parameters: Vec<Parameter>,
}

/// A Content-Disposition: `disposition-type *(";" parameter)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// In upper case, e.g. `ATTACHMENT`.
    pub kind: Vec<u8>,
    /// In the order of the message, each name once.
    pub parameters: Vec<Parameter>,
}

/// A parameter, its continuations joined and its RFC 2231 encoding undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// In upper case, without `*`.
    pub name: Vec<u8>,
    /// Without quotes. UTF-8 if it was encoded, else the octets as they stand in the message.
    pub value: Vec<u8>,
}

impl ContentType {
    /// Reads an unfolded value. `None` if there is no `type/subtype`; RFC 2045 5.2 then asks for text/plain.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut scanner = Scanner { rest: value };
        let media = scanner.token();
        scanner.skip_blank();
        scanner.rest = scanner.rest.strip_prefix(b"/")?;
        let subtype = scanner.token();
        if media.is_empty() || subtype.is_empty() {
            return None;
        }
        let (media, subtype) = (media.to_ascii_uppercase(), subtype.to_ascii_uppercase());
        Some(Self {
            media,
            subtype,
            parameters: scanner.parameters(),
        })
    }

    /// `text/plain; charset=us-ascii`, the type of a body without one (RFC 2045 5.2).
    pub fn text_plain() -> Self {
        let charset = Parameter {
            name: b"CHARSET".to_vec(),
            value: b"us-ascii".to_vec(),
        };
        Self {
            parameters: vec![charset],
            ..Self::without_parameters("TEXT", "PLAIN")
        }
    }

    pub(crate) fn without_parameters(media: &str, subtype: &str) -> Self {
        Self {
            media: media.into(),
            subtype: subtype.into(),
            parameters: Vec::new(),
        }
    }

    /// Compares both words without case.
    pub fn is(&self, media: &str, subtype: &str) -> bool {
        self.is_media(media) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// Compares the top-level type without case.
    pub fn is_media(&self, media: &str) -> bool {
        self.media.eq_ignore_ascii_case(media.as_bytes())
    }

    /// The value of a parameter; the name is compared without case.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        find(&self.parameters, name)
    }
}

impl Disposition {
    /// Reads an unfolded value; `None` if it has no word at the front.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut scanner = Scanner { rest: value };
        let kind = scanner.token().to_ascii_uppercase();
        (!kind.is_empty()).then(|| Self {
            kind,
            parameters: scanner.parameters(),
        })
    }

    /// The value of a parameter; the name is compared without case.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        find(&self.parameters, name)
    }
}

/// The first word of a value, e.g. of Content-Transfer-Encoding; comments are skipped.
pub(crate) fn first_token(value: &[u8]) -> &[u8] {
    Scanner { rest: value }.token()
}

fn find<'a>(parameters: &'a [Parameter], name: &str) -> Option<&'a [u8]> {
    let mut named = parameters
        .iter()
        .filter(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()));
    named.next().map(|parameter| parameter.value.as_slice())
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// Skips white space and comments (RFC 5322 3.2.2); an open comment reaches to the end.
    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.first() != Some(&b'(') {
                return;
            }
            self.rest = &self.rest[comment_len(self.rest)..];
        }
    }

    // RFC 2045 5.1: token := 1*<any CHAR except SPACE, CTLs, or tspecials>. Octets above 127 pass (RFC 6532).
    fn token(&mut self) -> &'a [u8] {
        self.skip_blank();
        let ends = |octet: &u8| {
            octet.is_ascii_whitespace()
                || octet.is_ascii_control()
                || br#"()<>@,;:\"/[]?="#.contains(octet)
        };
        let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(len);
        self.rest = rest;
        token
    }

    fn parameters(&mut self) -> Vec<Parameter> {
        let mut sections = Vec::new();
        loop {
            // Several semicolons, none, or rubbish between two parameters: seen in the wild, skipped.
            let name = self.token();
            self.skip_blank();
            match self.rest.first() {
                None => break,
                Some(b'=') if !name.is_empty() && sections.len() < limits::PARAMETERS_MAX => {
                    self.rest = &self.rest[1..];
                    let value = self.value();
                    sections.push(Section::new(name, value));
                }
                Some(b'"') => drop(self.quoted_string()),
                Some(_) if name.is_empty() => self.rest = &self.rest[1..],
                Some(_) => {}
            }
        }
        join_sections(sections)
    }

    // RFC 2045 5.1: value := token / quoted-string. An unquoted value with spaces is taken up to the semicolon.
    fn value(&mut self) -> Vec<u8> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.first() == Some(&b'"') {
            return self.quoted_string();
        }
        let len = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let mut value = &self.rest[..len];
        if let Some(comment) = memchr::memmem::find(value, b" (") {
            value = &value[..comment];
        } else if let Some(equals) = memchr::memchr(b'=', value) {
            // `charset=utf-8 format=flowed`: the semicolon was forgotten.
            let blank = value[..equals].iter().rposition(u8::is_ascii_whitespace);
            value = &value[..blank.unwrap_or(value.len())];
        }
        self.rest = &self.rest[value.len()..];
        value.trim_ascii().to_vec()
    }

    /// A quoted-string at the front (RFC 5322 3.2.4), unquoted; an open one reaches to the end.
    fn quoted_string(&mut self) -> Vec<u8> {
        let mut value = Vec::new();
        let mut octets = self.rest[1..].iter();
        while let Some(octet) = octets.next() {
            match octet {
                b'"' => break,
                b'\\' => value.extend(octets.next()),
                _ => value.push(*octet),
            }
        }
        self.rest = octets.as_slice();
        value
    }
}

/// Length of the comment at the front, nested ones included.
pub(crate) fn comment_len(octets: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < octets.len() {
        match octets[at] {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return at + 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    octets.len()
}

/// One parameter as written. RFC 2231 3: `name*0`, `name*1*`; 4: `name*` with charset and language.
struct Section {
    name: Vec<u8>,
    index: Option<usize>,
    extended: bool,
    value: Vec<u8>,
}

impl Section {
    fn new(attribute: &[u8], value: Vec<u8>) -> Self {
        let (attribute, extended) = match attribute.strip_suffix(b"*") {
            Some(attribute) => (attribute, true),
            None => (attribute, false),
        };
        let star = memchr::memchr(b'*', attribute);
        let index = star.and_then(|star| {
            std::str::from_utf8(&attribute[star + 1..])
                .ok()?
                .parse()
                .ok()
        });
        let name = match (star, index) {
            (Some(star), Some(_)) => &attribute[..star],
            _ => attribute,
        };
        Self {
            name: name.to_ascii_uppercase(),
            index,
            extended,
            value,
        }
    }
}

/// Joins continuations; of a name given several times the encoded form wins, then the first (RFC 6266 4.3 does the same).
fn join_sections(sections: Vec<Section>) -> Vec<Parameter> {
    let mut parameters: Vec<Parameter> = Vec::new();
    // Bounded by PARAMETERS_MAX squared.
    for section in &sections {
        if parameters
            .iter()
            .any(|parameter| parameter.name == section.name)
        {
            continue;
        }
        let of_name = || sections.iter().filter(|other| other.name == section.name);
        let encoded = of_name().find(|other| other.extended && other.index.is_none());
        let value = if let Some(encoded) = encoded {
            decode_extended(std::slice::from_ref(&encoded))
        } else if of_name().any(|other| other.index == Some(0)) {
            let continued: Vec<&Section> = (0..sections.len())
                .map_while(|index| of_name().find(|other| other.index == Some(index)))
                .collect();
            decode_extended(&continued)
        } else {
            section.value.clone()
        };
        parameters.push(Parameter {
            name: section.name.clone(),
            value,
        });
    }
    parameters
}

// RFC 2231 4.1: the first section names the charset; "%" escapes only count in sections marked with "*".
fn decode_extended(sections: &[&Section]) -> Vec<u8> {
    let mut label: &[u8] = b"";
    let mut value = Vec::new();
    let mut any_extended = false;
    for (number, section) in sections.iter().enumerate() {
        let mut text = section.value.as_slice();
        if !section.extended {
            value.extend_from_slice(text);
            continue;
        }
        any_extended = true;
        if number == 0 {
            let mut fields = text.splitn(3, |octet| *octet == b'\'');
            if let (Some(charset), Some(_language), Some(rest)) =
                (fields.next(), fields.next(), fields.next())
            {
                (label, text) = (charset, rest);
            }
        }
        while let [first, after @ ..] = text {
            let escaped = if *first == b'%' {
                crate::decode::hex_pair(after)
            } else {
                None
            };
            value.push(escaped.unwrap_or(*first));
            text = if escaped.is_some() {
                &after[2..]
            } else {
                after
            };
        }
    }
    if any_extended {
        crate::charset::to_utf8(label, &value)
            .into_owned()
            .into_bytes()
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(value: &str) -> Vec<(String, String)> {
        let parsed = ContentType::parse(format!("a/b{value}").as_bytes()).unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        parsed
            .parameters
            .iter()
            .map(|parameter| (text(&parameter.name), text(&parameter.value)))
            .collect()
    }

    #[track_caller]
    fn check(value: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        assert_eq!(parameters(value), expected, "{value}");
    }

    #[test]
    fn types() {
        let plain = ContentType::parse(b" Text (a (nested) comment) / PLAIN; Charset=x").unwrap();
        assert!(plain.is("text", "plain") && plain.parameter("charset") == Some(b"x"));
        for bad in [
            "",
            "text",
            "text/",
            "/plain",
            "(text/plain",
            "\"text\"/plain",
        ] {
            assert_eq!(ContentType::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lenient_parameters() {
        check(r#"; x="a;\"b\\" ; y = c"#, &[("X", r#"a;"b\"#), ("Y", "c")]);
        check(";; x=a;;", &[("X", "a")]);
        check(" x=a y=b", &[("X", "a"), ("Y", "b")]);
        check(
            "; name=my file.txt; x=1 (comment)",
            &[("NAME", "my file.txt"), ("X", "1")],
        );
        check("; x=a; X=b", &[("X", "a")]);
        check("; x=\"open", &[("X", "open")]);
        check("; \"junk\" x=\"1\" y=2", &[("X", "1"), ("Y", "2")]);
        check("; boundary=foo=bar==", &[("BOUNDARY", "foo=bar==")]);
        check("; x=; y", &[("X", "")]);
    }

    #[test]
    fn rfc_2231() {
        check(
            "; url*0=\"ftp://\"; url*1=\"cs.utk.edu\"",
            &[("URL", "ftp://cs.utk.edu")],
        );
        check(
            "; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
            &[("TITLE", "This is ***fun***")],
        );
        check(
            "; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
            &[("TITLE", "This is even more ***fun*** isn't it!")],
        );
        check(
            "; filename=x; filename*=iso-8859-1''caf%E9",
            &[("FILENAME", "café")],
        );
        check("; x*1=b; x*0=a; x*3=d", &[("X", "ab")]);
        check(
            "; x*99999999999999999999=b",
            &[("X*99999999999999999999", "b")],
        );
    }

    #[test]
    fn disposition() {
        let attachment = Disposition::parse(b"attachment").unwrap();
        assert!(attachment.kind == b"ATTACHMENT" && attachment.parameters.is_empty());
        assert_eq!(
            Disposition::parse(b"inline; filename=a.txt")
                .unwrap()
                .parameter("FileName"),
            Some(b"a.txt".as_slice())
        );
        assert_eq!(Disposition::parse(b" ; filename=x"), None);
    }

    #[test]
    fn hostile_input_is_linear() {
        for piece in ["(", "a=b;", "\"", ";", "x*0=", "a*1=b ", "= ", "(a", "a ("] {
            ContentType::parse(format!("a/b{}", piece.repeat((1 << 20) / piece.len())).as_bytes());
        }
    }
}
