//! The TXT record at `_smtp._tls.<domain>`: where reports go. RFC 8460 3.
//!
//! ```text
//! tlsrpt-record    = tlsrpt-version 1*(field-delim tlsrpt-field) [field-delim]
//! field-delim      = *WSP ";" *WSP
//! tlsrpt-field     = tlsrpt-rua / tlsrpt-extension
//! tlsrpt-version   = %s"v=TLSRPTv1"
//! tlsrpt-rua       = %s"rua=" tlsrpt-uri *(*WSP "," *WSP tlsrpt-uri)
//! tlsrpt-uri       = URI                       ; with "," "!" and ";" encoded
//! tlsrpt-extension = tlsrpt-ext-name "=" tlsrpt-ext-value
//! tlsrpt-ext-name  = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
//! tlsrpt-ext-value = 1*(%x21-3A / %x3C / %x3E-7E)
//! ```

use crate::limits::{DESTINATION_SIZE_MAX, DESTINATIONS_MAX, RECORD_SIZE_MAX};

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An address of mail (RFC 6068), without anything else that the URI may hold.
    Mailto(String),
    /// A URL for POST (RFC 8460 5.4).
    Https(String),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// At least one, in the order of the record. RFC 8460 3: one that accepts the report is enough.
    pub destinations: Vec<Destination>,
}

/// Why there is no record to go by. The domain gets no reports then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No such name, no TXT record, or none of this kind.
    #[error("no TLSRPT record")]
    NotFound,
    /// RFC 8460 3: more than one is as good as none.
    #[error("{0} TLSRPT records")]
    Multiple(usize),
    /// The record is malformed.
    #[error("the TLSRPT record is malformed")]
    Syntax,
    /// No rua field, or nothing in it that we could send to.
    #[error("the TLSRPT record has no usable destination")]
    NoDestination,
}

impl Record {
    /// The one record among a name's TXT records; the strings of each are joined without spaces already (RFC 8460 3).
    pub fn select<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Result<Self, RecordError> {
        let mut found = None;
        let mut count = 0;
        for text in texts {
            // RFC 8460 3: those that do not begin with the version are discarded, before they are counted.
            if after_version(text.as_ref()).is_some() {
                found.get_or_insert_with(|| Record::parse(text.as_ref()));
                count += 1;
            }
        }
        match (found, count) {
            (Some(record), 1) => record,
            (None, _) => Err(RecordError::NotFound),
            (Some(_), count) => Err(RecordError::Multiple(count)),
        }
    }

    /// One record. Destinations of other schemes and malformed ones are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let fields = after_version(text).ok_or(RecordError::NotFound)?;
        if text.len() > RECORD_SIZE_MAX {
            return Err(RecordError::Syntax);
        }
        let fields = std::str::from_utf8(fields).map_err(|_| RecordError::Syntax)?;
        // White space at the end is let through, as it does no harm. The last delimiter is optional.
        let fields = fields.trim_matches(WSP);
        let fields = fields.strip_suffix(';').unwrap_or(fields);
        let mut rua = None;
        for field in fields.split(';') {
            let field = field.trim_matches(WSP);
            let (name, value) = field.split_once('=').ok_or(RecordError::Syntax)?;
            match name {
                // The first counts, as in RFC 8461 3.2.
                "rua" if rua.is_none() => rua = Some(destinations(value)),
                "rua" => {}
                _ if is_field_name(name) && is_extension_value(value) => {}
                _ => return Err(RecordError::Syntax),
            }
        }
        match rua {
            Some(destinations) if !destinations.is_empty() => Ok(Record { destinations }),
            _ => Err(RecordError::NoDestination),
        }
    }
}

/// Where the record of a domain, or of a host with TLSA records, is. RFC 8460 3.
pub fn record_name(policy_domain: &str) -> String {
    format!("_smtp._tls.{}", policy_domain.trim_end_matches('.'))
}

/// What follows the version and its delimiter, which may have white space before it.
fn after_version(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"v=TLSRPTv1")?;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest.strip_prefix(b";")
}

fn destinations(value: &str) -> Vec<Destination> {
    let mut found = Vec::new();
    for uri in value.split(',').map(|uri| uri.trim_matches(WSP)) {
        // RFC 8460 3: `!` must be encoded, so what DMARC has of sizes is not here.
        let is_uri = uri.len() <= DESTINATION_SIZE_MAX
            && uri.bytes().all(|o| o.is_ascii_graphic() && o != b'!');
        let Some((scheme, rest)) = uri.split_once(':').filter(|_| is_uri) else {
            continue;
        };
        if scheme.eq_ignore_ascii_case("mailto") {
            found.extend(addresses(rest).into_iter().map(Destination::Mailto));
        } else if scheme.eq_ignore_ascii_case("https") && has_host(rest) {
            found.push(Destination::Https(uri.to_owned()));
        }
    }
    found.truncate(DESTINATIONS_MAX);
    found
}

/// RFC 6068 2: addresses with commas between (here encoded), and header fields behind `?`, which a report has no use for.
fn addresses(rest: &str) -> Vec<String> {
    let to = rest.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decoded(to).unwrap_or_default();
    let addresses = decoded.split(',').filter(|address| is_address(address));
    addresses.map(str::to_owned).collect()
}

