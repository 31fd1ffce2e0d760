//! One DKIM-Signature field, parsed.
//! Used by `verification`. The field is a stranger's and taken strictly (RFC 6376 6.1.1). RFC 6376 3.5, RFC 8616 5 (U-labels, UTF-8).
//! Not here: whether the signature is good.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use message::HeaderField;

use crate::canonical::Canonicalizations;
use crate::domain::Name;
use crate::key::Algorithm;
use crate::limits::{SIGNATURE_FIELD_MAX, SIGNED_NAMES_MAX};
use crate::reason::Reason;
use crate::tag_list::{
    TagList, TagListError, decode_quoted_printable, members, trim, without_white,
};

/// What a DKIM-Signature field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// a=, as written.
    pub algorithm: String,
    /// b=
    pub signature: Vec<u8>,
    /// bh=
    pub body_hash: Vec<u8>,
    /// c=; none if an algorithm is unknown.
    pub canonicalizations: Option<Canonicalizations>,
    /// d=
    pub domain: Name,
    /// h=, as written.
    pub signed_names: Vec<String>,
    /// i=: localpart, empty if there is none, and domain, which is d= if there is no i=.
    pub identity: (String, Name),
    /// l=
    pub body_length: Option<u64>,
    /// s=
    pub selector: Name,
    /// t=, in seconds since 1970.
    pub signed_at_secs: Option<u64>,
    /// x=, in seconds since 1970.
    pub expires_at_secs: Option<u64>,
    /// Whether q= names the method we know.
    pub(crate) by_dns: bool,
}

impl Signature {
    /// Parses what stands after the colon.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, Reason> {
        let (_, list) = tags(value)?;
        let required = |name| list.value(name).ok_or(Reason::MissingTag(name));
        // RFC 6376 6.1.1: another version is no business of ours.
        if required("v")? != "1" {
            return Err(Reason::Version);
        }
        let algorithm = required("a")?.to_string();
        let signature = base64(required("b")?).ok_or(Reason::Tag("b"))?;
        let body_hash = base64(required("bh")?).ok_or(Reason::Tag("bh"))?;
        let domain = name(required("d")?).ok_or(Reason::Tag("d"))?;
        let signed_names = signed_names(required("h")?).ok_or(Reason::Tag("h"))?;
        let selector = name(required("s")?).ok_or(Reason::Tag("s"))?;
        let number = |name| {
            let value = list
                .value(name)
                .map(|value| number(value).ok_or(Reason::Tag(name)));
            value.transpose()
        };
        let (signed_at_secs, expires_at_secs) = (number("t")?, number("x")?);
        // RFC 6376 3.5 (x=): it must be greater.
        if expires_at_secs.is_some_and(|end| signed_at_secs.is_some_and(|start| end <= start)) {
            return Err(Reason::Tag("x"));
        }
        let identity = match list.value("i") {
            Some(value) => identity(value).ok_or(Reason::Tag("i"))?,
            // RFC 6376 6.1.1: as though it were @d.
            None => (String::new(), domain.clone()),
        };
        let parsed = Self {
            canonicalizations: Canonicalizations::parse(list.value("c").unwrap_or("simple")),
            by_dns: list
                .value("q")
                .is_none_or(|methods| members(methods).any(|method| method == "dns/txt")),
            body_length: number("l")?,
            algorithm,
            signature,
            body_hash,
            domain,
            signed_names,
            identity,
            selector,
            signed_at_secs,
            expires_at_secs,
        };
        if parsed.known_algorithm().is_ok() && parsed.body_hash.len() != 32 {
            return Err(Reason::Tag("bh"));
        }
        Ok(parsed)
    }

    pub(crate) fn known_algorithm(&self) -> Result<Algorithm, Reason> {
        match self.algorithm.as_str() {
            "rsa-sha256" => Ok(Algorithm::RsaSha256),
            "ed25519-sha256" => Ok(Algorithm::Ed25519Sha256),
            // RFC 8301 3.1: verifiers must not take it for good.
            "rsa-sha1" => Err(Reason::Sha1),
            _ => Err(Reason::Algorithm),
        }
    }

    /// Whether the field of that name is signed.
    pub fn signs(&self, name: &str) -> bool {
        self.signed_names
            .iter()
            .any(|signed| signed.eq_ignore_ascii_case(name))
    }
}

