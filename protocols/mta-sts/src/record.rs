//! The TXT record at `_mta-sts.<domain>`: a policy exists, and this is its version. RFC 8461 3.1.
//!
//! ```text
//! sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]
//! sts-field       = sts-id / sts-extension
//! sts-field-delim = *WSP ";" *WSP
//! sts-version     = %s"v=STSv1"
//! sts-id          = %s"id=" 1*32(ALPHA / DIGIT)
//! sts-extension   = sts-ext-name "=" sts-ext-value
//! sts-ext-name    = (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".")
//! sts-ext-value   = 1*(%x21-3A / %x3C / %x3E-7E)
//! ```

use std::fmt;

use crate::limits::{FIELD_NAME_MAX, RECORD_ID_MAX, RECORD_SIZE_MAX};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which version of the policy is the present one.
    pub id: RecordId,
}

/// The name of a version. Versions have no order: another id is a newer policy. RFC 8461 3.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId(String);

impl RecordId {
    /// None unless it is 1 to 32 letters and digits.
    pub fn new(text: &str) -> Option<Self> {
        let is_id = (1..=RECORD_ID_MAX).contains(&text.len())
            && text.bytes().all(|o| o.is_ascii_alphanumeric());
        is_id.then(|| RecordId(text.to_owned()))
    }

    /// As in the record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why there is no record to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No such name, no TXT record, or none of this kind.
    #[error("no MTA-STS record")]
    NotFound,
    /// RFC 8461 3.1: more than one is as good as none.
    #[error("{0} MTA-STS records")]
    Multiple(usize),
    /// The record is malformed.
    #[error("the MTA-STS record is malformed")]
    Syntax,
    /// The record has no id, or what is no id.
    #[error("the MTA-STS record has no valid id")]
    Id,
    /// The lookup failed: timeout, SERVFAIL, DNSSEC. Said by the caller.
    #[error("the MTA-STS record could not be looked up")]
    Lookup,
}

impl Record {
    /// The one record among a name's TXT records; the strings of each are joined without spaces already (RFC 8461 3.1).
    pub fn select<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Result<Self, RecordError> {
        let mut found = None;
        let mut count = 0;
        for text in texts {
            // RFC 8461 3.1: those that do not begin with the version are discarded, before they are counted.
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

    /// One record.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let fields = after_version(text).ok_or(RecordError::NotFound)?;
        if text.len() > RECORD_SIZE_MAX {
            return Err(RecordError::Syntax);
        }
        let fields = std::str::from_utf8(fields).map_err(|_| RecordError::Syntax)?;
        // White space at the end is let through, as it does no harm. The last delimiter is optional.
        let fields = fields.trim_matches(WSP);
        let fields = fields.strip_suffix(';').unwrap_or(fields);
        let mut id = None;
        for field in fields.split(';') {
            let (name, value) = parse_field(field.trim_matches(WSP)).ok_or(RecordError::Syntax)?;
            // RFC 8461 3.2: of a field that comes twice the first counts. Unknown ones are ignored.
            if name == "id" && id.is_none() {
                id = Some(RecordId::new(value).ok_or(RecordError::Id)?);
            }
        }
        id.map(|id| Record { id }).ok_or(RecordError::Id)
    }
}

/// For our own zone. With a space, as everybody writes it.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=STSv1; id={};", self.id.0)
    }
}

/// What follows the version and its delimiter. White space before the semicolon is in the grammar, though the text of RFC 8461 3.1 looks for
/// `v=STSv1;` (erratum 6285).
fn after_version(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"v=STSv1")?;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest.strip_prefix(b";")
}

/// Name and value of a field, ours or an extension.
fn parse_field(field: &str) -> Option<(&str, &str)> {
    let (name, value) = field.split_once('=')?;
    let is_value = !value.is_empty()
        && value
            .bytes()
            .all(|o| o.is_ascii_graphic() && o != b'=' && o != b';');
    (is_field_name(name) && is_value).then_some((name, value))
}