/// Whether it could be one; the sender's own rules for addresses come later. No white space, no controls, no brackets.
fn is_address(text: &str) -> bool {
    let has_parts = text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.starts_with('.')
    });
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()\"\\,;".contains(c);
    has_parts && text.len() <= 254 && text.chars().all(is_plain)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        octets.push(match first {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return None;
                };
                rest = after;
                let digit = |octet: u8| char::from(octet).to_digit(16);
                (digit(*high)? << 4 | digit(*low)?) as u8
            }
            _ => *first,
        });
    }
    String::from_utf8(octets).ok()
}

fn has_host(rest: &str) -> bool {
    rest.strip_prefix("//").is_some_and(|authority| {
        let host = authority.split(['/', '?', '#']).next().unwrap_or_default();
        // No credentials in URLs of strangers.
        !host.is_empty() && !host.starts_with(':') && !host.contains('@')
    })
}

fn is_field_name(name: &str) -> bool {
    let octets = name.as_bytes();
    let within = octets
        .iter()
        .all(|o| o.is_ascii_alphanumeric() || b"_-.".contains(o));
    within && octets.len() <= 32 && octets.first().is_some_and(|o| o.is_ascii_alphanumeric())
}

fn is_extension_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|o| o.is_ascii_graphic() && o != b'=')
}

const WSP: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(address: &str) -> Destination {
        Destination::Mailto(address.into())
    }

    fn parse(text: &str) -> Result<Vec<Destination>, RecordError> {
        Record::parse(text.as_bytes()).map(|record| record.destinations)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 8460 3.1.
        assert_eq!(
            parse("v=TLSRPTv1;rua=mailto:reports@example.com"),
            Ok(vec![mail("reports@example.com")])
        );
        let url = "https://reporting.example.com/v1/tlsrpt";
        assert_eq!(
            parse(&format!("v=TLSRPTv1; rua={url}")),
            Ok(vec![Destination::Https(url.into())])
        );
        assert_eq!(record_name("example.com."), "_smtp._tls.example.com");
    }

    #[test]
    fn forms_that_are_read_too() {
        let one = Ok(vec![mail("a@b.example")]);
        for text in [
            "v=TLSRPTv1 ; rua=mailto:a@b.example ; ",
            "v=TLSRPTv1;rua=MailTo:a@b.example;",
            "v=TLSRPTv1;x=y;rua=mailto:a@b.example",
            "v=TLSRPTv1;rua=mailto:a@b.example;rua=mailto:c@d.example",
            "v=TLSRPTv1;rua=mailto:a@b.example?subject=x",
            "v=TLSRPTv1;rua=mailto:%61@b.example",
            "v=TLSRPTv1;rua=ftp://x.example , mailto:a@b.example,mailto:",
            "v=TLSRPTv1;rua=mailto:a@b.example!10m,mailto:a@b.example",
            "v=TLSRPTv1;rua=https://u:p@b.example/,https://,https:x,mailto:a@b.example",
        ] {
            assert_eq!(parse(text), one, "{text}");
        }
        assert_eq!(
            parse("v=TLSRPTv1;rua=mailto:a@b.example%2Cc@d.example,mailto:e%21f@g.example"),
            Ok(vec![
                mail("a@b.example"),
                mail("c@d.example"),
                mail("e!f@g.example")
            ])
        );
        let many = "mailto:a@b.example,".repeat(50);
        let found = parse(&format!("v=TLSRPTv1;rua={many}")).unwrap();
        assert_eq!(found.len(), DESTINATIONS_MAX);
    }

    #[test]
    fn what_is_no_record() {
        use RecordError::{NoDestination, NotFound, Syntax};
        let long = format!(
            "v=TLSRPTv1;rua=mailto:a@b.example;x={}",
            "y".repeat(RECORD_SIZE_MAX)
        );
        for (text, error) in [
            ("", NotFound),
            ("v=TLSRPTv1", NotFound),
            ("v=TLSRPTv2;rua=mailto:a@b.example", NotFound),
            ("v=tlsrptv1;rua=mailto:a@b.example", NotFound),
            ("v=TLSRPTv1;", Syntax),
            ("v=TLSRPTv1;;rua=mailto:a@b.example", Syntax),
            ("v=TLSRPTv1;rua", Syntax),
            ("v=TLSRPTv1;x=y=z;rua=mailto:a@b.example", Syntax),
            (long.as_str(), Syntax),
            ("v=TLSRPTv1;x=y", NoDestination),
            ("v=TLSRPTv1;rua=", NoDestination),
            ("v=TLSRPTv1;RUA=mailto:a@b.example", NoDestination),
            ("v=TLSRPTv1;rua=http://b.example/", NoDestination),
            ("v=TLSRPTv1;rua=mailto:b.example", NoDestination),
            (
                "v=TLSRPTv1;rua=mailto:a@b.example%0D%0ACc:x@y.example",
                NoDestination,
            ),
            ("v=TLSRPTv1;rua=mailto:a@b.example%3E", NoDestination),
            ("v=TLSRPTv1;rua=mailto:a@b.example%2", NoDestination),
            ("v=TLSRPTv1;rua=mailto:%ff@b.example", NoDestination),
            ("v=TLSRPTv1;rua=mailto:a b@c.example", NoDestination),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn one_record_among_many() {
        let ours = "v=TLSRPTv1;rua=mailto:a@b.example";
        assert!(Record::select(["v=spf1 -all", ours]).is_ok());
        assert_eq!(Record::select(["x"]), Err(RecordError::NotFound));
        assert_eq!(Record::select([ours, ours]), Err(RecordError::Multiple(2)));
    }
}