/// The whole field with the value of b= and all white space around that taken out. RFC 6376 3.5, 3.7.
pub(crate) fn without_signature(field: &HeaderField<'_>) -> Result<Vec<u8>, Reason> {
    let colon = memchr::memchr(b':', field.raw).ok_or(Reason::Syntax(TagListError::Malformed))?;
    let (text, list) = tags(&field.raw[colon + 1..])?;
    let range = list.range("b").ok_or(Reason::MissingTag("b"))?;
    let mut without = field.raw[..=colon].to_vec();
    without.extend_from_slice(&text.as_bytes()[..range.start]);
    without.extend_from_slice(&text.as_bytes()[range.end..]);
    Ok(without)
}

fn tags(value: &[u8]) -> Result<(&str, TagList<'_>), Reason> {
    if value.len() > SIGNATURE_FIELD_MAX {
        return Err(Reason::Syntax(TagListError::TooMany));
    }
    let text = std::str::from_utf8(value).map_err(|_| Reason::Syntax(TagListError::Malformed))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok((text, TagList::parse(text)?))
}

fn base64(value: &str) -> Option<Vec<u8>> {
    let octets = STANDARD.decode(without_white(value)).ok()?;
    (!octets.is_empty()).then_some(octets)
}

fn name(value: &str) -> Option<Name> {
    Name::parse(value).ok()
}

// sig-h-tag = %x68 [FWS] "=" [FWS] hdr-name *( [FWS] ":" [FWS] hdr-name )
fn signed_names(value: &str) -> Option<Vec<String>> {
    let names: Vec<String> = members(value)
        .take(SIGNED_NAMES_MAX + 1)
        .map(str::to_string)
        .collect();
    let is_name =
        |name: &String| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    (names.len() <= SIGNED_NAMES_MAX && names.iter().all(is_name)).then_some(names)
}

// sig-i-tag = %x69 [FWS] "=" [FWS] [ Local-part ] "@" domain-name
fn identity(value: &str) -> Option<(String, Name)> {
    let decoded = String::from_utf8(decode_quoted_printable(value)?).ok()?;
    let (localpart, domain) = decoded.rsplit_once('@')?;
    Some((localpart.to_string(), name(trim(domain))?))
}