/// Of records and of policies.
pub(crate) fn is_field_name(name: &str) -> bool {
    let octets = name.as_bytes();
    let within = octets
        .iter()
        .all(|o| o.is_ascii_alphanumeric() || b"_-.".contains(o));
    within
        && octets.len() <= FIELD_NAME_MAX
        && octets.first().is_some_and(|o| o.is_ascii_alphanumeric())
}

const WSP: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Result<String, RecordError> {
        Record::parse(text.as_bytes()).map(|record| record.id.as_str().to_owned())
    }

    #[test]
    fn records_that_are_valid() {
        // RFC 8461 3.1, the example.
        assert_eq!(
            id("v=STSv1; id=20160831085700Z;").as_deref(),
            Ok("20160831085700Z")
        );
        for text in [
            "v=STSv1;id=a1",
            "v=STSv1;id=a1;",
            "v=STSv1 ;\tid=a1 ; ",
            "v=STSv1; id=a1 ",
            "v=STSv1; x-y.z_0=:!<>~; id=a1",
            "v=STSv1; id=a1; id=b2",
            "v=STSv1; id=a1; id=not!an!id",
            "v=STSv1; ID=other; id=a1",
        ] {
            assert_eq!(id(text).as_deref(), Ok("a1"), "{text}");
        }
        let longest = "Z".repeat(32);
        assert_eq!(id(&format!("v=STSv1; id={longest}")), Ok(longest));
    }

    #[test]
    fn records_that_are_not() {
        use RecordError::{Id, NotFound, Syntax};
        let long = format!("v=STSv1; id=a; x={}", "y".repeat(RECORD_SIZE_MAX));
        for (text, error) in [
            ("", NotFound),
            ("v=STSv1", NotFound),
            ("v=STSv2; id=a", NotFound),
            ("v=STSv10; id=a", NotFound),
            ("V=STSv1; id=a", NotFound),
            (" v=STSv1; id=a", NotFound),
            ("id=a; v=STSv1", NotFound),
            ("v=STSv1;", Syntax),
            ("v=STSv1;;id=a", Syntax),
            ("v=STSv1; id=a;;", Syntax),
            ("v=STSv1; id=a b", Syntax),
            ("v=STSv1; id=a; x", Syntax),
            ("v=STSv1; id=a; x=", Syntax),
            ("v=STSv1; id=a; x=y=z", Syntax),
            ("v=STSv1; id=a; -x=y", Syntax),
            ("v=STSv1; id =a", Syntax),
            ("v=STSv1; id=", Syntax),
            ("v=STSv1; x=y", Id),
            ("v=STSv1; ID=a", Id),
            ("v=STSv1; id=a-b", Id),
            ("v=STSv1; id=123456789012345678901234567890123", Id),
            ("v=STSv1; id=a; x=\u{e9}", Syntax),
            (long.as_str(), Syntax),
        ] {
            assert_eq!(id(text), Err(error), "{text}");
        }
        assert_eq!(Record::parse(b"v=STSv1; id=a\xff"), Err(Syntax));
    }

    #[test]
    fn one_record_among_many() {
        let ours = "v=STSv1; id=1;";
        assert!(Record::select(["v=spf1 -all", ours, "v=STSv2; id=2"]).is_ok());
        assert_eq!(Record::select(["v=spf1 -all"]), Err(RecordError::NotFound));
        assert_eq!(Record::select([ours, ours]), Err(RecordError::Multiple(2)));
        // A malformed one counts: it begins as it should.
        assert_eq!(
            Record::select([ours, "v=STSv1;"]),
            Err(RecordError::Multiple(2))
        );
        assert_eq!(Record::select(["v=STSv1; x"]), Err(RecordError::Syntax));
    }

    #[test]
    fn what_we_write_is_read() {
        let record = Record {
            id: RecordId::new("20260101T000000").unwrap(),
        };
        assert_eq!(record.to_string(), "v=STSv1; id=20260101T000000;");
        assert_eq!(Record::parse(record.to_string().as_bytes()), Ok(record));
        assert_eq!(RecordId::new(""), None);
    }
}
