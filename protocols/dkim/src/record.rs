//! Key records: what stands in DNS beside a key. Parsed for verification, written for the operator.
//! Records of others are untrusted. RFC 6376 3.6.1, 3.6.2.2, RFC 8463 4, RFC 1035 3.3.14 and 5.1 (zone files).
//! Not here: the key itself (`public_key.rs`), asking for it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::Name;
use crate::key::SigningKey;
use crate::limits::{KEY_RECORD_MAX, TXT_STRING_MAX};
use crate::tag_list::{
    TagList, decode_quoted_printable, encode_quoted_printable, members, without_white,
};

/// What a key record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// h=: hashes that may be used; all if `None`.
    pub hashes: Option<Vec<String>>,
    /// k=, `rsa` if there is none.
    pub key_type: String,
    /// n=, for people.
    pub notes: Option<String>,
    /// p=: empty if the key is revoked.
    pub public_key: Vec<u8>,
    /// s=: services the key is for; all if `None`.
    pub services: Option<Vec<String>>,
    /// t=y: the domain is testing, failures mean nothing.
    pub testing: bool,
    /// t=s: the domain of i= must be that of d=.
    pub strict: bool,
}

/// Why a TXT record is no key record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something else, such as a wildcard's SPF record, or a key record of another version.
    #[error("not a DKIM key record")]
    Other,
    /// It says v=DKIM1 and is malformed.
    #[error("malformed key record")]
    Malformed,
}

impl KeyRecord {
    /// The record for a key of ours. RFC 8301 3.1: h= keeps others from signing with SHA-1.
    pub fn of_key(key: &SigningKey) -> Self {
        Self {
            hashes: Some(vec!["sha256".into()]),
            key_type: key.algorithm().key_type().into(),
            notes: None,
            public_key: key.public_key(),
            services: None,
            testing: false,
            strict: false,
        }
    }

    /// Reads a record; its strings are joined already, without anything in between.
    pub fn parse(record: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(record)
            .ok()
            .filter(|text| text.len() <= KEY_RECORD_MAX);
        let text = text.ok_or(RecordError::Other)?;
        let claims = text
            .split(';')
            .next()
            .is_some_and(|first| without_white(first) == "v=DKIM1");
        let wrong = if claims {
            RecordError::Malformed
        } else {
            RecordError::Other
        };
        let list = TagList::parse(text).map_err(|_| wrong)?;
        // RFC 6376 3.6.1: v= comes first, and is DKIM1 exactly.
        if list
            .value("v")
            .is_some_and(|version| version != "DKIM1" || list.first_name() != "v")
        {
            return Err(wrong);
        }
        let public_key = without_white(list.value("p").ok_or(wrong)?);
        let owned = |value: &str| members(value).map(str::to_string).collect::<Vec<_>>();
        let notes = list.value("n").and_then(decode_quoted_printable);
        let flags = list.value("t").map(owned).unwrap_or_default();
        Ok(Self {
            hashes: list.value("h").map(owned),
            key_type: list.value("k").unwrap_or("rsa").into(),
            notes: notes.map(|notes| String::from_utf8_lossy(&notes).into_owned()),
            public_key: STANDARD.decode(public_key).map_err(|_| wrong)?,
            services: list.value("s").map(owned),
            testing: flags.iter().any(|flag| flag == "y"),
            strict: flags.iter().any(|flag| flag == "s"),
        })
    }

    /// RFC 6376 3.6.1 (s=): whether the key is for a service; `email` for mail.
    pub fn is_for(&self, service: &str) -> bool {
        let services = self.services.as_deref();
        services.is_none_or(|services| services.iter().any(|name| name == "*" || name == service))
    }

    /// The record as strings of a TXT record, none over 255 octets.
    pub fn strings(&self) -> Vec<String> {
        let text = self.to_string();
        let octets = text.as_bytes().chunks(TXT_STRING_MAX);
        octets
            .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
            .collect()
    }

    /// The record as lines of a zone file.
    pub fn zone_text(&self, selector: &Name, domain: &Name) -> String {
        let mut text = format!("{} IN TXT (\n", query_name(selector, domain) + ".");
        for string in self.strings() {
            let escaped = string.replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!("\t\"{escaped}\"\n"));
        }
        text + "\t)\n"
    }
}