/// RFC 6376 3.5 (t=): what is too long for us may be taken as infinite.
fn number(value: &str) -> Option<u64> {
    let digits = (1..=DIGITS_MAX).contains(&value.len())
        && value.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

// sig-t-tag, sig-x-tag: 1*12DIGIT, and more are "infinite"; sig-l-tag: 1*76DIGIT.
const DIGITS_MAX: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;
    use message::Header;

    const REQUIRED: &str = "v=1; a=rsa-sha256; d=a.example; s=x; h=from; b=AAAA; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=";

    fn parse(text: &str) -> Result<Signature, Reason> {
        Signature::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_rfc_6376_3_5() {
        let signature = parse(
            " v=1; a=rsa-sha256; d=example.net; s=brisbane;\r\n   c=simple; q=dns/txt; i=@eng.example.net;\r\n   t=1117574938; x=1118006938;\r\n   \
             h=from:to:subject:date;\r\n   z=From:foo@eng.example.net|To:joe@example.com|\r\n    Subject:demo=20run|Date:July=205,=202005=203:44:08=20PM=20-0700;\r\n   \
             bh=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=;\r\n   b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR\r\n",
        )
        .unwrap();
        assert_eq!(signature.domain.ascii(), "example.net");
        assert_eq!(signature.selector.ascii(), "brisbane");
        assert_eq!(signature.canonicalizations, Some(Canonicalizations::SIMPLE));
        assert_eq!(
            signature.identity,
            (String::new(), Name::parse("eng.example.net").unwrap())
        );
        assert_eq!(signature.signed_names, ["from", "to", "subject", "date"]);
        assert_eq!(
            (signature.signed_at_secs, signature.expires_at_secs),
            (Some(1117574938), Some(1118006938))
        );
        assert_eq!(signature.body_hash, b"12345678901234567890123456789012");
        assert!(signature.signs("From") && !signature.signs("cc") && signature.by_dns);
    }

    #[test]
    fn each_required_tag() {
        assert!(parse(REQUIRED).is_ok());
        for name in ["v", "a", "d", "s", "h", "b", "bh"] {
            let without: Vec<&str> = REQUIRED
                .split("; ")
                .filter(|tag| !tag.starts_with(&format!("{name}=")))
                .collect();
            assert_eq!(parse(&without.join(";")), Err(Reason::MissingTag(name)));
        }
    }

    #[test]
    fn values_that_are_wrong() {
        for (old, new, reason) in [
            ("v=1", "v=2", Reason::Version),
            ("b=AAAA", "b=AAA", Reason::Tag("b")),
            ("b=AAAA", "b=", Reason::Tag("b")),
            (
                "b=AAAA",
                "b=AA AA; v=1",
                Reason::Syntax(TagListError::Duplicate),
            ),
            ("bh=frcC", "bh=", Reason::Tag("bh")),
            ("d=a.example", "d=a..example", Reason::Tag("d")),
            ("s=x", "s=x y", Reason::Tag("s")),
            ("h=from", "h=from:", Reason::Tag("h")),
            ("h=from", "h=", Reason::Tag("h")),
            ("h=from", "h=from; t=1x", Reason::Tag("t")),
            ("h=from", "h=from; x=", Reason::Tag("x")),
            ("h=from", "h=from; t=5; x=5", Reason::Tag("x")),
            ("h=from", "h=from; l=-1", Reason::Tag("l")),
            ("h=from", "h=from; i=a.example", Reason::Tag("i")),
            (
                "h=from",
                "h=from; ;",
                Reason::Syntax(TagListError::Malformed),
            ),
        ] {
            assert_eq!(parse(&REQUIRED.replacen(old, new, 1)), Err(reason), "{new}");
        }
        let many = format!("h={}from", "from:".repeat(SIGNED_NAMES_MAX));
        assert_eq!(
            parse(&REQUIRED.replace("h=from", &many)),
            Err(Reason::Tag("h"))
        );
        let long = format!("{REQUIRED}; z={}", "x".repeat(SIGNATURE_FIELD_MAX));
        assert_eq!(parse(&long), Err(Reason::Syntax(TagListError::TooMany)));
        assert_eq!(
            Signature::parse(b"v=1; a=\xff"),
            Err(Reason::Syntax(TagListError::Malformed))
        );
    }

    #[test]
    fn unknown_and_optional_values() {
        let with = |tags: &str| parse(&format!("{REQUIRED}; {tags}")).unwrap();
        assert_eq!(with("unknown=1; c=nofws").canonicalizations, None);
        assert!(!with("q=http").by_dns);
        assert!(with("q=http : dns/txt").by_dns);
        assert_eq!(with("l=0").body_length, Some(0));
        assert_eq!(with("l=9999999999999999999999").body_length, Some(u64::MAX));
        assert_eq!(with("t=0001; x=99999999999999").signed_at_secs, Some(1));
        assert_eq!(
            with("i=J=C3=B6rg=40x@B.a.example").identity,
            ("J\u{f6}rg@x".into(), Name::parse("b.a.example").unwrap())
        );
        assert_eq!(
            parse(&REQUIRED.replace("rsa-sha256", "rsa-sha1"))
                .unwrap()
                .known_algorithm(),
            Err(Reason::Sha1)
        );
        assert_eq!(
            parse(&REQUIRED.replace("rsa-sha256", "x-y"))
                .unwrap()
                .known_algorithm(),
            Err(Reason::Algorithm)
        );
        // RFC 8616 5
        assert_eq!(
            parse(&REQUIRED.replace("d=a.example", "d=b\u{fc}cher.example"))
                .unwrap()
                .domain
                .ascii(),
            "xn--bcher-kva.example"
        );
    }

    #[test]
    fn the_value_of_b_is_taken_out() {
        for (raw, expected) in [
            ("D: a=1; b = \r\n AA A\t;c=2\r\n", "D: a=1; b =;c=2"),
            ("D: bh=1; b=AAAA\r\n AAA=\r\n", "D: bh=1; b="),
            ("D:b=;\r\n", "D:b=;"),
        ] {
            let header = Header::of_section(raw.as_bytes());
            let field = without_signature(&header.fields().next().unwrap());
            assert_eq!(String::from_utf8(field.unwrap()).unwrap(), expected);
        }
    }
}