impl fmt::Display for KeyRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("v=DKIM1; ")?;
        if let Some(hashes) = &self.hashes {
            write!(formatter, "h={}; ", hashes.join(":"))?;
        }
        write!(formatter, "k={}; ", self.key_type)?;
        if let Some(services) = &self.services {
            write!(formatter, "s={}; ", services.join(":"))?;
        }
        match (self.testing, self.strict) {
            (true, true) => formatter.write_str("t=y:s; ")?,
            (true, false) => formatter.write_str("t=y; ")?,
            (false, true) => formatter.write_str("t=s; ")?,
            (false, false) => {}
        }
        // RFC 6376 3.6.1 calls it qp-section; this form of it needs no line ends.
        if let Some(notes) = &self.notes {
            write!(formatter, "n={}; ", encode_quoted_printable(notes, false))?;
        }
        write!(formatter, "p={}", STANDARD.encode(&self.public_key))
    }
}

/// Where the record is. RFC 6376 3.6.2.1.
pub fn query_name(selector: &Name, domain: &Name) -> String {
    format!("{}._domainkey.{}", selector.ascii(), domain.ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> KeyRecord {
        KeyRecord::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn defaults_and_all_tags() {
        let plain = record("p=AAAA");
        assert_eq!(plain.key_type, "rsa");
        assert!(plain.is_for("email") && plain.hashes.is_none() && !plain.testing && !plain.strict);
        let all = record(
            "v=DKIM1; h=sha1 : sha256; k=ed25519; n=a=20b; p=AA\t AA ; s=email:x; t=y : s:z; g=*",
        );
        assert_eq!(all.hashes, Some(vec!["sha1".into(), "sha256".into()]));
        assert_eq!(
            (all.key_type.as_str(), all.notes.as_deref()),
            ("ed25519", Some("a b"))
        );
        assert_eq!(all.public_key, [0, 0, 0]);
        assert!(all.testing && all.strict && all.is_for("email") && !all.is_for("tlsrpt"));
        assert_eq!(record(&all.to_string()), all);
        assert_eq!(record("v=DKIM1; p=").public_key, b"");
        assert!(record("p=;s=*").is_for("tlsrpt"));
    }

    #[test]
    fn what_is_no_record() {
        for text in [
            "",
            "v=spf1 -all",
            "v=DKIM2; p=",
            "v=DKIM1.0; p=",
            "p=AAAA; v=DKIM1",
            "p=A",
            "k=rsa",
            "google-site-verification=x",
        ] {
            assert_eq!(
                KeyRecord::parse(text.as_bytes()),
                Err(RecordError::Other),
                "{text}"
            );
        }
        for text in [
            "v=DKIM1",
            "v=DKIM1; p=A",
            "v=DKIM1; p=AAAA; p=AAAA",
            "v=DKIM1; k",
            " v = DKIM1 ;;p=",
        ] {
            assert_eq!(
                KeyRecord::parse(text.as_bytes()),
                Err(RecordError::Malformed),
                "{text}"
            );
        }
        let long = format!("v=DKIM1; p={}", "A".repeat(KEY_RECORD_MAX));
        assert_eq!(KeyRecord::parse(long.as_bytes()), Err(RecordError::Other));
    }

    #[test]
    fn strings_of_a_zone_file() {
        let mut long = record("p=");
        long.public_key = vec![7; 400];
        long.notes = Some("a \"b\"; \\c".into());
        let strings = long.strings();
        assert_eq!(
            strings.iter().map(String::len).collect::<Vec<_>>(),
            [255, 255, 63]
        );
        assert_eq!(strings.concat(), long.to_string());
        let name = |text| Name::parse(text).unwrap();
        let zone = long.zone_text(&name("2026a"), &name("b\u{fc}cher.example"));
        assert!(zone.starts_with("2026a._domainkey.xn--bcher-kva.example. IN TXT (\n\t\"v=DKIM1; k=rsa; n=a=20\\\"b\\\"=3B=20\\\\c; p=Bwc"), "{zone}");
        assert!(zone.ends_with("\"\n\t)\n"), "{zone}");
    }
}
